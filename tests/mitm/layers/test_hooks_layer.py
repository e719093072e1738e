"""The hooks lane's layer: mitmproxy's own, and closing from outside."""

from collections.abc import Iterator

import pytest
from mitmproxy import connection, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers import websocket as stock
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketMessageHook, WebsocketStartHook
from mitmproxy.test import taddons, tflow
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import Opcode

from wirewright.mitm.layers.events import CloseInjected
from wirewright.mitm.layers.hooks_layer import HooksLayer
from wirewright.mitm.patches import installation, websocket_layer
from wirewright.wire.stream import Close

BYE = b"\x88\x05\x03\xe8bye"  # unmasked: 1000, "bye"
NO_CODE = b"\x88\x00"
MASKED_NO_CODE = b"\x88\x80\x00\x00\x00\x00"


class Conversation:
    """An open socket's layer: what happens to it, and the commands with which it answers."""

    def __init__(self, flow: http.HTTPFlow, options: object) -> None:
        self.flow = flow
        self.client, self.server = flow.client_conn, flow.server_conn
        self.client.state = self.server.state = connection.ConnectionState.OPEN
        made = context.Context(self.client, options)  # type: ignore[arg-type]
        made.server = self.server
        self.layer = HooksLayer(made, flow)
        (start,) = self.layer.handle_event(events.Start())
        assert isinstance(start, WebsocketStartHook)
        self._started = start

    def start(self) -> list[commands.Command]:
        return self.tell(events.HookCompleted(self._started))

    def tell(self, event: events.Event) -> list[commands.Command]:
        return list(self.layer.handle_event(event))

    def close(self, code: int = 1000, reason: str = "bye") -> list[commands.Command]:
        return self.tell(CloseInjected(self.flow, Close(code, reason)))

    def answer(self, end: connection.Connection) -> list[commands.Command]:
        """An end answers a close frame."""
        frame = MASKED_NO_CODE if end is self.client else NO_CODE
        return self.tell(events.DataReceived(end, frame))

    def assert_ending(self, said: list[commands.Command]) -> None:
        """The commands that end both connections, the server's first."""
        assert [type(command) for command in said] == [commands.CloseConnection] * 2
        assert [command.connection for command in said] == [self.server, self.client]  # type: ignore[attr-defined]

    def assert_closing(self, said: list[commands.Command], to_client: bytes = BYE) -> None:
        """The commands that close both sides, the server's first, and report the end."""
        to_server, sent, end = said
        assert isinstance(to_server, commands.SendData)
        assert to_server.connection is self.server
        assert unmasked(to_server.data) == to_client
        assert isinstance(sent, commands.SendData)
        assert (sent.connection, sent.data) == (self.client, to_client)
        assert isinstance(end, WebsocketEndHook)
        assert end.flow is self.flow


def unmasked(frame: bytes) -> bytes:
    """A short frame without its mask (RFC 6455, 5.3)."""
    length, mask, payload = frame[1] & 0x7F, frame[2:6], frame[6:]
    assert frame[1] & 0x80
    assert len(payload) == length
    return bytes([frame[0], length]) + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


@pytest.fixture
async def conversation() -> Conversation:
    flow = tflow.twebsocketflow()
    flow.websocket = WebSocketData()
    with taddons.context(Proxyserver()) as tctx:
        tctx.master._legacy_log_events.uninstall()
        return Conversation(flow, tctx.options)


@pytest.fixture(autouse=True)
def stock_layer() -> Iterator[None]:
    yield
    installation.uninstall()


def test_close_goes_to_both_ends_and_is_reported_as_the_proxys(conversation: Conversation) -> None:
    assert conversation.start() == []
    said = conversation.close()
    conversation.assert_closing(said)
    (timer,) = conversation.tell(events.HookCompleted(said[-1]))  # type: ignore[arg-type]
    assert isinstance(timer, commands.RequestWakeup)
    assert conversation.answer(conversation.server) == []
    conversation.assert_ending(conversation.answer(conversation.client))
    ended = conversation.flow.websocket
    assert ended is not None
    assert (ended.close_code, ended.close_reason, ended.closed_by_client) == (1000, "bye", None)
    assert ended.timestamp_end is not None
    assert conversation.flow.live is False


@pytest.mark.parametrize("by_client", [True, False])
def test_connections_are_ended_once_the_other_end_has_answered(
    conversation: Conversation, by_client: bool
) -> None:
    conversation.start()
    ends = [conversation.server, conversation.client]
    source, other = ends[by_client], ends[not by_client]
    *sent, end = conversation.answer(source)
    assert [type(command) for command in sent] == [commands.SendData] * 2
    conversation.tell(events.HookCompleted(end))  # type: ignore[arg-type]
    assert conversation.tell(events.ConnectionClosed(source)) == []
    assert conversation.tell(events.DataReceived(source, b"late")) == []
    conversation.assert_ending(conversation.answer(other))
    assert conversation.answer(other) == []


def test_answer_to_a_close_frame_is_not_waited_for_long(conversation: Conversation) -> None:
    conversation.start()
    end = conversation.answer(conversation.server)[-1]
    (timer,) = conversation.tell(events.HookCompleted(end))  # type: ignore[arg-type]
    assert isinstance(timer, commands.RequestWakeup)
    conversation.assert_ending(conversation.tell(events.Wakeup(timer)))


def test_end_that_hangs_up_on_a_close_frame_has_answered(conversation: Conversation) -> None:
    conversation.start()
    end = conversation.answer(conversation.server)[-1]
    conversation.tell(events.HookCompleted(end))  # type: ignore[arg-type]
    conversation.assert_ending(conversation.tell(events.ConnectionClosed(conversation.client)))
    timer = conversation.layer._timer
    assert timer is not None
    assert conversation.tell(events.Wakeup(timer)) == []


def test_close_that_comes_while_the_start_is_handled_is_done_after_it(conversation: Conversation) -> None:
    assert conversation.close() == []
    conversation.assert_closing(conversation.start())


def test_close_that_comes_while_a_message_is_handled_is_done_after_it(conversation: Conversation) -> None:
    conversation.start()
    (hook,) = conversation.tell(events.DataReceived(conversation.server, b"\x81\x02hi"))
    assert isinstance(hook, WebsocketMessageHook)
    assert conversation.close() == []
    message, *closing = conversation.tell(events.HookCompleted(hook))
    assert isinstance(message, commands.SendData)
    assert (message.connection, message.data) == (conversation.client, b"\x81\x02hi")
    conversation.assert_closing(closing)


def test_message_injected_before_a_close_is_sent_before_it(conversation: Conversation) -> None:
    conversation.start()
    message = WebSocketMessage(Opcode.TEXT, False, b"hi")
    (hook,) = conversation.tell(stock.WebSocketMessageInjected(conversation.flow, message))
    assert conversation.close() == []
    sent, *closing = conversation.tell(events.HookCompleted(hook))  # type: ignore[arg-type]
    assert isinstance(sent, commands.SendData)
    assert sent.data == b"\x81\x02hi"
    conversation.assert_closing(closing)


def test_nothing_follows_a_close(conversation: Conversation) -> None:
    conversation.start()
    conversation.close()
    assert conversation.close(3000, "again") == []
    assert conversation.tell(events.DataReceived(conversation.server, b"\x81\x02hi")) == []
    assert conversation.tell(events.ConnectionClosed(conversation.client)) == []
    assert conversation.flow.websocket is not None
    assert conversation.flow.websocket.close_code == 1000


def test_close_after_an_end_closed_does_nothing(conversation: Conversation) -> None:
    conversation.start()
    end = conversation.tell(events.DataReceived(conversation.server, NO_CODE))[-1]
    conversation.tell(events.HookCompleted(end))  # type: ignore[arg-type]
    assert conversation.close() == []
    assert conversation.flow.websocket is not None
    assert conversation.flow.websocket.close_code == 1005
    assert conversation.flow.websocket.closed_by_client is False


def test_install_and_uninstall_change_what_new_sockets_get(conversation: Conversation) -> None:
    own = stock.WebsocketLayer
    websocket_layer.observe_with(lambda _: None)
    installation.install()
    installation.install()
    made = stock.WebsocketLayer(conversation.layer.context, conversation.flow)
    assert type(made) is HooksLayer
    installation.uninstall()
    installation.uninstall()
    assert stock.WebsocketLayer is own
    assert own is not HooksLayer
