"""`flow.websocket.messages` of existing scripts: all messages, unless the user has set a limit."""

from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx, http, io
from mitmproxy.addons.view import View

from support.opened_sockets import SocketWith
from support.raw_peers import RawSocket

COUNT = 1_100
"""More than a socket remembers without such a script."""


class Ending:
    """Looks at the messages at the end."""

    def __init__(self) -> None:
        self._seen: list[str] = []

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        self._seen = [message.text for message in flow.websocket.messages]

    def seen(self) -> list[str]:
        return self._seen


class Starting:
    """Keeps the flow when the socket opens, and looks later."""

    def __init__(self) -> None:
        self.flow: http.HTTPFlow | None = None

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        self.flow = flow

    def seen(self) -> list[str]:
        assert self.flow is not None
        assert self.flow.websocket is not None
        return [message.text for message in self.flow.websocket.messages]


class Counting(Ending):
    """Looks at each message, too."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        assert flow.websocket.messages[-1].text


class Nesting:
    """Has an addon inside."""

    def __init__(self) -> None:
        self.inner = Ending()
        self.addons = [self.inner]

    def seen(self) -> list[str]:
        return self.inner.seen()


class Saving:
    """Has mitmproxy's command save the flow."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        ctx.master.commands.call("save.file", [flow], str(self._path))

    def seen(self) -> list[str]:
        with self._path.open("rb") as file:
            (flow,) = io.FlowReader(file).stream()
        assert isinstance(flow, http.HTTPFlow)
        assert flow.websocket is not None
        return [message.text for message in flow.websocket.messages]


class Requesting(Starting):
    """Is given the flow before it has messages."""

    websocket_start = None  # type: ignore[assignment]

    def request(self, flow: http.HTTPFlow) -> None:
        self.flow = flow


async def talk(socket: RawSocket, count: int = COUNT) -> list[str]:
    texts = [str(number) for number in range(count)]
    for text in texts:
        await socket.app.send(text)
    for text in texts:
        assert await socket.server.message() == text
    return texts


async def seen_by(socket_with: SocketWith, addon: Any, count: int = COUNT, **options: Any) -> bool:
    """Whether an addon finds all messages of a socket."""
    async with socket_with(addon, **options) as (socket, seen):
        sent = await talk(socket, count)
        socket.app.hang_up()
        await seen.closed.wait()
    return bool(addon.seen() == sent)


@pytest.mark.parametrize("kind", [Ending, Starting, Counting, Nesting])
async def test_script_that_sees_messages_has_them_all(socket_with: SocketWith, kind: type) -> None:
    assert await seen_by(socket_with, kind())


async def test_flow_that_a_script_saves_has_all_messages(socket_with: SocketWith, tmp_path: Path) -> None:
    assert await seen_by(socket_with, Saving(tmp_path / "flows"))


async def test_flow_of_a_user_interface_has_all_messages(socket_with: SocketWith) -> None:
    async with socket_with(View()) as (socket, seen):
        sent = await talk(socket)
        assert [message.text for message in seen.ws.flow.websocket.messages] == sent


@pytest.mark.parametrize("options", [{"ws_history": 1_000}, {"ws_history_bytes": 4 * 1024 * 1024}])
async def test_limit_of_the_user_holds_for_scripts(
    socket_with: SocketWith, caplog: pytest.LogCaptureFixture, options: dict[str, int]
) -> None:
    addon = Ending()
    assert not await seen_by(socket_with, addon, **options)
    assert len(addon.seen()) == 1_000


async def test_script_that_may_look_later_is_warned_once(
    socket_with: SocketWith, caplog: pytest.LogCaptureFixture
) -> None:
    addon = Requesting()
    assert not await seen_by(socket_with, addon)
    assert len(addon.seen()) == 1_000
    (warning,) = [record.getMessage() for record in caplog.records if "ws_history" in record.getMessage()]
    assert (
        "flow.websocket.messages has the last 1000 of 1100 messages; set ws_history to keep more" in warning
    )


async def test_no_warning_where_all_messages_are_there_or_nobody_looks(
    socket_with: SocketWith, caplog: pytest.LogCaptureFixture
) -> None:
    assert await seen_by(socket_with, Requesting(), count=100)
    async with socket_with() as (socket, seen):
        await talk(socket)
        assert len(seen.ws.flow.websocket.messages) == 1_000
        socket.app.hang_up()
        await seen.closed.wait()
    assert "ws_history" not in caplog.text
