"""SIGHUP: the end of a program whose terminal is closed."""

import asyncio
import signal
from pathlib import Path

import pytest
import websockets

from support.forked_programs import MITMDUMP
from support.processes import ADDON, BIN, running
from support.scripts import write_script
from support.servers import serving
from support.terminals import terminal
from support.time_limits import STEP_SECONDS
from wirewright import launch
from wirewright.capture import open as open_capture

WITHOUT_BROWSER = ("--no-web-open-browser", "--web-port", "0")
PROGRAMS = {
    "run": ("wirewright", "run", "--capture", "{capture}"),
    "replay": ("wirewright", "replay", "{recorded}", "--set", "ws_capture={capture}"),
    "mitmdump": ("mitmdump", "-s", "{addon}", "--set", "ws_capture={capture}"),
    "mitmweb": (
        "mitmweb",
        "--no-web-open-browser",
        "--web-port",
        "0",
        "-s",
        "{addon}",
        "--set",
        "ws_capture={capture}",
    ),
    "mitmproxy": ("mitmproxy", "-s", "{addon}", "--set", "ws_capture={capture}"),
}
PORT = """
from mitmproxy import ctx

def running():
    print("PORT", ctx.master.addons.get("proxyserver").listen_addrs()[0][1], ".", flush=True)
"""


@pytest.fixture
async def recorded(confdir: Path, tmp_path: Path) -> Path:
    """A capture of another server, for the replay."""
    path = tmp_path / "recorded.db"
    options = {"ws_capture": str(path)}
    async with (
        launch(port=0, confdir=confdir, options=options) as proxy,
        serving() as url,
        websockets.connect(f"{url}/other", proxy=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        await client.send("hello")
        await client.recv()
    return path


@pytest.mark.parametrize(
    "end",
    [pytest.param("signal", marks=pytest.mark.once("a closed terminal sends it, too")), "closed terminal"],
)
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_capture_is_closed_when_the_terminal_is(
    confdir: Path, tmp_path: Path, recorded: Path, program: str, end: str
) -> None:
    capture = tmp_path / "session.db"
    name, *given = (
        each.format(capture=capture, recorded=recorded, addon=ADDON) for each in PROGRAMS[program]
    )
    script = write_script(tmp_path / "say_port.py", PORT)
    options = ("-p", "0", "--listen-host", "127.0.0.1", "--set", f"confdir={confdir}", "-s", script)
    async with terminal(BIN / name, *given, *options) as screen, serving() as url:
        port = (await screen.shows(r"PORT (\d+) \."))[1]
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}") as client:
            await client.send("the last")
            assert await client.recv() == "the last"
            if end == "signal":
                screen.process.send_signal(signal.SIGHUP)
            else:
                screen.close()
            code = await asyncio.wait_for(screen.process.wait(), STEP_SECONDS)
            # mitmproxy ends with 1 where it cannot print a line, before the signal has come
            assert code in ((0,) if end == "signal" else (0, 1))
    assert not capture.with_name("session.db-wal").exists()
    with open_capture(capture) as opened:
        assert [frame.payload for frame in opened.frames() if frame.is_message] == ["the last"] * 2
        assert opened.sessions()[0].ended_ns is not None
        (socket,) = opened.sockets()
        assert (socket.close_code, socket.closed_by) == (1006, "proxy")


async def test_a_program_started_by_nohup_goes_on(confdir: Path) -> None:
    options = ("--set", f"confdir={confdir}", "-p", "0", "-s", ADDON)
    async with running("nohup", BIN / "mitmdump", *options) as run:
        port = (await run.line(r"listening at .*?:(\d+)"))[1]
        run.process.send_signal(signal.SIGHUP)
        async with serving() as url, websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client:
            await client.send("hello")
            assert await client.recv() == "hello"


async def test_a_program_that_launches_a_proxy_keeps_its_own_way(confdir: Path) -> None:
    before = signal.getsignal(signal.SIGHUP)
    async with launch(port=0, confdir=confdir):
        assert signal.getsignal(signal.SIGHUP) is before


async def test_a_capture_is_closed_when_another_addon_breaks_the_end(confdir: Path, tmp_path: Path) -> None:
    capture = tmp_path / "session.db"
    script = write_script(tmp_path / "script.py", "import sys\n\ndef done():\n    sys.exit(3)\n")
    options = ("--set", f"confdir={confdir}", "-p", "0", "--set", f"ws_capture={capture}")
    async with running(MITMDUMP, *options, "-s", script, "-s", ADDON) as run:
        await run.line("listening at")
        run.process.terminate()
        await run.rest()
    assert run.process.returncode == 3
    assert not capture.with_name("session.db-wal").exists()
    with open_capture(capture) as opened:
        assert opened.sessions()[0].ended_ns is not None
