"""The fixture of docs/testing.md for a desktop app starts one, through the proxy and with trust in its CA."""

import re
import shutil

import pytest

from support.processes import ROOT
from support.pytest_projects import run

pytest_plugins = ["pytester"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]

SECTION = re.compile(r"^### A desktop app\n(.*?)^### ", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGE = """
<script>
  const live = new WebSocket(decodeURIComponent(location.hash.slice(1)));
  live.onopen = () => live.send('{"type": "subscribe"}');
</script>
"""
SERVER = """
@pytest.fixture(autouse=True)
def server(ws_proxy):
    ws_proxy.mock_web_socket("**/live")
"""
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_documentation_starts_a_desktop_app(pytester: pytest.Pytester, scheme: str) -> None:
    found = SECTION.search((ROOT / "docs" / "testing.md").read_text())
    assert found
    files = dict(FILE.findall(found[1]))
    page = pytester.makefile(".html", trader=PAGE)
    command = ["chromium", *ARGUMENTS, f"--app={page.as_uri()}#{scheme}://nowhere.invalid/live"]
    conftest, count = re.subn(
        r"^COMMAND = .*$", f"COMMAND = {command}", files["conftest"], flags=re.MULTILINE
    )
    assert count == 1
    pytester.makeconftest(conftest + SERVER)
    pytester.makepyfile(test_trader=files["test_trader"])
    run(pytester).assert_outcomes(passed=1)
