"""The recorded server, played to a live app."""

import asyncio
import contextlib
import json
import math
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from support.event_log import Recordings
from support.routes import NOWHERE, app, closed
from support.servers import serving
from wirewright import Error, Proxy, launch
from wirewright.capture import CaptureError, ignoring_keys
from wirewright.capture import open as open_capture
from wirewright.capture.replay.as_server import Match
from wirewright.values import Payload

Say = Callable[[websockets.ClientConnection], Any]

pytestmark = pytest.mark.wire("a mocked server needs our own layer")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


async def shop(connection: ServerConnection) -> None:
    """Greets, echoes each order twice, and closes when it is told to."""
    await connection.send("welcome")
    async for message in connection:
        if message == "leave":
            await connection.close(4000, "as you wish")
            return
        await connection.send(message)
        await connection.send(b"\x00" + (message if isinstance(message, bytes) else message.encode()))


async def order(client: websockets.ClientConnection) -> list[Payload]:
    """What an app gets that orders twice."""
    got = [await client.recv()]
    for message in ('{"buy":1}', b"\xff"):
        await client.send(message)
        got += [await client.recv(), await client.recv()]
    return got


ORDERED = ["welcome", '{"buy":1}', b'\x00{"buy":1}', b"\xff", b"\x00\xff"]


@asynccontextmanager
async def recorded(
    proxy: Proxy, path: Path, use: Say = order, where: str = "/shop", **options: Any
) -> AsyncIterator[str]:
    """A capture of an app that uses the shop; the URL of the shop, which is closed by then."""
    proxy.start_capture(path, **options)
    async with (
        serving(shop, subprotocols=[websockets.Subprotocol("b")]) as url,
        app(proxy, url + where, subprotocols=["a", "b"]) as client,
    ):
        await use(client)
    proxy.stop_capture()
    yield url + where


async def test_an_app_gets_what_it_got(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path) as url:
        replay = proxy.route_from_capture(path, speed=math.inf)
        async with app(proxy, url, subprotocols=["a", "b"]) as client:
            assert await order(client) == ORDERED
            assert client.subprotocol == "b"
            assert (list(replay.mismatches), replay.finished) == ([], 1)


async def test_answers_come_only_after_their_questions(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path) as url:
        proxy.route_from_capture(path, speed=math.inf)
        async with app(proxy, url) as client:
            assert await client.recv() == "welcome"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.2)
            await client.send('{"buy":1}')
            assert await client.recv() == '{"buy":1}'


async def test_recorded_server_leaves_as_it_did(proxy: Proxy, path: Path) -> None:
    async def leave(client: websockets.ClientConnection) -> None:
        await client.send("leave")
        assert await closed(client) == (4000, "as you wish")

    async with recorded(proxy, path, leave) as url:
        replay = proxy.route_from_capture(path, speed=math.inf)
        async with app(proxy, url) as client:
            await leave(client)
        assert replay.finished == 1


async def test_gaps_are_divided_by_the_speed(proxy: Proxy, path: Path) -> None:
    async def slow(client: websockets.ClientConnection) -> None:
        await client.recv()
        await asyncio.sleep(0.4)  # it is the gap
        proxy.web_sockets[0].send_to_client("late")
        await client.recv()

    loop = asyncio.get_running_loop()
    async with recorded(proxy, path, slow) as url:
        ways: list[tuple[Match, float]] = [("lockstep", 1), ("timed", 1), ("lockstep", 0.5), ("timed", 0.5)]
        for match, speed in ways:
            replay = proxy.route_from_capture(path, match=match, speed=speed)
            since = loop.time()  # before the gap begins: when "welcome" has come, it may be half over
            async with app(proxy, url) as client:
                assert await client.recv() == "welcome"
                assert await client.recv() == "late"
                assert loop.time() - since > 0.3 / speed
            proxy.unroute_web_socket(replay.matches)


async def test_timed_server_does_not_listen(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path) as url:
        replay = proxy.route_from_capture(path, match="timed", speed=math.inf)
        async with app(proxy, url) as client:
            await client.send("something else")
            assert [await client.recv() for _ in ORDERED] == ORDERED
        assert not replay.mismatches


async def test_app_that_says_something_else_is_cut_off_with_the_difference(
    proxy: Proxy, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with recorded(proxy, path) as url:
        replay = proxy.route_from_capture(path, speed=math.inf)
        async with app(proxy, url) as client:
            await client.send('{"buy":2}')
            assert (await closed(client))[0] == 1006
    (mismatch,) = replay.mismatches
    assert (mismatch.url, mismatch.number, mismatch.expected, mismatch.actual) == (
        url,
        1,
        '{"buy":1}',
        '{"buy":2}',
    )
    assert f"{url}: message 1 is not the recorded one" in caplog.text
    assert '-  "buy": 1\n+  "buy": 2' in caplog.text
    assert replay.finished == 0


async def test_waiting_server_passes_over_what_was_not_recorded(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path) as url:
        replay = proxy.route_from_capture(path, speed=math.inf, on_mismatch="wait")
        async with app(proxy, url) as client:
            for message in ("ping", '{"buy":2}'):
                await client.send(message)
            assert await order(client) == ORDERED
        assert [each.actual for each in replay.mismatches] == ["ping", '{"buy":2}']


async def test_more_than_was_recorded_is_a_mismatch(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path) as url:
        replay = proxy.route_from_capture(path, speed=math.inf)
        async with app(proxy, url) as client:
            await order(client)
            await client.send("more")
            assert (await closed(client))[0] == 1006
    (mismatch,) = replay.mismatches
    assert (mismatch.number, mismatch.expected, mismatch.actual) == (3, None, "more")


async def test_live_server_takes_over_from_what_was_not_recorded(proxy: Proxy, path: Path) -> None:
    live: list[Payload] = []

    async def newer(connection: ServerConnection) -> None:
        await connection.send("not heard")
        async for message in connection:
            live.append(message)
            await connection.send(f"live {message!r}")
        await connection.close()

    async with recorded(proxy, path), serving(newer) as url:
        replay = proxy.route_from_capture(
            path, url="**/shop", speed=math.inf, on_mismatch="passthrough", match="lockstep"
        )
        async with app(proxy, f"{url}/shop") as client:
            assert await client.recv() == "welcome"
            await client.send('{"buy":1}')
            assert [await client.recv() for _ in range(2)] == ORDERED[1:3]
            for message in ("what?", b"and"):
                await client.send(message)
                assert await client.recv() == f"live {message!r}"
        assert live == ["what?", b"and"]
        assert len(replay.mismatches) == 1


async def test_comparison_decides_what_is_the_same(proxy: Proxy, path: Path) -> None:
    async def hello(client: websockets.ClientConnection) -> None:
        await client.send(json.dumps({"id": 17, "say": "hello"}))
        for _ in range(3):
            await client.recv()

    async with recorded(proxy, path, hello) as url:
        for compare in (
            ignoring_keys("id"),
            re.compile(r'"id": \d+'),
            lambda recorded, live: "hello" in live,
        ):
            replay = proxy.route_from_capture(path, speed=math.inf, compare=compare)
            async with app(proxy, url) as client:
                await client.send(json.dumps({"id": 18, "say": "hello"}))
                assert await client.recv() == "welcome"
                assert json.loads(await client.recv())["id"] == 17
            proxy.unroute_web_socket(replay.matches)


@pytest.mark.ws_allow_errors
async def test_comparison_that_raises_ends_the_socket(
    proxy: Proxy, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def mistaken(recorded: Payload, live: Payload) -> bool:
        raise ValueError("a mistake")

    async with recorded(proxy, path) as url:
        proxy.route_from_capture(path, speed=math.inf, compare=mistaken)
        async with app(proxy, url) as client:
            await client.send('{"buy":1}')
            assert (await closed(client))[0] == 1006
    assert "ValueError: a mistake" in caplog.text


async def test_secrets_that_were_redacted_stand_for_any(proxy: Proxy, path: Path) -> None:
    async def log_in(client: websockets.ClientConnection) -> None:
        await client.send('{"token": "old", "buy": 1}')
        for _ in range(3):
            await client.recv()

    async with recorded(proxy, path, log_in, "/shop?token=old") as url:
        replay = proxy.route_from_capture(path, speed=math.inf)
        async with app(proxy, url.replace("old", "new")) as client:
            await client.send('{"token": "new", "buy": 1}')
            assert [await client.recv() for _ in range(2)] == ["welcome", '{"token": "REDACTED", "buy": 1}']
        assert not replay.mismatches


async def test_socket_that_was_open_before_its_recording_is_not_waited_for(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path) as url:
        with sqlite3.connect(path) as connection:  # it was open for an hour
            connection.execute("UPDATE sockets SET opened_ns = opened_ns - 3600000000000")
        connection.close()
        proxy.route_from_capture(path, match="timed")
        async with app(proxy, url) as client:
            assert await client.recv() == "welcome"


async def test_server_that_chose_no_subprotocol_chooses_none(proxy: Proxy, path: Path) -> None:
    proxy.start_capture(path)
    async with serving(shop) as url, app(proxy, url, subprotocols=["a"]) as client:
        assert client.subprotocol is None
    proxy.stop_capture()
    proxy.route_from_capture(path, speed=math.inf)
    async with app(proxy, url, subprotocols=["a"]) as client:
        assert client.subprotocol is None


async def test_sockets_that_wait_have_no_file_open(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path) as url, contextlib.AsyncExitStack() as stack:
        proxy.route_from_capture(path, speed=math.inf)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            client = await stack.enter_async_context(app(proxy, url))
            assert await client.recv() == "welcome"
        assert len(os.listdir("/proc/self/fd")) - before <= 2 * 20  # both ends of each connection


async def test_each_opening_gets_the_next_recording(proxy: Proxy, path: Path) -> None:
    async def say(client: websockets.ClientConnection, word: str) -> None:
        await client.send(word)
        for _ in range(3):
            await client.recv()

    proxy.start_capture(path)
    async with serving(shop) as url:
        for word, where in (("one", "/a"), ("two", "/a"), ("query", "/a?x=1"), ("other", "/b")):
            async with app(proxy, url + where) as client:
                await say(client, word)
    proxy.stop_capture()
    replay = proxy.route_from_capture(path, speed=math.inf)
    for word, where in (
        *(("one", "/a"), ("two", "/a"), ("one", "/a")),
        *(("query", "/a?x=1"), ("other", "/b"), ("other", "/b?y=2")),
    ):
        async with app(proxy, url + where) as client:
            await say(client, word)
    assert not replay.mismatches
    assert not replay.matches(f"{url}/c")
    assert not replay.matches(f"ws://{NOWHERE}/a")


async def test_with_a_url_another_host_is_answered(proxy: Proxy, path: Path) -> None:
    async with recorded(proxy, path):
        replay = proxy.route_from_capture(path, url="**/shop", speed=math.inf)
        async with app(proxy, f"ws://{NOWHERE}/shop") as client:
            assert await order(client) == ORDERED
        assert not replay.matches(f"ws://{NOWHERE}/else")


async def test_refused_handshake_is_refused_again(proxy: Proxy, path: Path) -> None:
    async def refuse(connection: ServerConnection, request: Any) -> Any:
        return connection.respond(403, "no")

    proxy.start_capture(path)
    async with websockets.serve(shop, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/shop"
        with pytest.raises(websockets.InvalidStatus):
            async with app(proxy, url):
                pass
    proxy.stop_capture()
    proxy.route_from_capture(path)
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with app(proxy, url):
            pass
    assert refused.value.response.status_code == 403


async def test_message_that_was_recorded_in_part_is_not_played(
    proxy: Proxy, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with recorded(proxy, path, max_payload=8) as url:
        replay = proxy.route_from_capture(path, speed=math.inf)
        async with app(proxy, url) as client:
            assert await client.recv() == "welcome"
            await client.send('{"buy":12}')  # of what was said the beginning is known
            assert (await closed(client))[0] == 1006
    assert not replay.mismatches
    assert re.search(
        r"the server's message 2 of socket #\d+ was recorded only in part \(max_payload\)", caplog.text
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"match": "fast"}, "match must be 'lockstep' or 'timed', not 'fast'"),
        ({"on_mismatch": "cry"}, "on_mismatch must be 'abort', 'wait' or 'passthrough', not 'cry'"),
        ({"speed": 0}, "speed must be more than 0"),
        ({"speed": -1}, "speed must be more than 0"),
        ({"match": "timed", "on_mismatch": "passthrough"}, "on_mismatch 'passthrough' goes with 'lockstep'"),
        ({"compare": "roughly"}, "compare must be 'exact', 'json', a regex or a callable"),
    ],
)
async def test_bad_argument_is_refused(proxy: Proxy, path: Path, options: Any, said: str) -> None:
    async with recorded(proxy, path):
        with pytest.raises(ValueError, match=said):
            proxy.route_from_capture(path, **options)


async def test_capture_that_cannot_be_played_is_refused(proxy: Proxy, path: Path) -> None:
    with pytest.raises(CaptureError, match="there is no such file"):
        proxy.route_from_capture(path)
    proxy.start_capture(path)
    proxy.stop_capture()
    with pytest.raises(CaptureError, match="there is no socket in it"):
        proxy.route_from_capture(path)


def test_without_a_proxy_nothing_is_played(path: Path) -> None:
    from wirewright import proxy

    with pytest.raises(Error, match="no proxy is running"):
        proxy.route_from_capture(path)


async def test_nothing_is_left_when_the_proxy_ends_in_the_middle(confdir: Path, path: Path) -> None:
    async with launch(port=0, confdir=confdir) as proxy, recorded(proxy, path) as url:
        proxy.route_from_capture(path)
        async with app(proxy, url) as client:
            assert await client.recv() == "welcome"
    assert not [task for task in asyncio.all_tasks() if "_Performance" in repr(task)]


@pytest.mark.remote
@pytest.mark.parametrize("on_mismatch", ["abort", "wait", "passthrough"])
async def test_played_messages_are_reported_and_recorded(
    proxy: Proxy, path: Path, recordings: Recordings, on_mismatch: Any
) -> None:
    async def not_heard(connection: ServerConnection) -> None:
        await connection.send("not heard")
        async for _ in connection:
            pass

    async with recorded(proxy, path), serving(not_heard) as url:
        later = path.with_name("later.db")
        await proxy.start_capture(later, url=f"{url}/*")
        await proxy.route_from_capture(path, url="**/shop", speed=math.inf, on_mismatch=on_mismatch).started
        async with app(proxy, f"{url}/shop") as client:
            assert await order(client) == ORDERED
        seen = recordings.all[-1]
        await seen.closed.wait()
        await proxy.stop_capture()
    expected = [
        ("framereceived", "welcome"),
        *(("framesent", '{"buy":1}'), ("framereceived", ORDERED[1]), ("framereceived", ORDERED[2])),
        *(("framesent", b"\xff"), ("framereceived", ORDERED[3]), ("framereceived", ORDERED[4])),
    ]
    assert seen.frames == expected
    assert messages_of(later) == expected


@pytest.mark.remote
async def test_messages_that_are_passed_on_are_reported_and_recorded_once(
    proxy: Proxy, path: Path, recordings: Recordings
) -> None:
    async def newer(connection: ServerConnection) -> None:
        await connection.send("not heard")
        async for message in connection:
            await connection.send(f"live {message!r}")

    async with recorded(proxy, path), serving(newer) as url:
        later = path.with_name("later.db")
        await proxy.start_capture(later, url=f"{url}/*")
        await proxy.route_from_capture(path, url="**/shop", speed=math.inf, on_mismatch="passthrough").started
        async with app(proxy, f"{url}/shop") as client:
            assert await client.recv() == "welcome"
            for message in ("what?", "and", b"more"):
                await client.send(message)
            assert [await client.recv() for _ in range(3)] == ["live 'what?'", "live 'and'", "live b'more'"]
        seen = recordings.all[-1]
        await seen.closed.wait()
        await proxy.stop_capture()
    for frames in (seen.frames, messages_of(later)):
        assert [payload for name, payload in frames if name == "framesent"] == ["what?", "and", b"more"]
        assert [payload for name, payload in frames if name == "framereceived"] == [
            *("welcome", "live 'what?'", "live 'and'", "live b'more'"),
        ]


def messages_of(path: Path) -> list[tuple[str, object]]:
    """The messages of a capture that were not dropped, as events."""
    with open_capture(path) as capture:
        return [
            (f"frame{frame.direction}", frame.payload)
            for frame in capture.frames()
            if frame.is_message and not frame.is_dropped
        ]
