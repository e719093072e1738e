"""Addons and listeners that do what nobody expects: traffic goes on, and mitmproxy's list stays right."""

import asyncio
from pathlib import Path

import pytest
from mitmproxy import ctx, http
from mitmproxy.exceptions import AddonHalt

from support.event_log import Recording
from support.opened_sockets import SocketWith
from support.raw_peers import RawSocket
from wirewright.wire.frames import Opcode


async def exchange(socket: RawSocket, *texts: str) -> None:
    """Each of them arrives, in both directions."""
    for text in texts:
        for source, destination in socket.legs():
            await source.send(text)
            assert await destination.message() == text


def messages_of(seen: Recording) -> list[str]:
    return [message.text for message in seen.ws.flow.websocket.messages]


class Looking:
    """Has messages held, and changes none."""

    def websocket_message(self, flow: http.HTTPFlow) -> None: ...


class Replacing:
    """Keeps the list short by its own means."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        flow.websocket.messages = flow.websocket.messages[-3:]


async def test_list_that_an_addon_replaces_goes_on(socket_with: SocketWith) -> None:
    async with socket_with(Replacing()) as (socket, seen):
        await exchange(socket, "one", "two", "three")
        assert messages_of(seen) == ["two", "three", "three"]


@pytest.mark.parametrize("addons", [[], [Looking]], ids=["pass", "hold"])
async def test_list_of_a_reverted_flow_goes_on(socket_with: SocketWith, addons: list[type]) -> None:
    async with socket_with(*(addon() for addon in addons)) as (socket, seen):
        await exchange(socket, "one")
        seen.ws.flow.backup()
        await exchange(socket, "two")
        seen.ws.flow.revert()
        assert messages_of(seen) == ["one", "one"]
        await exchange(socket, "three")
        assert messages_of(seen) == ["one", "one", "three", "three"]


class Popping:
    """Takes a message out of the list."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        if flow.websocket.messages[-1].text == "pop":
            flow.websocket.messages.pop()


async def test_message_that_an_addon_takes_out_of_the_list_costs_no_other(socket_with: SocketWith) -> None:
    async with socket_with(Popping()) as (socket, seen):
        await exchange(socket, "one", "pop", "two")
        assert messages_of(seen) == ["one", "one", "two", "two"]


@pytest.mark.parametrize("saved", [False, True], ids=["bounded", "saved"])
@pytest.mark.parametrize("addons", [[], [Looking]], ids=["pass", "hold"])
async def test_listener_that_looks_at_the_list_finds_each_message_once(
    socket_with: SocketWith, tmp_path: Path, addons: list[type], saved: bool
) -> None:
    options = {"save_stream_file": str(tmp_path / "flows")} if saved else {}
    async with socket_with(*(addon() for addon in addons), **options) as (socket, seen):
        for event in ("framesent", "framereceived"):
            seen.ws.on(event, lambda _: messages_of(seen))
        await exchange(socket, "one", "two", "three")
        assert messages_of(seen) == ["one", "one", "two", "two", "three", "three"]


def _leave_text(flow: http.HTTPFlow) -> None:
    assert flow.websocket is not None
    message = flow.websocket.messages[-1]
    if message.content == b"bad":
        message.content = "text"  # type: ignore[assignment]


class LeavingText:
    """Puts a str where bytes belong."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        _leave_text(flow)


class LeavingTextLater:
    """The same, after others had their turn."""

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        await asyncio.sleep(0)
        _leave_text(flow)


@pytest.mark.wire("it stops at such a message, until the next one comes")
@pytest.mark.parametrize("kind", [LeavingText, LeavingTextLater])
async def test_message_without_content_is_dropped_alone(
    socket_with: SocketWith, kind: type, caplog: pytest.LogCaptureFixture
) -> None:
    async with socket_with(kind()) as (socket, _):
        for source, destination in socket.legs():
            await source.write(*(source.encode(Opcode.TEXT, text) for text in (b"one", b"bad", b"two")))
            assert [await destination.message() for _ in range(2)] == ["one", "two"]
            assert "must be bytes, not 'text'" in caplog.text
            caplog.clear()


class Starting:
    """Fails, or stops the chain of addons, when a socket opens."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        raise self._error


@pytest.mark.parametrize("error", [ValueError("no"), AddonHalt()], ids=["fails", "halts"])
async def test_addon_that_keeps_ours_from_being_called_harms_no_socket(
    socket_with: SocketWith, error: Exception
) -> None:
    async with socket_with(first=Starting(error)) as (socket, seen):
        await exchange(socket, "one")
        assert [payload for _, payload in seen.frames] == ["one", "one"]


class Halting:
    """Keeps the addons behind it from being called."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        raise AddonHalt


class Failing:
    """Fails at each message."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        raise ValueError("a failing hook")


class Shouting:
    """Changes each message."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        flow.websocket.messages[-1].text += "!"


@pytest.mark.parametrize(("first", "arrives"), [(Halting, "one"), (Failing, "one!")])
async def test_halt_ends_the_chain_and_a_failure_does_not(
    socket_with: SocketWith, first: type, arrives: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with socket_with(first(), Shouting()) as (socket, _):
        for source, destination in socket.legs():
            await source.send("one")
            assert await destination.message() == arrives
    assert ("Addon error: a failing hook" in caplog.text) is (first is Failing)


class Noticing:
    """An async `update` hook."""

    def __init__(self) -> None:
        self.updated = asyncio.Event()

    async def update(self, flows: list[http.HTTPFlow]) -> None:
        self.updated.set()


@pytest.mark.parametrize("addons", [[], [Looking]], ids=["pass", "hold"])
async def test_async_update_hook_is_called(socket_with: SocketWith, addons: list[type]) -> None:
    noticing = Noticing()
    async with socket_with(noticing, *(addon() for addon in addons)) as (socket, _):
        noticing.updated.clear()
        await exchange(socket, "one")
        await noticing.updated.wait()


class Slow:
    """Takes its time over each message, and notes it then."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun, self.go_on, self.noted = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        self.begun.set()
        await self.go_on.wait()
        self.notes.append(message.text)
        self.noted.set()


async def test_addon_that_is_gone_is_not_called_for_what_waited(socket_with: SocketWith) -> None:
    slow = Slow()
    async with socket_with(slow) as (socket, _):
        source, destination = socket.app, socket.server
        await source.write(*(source.encode(Opcode.TEXT, text) for text in (b"one", b"two", b"three")))
        await slow.begun.wait()
        ctx.master.addons.remove(slow)
        slow.go_on.set()
        assert [await destination.message() for _ in range(3)] == ["one", "two", "three"]
    assert slow.notes == ["one"]


@pytest.mark.wire("the end waits for the hook there")
async def test_hook_that_outlives_its_socket_is_let_finish_and_what_waited_for_it_is_not(
    socket_with: SocketWith, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    async with socket_with(slow) as (socket, seen):
        await socket.app.send("one")
        await slow.begun.wait()
        await socket.server.send("two")
        socket.app.hang_up()
        socket.server.hang_up()
        await seen.closed.wait()
        slow.go_on.set()
        await slow.noted.wait()
    assert slow.notes == ["one"]
    assert "listener raised" not in caplog.text
