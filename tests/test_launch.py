"""A proxy inside the program: how it starts, how it is refused, and what it leaves."""

import asyncio
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import websockets
from mitmproxy import ctx

from support.event_log import Recordings, eventually
from support.leftovers import assert_free, nothing_left
from support.processes import running
from support.scripts import write_script
from support.servers import serving, serving_raw
from wirewright import Error, Proxy, launch
from wirewright import proxy as the_proxy
from wirewright.mitm import master

pytestmark = pytest.mark.slow


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


async def test_frames_of_a_client_are_seen(proxy: Proxy) -> None:
    async with serving() as url:
        async with proxy.expect_websocket(f"{url}/*") as opened:
            client = await websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{proxy.port}")
        ws = await opened.value
        async with ws.expect_event("framereceived", lambda payload: "2" in payload) as frame:
            await client.send("m1")
            await client.send("m2")
        assert await frame.value == "m2"
        await client.close()


@pytest.mark.parametrize("lane", ["auto", "hooks"])
async def test_code_that_waited_for_a_socket_begins_at_its_opening(confdir: Path, lane: str) -> None:
    """Nobody listens meanwhile, and nothing is remembered by default: each frame is read all the same."""
    options = {"ws_history": 0, "ws_lane": lane}
    async with serving() as url, launch(port=0, confdir=confdir, options=options) as proxy:
        async with proxy.expect_websocket() as opened:
            client = await websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{proxy.port}")
            for message in ("m1", b"m2"):
                await client.send(message)
                assert await client.recv() == message
            await client.close(3000)
            await eventually(lambda: not proxy.web_sockets)
        ws = await opened.value
        heard: list[object] = []
        for event in ("framesent", "framereceived", "close"):
            ws.on(event, heard.append)
        assert await ws.wait_for_event("framereceived") == "m1"
        assert await ws.wait_for_event("close") is ws
        assert heard == ["m1", "m1", b"m2", b"m2", ws]


async def test_port_is_the_one_that_was_asked_for(confdir: Path) -> None:
    port = free_port()
    async with launch(port=port, confdir=confdir) as proxy:
        assert proxy is the_proxy
        assert proxy.port == port
        assert repr(proxy) == f"<Proxy port={port}>"
    assert_free(port)
    with pytest.raises(Error, match=r"^no proxy is running$"):
        _ = proxy.port
    with pytest.raises(Error, match=r"^no proxy is running$"):
        _ = proxy.ca_certificate


async def test_ca_is_made_in_the_folder_that_was_given(tmp_path: Path) -> None:
    async with launch(port=0, confdir=tmp_path / "conf") as proxy:
        assert proxy.ca_certificate == tmp_path / "conf" / "mitmproxy-ca-cert.pem"
        assert "BEGIN CERTIFICATE" in proxy.ca_certificate.read_text()


async def test_ca_is_mitmproxys_own_where_no_folder_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    async with launch(port=0) as proxy:
        assert proxy.ca_certificate == tmp_path / ".mitmproxy" / "mitmproxy-ca-cert.pem"
        assert proxy.ca_certificate.is_file()


async def test_servers_are_connected_when_needed_unless_told_otherwise(confdir: Path) -> None:
    async with launch(port=0, confdir=confdir):
        assert ctx.options.connection_strategy == "lazy"
    async with launch(port=0, confdir=confdir, options={"connection_strategy": "eager"}):
        assert ctx.options.connection_strategy == "eager"


async def test_it_can_be_launched_again_on_the_same_port(confdir: Path) -> None:
    async with nothing_left():
        async with launch(port=0, confdir=confdir) as proxy:
            port = proxy.port
        for _ in range(2):
            async with (
                launch(port=port, confdir=confdir),
                serving() as url,
                websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client,
            ):
                await client.send("hello")
                assert await client.recv() == "hello"


# Refusals


async def test_port_in_use_is_refused(confdir: Path, taken_port: int) -> None:
    text = f"port {taken_port} is already in use: give another one, or 0 for a free one"
    async with nothing_left():
        with pytest.raises(Error, match=f"^{text}$"):
            async with launch(port=taken_port, confdir=confdir):
                pytest.fail("it runs")


def test_mode_must_be_a_list() -> None:
    with pytest.raises(TypeError, match=re.escape("mode must be a list of modes, such as ['regular']")):
        launch(mode="regular")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mode": ["nonsense"]}, r"nonsense"),
        ({"mode": ["regular", "regular"]}, r"same address"),
        ({"options": {"no_such_option": 1}}, r"^unknown option: no_such_option$"),
        ({"options": {"no_such": 1, "nor_this": 2}}, r"^unknown option: no_such, nor_this$"),
        ({"options": {"ws_history": -1}}, r"^ws_history must be 0 or more\.$"),
        ({"options": {"ws_history": "many"}}, r"ws_history"),
        ({"options": {"ws_lane": "fast"}}, r"ws_lane"),
        ({"options": {"ssl_insecure": "perhaps"}}, r"ssl_insecure"),
        ({"options": {"scripts": ["no/such/script.py"]}}, r"^No such script: no/such/script\.py$"),
        ({"options": {"body_size_limit": "huge"}}, r"body_size_limit"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_bad_argument_is_refused_in_one_sentence(
    confdir: Path, arguments: dict[str, Any], sentence: str
) -> None:
    port = free_port()
    async with nothing_left():
        with pytest.raises(Error, match=sentence) as refusal:
            async with launch(port=port, confdir=confdir, **arguments):
                pytest.fail("it runs")
        assert "\n" not in refusal.value.message
        assert_free(port)
    async with launch(port=port, confdir=confdir) as proxy:
        assert proxy.port == port


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("def load(loader):\n    raise RuntimeError('load')", "RuntimeError: load"),
        ("def running():\n    raise RuntimeError('running')", "RuntimeError: running"),
    ],
)
async def test_script_that_fails_is_refused_in_one_sentence(
    confdir: Path, tmp_path: Path, text: str, cause: str
) -> None:
    registering = "from wirewright import proxy\nproxy.on('websocket', lambda ws: None)\n"
    script = write_script(tmp_path / "broken.py", registering + text)
    port = free_port()
    async with nothing_left():
        with pytest.raises(Error, match=re.escape(cause)) as refusal:
            async with launch(port=port, confdir=confdir, options={"scripts": [str(script)]}):
                pytest.fail("it runs")
        assert "\n" not in refusal.value.message
        assert_free(port)


async def test_second_launch_at_the_same_time_is_refused(confdir: Path) -> None:
    sentence = (
        r"^a proxy runs in this process already, launched at tests/test_launch\.py:\d+, in "
        "test_second_launch_at_the_same_time_is_refused: use that one, or leave its block before you launch "
        "another$"
    )
    async with launch(port=0, confdir=confdir) as proxy:
        with pytest.raises(Error, match=sentence):
            async with launch(port=0, confdir=confdir):
                pytest.fail("it runs")
        async with serving() as url, websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}"):
            assert len(proxy.web_sockets) == 1


# Scripts


async def test_scripts_run_in_it_with_options_of_their_own(confdir: Path, tmp_path: Path) -> None:
    script = write_script(
        tmp_path / "greeting.py",
        "from mitmproxy import ctx\n"
        "def load(loader):\n    loader.add_option('greeting', str, 'nothing', 'What to add.')\n"
        "def websocket_message(flow):\n"
        "    flow.websocket.messages[-1].content += ctx.options.greeting.encode()",
    )
    options = {"scripts": [str(script)], "greeting": "!"}
    async with launch(port=0, confdir=confdir, options=options) as proxy, serving() as url:
        recordings = Recordings(proxy)
        async with websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}") as client:
            await client.send("hello")
            assert await client.recv() == "hello!!"
    # What went to the server, and what came from it.
    assert recordings.only.frames == [("framesent", "hello!"), ("framereceived", "hello!")]


# The end


async def test_waits_fail_when_it_ends(confdir: Path) -> None:
    async with nothing_left():
        async with launch(port=0, confdir=confdir) as proxy:
            opened = asyncio.ensure_future(proxy.wait_for_websocket(timeout=0))
        with pytest.raises(Error, match=r"^Proxy closed$"):
            await opened


async def test_open_sockets_are_closed_when_it_ends(confdir: Path) -> None:
    async with nothing_left(), serving() as url:
        async with launch(port=0, confdir=confdir) as proxy:
            recordings = Recordings(proxy)
            client = await websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}")
            await client.send("hello")
            assert await client.recv() == "hello"
            ws = recordings.only.ws
            frame = asyncio.ensure_future(ws.wait_for_event("framesent", timeout=0))
        with pytest.raises(Error, match=r"^(Socket closed: 1006 '[a-z ]+'|Proxy closed)$"):
            await frame
        await client.wait_closed()
        assert recordings.only.events[-1] == ("close", None)
        assert recordings.only.events.count(("close", None)) == 1
        assert ws.is_closed()
        assert ws.closed_by == "proxy"
        with pytest.raises(Error, match=r"^Socket closed: 1006 '[a-z ]+'$"):
            ws.send_to_server("too late")


async def test_listeners_that_wait_forever_are_cancelled_when_it_ends(confdir: Path) -> None:
    ended: list[str] = []

    async def forever(value: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(type(value).__name__)

    async with nothing_left(), serving() as url:
        async with launch(port=0, confdir=confdir) as proxy:
            proxy.on("websocket", forever)
            proxy.on("websocket", lambda ws: ws.on("framesent", forever))
            client = await websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}")
            await client.send("hello")
            assert await client.recv() == "hello"
            assert ended == []
        assert sorted(ended) == ["WebSocket", "str"]
        await client.wait_closed()


async def test_listeners_registered_inside_are_taken_back(confdir: Path) -> None:
    called: list[str] = []
    before = the_proxy.on("websocket", lambda ws: called.append("before"))
    try:
        for number in range(2):
            async with launch(port=0, confdir=confdir) as proxy, serving() as url:
                if number == 0:
                    proxy.on("websocket", lambda ws: called.append("inside"))
                async with websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}"):
                    pass
    finally:
        the_proxy.remove_listener("websocket", before)
    assert called == ["before", "inside", "before"]


@pytest.fixture
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a proxy waits for its connections without limit: it returns only if each of them ends."""
    monkeypatch.setattr(master, "STOP_SECONDS", None)


@pytest.mark.usefixtures("patient_end")
async def test_end_of_an_idle_proxy_waits_for_nothing(confdir: Path) -> None:
    async with nothing_left(), launch(port=0, confdir=confdir):
        pass


@pytest.mark.usefixtures("patient_end")
async def test_end_does_not_wait_for_ends_that_do_not_read(confdir: Path) -> None:
    much = b"x" * 10_000_000
    ended = asyncio.Event()

    async def say_much(connection: websockets.ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.send("first")
        connection.transport.write(much)
        await ended.wait()
        connection.transport.abort()

    async with nothing_left(), serving(say_much) as url:
        async with launch(port=0, confdir=confdir) as proxy:
            client = await websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}")
            assert await client.recv() == "first"
            client.transport.pause_reading()
            client.transport.write(much)
        ended.set()
        client.transport.abort()
        await client.wait_closed()


async def test_handshake_without_an_answer_is_given_up_when_it_ends(confdir: Path) -> None:
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.set()

    async with nothing_left(), serving_raw(never_answer) as url:
        async with launch(port=0, confdir=confdir) as proxy:
            recordings = Recordings(proxy)
            attempt = asyncio.ensure_future(
                websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}").__aenter__()
            )
            await asked.wait()
        await gone.wait()
        assert recordings.only.events[-1] == ("close", None)
        assert recordings.only.ws.close_code is None
        with pytest.raises((websockets.InvalidHandshake, OSError, EOFError)):
            await attempt


async def test_exception_of_the_block_ends_it_and_goes_on(confdir: Path) -> None:
    port = free_port()
    async with nothing_left():
        with pytest.raises(ZeroDivisionError):
            async with launch(port=port, confdir=confdir):
                raise ZeroDivisionError
        assert_free(port)


@pytest.mark.parametrize("turns", [0, 1, 2, 5, None])
async def test_cancelling_it_leaves_nothing(confdir: Path, turns: int | None) -> None:
    """Cancelled after so many turns of the loop, and (None) when it runs."""
    port = free_port()
    running = asyncio.Event()

    async def block() -> None:
        async with launch(port=port, confdir=confdir):
            running.set()
            await asyncio.Event().wait()

    async with nothing_left():
        task = asyncio.ensure_future(block())
        if turns is None:
            await running.wait()
        for _ in range(turns or 0):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert_free(port)
    async with launch(port=port, confdir=confdir) as proxy:
        assert proxy.port == port


RAISING = """
import asyncio, logging, sys
import websockets
from wirewright import launch

def fail(payload):
    raise RuntimeError("of the listener's")

async def main():
    if "basic" in sys.argv:
        logging.basicConfig(format="LOGGED %(message)s")
    async with launch(port=0, confdir=sys.argv[1]) as proxy:
        async def mock(ws):
            ws.on_message(ws.send)
        await proxy.route_web_socket("**", mock)
        proxy.on("websocket", lambda ws: ws.on("framesent", fail))
        url = "ws://nowhere.invalid/"
        async with websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}") as client:
            await client.send("a")
            await client.recv()
    logging.getLogger("mine").warning("after")

asyncio.run(main())
"""


@pytest.mark.parametrize("logging", ["", "basic"])
async def test_errors_of_listeners_are_shown_once_in_a_plain_program(confdir: Path, logging: str) -> None:
    async with running(sys.executable, "-W", "ignore", "-c", RAISING, str(confdir), logging) as program:
        said = await program.rest()
    assert program.process.returncode == 0
    assert said.count("RuntimeError: of the listener's") == 1
    assert said.count("after") == 1
    assert ("LOGGED " in said) == bool(logging)
