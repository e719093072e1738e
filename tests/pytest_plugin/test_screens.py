"""docs/testing.md shows failures as they really are."""

import re
import textwrap

import pytest

from support.processes import ROOT
from support.pytest_projects import run

pytest_plugins = ["pytester"]

SECTION = re.compile(r"^## What a failure shows\n(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PREPARED = """
import pytest
from wirewright.sync_api import expect

class App:
    def __init__(self, connect, proxy):
        self._connect, self._proxy = connect, proxy

    def open(self):
        self.client = self._connect()

    def buy(self, amount):
        self.client.send('{"type": "order", "amount": %d}' % amount)
        self._proxy.web_sockets[-1].next_frame(direction="sent")

@pytest.fixture
def app(app, ws_proxy):
    return App(app, ws_proxy)

@pytest.fixture
def live(ws_proxy, app):
    order = ws_proxy.mock_web_socket("**/live").on(json={"type": "order"})
    order.reply({"type": "ack", "id": 7}, {"type": "filled", "id": 7, "price": 1.5})
    with ws_proxy.expect_websocket("**/live", opened=True) as opened:
        app.open()
    app.client.send('{"type": "order", "id": 7, "amount": 3}')
    app.client.recv()
    app.client.recv()
    return opened.value
"""


def normal(text: str) -> str:
    """Without what differs in each run: ports and times. pytest puts `E` before the lines of an error."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8765", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d\.\d{3}\b", "12:00:00.000", text)
    return re.sub(r"^E {3}", "", text, flags=re.MULTILINE)


def test_documentation_shows_failures_as_they_are(pytester: pytest.Pytester) -> None:
    found = SECTION.search((ROOT / "docs" / "testing.md").read_text())
    assert found
    blocks = BLOCK.findall(found[1])
    codes = [code for kind, code in blocks if kind == "python"]
    screens = [screen for kind, screen in blocks if kind == "text"]
    tests = [
        f"def test_{number}(ws_proxy, live, app):\n{textwrap.indent(code, '    ')}"
        for number, code in enumerate(codes)
    ]
    pytester.makepyfile("\n\n".join([PREPARED, *tests]))
    ran = run(pytester, "--color=no", "--tb=short")
    ran.assert_outcomes(failed=len(codes))
    said = normal(ran.stdout.str())
    assert "wirewright/model" not in said
    assert "All traceback entries are hidden" not in said
    assert len(screens) >= len(codes) >= 3
    for screen in screens:
        assert normal(screen) in said
