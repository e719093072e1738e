"""Carries a socket in memory, to see whether Wirewright's layer works in this mitmproxy."""

import time
from collections import deque

from mitmproxy import connection, ctx, http
from mitmproxy.proxy import commands, context, events, layers
from mitmproxy.websocket import WebSocketData

from wirewright.mitm.other_addons import OtherAddons
from wirewright.mitm.patches import websocket_layer
from wirewright.mitm.wire_socket import WireSocket
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.history import HistoryLimit
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Direction
from wirewright.wire.frames import Opcode
from wirewright.wire.observer import Observer
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import ControlFrame
from wirewright.wire.stream import Close, Encoder, content_of

LIMIT = 64 * 1024
"""Bytes of messages that the socket takes and remembers."""
MESSAGE = "hello"
CLOSE = Close(1000, "bye")


class TrialError(Exception):
    """The layer did not do what was expected."""


def try_layer() -> None:
    """Carry one socket in PASS and one in HOLD through the layer that is installed in mitmproxy.

    Raises TrialError if messages, closes or hooks are not as expected, and everything that the layer raises.
    """
    for holds in (False, True):
        _TrialSocket(holds=holds).run()


class _NoOtherAddons(OtherAddons):
    """Other addons without hooks. With `holds`, messages are held as if one could change them."""

    def __init__(self, *, holds: bool) -> None:
        self.hooks, self.dumper = [], None
        self.may_change, self.keep_all, self.is_viewed = holds, False, False

    def refresh(self) -> int:
        return 0


class _TrialSocket:
    def __init__(self, *, holds: bool) -> None:
        self._flow = flow = _open_flow()
        limit = HistoryLimit(LIMIT, LIMIT)
        self._carrier = WireSocket(flow, limit, LIMIT, LIMIT, _NoOtherAddons(holds=holds))
        # A proxy of its own: nothing listens, and nothing is routed or recorded.
        asked = HandshakeRequest(url=flow.request.url, flow=flow)
        self._feed = Control(Proxy()).open(flow.id, asked, self._carrier, limit)
        self._written: dict[connection.Connection, bytes] = {flow.client_conn: b"", flow.server_conn: b""}
        self._hooks: list[str] = []
        self._is_observed = False

    def run(self) -> None:
        self._feed.opened()
        self._carrier.start(self._feed)
        websocket_layer.observe_with(self._observe)
        made = context.Context(self._flow.client_conn, ctx.options)
        made.server = self._flow.server_conn
        below = layers.HttpLayer(made, layers.http.HTTPMode.regular)
        below.connections[made.server] = below
        # mitmproxy's HTTP layer finds the class by this name.
        self._layer = layers.http.websocket.WebsocketLayer(made, self._flow)  # type: ignore[attr-defined]
        if not self._is_observed:
            raise TrialError("mitmproxy's HTTP layer does not make Wirewright's layer")
        self._handle(events.Start())
        for opcode, content in (content_of(MESSAGE), (Opcode.CLOSE, CLOSE.payload)):
            for direction in Direction:
                data = Encoder(masked=direction is Direction.SENT).control(opcode, content)
                self._handle(events.DataReceived(self._source(direction), data))
        self._carrier.end(self._feed)
        self._check()

    def _observe(self, _: http.HTTPFlow) -> Observer:
        self._is_observed = True
        return self._carrier

    def _source(self, direction: Direction) -> connection.Connection:
        return self._flow.client_conn if direction is Direction.SENT else self._flow.server_conn

    def _handle(self, event: events.Event) -> None:
        """Have the layer handle an event, and complete the hooks that it calls."""
        waiting = deque([event])
        while waiting:
            for command in self._layer.handle_event(waiting.popleft()):
                if isinstance(command, commands.SendData):
                    self._written[command.connection] += command.data
                elif isinstance(command, commands.StartHook):
                    self._hooks.append(command.name)
                    waiting.append(events.HookCompleted(command))

    def _check(self) -> None:
        assert self._flow.websocket is not None
        _expect("its hooks were", self._hooks, ["websocket_start", "websocket_end"])
        _expect("its close code was", self._flow.websocket.close_code, CLOSE.code)
        events = [(frame.direction.event, frame.payload) for frame in self._feed.history.after(0)]
        _expect("its events were", events, [(direction.event, MESSAGE) for direction in Direction])
        for direction in Direction:
            reader = MessageReader(masked=direction is Direction.SENT, max_message=LIMIT)
            read = reader.feed(self._written[self._source(direction.opposite)])
            _expect(f"it {direction}", read, [MESSAGE, ControlFrame(Opcode.CLOSE, CLOSE.payload)])


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise TrialError(f"{what} {found!r}, not {expected!r}")


def _open_flow() -> http.HTTPFlow:
    """A flow whose handshake has succeeded."""
    now, address = time.time(), ("127.0.0.1", 0)
    client = connection.Client(peername=address, sockname=address, timestamp_start=now)
    server = connection.Server(address=address)
    client.state = server.state = connection.ConnectionState.OPEN
    flow = http.HTTPFlow(client, server)
    flow.request = http.Request.make("GET", "http://wirewright.invalid/trial")
    flow.response = http.Response.make(101)
    flow.websocket = WebSocketData()
    return flow
