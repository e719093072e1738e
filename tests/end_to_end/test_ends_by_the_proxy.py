"""Sockets that the proxy ends by itself: `closed_by` is "proxy", and `close_reason` names what did it."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy import ctx, http
from mitmproxy.options import Options
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from support.event_log import Recording, Recordings
from support.forked_programs import MITMDUMP
from support.processes import ADDON, mitmdump, running
from support.raw_peers import asking, raw_app, raw_socket
from support.routes import NOWHERE
from support.servers import serving_raw
from wirewright import Proxy, WebSocketRoute, launch
from wirewright.capture import open as open_capture

IDLE = "no traffic for 1 s (tcp_timeout)"


def ending(seen: Recording) -> tuple[int | None, str | None, str | None]:
    return seen.ws.close_code, seen.ws.close_reason, seen.ws.closed_by


# The idle cut


class Looking:
    """An addon that might change messages, and so has them held."""

    def websocket_message(self, flow: http.HTTPFlow) -> None: ...


needs_option = pytest.mark.skipif(
    "tcp_timeout" not in Options(),
    reason="mitmproxy 11 has no tcp_timeout, and open sockets may be idle for a day",
)


def make_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have mitmproxy cut idle connections after a second, as if that were its default."""
    if "tcp_timeout" in ctx.options:
        monkeypatch.setattr(ctx.options._options["tcp_timeout"], "_default", 1)
    else:
        monkeypatch.setattr("mitmproxy.proxy.server.TCP_TIMEOUT", 1)


async def passing(proxy: Proxy) -> None:
    """Nothing is between the ends."""


async def holding(proxy: Proxy) -> None:
    ctx.master.addons.add(Looking())


async def stalling(proxy: Proxy) -> None:
    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        ws.conditions(stall_after=0)

    proxy.route_web_socket("**", handler)


async def assert_cut_for_idleness(seen: Recording) -> None:
    await seen.closed.wait()
    assert seen.events == [("close", None)]
    assert ending(seen) == (1006, IDLE, "proxy")
    data = seen.ws.flow.websocket
    assert (data.close_code, data.close_reason, data.closed_by_client) == (1006, IDLE, None)


@needs_option
@pytest.mark.parametrize("carried", [passing, holding])
async def test_idle_socket_is_cut_by_the_proxy(
    proxy: Proxy, recordings: Recordings, carried: Callable[[Proxy], object]
) -> None:
    await carried(proxy)  # type: ignore[misc]
    ctx.options.update(tcp_timeout=1)
    async with raw_socket(proxy.port) as socket:
        assert await socket.app.rest() == await socket.server.rest() == b""
        await assert_cut_for_idleness(recordings.only)


@needs_option
@pytest.mark.wire("it has no conditions")
async def test_idle_socket_on_a_stalled_network_is_cut_by_the_proxy(
    proxy: Proxy, recordings: Recordings
) -> None:
    await stalling(proxy)
    ctx.options.update(tcp_timeout=1)
    async with raw_socket(proxy.port) as socket:
        await socket.server.send("never arrives")
        assert await socket.app.rest() == b""
        await recordings.only.closed.wait()
        assert ending(recordings.only) == (1006, IDLE, "proxy")


@needs_option
@pytest.mark.wire("it cannot mock")
async def test_idle_mock_is_cut_by_the_proxy(proxy: Proxy, recordings: Recordings) -> None:
    proxy.route_web_socket("**", lambda ws: None)
    ctx.options.update(tcp_timeout=1)
    async with raw_app(proxy.port, f"ws://{NOWHERE}/live") as app:
        assert await app.rest() == b""
        await assert_cut_for_idleness(recordings.only)


async def test_handshake_that_no_server_answers_is_cut_by_the_proxy(
    proxy: Proxy, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serving_raw(silent) as url:
        with pytest.raises(EOFError):
            await raw_app(proxy.port, url).__aenter__()
        seen = recordings.only
        await seen.closed.wait()
    text = "Connection closed before receiving a handshake response"
    assert seen.events == [("socketerror", text), ("close", None)]
    assert ending(seen) == (None, IDLE, "proxy")


async def test_idle_socket_is_not_cut_unless_the_user_says_so(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other connections are cut as ever."""
    make_impatient(monkeypatch)
    async with raw_socket(proxy.port) as socket:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        writer.close()
        await socket.app.send("still here")
        assert await socket.server.message() == "still here"


# Refused handshakes


async def refused(proxy: Proxy, answers: bytes = b"", path: str = "/live") -> bytes:
    """The head of the answer to an app's handshake, which is sent to the proxy without a CONNECT."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers)
        await writer.drain()
        writer.close()

    async with serving_raw(answer) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        host = url.removeprefix("ws://")
        writer.write(asking(f"http://{host}{path}", host))
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (EOFError, ConnectionError):
            return b""
        finally:
            writer.close()


async def assert_refused(seen: Recording, status: int | None, reason: str, text: str | None = None) -> None:
    await seen.closed.wait()
    if status is not None:
        text = f"Error during WebSocket handshake: Unexpected response code: {status}"
    elif text is None:
        text = "Connection closed before receiving a handshake response"
    assert seen.events == [("socketerror", text), ("close", None)]
    assert seen.ws.status == status
    assert ending(seen) == (None, reason, "proxy")


@pytest.mark.parametrize(
    ("options", "status", "name"),
    [
        ({"block_list": [":~all:403"]}, 403, "block_list"),
        ({"map_local": ["|/live|{folder}"]}, 404, "map_local"),
        ({"proxyauth": "user:password"}, 407, "proxyauth"),
    ],
    ids=["block_list", "map_local", "proxyauth"],
)
async def test_handshake_that_an_option_answers_is_refused_by_the_proxy(
    proxy: Proxy,
    recordings: Recordings,
    tmp_path: Path,
    options: dict[str, list[str] | str],
    status: int,
    name: str,
) -> None:
    ctx.options.update(
        **{
            key: [each.format(folder=tmp_path) for each in value] if isinstance(value, list) else value
            for key, value in options.items()
        }
    )
    assert f" {status} ".encode() in (await refused(proxy)).splitlines()[0]
    await assert_refused(recordings.only, status, f"answered by {name}")


class Answering:
    """Another addon, which decides in one hook, or in each."""

    name = "gatekeeper"

    def __init__(self, hook: str, decide: Callable[[http.HTTPFlow], None]) -> None:
        setattr(self, hook, decide)


def forbid(flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(451)


@pytest.mark.parametrize("hook", ["requestheaders", "request"])
async def test_handshake_that_an_addon_answers_is_refused_by_the_proxy(
    proxy: Proxy, recordings: Recordings, hook: str
) -> None:
    ctx.master.addons.add(Answering(hook, forbid))
    assert b" 451 " in await refused(proxy)
    await assert_refused(recordings.only, 451, "answered by the addon gatekeeper")


ACCEPTANCE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.mark.parametrize("hook", ["responseheaders", "response"])
async def test_acceptance_that_an_addon_takes_back_is_a_refusal_by_the_proxy(
    proxy: Proxy, recordings: Recordings, hook: str
) -> None:
    ctx.master.addons.add(Answering(hook, forbid))
    assert b" 451 " in await refused(proxy, ACCEPTANCE)
    await assert_refused(recordings.only, 451, "answered by the addon gatekeeper")


@pytest.mark.parametrize("hook", ["requestheaders", "request", "responseheaders", "response"])
async def test_handshake_that_an_addon_kills_is_ended_by_the_proxy(
    proxy: Proxy, recordings: Recordings, hook: str
) -> None:
    ctx.master.addons.add(Answering(hook, lambda flow: flow.kill()))
    assert await refused(proxy, ACCEPTANCE) == b""
    seen = recordings.only
    await seen.closed.wait()
    assert ending(seen) == (None, "killed by the addon gatekeeper", "proxy")
    text = "Connection closed before receiving a handshake response"
    assert seen.events == [("socketerror", text), ("close", None)]


async def test_script_is_named_by_its_file(confdir: Path, tmp_path: Path, lane: str) -> None:
    script = tmp_path / "refuse.py"
    script.write_text(
        "from mitmproxy import http\ndef request(flow):\n    flow.response = http.Response.make(418)\n"
    )
    options = {"scripts": [str(script)], "ws_lane": lane}
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        recordings = Recordings(proxy)
        assert b" 418 " in await refused(proxy)
        await assert_refused(recordings.only, 418, "answered by the script refuse.py")


class Disconnecting:
    def server_connect(self, data: ServerConnectionHookData) -> None:
        data.server.error = "not this one"


async def test_server_that_an_addon_keeps_from_being_contacted(proxy: Proxy, recordings: Recordings) -> None:
    ctx.master.addons.add(Disconnecting())
    await refused(proxy)
    text = "Error in connection establishment: Connection killed: not this one"
    await assert_refused(recordings.only, None, "Connection killed: not this one", text)


def connect_and_raise(ws: WebSocketRoute) -> None:
    ws.connect_to_server()
    raise ValueError("no good")


@pytest.mark.ws_allow_errors
@pytest.mark.parametrize(
    ("handler", "status", "reason"),
    [
        (lambda ws: ws.reject(429), 429, "rejected by a route"),
        (connect_and_raise, 502, "the route's handler raised"),
        (lambda ws: ws.abort(), None, "aborted by a route"),
    ],
    ids=["reject", "raise", "abort"],
)
async def test_route_that_refuses_a_handshake_does_it_for_the_proxy(
    proxy: Proxy,
    recordings: Recordings,
    handler: Callable[[WebSocketRoute], object],
    status: int | None,
    reason: str,
) -> None:
    proxy.route_web_socket("**", handler)
    await refused(proxy)
    await assert_refused(recordings.only, status, reason)


async def test_route_that_aborts_later_ends_the_socket_for_the_proxy(
    proxy: Proxy, recordings: Recordings
) -> None:
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        routes.append(ws)

    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        routes[0].abort()
        await reader.read()
        writer.close()

    proxy.route_web_socket("**", handler)
    async with serving_raw(abort) as url:
        with pytest.raises((EOFError, ConnectionError)):
            await raw_app(proxy.port, url).__aenter__()
        seen = recordings.only
        await seen.closed.wait()
    assert ending(seen) == (None, "abort() was called", "proxy")


async def test_socket_that_is_aborted_is_ended_by_the_proxy(proxy: Proxy, recordings: Recordings) -> None:
    async with raw_socket(proxy.port) as socket:
        recordings.only.ws.abort()
        assert await socket.app.rest() == b""
        await recordings.only.closed.wait()
    assert ending(recordings.only) == (1006, "abort() was called", "proxy")


@pytest.mark.wire("mitmproxy's layer needs a server")
async def test_addon_that_answers_with_a_101_has_ended_nothing(proxy: Proxy, recordings: Recordings) -> None:
    """Its socket is open, and ends as its app ends it."""

    def accept(flow: http.HTTPFlow) -> None:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        headers["Sec-WebSocket-Accept"] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        flow.response = http.Response.make(101, b"", headers)

    ctx.master.addons.add(Answering("request", accept))
    async with raw_app(proxy.port, f"ws://{NOWHERE}/live") as app:
        app.hang_up()
        await recordings.only.closed.wait()
    assert ending(recordings.only) == (1006, "", "client")


async def test_server_that_refuses_is_the_one_that_did(proxy: Proxy, recordings: Recordings) -> None:
    assert b" 403 " in await refused(proxy, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    await recordings.only.closed.wait()
    assert ending(recordings.only) == (None, None, "server")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("401 Unauthorized", "HTTP Authentication failed; no valid credentials available"),
        ("503 Busy", "Error during WebSocket handshake: Unexpected response code: 503"),
    ],
)
@pytest.mark.parametrize(
    "body", ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n5\r\nha"]
)
async def test_refusal_with_half_a_body_is_one_by_the_server(
    proxy: Proxy, recordings: Recordings, status: str, text: str, body: str
) -> None:
    await refused(proxy, f"HTTP/1.1 {status}\r\nRetry-After: 5\r\n{body}".encode())
    seen = recordings.only
    await seen.closed.wait()
    assert seen.events == [("socketerror", text), ("close", None)]
    assert ending(seen) == (None, None, "server")
    assert (seen.ws.status, (seen.ws.response_headers or {})["retry-after"]) == (int(status[:3]), "5")


async def test_app_that_leaves_before_the_answer_is_the_one_that_did(
    proxy: Proxy, recordings: Recordings
) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    async with serving_raw(silent) as url:
        _, app = await asyncio.open_connection("127.0.0.1", proxy.port)
        app.write(asking(f"http://{url.removeprefix('ws://')}/", url.removeprefix("ws://")))
        await asked.wait()
        app.close()
        seen = await recordings.first()
        await seen.closed.wait()
    text = "WebSocket is closed before the connection is established."
    assert seen.events == [("socketerror", text), ("close", None)]
    assert ending(seen) == (None, None, "client")


REFUSED_HEADERS = [
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Content-Length: 0\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: 1",
    "Content-Length: many",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Two Words: x",
    "B@d: x",
    ": x",
    "no colon",
    "Space : x",
]


@pytest.mark.parametrize("headers", REFUSED_HEADERS)
async def test_acceptance_that_mitmproxy_refuses_is_told_in_its_words(
    proxy: Proxy, recordings: Recordings, headers: str
) -> None:
    answer = ACCEPTANCE.removesuffix(b"\r\n") + f"{headers}\r\n\r\n".encode()
    assert (await refused(proxy, answer)).startswith(b"HTTP/1.1 502 ")
    seen = recordings.only
    own_words = seen.ws.flow.error.msg
    text = f"Error during WebSocket handshake: refused by mitmproxy: {own_words}"
    await assert_refused(seen, None, own_words, text)


async def test_refusal_that_is_larger_than_mitmproxy_takes_is_ended_by_the_proxy(
    proxy: Proxy, recordings: Recordings
) -> None:
    ctx.options.update(body_size_limit="1k")
    await refused(proxy, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\n" + bytes(2000))
    own_words = "Response body exceeds mitmproxy's body_size_limit."
    text = f"Error during WebSocket handshake: refused by mitmproxy: {own_words}"
    await recordings.only.closed.wait()
    assert recordings.only.events == [("socketerror", text), ("close", None)]
    assert ending(recordings.only) == (None, own_words, "proxy")


# The end of the proxy


@pytest.mark.in_process("it launches one of its own")
async def test_end_of_the_proxy_ends_its_sockets(confdir: Path, lane: str) -> None:
    async with launch(port=0, confdir=confdir, options={"ws_lane": lane}) as proxy:
        recordings = Recordings(proxy)
        opened = raw_socket(proxy.port)
        await opened.__aenter__()
    assert ending(recordings.only) == (1006, "the proxy has stopped", "proxy")
    await opened.__aexit__(None, None, None)


@pytest.mark.wire("it cannot hold")
@pytest.mark.parametrize("by_app", [True, False], ids=["from the app", "from the server"])
async def test_message_that_is_too_large_to_be_held_ends_the_socket_for_the_proxy(
    proxy: Proxy, recordings: Recordings, by_app: bool
) -> None:
    ctx.options.update(ws_max_message=1000)
    ctx.master.addons.add(Looking())
    reason = "message of more than 1000 bytes (ws_max_message)"
    async with raw_socket(proxy.port) as socket:
        source, destination = socket.legs()[not by_app]
        await source.send(bytes(1001))
        assert await destination.ending() == (1009, reason)
        await destination.send_close(1009)
        assert await source.ending() == (1009, reason)
        await recordings.only.closed.wait()
    assert ending(recordings.only) == (1009, reason, "proxy")


@pytest.mark.in_process("it starts one of its own")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_capture_tells_that_the_proxy_has_stopped(
    confdir: Path, tmp_path: Path, lane: str, end: signal.Signals
) -> None:
    path = tmp_path / "session.db"
    options = ("--set", f"ws_capture={path}", "--set", f"ws_lane={lane}")
    async with mitmdump(*options, confdir=confdir) as (run, port), raw_socket(port) as socket:
        await socket.app.send("the last")
        assert await socket.server.message() == "the last"
        run.process.send_signal(end)
        await run.rest()
    assert_stopped(path)


def assert_stopped(path: Path) -> None:
    """The end of the only socket in a capture is that of the proxy, and the file is complete."""
    assert not path.with_name("session.db-wal").exists()
    with open_capture(path) as capture:
        (recorded,) = capture.sockets()
        assert capture.sessions()[0].ended_ns is not None
    ended = recorded.close_code, recorded.close_reason, recorded.closed_by
    assert ended == (1006, "the proxy has stopped", "proxy")


EXITS = {
    "listener": "ws.on('framesent', lambda payload: leave(payload))",
    "async listener": "ws.on('framesent', leave_later)",
    "async route": "proxy.route_web_socket('**', route)",
    "hook": "",
}
LEAVING = """
import sys
from mitmproxy import ctx
from wirewright import proxy

def leave(message):
    if message == "exit":
        sys.exit(4)

async def leave_later(message):
    leave(message)

def route(ws):
    server = ws.connect_to_server()

    async def handle(message):
        leave(message)
        server.send(message)

    ws.on_message(handle)

def websocket_message(flow):
    if "{where}" == "hook":
        leave(flow.websocket.messages[-1].text)

@proxy.on("websocket")
def watch(ws):
    {statement}

{rule}
"""


@pytest.mark.in_process("it starts one of its own")
@pytest.mark.parametrize("where", EXITS)
async def test_handler_that_exits_ends_the_sockets_for_the_proxy(
    confdir: Path, tmp_path: Path, lane: str, where: str
) -> None:
    """All tasks are cancelled at once, and the connections' among them."""
    path = tmp_path / "session.db"
    statement, rule = ("pass", EXITS[where]) if "route" in where else (EXITS[where] or "pass", "")
    script = tmp_path / "leaving.py"
    script.write_text(
        LEAVING.replace("{where}", where).replace("{statement}", statement).replace("{rule}", rule)
    )
    options = ("--set", f"ws_capture={path}", "--set", f"ws_lane={lane}", "-s", script)
    async with mitmdump(*options, confdir=confdir) as (run, port), raw_socket(port) as socket:
        await socket.app.send("first")
        assert await socket.server.message() == "first"
        await socket.app.send("exit")
        await run.rest()
    assert run.process.returncode == 4
    assert_stopped(path)


HOLDING = """
import asyncio
from wirewright import proxy

async def never(message):
    await asyncio.Event().wait()

def route(ws):
    server = ws.connect_to_server()
    ws.on_message(never)
    server.on_message(never)

proxy.route_web_socket("**", route)
"""


@pytest.mark.wire("the other one holds nothing itself")
@pytest.mark.in_process("it starts one of its own")
async def test_no_task_is_left_when_the_proxy_stops_while_messages_are_held(
    confdir: Path, tmp_path: Path, lane: str
) -> None:
    script = tmp_path / "holding.py"
    script.write_text(HOLDING)
    async with mitmdump("-s", script, confdir=confdir) as (run, port), contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            socket = await stack.enter_async_context(raw_socket(port))
            await socket.app.send("held")
            await socket.server.send("held")
            await run.line("<- WebSocket text message")
        run.process.terminate()
        assert "was destroyed" not in await run.rest()


@pytest.mark.in_process("it starts one of its own")
async def test_addon_that_breaks_the_end_leaves_the_sockets_to_the_proxy(
    confdir: Path, tmp_path: Path, lane: str
) -> None:
    path = tmp_path / "session.db"
    script = tmp_path / "script.py"
    script.write_text("import sys\n\ndef done():\n    sys.exit(3)\n")
    options = ("--set", f"ws_capture={path}", "--set", f"ws_lane={lane}", "--set", f"confdir={confdir}")
    command = (MITMDUMP, "--listen-host", "127.0.0.1", "-p", "0", *options, "-s", script, "-s", ADDON)
    async with running(*command) as run:
        port = int((await run.line(r"listening at .*?:(\d+)"))[1])
        async with raw_socket(port) as socket:
            await socket.app.send("the last")
            assert await socket.server.message() == "the last"
            run.process.terminate()
            await run.rest()
    assert run.process.returncode == 3
    assert_stopped(path)
