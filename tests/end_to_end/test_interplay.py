"""Our layer beside mitmproxy's addons: what they see and do, and what is in the flow."""

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx, http, io
from mitmproxy.addons.intercept import Intercept

from support.event_log import Recording, Recordings
from support.opened_sockets import SocketWith
from support.raw_peers import RawEnd, RawSocket, raw_socket
from support.scripts import write_script
from wirewright import Proxy

COMPRESSED = "permessage-deflate"


class Changing:
    """Notes each message; makes those with "change" upper case, and drops those with "drop"."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        by = "ours" if message.injected else "theirs"
        self.seen.append((f"{by} from {'client' if message.from_client else 'server'}", message.text))
        if "change" in message.text:
            message.text = message.text.upper()
        if "drop" in message.text.lower():
            message.drop()


class ChangingLater(Changing):
    """The same, after others had their turn."""

    async def websocket_message(self, flow: http.HTTPFlow) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().websocket_message(flow)


class Nesting(Changing):
    """The same, by an addon inside of this one."""

    websocket_message = None  # type: ignore[assignment]

    def __init__(self) -> None:
        inner = Changing()
        self.addons, self.seen = [inner], inner.seen


def flow_of(seen: Recording) -> http.HTTPFlow:
    flow = seen.ws.flow
    assert isinstance(flow, http.HTTPFlow)
    return flow


def texts(seen: Recording) -> list[str]:
    """What mitmproxy has of a socket's messages."""
    data = flow_of(seen).websocket
    assert data is not None
    return [message.text for message in data.messages]


async def exchange(socket: RawSocket, count: int) -> list[str]:
    """Both ends send messages, and each arrives."""
    sent = []
    for number in range(count):
        source, destination = socket.legs()[number % 2]
        await source.send(str(number))
        sent.append(await destination.message())
    return [str(message) for message in sent]


# Hooks of other addons


@pytest.mark.parametrize("kind", [Changing, ChangingLater, Nesting])
async def test_other_addons_see_change_and_drop_every_message(
    socket_with: SocketWith, kind: Callable[[], Changing]
) -> None:
    addon = kind()
    async with socket_with(addon) as (socket, seen):
        for source, destination in socket.legs():
            for text in ("one", "change it", "drop it", "change and drop", "end"):
                await source.send(text)
            assert [await destination.message() for _ in range(3)] == ["one", "CHANGE IT", "end"]
    sent = ["one", "change it", "drop it", "change and drop", "end"]
    assert addon.seen == [(f"theirs from {end}", text) for end in ("client", "server") for text in sent]
    # What the app sent as it went on, what the server sent as it came.
    assert seen.frames == [
        *(("framesent", text) for text in ("one", "CHANGE IT", "end")),
        *(("framereceived", text) for text in sent),
    ]


async def test_other_addons_see_change_and_drop_what_we_say(socket_with: SocketWith) -> None:
    addon = Changing()
    async with socket_with(addon) as (socket, seen):
        for name, send, end in (
            ("server", seen.ws.send_to_client, socket.app),
            ("client", seen.ws.send_to_server, socket.server),
        ):
            for text in ("one", "change it", "drop it", "end"):
                send(text)
            assert [await end.message() for _ in range(3)] == ["one", "CHANGE IT", "end"]
            assert addon.seen == [(f"ours from {name}", t) for t in ("one", "change it", "drop it", "end")]
            addon.seen.clear()


class Noticing:
    """Tells when an addon has paused a flow."""

    def __init__(self) -> None:
        self.paused = asyncio.Event()

    def update(self, flows: list[http.HTTPFlow]) -> None:
        if any(flow.intercepted for flow in flows):
            self.paused.set()


@pytest.mark.parametrize("by_app", [True, False], ids=["from the app", "from the server"])
async def test_intercept_pauses_a_message_until_it_is_resumed(socket_with: SocketWith, by_app: bool) -> None:
    noticing = Noticing()
    async with socket_with(Intercept(), noticing) as (socket, seen):
        ctx.options.update(intercept="~b pause")
        source, destination = socket.legs()[not by_app]
        flow = flow_of(seen)
        number = -1
        while not noticing.paused.is_set():
            # It is noticed a moment later, and what came before has passed.
            number += 1
            await source.send(f"pause {number}")
            await first_of(noticing.paused.wait(), destination.message())
        await source.send("next")
        assert flow.intercepted
        ctx.options.update(intercept=None)
        flow.resume()
        assert [await destination.message(), await destination.message()] == [f"pause {number}", "next"]


async def first_of(*awaitables: Any) -> None:
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


# Scripts that come and go

SHOUTING = """
def websocket_message(flow):
    message = flow.websocket.messages[-1]
    message.text = message.text + "!"
"""


async def send_until(source: RawEnd, destination: RawEnd, first: int, shouted: bool, ahead: int) -> list[str]:
    """Send numbers, each while others are on their way, until they arrive with or without a shout."""
    arrived: list[str] = []
    sent = 0
    for number in itertools.count(first):
        await source.send(str(number))
        sent += 1
        if sent > ahead:
            arrived.append(str(await destination.message()))
            if arrived[-1].endswith("!") is shouted:
                break
    return arrived + [str(await destination.message()) for _ in range(sent - len(arrived))]


@pytest.mark.parametrize("ahead", [0, 30])
@pytest.mark.parametrize("by_app", [True, False], ids=["from the app", "from the server"])
async def test_no_message_is_lost_or_doubled_while_a_script_comes_and_goes(
    socket_with: SocketWith, tmp_path: Path, by_app: bool, ahead: int
) -> None:
    script = write_script(tmp_path / "shouting.py", SHOUTING)
    arrived: list[str] = []
    async with socket_with() as (socket, seen):
        source, destination = socket.legs()[not by_app]
        for scripts, shouted in (([], False), ([str(script)], True), ([], False), ([str(script)], True)):
            ctx.options.update(scripts=scripts)
            arrived += await send_until(source, destination, len(arrived), shouted, ahead)
    whispered = [text.rstrip("!") for text in arrived]
    assert whispered == [str(number) for number in range(len(arrived))]
    shouts = [text.count("!") for text in arrived]
    assert [count for count, _ in itertools.groupby(shouts)] == [0, 1, 0, 1]
    event, reported = ("framesent", arrived) if by_app else ("framereceived", whispered)
    assert seen.frames == [(event, text) for text in reported]
    assert texts(seen) == arrived[-len(texts(seen)) :]
    assert len(texts(seen)) == min(1000, len(arrived))


# What is in the flow


@pytest.mark.parametrize("addons", [[], [Changing]], ids=["pass", "hold"])
@pytest.mark.parametrize(
    ("options", "kept"), [({"ws_history": 10}, 10), ({"ws_history_bytes": 30}, 10), ({"ws_history": 0}, 1)]
)
async def test_flow_keeps_the_newest_messages_only(
    socket_with: SocketWith, addons: list[type], options: dict[str, int], kept: int
) -> None:
    async with socket_with(*(addon() for addon in addons), **options) as (socket, seen):
        sent = await exchange(socket, 200)
        open_list = texts(seen)
        socket.app.hang_up()
        await seen.closed.wait()
        assert texts(seen) == open_list
        if addons or kept > 1:
            assert open_list == sent[-kept:]
        else:
            assert len(open_list) <= 1


@pytest.mark.parametrize("addons", [[], [Changing]], ids=["pass", "hold"])
async def test_flow_keeps_all_messages_where_flows_are_saved(
    socket_with: SocketWith, tmp_path: Path, addons: list[type]
) -> None:
    file, har = tmp_path / "flows", tmp_path / "flows.har"
    options = {"save_stream_file": str(file), "hardump": str(har), "ws_history": 10, "ws_history_bytes": 20}
    async with socket_with(*(addon() for addon in addons), **options) as (socket, seen):
        sent = await exchange(socket, 100)
        seen.ws.send_to_client("ours")
        assert await socket.app.message() == "ours"
        await socket.server.send_close()
        await socket.app.send_close()
        await seen.closed.wait()
    with file.open("rb") as saved:
        (flow,) = io.FlowReader(saved).stream()
    assert isinstance(flow, http.HTTPFlow)
    assert flow.websocket is not None
    expected = [(text, number % 2 == 0, False) for number, text in enumerate(sent)]
    expected.append(("ours", False, True))
    messages = flow.websocket.messages
    assert [(message.text, message.from_client, message.injected) for message in messages] == expected
    (entry,) = json.loads(har.read_text())["log"]["entries"]
    assert [message["data"] for message in entry["_webSocketMessages"]] == [*sent, "ours"]


Ending = Callable[[RawSocket, Recording], Any]


async def app_closes(socket: RawSocket, seen: Recording) -> None:
    await socket.app.send_close(3000, "bye é")
    assert await socket.server.ending() == (3000, "bye é")
    await socket.server.send_close(3001)


async def server_closes(socket: RawSocket, seen: Recording) -> None:
    await socket.server.send_close(3000, "bye é")
    assert await socket.app.ending() == (3000, "bye é")
    await socket.app.send_close(3001)


async def app_is_lost(socket: RawSocket, seen: Recording) -> None:
    socket.app.hang_up()


async def server_is_lost(socket: RawSocket, seen: Recording) -> None:
    socket.server.hang_up()


async def we_close(socket: RawSocket, seen: Recording) -> None:
    seen.ws.close(3000, "bye é")


@pytest.mark.parametrize("addons", [[], [Changing]], ids=["pass", "hold"])
@pytest.mark.parametrize(
    ("end", "code", "reason", "by_client"),
    [
        (app_closes, 3000, "bye é", True),
        (server_closes, 3000, "bye é", False),
        (app_is_lost, 1006, None, True),
        (server_is_lost, 1006, None, False),
        (we_close, 3000, "bye é", None),
    ],
)
async def test_flow_says_how_the_socket_ended(
    socket_with: SocketWith,
    addons: list[type],
    end: Ending,
    code: int,
    reason: str | None,
    by_client: bool | None,
) -> None:
    async with socket_with(*(addon() for addon in addons)) as (socket, seen):
        await exchange(socket, 2)
        flow = flow_of(seen)
        data = flow.websocket
        assert data is not None
        assert (data.close_code, data.closed_by_client, data.timestamp_end) == (None, None, None)
        assert flow.live
        await end(socket, seen)
        await seen.closed.wait()
        assert (data.close_code, data.close_reason, data.closed_by_client) == (code, reason, by_client)
        assert data.timestamp_end is not None
        assert flow.response is not None
        assert data.timestamp_end >= flow.response.timestamp_start


@pytest.mark.wire("it compresses what is injected, and these ends do not inflate")
@pytest.mark.parametrize("addons", [[], [Changing]], ids=["pass", "hold"])
async def test_inject_command_reaches_both_ends(proxy: Proxy, addons: list[type]) -> None:
    for addon in addons:
        ctx.master.addons.add(addon())
    recordings = Recordings(proxy)
    async with raw_socket(proxy.port, extensions=COMPRESSED) as socket:
        flow = flow_of(recordings.only)
        for to_client, end in ((True, socket.app), (False, socket.server)):
            ctx.master.commands.call("inject.websocket", flow, to_client, b"text", True)
            ctx.master.commands.call("inject.websocket", flow, to_client, b"\xff", False)
            assert [await end.message(), await end.message()] == ["text", b"\xff"]
        frames = [
            (event, payload) for event in ("framereceived", "framesent") for payload in ("text", b"\xff")
        ]
        assert recordings.only.frames == frames
        data = flow.websocket
        assert data is not None
        assert [message.injected for message in data.messages] == [True] * 4
