"""Handshakes: mitmproxy's hooks up to the opening of a WebSocket, or to its failure.

mitmproxy once had a `websocket_error` hook. Today there is none: a socket that fails before it is open ends
in `error`, or in `response` if the server answers with anything but a 101. Both become `socketerror` here.
"""

import asyncio
from dataclasses import replace

from mitmproxy import ctx, http
from mitmproxy.websocket import WebSocketData

from wirewright.capture.formats.bodies import kept_body
from wirewright.mitm import admission, connection_ends, end_reasons
from wirewright.mitm.flow_socket import FlowSocket
from wirewright.mitm.handshake_routing import route_handshake
from wirewright.mitm.hook_socket import HookSocket
from wirewright.mitm.host import history_limit
from wirewright.mitm.other_addons import OtherAddons
from wirewright.mitm.outage import OFFLINE, Outage
from wirewright.mitm.patches import error_page, installation
from wirewright.mitm.wire_socket import WireSocket
from wirewright.model import chromium_errors, handshake
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit
from wirewright.state import app_connections, control
from wirewright.values import ClosedBy, Direction

AT_ONCE = 2.0
"""Seconds within which an app hangs up that refuses the server's answer to its handshake."""


class HandshakeHooks:
    """Turns mitmproxy's hooks into the events of sockets that are not open yet."""

    name = "wirewright-handshakes"

    def __init__(self, others: OtherAddons, outage: Outage) -> None:
        self.why_hooks: str | None = None
        """The reason why this mitmproxy's own layer carries all sockets; None if Wirewright's layers can."""
        self._others = others
        self._outage = outage
        self._resets = connection_ends.ServerResets()
        self.addons = [self._resets]

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        with admission.failing_closed(flow):
            if admission.asks_for_websocket(flow):
                flow.request.stream = False  # a route decides before the request goes to the server
                await self._open(flow)
            else:
                app_connections.requests += 1
            self._outage.refuse(flow)

    async def _open(self, flow: http.HTTPFlow) -> Feed:
        """Make the socket that an app asks for, and emit its `websocket` event."""
        asked = replace(admission.handshake_of(flow), headers=_headers(flow.request))
        self._resets.take(flow.client_conn.id)  # it concerned another request
        limit = history_limit(keep_all=self._others.see_messages())
        carrier = self._carrier(flow, limit)
        feed = control.open(flow.id, asked, carrier, limit)
        if self.why_hooks is None:
            connection_ends.watch_idleness(carrier)
        # Async `websocket` handlers are tasks: each has run up to its first await before this returns,
        # and so before the handshake goes on and there can be a frame.
        await asyncio.sleep(0)
        return feed

    def _carrier(self, flow: http.HTTPFlow, limit: HistoryLimit) -> FlowSocket:
        if self.why_hooks is not None:
            return HookSocket(flow, limit, self.why_hooks)
        if ctx.options.ws_lane == "hooks":
            return HookSocket(flow, limit, "ws_lane is hooks, and must be auto")
        options = ctx.options
        return WireSocket(flow, limit, options.ws_max_message, options.ws_max_held, self._others)

    async def request(self, flow: http.HTTPFlow) -> None:
        with admission.failing_closed(flow):
            feed = control.feed(flow.id)
            if feed is None and not admission.asks_for_websocket(flow):
                return
            if feed is None:  # another addon kept mitmproxy from calling our first hook, or that one raised
                feed = await self._open(flow)
            assert isinstance(feed.carrier, FlowSocket)
            if flow.response is None and control.has_routes:
                if admission.is_too_large(flow):
                    size = f"{admission.LARGEST_HANDSHAKE:,}"
                    admission.stop(flow, f"a route may be for it, and it has more than {size} bytes")
                    return
                routing = feed.run(_route(flow, feed, feed.carrier))
                await asyncio.wait([routing])
                if routing.cancelled():
                    admission.stop(flow, "its route's handler was cancelled, as the app had left")
                elif error := routing.result():
                    raise error
            feed.carrier.routes_asked = True
            feed.requested(_headers(flow.request))

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if flow.response is None or flow.response.status_code != 101 or not ctx.options.websocket:
            return
        names_websocket = handshake.is_handshake(flow.response.headers.fields)
        if names_websocket or control.feed(flow.id) is not None:
            objection = admission.refusal_reason(flow)
            if objection is not None:
                admission.stop(flow, objection)

    def response(self, flow: http.HTTPFlow) -> None:
        feed = control.feed(flow.id)
        if feed is None or flow.response is None:
            return
        with admission.failing_closed(flow):
            headers = _headers(flow.response)
            is_open = chromium_errors.accepts_websocket(flow.response.status_code, headers)
            body = None
            if not is_open:
                body = kept_body(flow.response.raw_content, headers.get("content-encoding", ""))
            feed.answered(flow.response.status_code, headers, body)
            if not is_open:
                self._refused(flow, feed)
                end_reasons.note(flow, "the server did not accept the handshake")
            if flow.response.status_code == 101:
                self._open_after_101(flow)

    def _open_after_101(self, flow: http.HTTPFlow) -> None:
        """Have a WebSocket follow a 101, where mitmproxy might forward all bytes that follow, unseen.

        mitmproxy takes it for a WebSocket only if the versions are 13. Our layers cut it if it is refused.
        """
        if flow.websocket is None and ctx.options.websocket:
            flow.websocket = WebSocketData()
        if not installation.is_installed() and (objection := admission.refusal_reason(flow)) is not None:
            admission.stop(flow, objection)

    def _refused(self, flow: http.HTTPFlow, feed: Feed) -> None:
        """A handshake was answered, but not with a WebSocket."""
        assert flow.response is not None
        self._failed(feed, chromium_errors.refusal_text(flow.response.status_code, _headers(flow.response)))
        reason = end_reasons.reason_for(flow)
        control.close(flow.id, reason=reason, by="proxy" if reason is not None else "server")

    def _failed(self, feed: Feed, message: str) -> None:
        """A socket has failed before it was open."""
        feed.failed(message)
        if isinstance(feed.carrier, WireSocket) and feed.carrier.handles_close(direction=Direction.RECEIVED):
            feed.carrier.closed(1006, "", direction=Direction.RECEIVED)

    def answer_decided(self, flow: http.HTTPFlow, feed: Feed) -> None:
        """All addons were called. One of them may have replaced the server's 101."""
        if feed.socket.status != 101 or flow.response is None:
            return
        if flow.error is not None:  # killed, for which mitmproxy has no hook
            self.error(flow)
        elif flow.response.status_code != 101:
            feed.answered(flow.response.status_code, _headers(flow.response))
            self._refused(flow, feed)

    def error(self, flow: http.HTTPFlow) -> None:
        if feed := control.feed(flow.id):
            message = flow.error.msg[: error_page.MAX_MESSAGE] if flow.error else ""
            connected = flow.server_conn.timestamp_tcp_setup is not None
            was_reset = self._resets.take(flow.client_conn.id)
            text = chromium_errors.no_answer_text(message, connected=connected, was_reset=was_reset)
            by: ClosedBy | None = None
            reason = chromium_errors.reason_of_mitmproxy(message)
            if (noted := end_reasons.reason_for(flow)) is not None:
                text, reason = chromium_errors.NO_ANSWER, noted
            if noted == OFFLINE:
                text = chromium_errors.DISCONNECTED
            if reason is not None:
                by = "proxy"
            elif message == chromium_errors.CLIENT_DISCONNECTED:
                by = "client"
            elif flow.response is not None:  # the server refused, but ended before the end of the body
                headers, by = _headers(flow.response), "server"
                feed.answered(flow.response.status_code, headers)
                text = chromium_errors.refusal_text(flow.response.status_code, headers)
            self._failed(feed, text)
            control.close(flow.id, reason=reason, by=by)


async def _route(flow: http.HTTPFlow, feed: Feed, carrier: FlowSocket) -> Exception | None:
    """Have a route decide on a handshake. Returns an error of ours, which is not one of a handler."""
    try:
        if rule := await control.take_route(feed.socket._handshake):
            await route_handshake(flow, feed, carrier, rule)
    except Exception as error:
        return error
    return None


def reason_to_hang_up(flow: http.HTTPFlow, feed: Feed) -> str | None:
    """The fault of the server's 101, if the app closed its connection right after it and sent nothing."""
    ended, opened_at = flow.websocket, feed.socket.opened_at
    assert flow.response is not None
    assert ended is not None
    hung_up = ended.closed_by_client and ended.close_code == 1006
    if not hung_up or any(message.from_client for message in ended.messages):
        return None
    if opened_at is None or (ended.timestamp_end or 0) - opened_at > AT_ONCE:
        return None
    return chromium_errors.wrong_answer_text(_headers(flow.request), _headers(flow.response))


def _headers(message: http.Request | http.Response) -> handshake.Headers:
    return handshake.received_headers(message.headers.items(multi=True))
