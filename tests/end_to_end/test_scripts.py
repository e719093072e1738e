"""Users' scripts, which mitmproxy loads again each time they are saved."""

import asyncio
import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets
from mitmproxy import ctx
from mitmproxy.addons import script as mitmproxy_script

from support.processes import mitmdump
from support.scripts import write_script
from support.servers import serving
from wirewright import Proxy, WebSocket, launch
from wirewright.capture import open as open_capture

LISTENING = """
import asyncio
import notes
from wirewright import proxy

@proxy.on("websocket")
def opened(ws):
    notes.tell("VERSION opened")
    ws.on("framesent", lambda payload: notes.tell("VERSION sent " + payload))
    ws.on("framereceived", received)

async def received(payload):
    notes.tell("VERSION received " + payload)
    try:
        await asyncio.Event().wait()
    finally:
        notes.tell("VERSION listener ended")

waiting = asyncio.ensure_future(proxy.wait_for_event("websocket", lambda ws: False))
waiting.add_done_callback(lambda waiting: notes.tell("VERSION wait ended"))

def done():
    notes.tell("VERSION done")

notes.tell("VERSION loaded")
"""
"""Listens in all ways that there are; VERSION is in whatever it tells."""


class Notes(types.ModuleType):
    """The module `notes`, through which scripts tell the test what they do."""

    def __init__(self) -> None:
        super().__init__("notes")
        self.told: list[str] = []
        self._more = asyncio.Event()

    def tell(self, note: object) -> None:
        self.told.append(str(note))
        self._more.set()

    async def until(self, note: str) -> None:
        """Wait until a script has told this."""
        while note not in self.told:
            self._more.clear()
            await self._more.wait()

    def new(self) -> list[str]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    made = Notes()
    monkeypatch.setitem(sys.modules, "notes", made)
    monkeypatch.setattr(mitmproxy_script, "ReloadInterval", 0.02)
    return made


@asynccontextmanager
async def scripted(confdir: Path, *scripts: Path) -> AsyncIterator[Proxy]:
    options = {"scripts": [str(script) for script in scripts]}
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[websockets.ClientConnection]:
    async with (
        serving() as url,
        websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        yield client


async def say(client: websockets.ClientConnection, message: str) -> None:
    await client.send(message)
    assert await client.recv() == message


def listeners(*emitters: Proxy | WebSocket) -> int:
    """How many listeners there are, on all events together."""
    return sum(
        len(emitter.listeners(event)) for emitter in emitters for event in sorted(type(emitter)._EVENTS)
    )


ENDED = {"v1 done", "v1 wait ended", "v1 listener ended"}


async def test_saved_script_replaces_all_that_its_old_version_registered(
    confdir: Path, tmp_path: Path, notes: Notes
) -> None:
    script = write_script(tmp_path / "listen.py", LISTENING.replace("VERSION", "v1"))
    async with scripted(confdir, script) as proxy:
        async with connected(proxy) as old:
            await say(old, "a")
            assert notes.new() == ["v1 loaded", "v1 opened", "v1 sent a", "v1 received a"]

            write_script(script, LISTENING.replace("VERSION", "v2"))
            await notes.until("v2 loaded")
            await say(old, "b")  # the old version's listeners were on this socket
            assert set(notes.new()) == ENDED | {"v2 loaded"}
            assert listeners(*proxy.web_sockets) == 0
        async with connected(proxy) as new:
            await say(new, "c")
            assert notes.new() == ["v2 opened", "v2 sent c", "v2 received c"]


async def test_script_reloads_again_and_again(confdir: Path, tmp_path: Path, notes: Notes) -> None:
    script = write_script(tmp_path / "listen.py", LISTENING.replace("VERSION", "v0"))
    async with scripted(confdir, script) as proxy:
        registered = listeners(proxy)
        for version in ("v1", "v2", "v3"):
            write_script(script, LISTENING.replace("VERSION", version))
            await notes.until(f"{version} loaded")
            assert listeners(proxy) == registered
    assert [note for note in notes.told if note.endswith("done")] == [
        "v0 done",
        "v1 done",
        "v2 done",
        "v3 done",
    ]


async def test_script_that_is_unloaded_leaves_nothing(confdir: Path, tmp_path: Path, notes: Notes) -> None:
    script = write_script(tmp_path / "listen.py", LISTENING.replace("VERSION", "v1"))
    async with scripted(confdir, script) as proxy, connected(proxy) as client:
        await say(client, "a")
        notes.new()
        ctx.options.update(scripts=[])
        await say(client, "b")
        assert set(notes.new()) == ENDED
        assert listeners(proxy, *proxy.web_sockets) == 0


async def test_capture_of_a_script_ends_with_it(confdir: Path, tmp_path: Path, notes: Notes) -> None:
    capture = tmp_path / "session.db"
    recording = f"""
import notes
from wirewright import proxy
proxy.start_capture({str(capture)!r})
notes.tell("VERSION loaded")
"""
    script = write_script(tmp_path / "record.py", recording.replace("VERSION", "v1"))
    async with scripted(confdir, script) as proxy, connected(proxy) as client:
        await say(client, "a")
        write_script(script, recording.replace("VERSION", "v2"))
        await notes.until("v2 loaded")
        await say(client, "b")
        write_script(script, "import notes; notes.tell('v3 loaded')")
        await notes.until("v3 loaded")
        await say(client, "c")
        proxy.start_capture(tmp_path / "other.db")  # none runs
    with open_capture(capture) as opened:
        sessions = opened.sessions()
        frames = [(frame.socket_id, frame.direction, frame.payload) for frame in opened.frames()]
    assert [session.ended_ns is not None for session in sessions] == [True, True]
    assert [frame for frame in frames if frame[2] in ("a", "b", "c")] == [
        *((1, "sent", "a"), (1, "received", "a"), (2, "sent", "b"), (2, "received", "b"))
    ]


async def test_outage_of_a_script_ends_with_it(confdir: Path, tmp_path: Path, notes: Notes) -> None:
    script = write_script(
        tmp_path / "offline.py",
        "import notes\nfrom wirewright import proxy\nproxy.offline()\nnotes.tell('v1 loaded')",
    )
    async with scripted(confdir, script) as proxy:
        with pytest.raises((websockets.InvalidMessage, OSError, EOFError)):
            async with connected(proxy):
                pass
        write_script(script, "import notes; notes.tell('v2 loaded')")
        await notes.until("v2 loaded")
        async with connected(proxy) as client:
            await say(client, "a")


async def test_capture_of_an_option_outlives_a_script_that_had_one(
    confdir: Path, tmp_path: Path, notes: Notes
) -> None:
    script = write_script(
        tmp_path / "record.py",
        f"""
import notes
from wirewright import proxy
proxy.start_capture({str(tmp_path / "script.db")!r})
notes.tell("loaded")
""",
    )
    async with scripted(confdir, script) as proxy, connected(proxy) as client:
        ctx.options.ws_capture = str(tmp_path / "option.db")
        write_script(script, "import notes; notes.tell('loaded again')")
        await notes.until("loaded again")
        await say(client, "a")
        proxy.stop_capture()
    with open_capture(tmp_path / "option.db") as opened:
        assert [frame.payload for frame in opened.frames() if frame.is_message] == ["a", "a"]


async def test_script_that_is_deleted_leaves_nothing(confdir: Path, tmp_path: Path, notes: Notes) -> None:
    script = write_script(tmp_path / "listen.py", LISTENING.replace("VERSION", "v1"))
    async with scripted(confdir, script) as proxy, connected(proxy) as client:
        await say(client, "a")
        script.unlink()
        for note in ENDED:
            await notes.until(note)
        assert listeners(proxy, *proxy.web_sockets) == 0


async def test_script_that_fails_half_way_leaves_nothing(confdir: Path, tmp_path: Path, notes: Notes) -> None:
    script = write_script(tmp_path / "listen.py", LISTENING.replace("VERSION", "v1"))
    async with scripted(confdir, script) as proxy, connected(proxy) as client:
        write_script(script, LISTENING.replace("VERSION", "broken") + "raise RuntimeError('half-way')\n")
        await notes.until("broken loaded")
        await notes.until("broken wait ended")
        await say(client, "a")
        assert listeners(proxy, *proxy.web_sockets) == 0

        write_script(script, LISTENING.replace("VERSION", "mended"))
        await notes.until("mended loaded")
        assert listeners(proxy) == 2  # its handler and its wait


async def test_what_a_script_registers_later_goes_with_it_too(
    confdir: Path, tmp_path: Path, notes: Notes
) -> None:
    late = """
import notes
from wirewright import proxy

def running():
    proxy.on("websocket", lambda ws: notes.tell("late"))
    notes.tell("running")
"""
    script = write_script(tmp_path / "late.py", late)
    async with scripted(confdir, script) as proxy:
        await notes.until("running")
        write_script(script, "import notes\nnotes.tell('empty')\n")
        await notes.until("empty")
        async with connected(proxy) as client:
            await say(client, "a")
        assert notes.new() == ["running", "empty"]


async def test_module_that_a_script_imports_keeps_its_listeners(
    confdir: Path, tmp_path: Path, notes: Notes
) -> None:
    write_script(
        tmp_path / "kept_helper.py",
        "import notes\nfrom wirewright import proxy\n"
        "proxy.on('websocket', lambda ws: notes.tell('helper opened'))\n",
    )
    body = "import kept_helper, notes\nnotes.tell('VERSION')\n"
    script = write_script(tmp_path / "listen.py", body.replace("VERSION", "v1"))
    try:
        async with scripted(confdir, script) as proxy:
            await notes.until("v1")
            write_script(script, body.replace("VERSION", "v2"))
            await notes.until("v2")
            async with connected(proxy) as client:
                await say(client, "a")
        assert notes.new() == ["v1", "v2", "helper opened"]
    finally:
        sys.modules.pop("kept_helper", None)


async def test_listeners_of_the_program_and_of_other_scripts_stay(
    confdir: Path, tmp_path: Path, notes: Notes
) -> None:
    changing = write_script(tmp_path / "changing.py", LISTENING.replace("VERSION", "v1"))
    other = write_script(tmp_path / "other.py", LISTENING.replace("VERSION", "other"))
    async with scripted(confdir, changing, other) as proxy:
        proxy.on("websocket", lambda ws: notes.tell("program opened"))
        write_script(changing, "import notes\nnotes.tell('empty')\n")
        await notes.until("empty")
        await notes.until("v1 wait ended")
        notes.new()
        async with connected(proxy) as client:
            await say(client, "a")
            assert notes.new() == ["other opened", "program opened", "other sent a", "other received a"]


BAD_SCRIPTS = {
    "listeners that raise": """
        @proxy.on("websocket")
        def opened(ws):
            for event in ("framesent", "framereceived", "close"):
                ws.on(event, lambda *_: 1 / 0)
            raise RuntimeError("opened")
    """,
    "an async listener that raises": """
        @proxy.on("websocket")
        async def opened(ws):
            async def fails(*_):
                raise RuntimeError("async")
            ws.on("framesent", fails)
            ws.on("framereceived", fails)
            ws.on("close", fails)
            raise RuntimeError("opened")
    """,
    "listeners that wait forever": """
        @proxy.on("websocket")
        async def opened(ws):
            async def waits(*_):
                await asyncio.Event().wait()
            ws.on("framesent", waits)
            ws.on("framereceived", waits)
            ws.on("close", waits)
            await asyncio.Event().wait()
    """,
    "a listener that registers itself again": """
        @proxy.on("websocket")
        def opened(ws):
            def again(payload):
                ws.on("framesent", again)
                ws.on("framereceived", lambda payload: again(payload))
            ws.on("framesent", again)
            proxy.on("websocket", opened)
    """,
    "a predicate that raises, and one that waits forever": """
        @proxy.on("websocket")
        async def opened(ws):
            async def forever(payload):
                await asyncio.Event().wait()
            stuck = ws.wait_for_event("framesent", forever)
            failing = ws.wait_for_event("framesent", lambda payload: 1 / 0)
            await asyncio.gather(failing, stuck)
    """,
    "hooks that raise": """
        def fails(*_):
            raise RuntimeError("hook")
        requestheaders = request = response = websocket_start = websocket_message = websocket_end = fails
    """,
}


@pytest.mark.ws_allow_errors
@pytest.mark.parametrize("body", BAD_SCRIPTS.values(), ids=BAD_SCRIPTS.keys())
async def test_bad_script_changes_nothing_for_app_and_server(
    confdir: Path, tmp_path: Path, notes: Notes, body: str
) -> None:
    indented = "\n".join(line.removeprefix("        ") for line in body.splitlines())
    script = write_script(tmp_path / "bad.py", f"import asyncio\nfrom wirewright import proxy\n{indented}\n")
    seen: list[object] = []
    async with scripted(confdir, script) as proxy:
        proxy.on("websocket", lambda ws: ws.on("framereceived", seen.append))
        for _ in range(2):
            async with connected(proxy) as client:
                messages = [f"message {number}" for number in range(5)]
                for message in messages:
                    await client.send(message)
                assert [await client.recv() for _ in messages] == messages
                await client.close(3000, "enough")
                assert (client.close_code, client.close_reason) == (3000, "enough")
    assert seen == messages * 2


HOLDING = """
import asyncio

def websocket_message(flow):
    if flow.websocket.messages[-1].from_client:
        flow.intercept()
        asyncio.get_running_loop().call_soon(flow.resume)
"""


async def test_message_that_a_script_holds_and_resumes_is_reported(
    confdir: Path, tmp_path: Path, notes: Notes
) -> None:
    script = write_script(tmp_path / "holding.py", HOLDING)
    received = asyncio.get_running_loop().create_future()

    async def listen(connection: websockets.ServerConnection) -> None:
        received.set_result(await connection.recv())
        await connection.wait_closed()

    async with scripted(confdir, script) as proxy, serving(listen) as url:
        proxy.on("websocket", lambda ws: ws.on("framesent", notes.tell))
        async with websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}") as client:
            await client.send("held")
            assert await received == "held"
            await notes.until("held")


async def test_script_reloads_in_mitmdump(confdir: Path, tmp_path: Path) -> None:
    body = """
from wirewright import proxy
proxy.on("websocket", lambda ws: print("VERSION", ws.url, flush=True))
print("LOADED VERSION", flush=True)
"""
    script = write_script(tmp_path / "watch.py", body.replace("VERSION", "v1"))
    async with mitmdump("-s", script, confdir=confdir) as (run, port), serving() as url:
        write_script(script, body.replace("VERSION", "v2"))
        await run.line("^LOADED v2")
        async with websockets.connect(url, proxy=f"http://127.0.0.1:{port}"):
            await run.line(f"^v2 {url}/$")
    assert not [line for line in run.lines if line.startswith("v1 ")]
