"""The mitmproxy addon: its options, and mitmproxy's hooks as events of sockets that are open.

mitmproxy has no hook for a socket that fails once it is open: it ends in `websocket_end`, which becomes the
`socketerror` event here.
"""

import asyncio
import gc
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from mitmproxy import addonmanager, connection, ctx, exceptions, http
from mitmproxy.master import Master
from mitmproxy.proxy import layer

from wirewright import memory
from wirewright.capture import free_space
from wirewright.capture.redaction import DEFAULT
from wirewright.mitm import admission, connection_ends, end_reasons, own_layers, request_start
from wirewright.mitm.console_commands import SocketCommands
from wirewright.mitm.flow_socket import FlowSocket, server_address
from wirewright.mitm.freed_memory import FreedMemory
from wirewright.mitm.handshake_hooks import HandshakeHooks, reason_to_hang_up
from wirewright.mitm.hangup import stop_on_hangup
from wirewright.mitm.hook_socket import HookSocket
from wirewright.mitm.host import MitmproxyHost
from wirewright.mitm.other_addons import OtherAddons
from wirewright.mitm.outage import Outage
from wirewright.mitm.patches import installation
from wirewright.mitm.remote_addon import RemoteAddon
from wirewright.mitm.script_reload import forget_when_unloaded
from wirewright.mitm.tcp_requests import TcpRequestAddon
from wirewright.mitm.tls_addon import TlsFailureAddon
from wirewright.mitm.web_interface import WebInterfaceCheck
from wirewright.model import chromium_errors
from wirewright.model.errors import Error
from wirewright.model.history import HistoryLimit
from wirewright.printable import get_logger, shown_url
from wirewright.state import app_connections, control
from wirewright.values import CLOSED_BY, ClosedBy

logger = get_logger(__name__)

LANES = ("auto", "hooks")
_FROZEN_BY_PYTHON = 10_000
"""More objects than Python itself leaves out of garbage collection; 3.12 leaves out a few hundred."""
_OPTIONAL_INT: Any = int | None
_OPTIONAL_STR: Any = str | None
"""Types of options. mitmproxy checks unions, too, but declares that an option has a class."""


class WirewrightAddon:
    """Turns mitmproxy's hooks into the events of `wirewright.proxy` and its sockets."""

    name = "wirewright"

    def __init__(self) -> None:
        self._others, self._outage = OtherAddons(), Outage()
        self._handshakes = HandshakeHooks(self._others, self._outage)
        self.addons = [
            self._handshakes,
            self._outage,
            SocketCommands(),
            RemoteAddon(),
            TlsFailureAddon(),
            TcpRequestAddon(),
            WebInterfaceCheck(),
        ]
        self._host = MitmproxyHost(self._outage)
        self._captures_by_option = False
        self._freed_memory = FreedMemory()
        self._program_task: asyncio.Task[Any] | None = None
        """The task that runs a mitmproxy program. None for `launch`, whose task belongs to the caller."""

    def load(self, loader: addonmanager.Loader) -> None:
        _add_options(loader)
        _add_capture_options(loader)
        _set_memory_limit()
        self._handshakes.why_hooks = why = own_layers.install()
        if why is not None:
            logger.warning("Wirewright carries WebSockets by mitmproxy's own layer (ws_lane=hooks): %s", why)
        control.attach(self._host)
        control.on_new_script(forget_when_unloaded)

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
            self._host.capture.stop()
        self._captures_by_option = bool(options.ws_capture)
        if options.ws_capture:
            path = Path(options.ws_capture).expanduser()
            try:
                self._host.capture.start(
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
            _freeze_objects()

    def _close_sockets_if_ending(self) -> None:
        """Close all sockets for the proxy if the program ends, before their connections are cancelled.

        `sys.exit()` in a handler, and an exception in the `done` of another addon, cancel all tasks at once.
        """
        is_cancelled = self._program_task is not None and self._program_task.cancelling() > 0
        if is_cancelled or ctx.master.should_exit.is_set():
            control.close_all()

    def done(self) -> None:
        self._close_sockets_if_ending()  # unless the addon is only loaded again
        installation.uninstall()
        self._host.stop_captures()
        self._freed_memory.cancel()
        memory.budget.limit = memory.default_limit()
        control.attach(None)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        request_start.wait_for_request_line(nextlayer)

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        if feed := control.feed(flow.id):
            end_reasons.forget(flow)
            feed.opened(server_address(flow))
            if isinstance(feed.carrier, HookSocket):
                feed.carrier.opened()
            if isinstance(feed.carrier, FlowSocket) and installation.is_installed():
                connection_ends.allow_idleness(feed.carrier)

    def websocket_message(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        if not ((feed := control.feed(flow.id)) and isinstance(feed.carrier, HookSocket)):
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
                self._handshakes.answer_decided(flow, feed)
            elif isinstance(feed.carrier, HookSocket):
                feed.carrier.message_decided(feed)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        self._close_sockets_if_ending()
        feed = control.feed(flow.id)
        if feed is None or flow.websocket is None:
            return
        if isinstance(feed.carrier, FlowSocket):
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
        elif wrong := reason_to_hang_up(flow, feed):
            feed.failed(wrong)
        code = None if ended.close_code is None else int(ended.close_code)
        control.close(flow.id, code, ended.close_reason or "", by)

    def error(self, flow: http.HTTPFlow) -> None:
        self._close_sockets_if_ending()

    def client_connected(self, client: connection.Client) -> None:
        app_connections.connections += 1
        self._freed_memory.connection_began()

    def client_disconnected(self, client: connection.Client) -> None:
        self._close_sockets_if_ending()
        # Whatever went wrong in between, a socket does not outlive its connection.
        for key, socket in control.sockets():
            if socket.flow is not None and socket.flow.client_conn is client:
                lost = 1006 if socket.opened_at is not None else None
                reason = end_reasons.reason_for(socket.flow)
                by: ClosedBy = "client" if reason is None else "proxy"
                control.close(key, lost, reason or ("" if lost else None), by)
        self._freed_memory.connection_ended()


def _add_options(loader: addonmanager.Loader) -> None:
    loader.add_option(
        "ws_lane",
        str,
        "auto",
        "How WebSocket messages are carried: `auto` by Wirewright's own layer, `hooks` by mitmproxy's.",
        choices=LANES,
    )
    loader.add_option(
        "ws_splice",
        bool,
        True,
        "Read and write the connections of an open WebSocket past mitmproxy's layers where that is possible. "
        "Without it, and with `ws_lane=hooks`, all bytes go through these layers, which is slower.",
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


def _freeze_objects() -> None:
    """Leave the objects of the program's start out of garbage collection, once in a process.

    A full collection looked at 110,000 of them for 60 ms, in which nothing passed. It does not pay to collect
    first: 300 of them are garbage.
    """
    if gc.get_freeze_count() < _FROZEN_BY_PYTHON:
        gc.freeze()
