"""The mitmproxy addon: its options, and mitmproxy's hooks as events of Wirewright's sockets.

mitmproxy once had a `websocket_error` hook. Today there is none: a socket that fails before it is open
ends in `error` (or in `response`, when the server answers with anything but a 101), and one that fails
later ends in `websocket_end`. Both become the `socketerror` event here.
"""

import asyncio
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from mitmproxy import addonmanager, connection, ctx, exceptions, http
from mitmproxy.master import Master
from mitmproxy.proxy import layer
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.websocket import WebSocketData

from wirewright import memory
from wirewright.capture import free_space
from wirewright.capture.formats.bodies import kept_body
from wirewright.capture.redaction import DEFAULT
from wirewright.capture.replay.as_server import Replay
from wirewright.mitm import admission, connection_ends, end_reasons, hook_dispatch, request_start
from wirewright.mitm.capture_session import CaptureSession
from wirewright.mitm.console_commands import SocketCommands
from wirewright.mitm.flow_socket import InjectingCarrier, proxyserver
from wirewright.mitm.freed_memory import FreedMemory
from wirewright.mitm.handshake_routing import route_handshake
from wirewright.mitm.hangup import stop_on_hangup
from wirewright.mitm.hook_socket import HookedSocket
from wirewright.mitm.other_addons import WIREWRIGHT, OtherAddons
from wirewright.mitm.patches import (
    back_pressure,
    bytes_after_101,
    connection_close,
    request_target,
    websocket_layer,
)
from wirewright.mitm.patches.internals import missing_internal
from wirewright.mitm.remote_addon import RemoteAddon
from wirewright.mitm.script_reload import take_back_when_done
from wirewright.mitm.tcp_requests import TcpRequestAddon
from wirewright.mitm.tls_addon import TlsFailureAddon
from wirewright.mitm.web_interface import WebInterfaceCheck
from wirewright.mitm.wire_socket import WiredSocket
from wirewright.model import chromium_errors, handshake
from wirewright.model.app_connections import AppsSeen
from wirewright.model.errors import Error
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit
from wirewright.model.ownership import Owner
from wirewright.model.websocket import CLOSED_BY, Handshake
from wirewright.printable import get_logger, shown_url
from wirewright.state import app_connections, control, tls_failures
from wirewright.values import ClosedBy, Direction

logger = get_logger(__name__)

AT_ONCE = 2.0
"""Seconds within which an app hangs up that refuses the server's answer to its handshake."""

LANES = ("auto", "hooks")
_OPTIONAL_INT: Any = int | None
_OPTIONAL_STR: Any = str | None
"""Types of options. mitmproxy checks unions, too, but declares that an option has a class."""


class WirewrightAddon:
    """Turns mitmproxy's hooks into the events of `wirewright.proxy` and its sockets."""

    name = WIREWRIGHT

    def __init__(self) -> None:
        self.addons = [
            SocketCommands(),
            RemoteAddon(),
            TlsFailureAddon(),
            TcpRequestAddon(),
            WebInterfaceCheck(),
        ]
        self._missing: str | None = None
        self._others = OtherAddons()
        self._capture = CaptureSession()
        self._captures_by_option = False
        self._resets = connection_ends.ServerResets()
        self._freed_memory = FreedMemory()
        self._program_task: asyncio.Task[Any] | None = None
        """The task that runs a mitmproxy program. None for `launch`, whose task belongs to the caller."""

    def load(self, loader: addonmanager.Loader) -> None:
        _add_options(loader)
        _add_capture_options(loader)
        _set_memory_limit()
        websocket_layer.uninstall()  # what is looked at is mitmproxy's own
        self._missing = missing_internal()
        if self._missing is None:
            websocket_layer.install(_observer)
            request_target.install()
            bytes_after_101.install()
            connection_close.install()
            back_pressure.install()
            hook_dispatch.install(end_reasons.watch)
        else:
            logger.warning(
                "Wirewright carries WebSockets by mitmproxy's own layer (ws_lane=hooks): "
                "this mitmproxy has no %s",
                self._missing,
            )
        control.attach(_Host(self._capture))
        control.on_new_script(take_back_when_done)

    def configure(self, updated: set[str]) -> None:
        self._others.forget()
        if ctx.options.ws_lane not in LANES:  # mitmproxy offers choices, and takes anything
            raise exceptions.OptionsError(
                f"ws_lane must be {' or '.join(LANES)}, not {ctx.options.ws_lane!r}."
            )
        for option in {"ws_history", "ws_history_bytes", "ws_max_message", "ws_max_held"} & updated:
            if (getattr(ctx.options, option) or 0) < 0:
                raise exceptions.OptionsError(f"{option} must be 0 or more.")
        if "ws_memory" in updated:
            _set_memory_limit()
        if any(option.startswith("ws_capture") for option in updated):
            self._configure_capture()

    def _configure_capture(self) -> None:
        """A capture that an option asks for; one that was begun otherwise goes on without such an option."""
        options = ctx.options
        if options.ws_capture or self._captures_by_option:
            self._capture.stop()
        self._captures_by_option = bool(options.ws_capture)
        if options.ws_capture:
            path = Path(options.ws_capture).expanduser()
            try:
                self._capture.start(
                    path,
                    max_payload=options.ws_capture_max_payload,
                    redact=options.ws_capture_redact,
                    max_size=_parse_size("ws_capture_max_size"),
                    rotate=options.ws_capture_rotate,
                    min_free=_parse_size("ws_capture_min_free"),
                )
            except (Error, ValueError) as error:
                self._captures_by_option = False
                raise exceptions.OptionsError(str(error)) from None

    def running(self) -> None:
        stop_on_hangup(ctx.master)
        if type(ctx.master) is not Master:
            self._program_task = asyncio.current_task()

    def _close_sockets_if_ending(self) -> None:
        """Close all sockets for the proxy if the program ends, before their connections are cancelled.

        `sys.exit()` in a handler, and an exception in the `done` of another addon, cancel all tasks at once.
        """
        is_cancelled = self._program_task is not None and self._program_task.cancelling() > 0
        if is_cancelled or ctx.master.should_exit.is_set():
            control.close_all()

    def done(self) -> None:
        self._close_sockets_if_ending()  # unless the addon is only loaded again
        websocket_layer.uninstall()
        request_target.uninstall()
        bytes_after_101.uninstall()
        connection_close.uninstall()
        back_pressure.uninstall()
        hook_dispatch.uninstall()
        self._capture.stop()
        self._freed_memory.cancel()
        memory.budget.limit = memory.default_limit()
        control.attach(None)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        request_start.wait_for_request_line(nextlayer)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        with admission.failing_closed(flow):
            if not admission.asks_for_websocket(flow):
                app_connections.requests += 1
                return
            flow.request.stream = False  # a route decides before the request goes to the server
            await self._open(flow)

    async def _open(self, flow: http.HTTPFlow) -> Feed:
        """An app asks for a socket."""
        asked = Handshake(
            url=admission.routed_url(flow),
            headers=_headers(flow.request),
            client_address=flow.client_conn.peername[:2] if flow.client_conn.peername else None,
            flow=flow,
        )
        self._resets.take(flow.client_conn.id)  # it concerned another request
        limit = _history_limit(keep_all=self._others.see_messages())
        carrier = self._carrier(flow, limit)
        feed = control.open(flow.id, asked, carrier, limit)
        if self._missing is None:
            connection_ends.watch_idleness(carrier)
        # Async `websocket` handlers are tasks: each has run up to its first await before this returns,
        # and so before the handshake goes on and there can be a frame.
        await asyncio.sleep(0)
        return feed

    def _carrier(self, flow: http.HTTPFlow, limit: HistoryLimit) -> InjectingCarrier:
        if self._missing:
            return HookedSocket(flow, limit, f"this mitmproxy has no {self._missing}")
        if ctx.options.ws_lane == "hooks":
            return HookedSocket(flow, limit, "ws_lane is hooks, and must be auto")
        options = ctx.options
        return WiredSocket(flow, limit, options.ws_max_message, options.ws_max_held, self._others)

    async def request(self, flow: http.HTTPFlow) -> None:
        with admission.failing_closed(flow):
            feed = control.feed(flow.id)
            if feed is None and not admission.asks_for_websocket(flow):
                return
            if feed is None:  # another addon kept mitmproxy from calling our first hook, or that one raised
                feed = await self._open(flow)
            assert isinstance(feed.carrier, InjectingCarrier)
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
            reason = admission.refusal_reason(flow)
            if reason is not None:
                admission.stop(flow, reason)

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

        mitmproxy does so only for `Sec-WebSocket-Version: 13`. Our layer cuts a socket that `admission`
        refuses.
        """
        if flow.websocket is None and ctx.options.websocket:
            flow.websocket = WebSocketData()
        if not websocket_layer.is_installed() and (reason := admission.refusal_reason(flow)) is not None:
            admission.stop(flow, reason)

    def _refused(self, flow: http.HTTPFlow, feed: Feed) -> None:
        """A handshake was answered, but not with a WebSocket."""
        assert flow.response is not None
        self._failed(feed, chromium_errors.refusal_text(flow.response.status_code, _headers(flow.response)))
        reason = end_reasons.reason_for(flow)
        control.close(flow.id, reason=reason, by="proxy" if reason is not None else "server")

    def _failed(self, feed: Feed, message: str) -> None:
        """A socket has failed before it was open."""
        feed.failed(message)
        if isinstance(feed.carrier, WiredSocket) and feed.carrier.keeps_close(direction=Direction.RECEIVED):
            feed.carrier.closed(1006, "", direction=Direction.RECEIVED)

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        if feed := control.feed(flow.id):
            end_reasons.forget(flow)
            feed.opened(_server_address(flow))
            if isinstance(feed.carrier, HookedSocket):
                feed.carrier.opened()
            if isinstance(feed.carrier, InjectingCarrier) and self._missing is None:
                connection_ends.allow_idleness(feed.carrier)

    def websocket_message(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        if not ((feed := control.feed(flow.id)) and isinstance(feed.carrier, HookedSocket)):
            return None
        try:
            return feed.carrier.message(feed)
        except Exception:
            feed.carrier.fail_closed(admission.INTERNAL_ERROR)
            raise

    def update(self, flows: list[http.HTTPFlow]) -> None:
        for flow in flows:
            feed = control.feed(flow.id)
            if feed is None:
                continue
            if feed.socket.opened_at is None:
                self._answer_decided(flow, feed)
            elif isinstance(feed.carrier, HookedSocket):
                feed.carrier.message_decided(feed)

    def _answer_decided(self, flow: http.HTTPFlow, feed: Feed) -> None:
        """All addons were called. One of them may have replaced the server's 101."""
        if feed.socket.status != 101 or flow.response is None:
            return
        if flow.error is not None:  # killed, for which mitmproxy has no hook
            self.error(flow)
        elif flow.response.status_code != 101:
            feed.answered(flow.response.status_code, _headers(flow.response))
            self._refused(flow, feed)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        self._close_sockets_if_ending()
        feed = control.feed(flow.id)
        if feed is None or flow.websocket is None:
            return
        if isinstance(feed.carrier, InjectingCarrier):
            feed.carrier.end(feed)
        ended = flow.websocket
        if self._others.hold_flows() and (left := len(ended.messages)) < feed.history.total:
            logger.warning(
                "%s: flow.websocket.messages has the last %d of %d messages; set ws_history to keep more",
                shown_url(flow.request.pretty_url),
                left,
                feed.history.total,
            )
        by = CLOSED_BY[ended.closed_by_client]
        if violation := chromium_errors.violation_text(ended.close_code, ended.close_reason):
            feed.failed(violation)
            by = "proxy"
        elif wrong := _reason_to_hang_up(flow, feed):
            feed.failed(wrong)
        code = None if ended.close_code is None else int(ended.close_code)
        control.close(flow.id, code, ended.close_reason or "", by)

    def error(self, flow: http.HTTPFlow) -> None:
        self._close_sockets_if_ending()
        if feed := control.feed(flow.id):
            message = flow.error.msg if flow.error else ""
            connected = flow.server_conn.timestamp_tcp_setup is not None
            was_reset = self._resets.take(flow.client_conn.id)
            text = chromium_errors.no_answer_text(message, connected=connected, was_reset=was_reset)
            by: ClosedBy | None = None
            reason = chromium_errors.reason_of_mitmproxy(message)
            if (noted := end_reasons.reason_for(flow)) is not None:
                text, reason = chromium_errors.NO_ANSWER, noted
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

    def server_connected(self, data: ServerConnectionHookData) -> None:
        self._resets.connected(data)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        self._resets.disconnected(data)

    def client_connected(self, client: connection.Client) -> None:
        app_connections.connections += 1

    def client_disconnected(self, client: connection.Client) -> None:
        self._close_sockets_if_ending()
        # Whatever went wrong in between, a socket does not outlive its connection.
        for key, socket in control.sockets():
            if socket.flow is not None and socket.flow.client_conn is client:
                lost = 1006 if socket.opened_at is not None else None
                reason = end_reasons.reason_for(socket.flow)
                by: ClosedBy = "client" if reason is None else "proxy"
                control.close(key, lost, reason or ("" if lost else None), by)
        self._resets.take(client.id)
        self._freed_memory.give_back_soon()


def _add_options(loader: addonmanager.Loader) -> None:
    loader.add_option(
        "ws_lane",
        str,
        "auto",
        "How WebSocket messages are carried: `auto` by Wirewright's own layer, `hooks` by mitmproxy's.",
        choices=LANES,
    )
    loader.add_option(
        "ws_history",
        _OPTIONAL_INT,
        None,
        "How many messages a WebSocket remembers at most; 0 remembers none. Without it "
        f"{HistoryLimit().messages:,}, or all if a script or a user interface can look at them.",
    )
    loader.add_option(
        "ws_history_bytes",
        _OPTIONAL_INT,
        None,
        "How many bytes of messages a WebSocket remembers at most; 0 remembers none. Without it "
        "4 MiB, or all as for ws_history.",
    )
    loader.add_option(
        "ws_max_message",
        int,
        64 * 1024 * 1024,
        "The largest WebSocket message, in bytes, that is read. A larger one passes unread.",
    )
    loader.add_option(
        "ws_max_held",
        int,
        4 * 1024 * 1024,
        "How many bytes of messages may wait for a route or an addon in one direction of a WebSocket. Above "
        "that, nothing more is read from its connection.",
    )
    loader.add_option(
        "ws_memory",
        _OPTIONAL_STR,
        None,
        "How much memory the messages of all WebSockets may take together, such as 512m. Without it 1 GiB, "
        "or a quarter of the machine's memory if that is less.",
    )


def _set_memory_limit() -> None:
    """Have the option limit the budget of the process. Raises OptionsError for what is not a size."""
    try:
        limit = _parse_size("ws_memory")
    except ValueError as error:
        raise exceptions.OptionsError(str(error)) from None
    if limit is not None and limit < memory.SMALLEST_BUDGET:
        raise exceptions.OptionsError(f"ws_memory must be at least 1m, not {ctx.options.ws_memory!r}.")
    memory.budget.limit = memory.default_limit() if limit is None else limit


def _add_capture_options(loader: addonmanager.Loader) -> None:
    loader.add_option(
        "ws_capture",
        str,
        "",
        "Record all WebSockets in this file. Each recording is added to it as another session.",
    )
    loader.add_option(
        "ws_capture_max_payload",
        _OPTIONAL_INT,
        None,
        "How many bytes of each WebSocket message are recorded at most.",
    )
    loader.add_option(
        "ws_capture_max_size",
        _OPTIONAL_STR,
        None,
        "How large a capture gets, such as 500m, before it goes on in another file: x.db, x-2.db, ...",
    )
    loader.add_option(
        "ws_capture_rotate",
        _OPTIONAL_INT,
        None,
        "How many of these files are kept, the newest.",
    )
    loader.add_option(
        "ws_capture_min_free",
        _OPTIONAL_STR,
        f"{free_space.DEFAULT_MIN_FREE >> 20}m",
        "The recording ends, with a warning, before less than this is free on the disk of the capture; "
        "0 for no limit.",
    )
    loader.add_option(
        "ws_capture_redact",
        Sequence[str],
        list(DEFAULT),
        "Headers, parameters and keys whose values get neither into a capture nor into the timeline.",
    )


def _parse_size(option: str) -> int | None:
    """The bytes that an option says; None if it is not set. Raises ValueError for what is not a size."""
    text = getattr(ctx.options, option)
    try:
        return None if text is None else memory.parse_size(text)
    except ValueError:
        raise ValueError(f"{option} must be a size such as 500m or 2g, not {text!r}") from None


class _Host:
    """The mitmproxy that this addon runs in."""

    def __init__(self, capture: CaptureSession) -> None:
        self._capture = capture

    def start_capture(self, path: Path, **options: Any) -> None:
        self._capture.start(path, **options)

    def stop_capture(self) -> None:
        self._capture.stop()

    def forget(self, owner: Owner) -> None:
        self._capture.forget(owner)

    def annotate(self, text: str) -> None:
        self._capture.annotate(text)

    async def apps_seen(self) -> AppsSeen:
        return AppsSeen.now(app_connections, tls_failures)

    def replay(self, path: Path, **options: Any) -> Replay:
        if ctx.options.connection_strategy == "eager":
            logger.warning(
                "connection_strategy is eager: the server of a wss:// or tunnelled socket is still contacted "
                "before %s can answer; set it to lazy",
                path,
            )
        return Replay(path, **options)

    @property
    def port(self) -> int | None:
        addresses = proxyserver().listen_addrs()
        return addresses[0][1] if addresses else None

    @property
    def ca_certificate(self) -> Path:
        return Path(ctx.options.confdir).expanduser() / "mitmproxy-ca-cert.pem"

    @property
    def history(self) -> HistoryLimit:
        return _history_limit()


def _history_limit(*, keep_all: bool = False) -> HistoryLimit:
    """The limit that the options set; without them, and with `keep_all`, there is none."""
    messages, size = ctx.options.ws_history, ctx.options.ws_history_bytes
    if messages is None and size is None and keep_all:
        return HistoryLimit(sys.maxsize, sys.maxsize)
    default = HistoryLimit()
    return HistoryLimit(
        default.messages if messages is None else messages, default.size if size is None else size
    )


def _observer(flow: http.HTTPFlow) -> WiredSocket | None:
    """Begin a socket that is about to open, and return it as the layer's observer; None on the hooks lane.

    The layer calls this, and not a hook: an addon that fails may keep mitmproxy from calling our hooks.
    Raises NotAdmitted for a socket that must not open.
    """
    if (reason := admission.refusal_reason(flow)) is not None:
        raise websocket_layer.NotAdmitted(reason)
    feed = control.feed(flow.id)
    assert feed is not None
    if not isinstance(feed.carrier, WiredSocket):
        return None
    end_reasons.forget(flow)
    feed.opened(_server_address(flow))
    feed.carrier.start(feed)
    return feed.carrier


async def _route(flow: http.HTTPFlow, feed: Feed, carrier: InjectingCarrier) -> Exception | None:
    """Have a route decide on a handshake. Returns an error of ours, which is not one of a handler."""
    try:
        if rule := await control.take_route(feed.socket.url):
            await route_handshake(flow, feed, carrier, rule)
    except Exception as error:
        return error
    return None


def _server_address(flow: http.HTTPFlow) -> tuple[str, int] | None:
    peer = flow.server_conn.peername
    return peer[:2] if peer else None


def _reason_to_hang_up(flow: http.HTTPFlow, feed: Feed) -> str | None:
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
