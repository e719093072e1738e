"""The warning about mitmweb's web interface."""

from pathlib import Path

import pytest
from mitmproxy import version

from support.forked_programs import WIREWRIGHT
from support.ports import free_port
from support.processes import ADDON, BIN, running
from support.scripts import write_script
from wirewright.mitm.web_interface import SAFE_VERSION
from wirewright.requirements import is_older

pytestmark = pytest.mark.slow

OPTIONS = ("--no-web-open-browser", "-p", "0", "--listen-host", "127.0.0.1")
WARNING = r"lets every client of the proxy use its web interface.*CVE-2025-23217"


def pretending(version: str, folder: Path) -> Path:
    """A script that gives mitmproxy another version."""
    return write_script(
        folder / "version.py", f"from mitmproxy import version\nversion.VERSION = {version!r}\n"
    )


@pytest.mark.parametrize("pretended", ["11.0.2", "11.1.1", SAFE_VERSION, "12.3.1"])
async def test_mitmweb_that_clients_can_use_warns_at_its_start(
    pretended: str, confdir: Path, tmp_path: Path
) -> None:
    options = [
        "--no-web-open-browser",
        "--web-port",
        str(free_port()),
        "-p",
        "0",
        "--listen-host",
        "127.0.0.1",
    ]
    scripts = ["-s", str(pretending(pretended, tmp_path)), "-s", str(ADDON)]
    command = [str(BIN / "mitmweb"), *options, "--set", f"confdir={confdir}", *scripts]
    async with running(*command) as run:
        if pretended in ("11.0.2", "11.1.1"):
            await run.line(f"mitmweb {pretended} {WARNING}")
        else:
            await run.line("Web server listening")
            await run.stop()
            assert "CVE-" not in "\n".join(run.lines)


@pytest.mark.skipif(not is_older(version.VERSION, SAFE_VERSION), reason="this mitmproxy is safe")
async def test_installed_mitmweb_warns(confdir: Path) -> None:
    options = [
        "--no-web-open-browser",
        "--web-port",
        str(free_port()),
        "-p",
        "0",
        "--listen-host",
        "127.0.0.1",
    ]
    command = [str(BIN / "mitmweb"), *options, "--set", f"confdir={confdir}", "-s", str(ADDON)]
    async with running(*command) as run:
        await run.line(WARNING)


async def test_mitmproxy_without_a_web_interface_does_not_warn(confdir: Path, tmp_path: Path) -> None:
    command = ["run", "-p", "0", "--listen-host", "127.0.0.1", "--set", f"confdir={confdir}"]
    script = pretending("11.0.2", tmp_path)
    async with running(WIREWRIGHT, *command, "-s", script) as run:
        await run.line("Stop +Ctrl-C")
        await run.stop()
        assert "CVE-" not in "\n".join(run.lines)
