"""A real server is recorded for a cassette, and replayed without it, by every way to the proxy."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from support.certificates import Certificates, trusting
from support.event_log import eventually
from support.routes import app, closed
from support.servers import serving
from wirewright import Proxy, sync_api
from wirewright.capture import CaptureError
from wirewright.capture.cassettes import cassette_recorder
from wirewright.capture.cassettes.cassette_file import read_cassette, write_cassette
from wirewright.capture.cassettes.cassette_recorder import CassetteRecorder
from wirewright.capture.cassettes.line_format import BEGINNING
from wirewright.capture.redaction import Redaction
from wirewright.values import Direction, Payload

pytestmark = [pytest.mark.remote, pytest.mark.wire("a mocked server needs our own layer")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.jsonl"


async def shop(connection: ServerConnection) -> None:
    """Greets, answers each message twice, and closes when it is told to."""
    await connection.send("welcome")
    async for message in connection:
        if message == "leave":
            await connection.close(4000, "as you wish")
            return
        await connection.send(message)
        await connection.send(b"\x00" + (message if isinstance(message, bytes) else message.encode()))


async def order(client: websockets.ClientConnection) -> list[Payload]:
    """What an app gets that orders twice, and leaves."""
    got = [await client.recv()]
    for message in ('{"buy": 1}', b"\xff"):
        await client.send(message)
        got += [await client.recv(), await client.recv()]
    await client.send("leave")
    assert await closed(client) == (4000, "as you wish")
    return got


ORDERED = ["welcome", '{"buy": 1}', b'\x00{"buy": 1}', b"\xff", b"\x00\xff"]
LINES = [
    '"sent": {"buy": 1}}',
    '"received": {"buy": 1}}',
    '"received_base64": "AHsiYnV5IjogMX0="}',
    '"sent_base64": "/w=="}',
    '"received_base64": "/w=="}',
    '"received_base64": "AP8="}',
    '"sent": "leave"}',
    '"closed_by": "server", "code": 4000, "reason": "as you wish"}',
]


@asynccontextmanager
async def recording(proxy: Proxy, path: Path, url: str | None = None) -> AsyncIterator[CassetteRecorder]:
    """Record what the block causes, and write it at its end."""
    recorder = CassetteRecorder()
    await proxy.route_web_socket(url, recorder)
    yield recorder
    await proxy.unroute_web_socket(url, recorder)
    await eventually(lambda: all(ws.is_closed() for ws in proxy.web_sockets))
    write_cassette(path, recorder.sockets(), Redaction())


async def test_recorded_server_is_replayed_without_it(
    proxy: Proxy, path: Path, certificates: Certificates
) -> None:
    protocols = [websockets.Subprotocol("b")]
    tls = trusting(proxy.ca_certificate)
    async with serving(shop, tls=certificates.server_context, subprotocols=protocols) as address:
        url = f"{address}/shop?token=s3cr3t"
        async with recording(proxy, path), app(proxy, url, subprotocols=["a", "b"], ssl=tls) as client:
            assert await order(client) == ORDERED
    text = path.read_text()  # noqa: ASYNC240
    lines = text.splitlines()
    assert lines[1].startswith(f'{{"socket": "{address}/shop?token=REDACTED", "subprotocol": "b", ')
    assert lines[2].endswith('"received": "welcome"}')
    assert [line.split(", ", 1)[1] for line in lines[3:]] == LINES
    replay = proxy.route_from_capture(path, speed=math.inf)
    await replay.started
    assert replay.unplayed() == [f"socket #1 ({address}/shop?token=REDACTED) was not opened"]
    async with app(proxy, url, subprotocols=["a", "b"], ssl=tls) as client:
        assert client.subprotocol == "b"
        assert await order(client) == ORDERED
    assert (list(replay.mismatches), replay.finished, replay.unplayed()) == ([], 1, [])
    assert path.read_text() == text  # noqa: ASYNC240


async def test_test_that_sends_and_routes_itself_does_so_again(proxy: Proxy, path: Path) -> None:
    """Its messages are not recorded, nor are the sockets that its own routes take."""
    async with serving(shop) as url, recording(proxy, path):
        await proxy.route_web_socket("**/own", lambda route: route.send("mocked"))
        async with app(proxy, f"{url}/own") as client:
            assert await client.recv() == "mocked"
        async with (
            proxy.expect_websocket("**/shop", opened=True) as opened,
            app(proxy, f"{url}/shop") as client,
        ):
            assert await client.recv() == "welcome"
            ws = await opened.value
            await ws.send_to_client("of the test")
            assert await client.recv() == "of the test"
    (recorded,) = read_cassette(path).sockets()
    assert recorded.url.endswith("/shop")
    assert "of the test" not in path.read_text()  # noqa: ASYNC240


async def test_only_sockets_of_the_url_are_recorded(proxy: Proxy, path: Path) -> None:
    async with serving(shop) as url, recording(proxy, path, "**/shop"):
        for where in ("/other", "/shop"):
            async with app(proxy, url + where) as client:
                assert await client.recv() == "welcome"
    (recorded,) = read_cassette(path).sockets()
    assert recorded.url == f"{url}/shop"


async def test_refused_and_failed_sockets_are_refused_again(proxy: Proxy, path: Path) -> None:
    def refuse(connection: ServerConnection, request: object) -> websockets.Response:
        return connection.respond(403, "no\n")

    async def status(url: str) -> int:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with app(proxy, url):
                pass
        return refused.value.response.status_code

    async with websockets.serve(shop, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/shop"
        async with recording(proxy, path):
            assert await status(url) == 403
            assert await status("ws://127.0.0.1:1/") == 502
    refused, failed = read_cassette(path).sockets()
    assert (refused.status, refused.opened_ns) == (403, None)
    assert (failed.status, failed.error) == (
        None,
        "Error in connection establishment: net::ERR_CONNECTION_REFUSED",
    )
    replay = proxy.route_from_capture(path)
    await replay.started
    assert await status(url) == 403
    assert replay.unplayed() == ["socket #2 (ws://127.0.0.1:1/) was not opened"]


async def test_times_are_those_of_the_messages(proxy: Proxy, path: Path) -> None:
    async with serving(shop) as url, recording(proxy, path) as recorder:
        async with app(proxy, f"{url}/shop") as client:
            await client.recv()
            await asyncio.sleep(0.3)  # it is the gap
            await client.send("late")
            await client.recv()
        ((_, frames),) = recorder.sockets()
        assert frames[0].time_ns < frames[1].time_ns
        assert frames[1].direction is Direction.SENT
        assert frames[1].time_ns - frames[0].time_ns >= 290_000_000


async def test_too_many_bytes_are_forwarded_and_not_remembered(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassette_recorder, "LARGEST_CASSETTE", 10)
    recorder = CassetteRecorder()
    await proxy.route_web_socket(None, recorder)
    async with serving() as url, app(proxy, url) as client:
        for message in ("few", "x" * 20, "few"):
            await client.send(message)
            assert await client.recv() == message
    with pytest.raises(CaptureError, match="the messages have more than"):
        recorder.sockets()


@pytest.mark.in_process("it launches proxies itself")
@pytest.mark.parametrize("way", ["launch", "connect"])
def test_sync_api_replays_a_cassette(
    path: Path, confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path.write_text(
        f"{BEGINNING}\n"
        '{"socket": "ws://nowhere.example/live"}\n{"at": 0, "sent": "a"}\n{"at": 0, "received": {"b": 1}}\n'
    )
    with sync_api.launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}) as launched:
        if way == "launch":
            play(launched, path)
        else:
            with sync_api.connect() as connected:
                play(connected, path)


def play(proxy: sync_api.Proxy, path: Path) -> None:
    from websockets.sync.client import connect

    replay = proxy.route_from_capture(path)
    with connect("ws://nowhere.example/live", proxy=f"http://127.0.0.1:{proxy.port}") as client:
        client.send("a")
        assert client.recv() == '{"b": 1}'
    assert (list(replay.mismatches), replay.unplayed()) == ([], [])
