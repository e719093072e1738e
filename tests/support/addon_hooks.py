"""What mitmproxy calls on its addons in the life of one socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mitmproxy import http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.save import Save
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.flow import Error
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketMessageHook, WebsocketStartHook
from mitmproxy.proxy.server_hooks import ClientConnectedHook, ClientDisconnectedHook
from mitmproxy.test import taddons, tflow
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import Opcode

from support.event_log import Recording, Recordings
from wirewright.mitm.addon import WirewrightAddon
from wirewright.model.handshake import accept_key
from wirewright.state import control, proxy
from wirewright.values import Direction

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@asynccontextmanager
async def addon_context() -> AsyncIterator[taddons.context]:
    """Wirewright's addon in a mitmproxy without a network, beside the addons whose options it asks for.

    It carries sockets by hooks, as no layer runs and the tests call what one would have called.
    """
    before = control.settings()
    with taddons.context(Proxyserver(), Save(), SaveHar(), WirewrightAddon()) as context:
        context.options.update(ws_lane="hooks")
        yield context
        await context.master.done()
    await control.end(before)


class Hooks:
    """One flow and its hooks, each called on all addons and followed by `update`, as mitmproxy does it."""

    def __init__(self, tctx: taddons.context) -> None:
        self.tctx = tctx
        self.flow = tflow.twebsocketflow()
        self.flow.request.headers["sec-websocket-key"] = KEY
        self.flow.response = None
        self.flow.websocket = None
        self._recordings = Recordings(proxy)

    @property
    def seen(self) -> Recording:
        return self._recordings.only

    @property
    def sockets(self) -> int:
        """How many sockets there ever were."""
        return len(self._recordings.all)

    @property
    def messages(self) -> list[WebSocketMessage]:
        assert self.flow.websocket is not None
        return self.flow.websocket.messages

    async def requestheaders(self) -> None:
        await self.tctx.master.addons.handle_lifecycle(HttpRequestHeadersHook(self.flow))

    async def request(self) -> None:
        await self.tctx.master.addons.handle_lifecycle(HttpRequestHook(self.flow))

    async def response(self, status: int = 101, **headers: str) -> None:
        self.flow.response = http.Response.make(
            status, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        if status == 101 and headers.get("upgrade") == "websocket":
            self.flow.websocket = WebSocketData()
        await self.tctx.master.addons.handle_lifecycle(HttpResponseHeadersHook(self.flow))
        await self.tctx.master.addons.handle_lifecycle(HttpResponseHook(self.flow))

    async def open(self, accept: str = accept_key(KEY)) -> Recording:
        await self.requestheaders()
        await self.request()
        await self.response(upgrade="websocket", connection="Upgrade", sec_websocket_accept=accept)
        await self.tctx.master.addons.handle_lifecycle(WebsocketStartHook(self.flow))
        return self.seen

    async def message(
        self, payload: str | bytes, *, direction: Direction = Direction.SENT, injected: bool = False
    ) -> WebSocketMessage:
        """A message passes; what is returned is as the addons left it."""
        text = isinstance(payload, str)
        content = payload.encode() if isinstance(payload, str) else payload
        message = WebSocketMessage(
            Opcode.TEXT if text else Opcode.BINARY, direction is Direction.SENT, content, injected=injected
        )
        self.messages.append(message)
        await self.tctx.master.addons.handle_lifecycle(WebsocketMessageHook(self.flow))
        return message

    async def end(self, code: int, reason: str | None, by_client: bool | None) -> None:
        assert self.flow.websocket is not None
        self.flow.websocket.close_code = code
        self.flow.websocket.close_reason = reason
        self.flow.websocket.closed_by_client = by_client
        await self.tctx.master.addons.handle_lifecycle(WebsocketEndHook(self.flow))

    async def error(self, message: str, *, connected: bool) -> None:
        self.flow.server_conn.timestamp_tcp_setup = 1.0 if connected else None
        self.flow.error = Error(message)
        await self.tctx.master.addons.handle_lifecycle(HttpErrorHook(self.flow))

    async def client_connected(self) -> None:
        await self.tctx.master.addons.handle_lifecycle(ClientConnectedHook(self.flow.client_conn))

    async def client_disconnected(self) -> None:
        await self.tctx.master.addons.handle_lifecycle(ClientDisconnectedHook(self.flow.client_conn))
