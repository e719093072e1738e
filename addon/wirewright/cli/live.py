"""A running proxy on the command line: `wirewright list`, `wait`, `send` and `attach`."""

import asyncio
import code
import json
import math
import sys
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from wirewright import sync_api
from wirewright.async_api import connect
from wirewright.capture.filters import has_any
from wirewright.capture.reasons import named
from wirewright.model.errors import Error
from wirewright.model.event_signatures import SocketEvent
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.proxy import Control, Proxy
from wirewright.model.websocket import WebSocket
from wirewright.printable import print_line, printable, printable_lines
from wirewright.remote import protocol
from wirewright.values import Direction, Payload

TIMED_OUT, CLOSED = 1, 4
"""Exit codes of `wait`, beside 2 for a mistake in the command line and 3 for a missing proxy."""
WAITED_FOR = ("framereceived", "framesent", "socketerror", "close")
LAST_SECONDS = 1.0
"""How long after its sockets a proxy that ends may be gone."""
UNBOUNDED = 1_000_000
"""Columns where there is no terminal to fit into."""


class NothingCame(Error):
    """What `wait` has waited for did not come; `code` is the exit code that says why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class ProxyAddress:
    """The running proxy that a command uses."""

    endpoint: str | None
    allow_cleartext: bool

    def open_client(self, url: UrlMatch | None = None, events: Sequence[protocol.Event] = ()) -> connect:
        """A client that is given no messages, unless `events` says so."""
        return connect(self.endpoint, url=url, events=events, allow_cleartext=self.allow_cleartext)


async def list_sockets(console: Console, target: ProxyAddress, url: UrlMatch | None, as_json: bool) -> None:
    """The sockets that are open now."""
    async with target.open_client() as proxy:
        opened = Control(proxy).sockets()
    matches = compile_match(url)
    sockets = [(key, socket) for key, socket in opened if matches(socket.url)]
    if as_json:
        print(json.dumps([_described(key, socket) for key, socket in sockets]))
        return
    if not console.file.isatty():
        console.width = UNBOUNDED
    short = [Column(name, no_wrap=True) for name in ("id", "app", "status")]
    table = Table(short[0], Column("url", overflow="fold"), *short[1:], box=None, pad_edge=False)
    for key, socket in sockets:
        app = ":".join(map(str, socket.client_address or ()))
        cells = (key[:8], socket.url, app, str(socket.status or "opening"))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    if sockets:
        console.print(table)
    else:
        sentence = _nothing(url, "is open", (socket.url for _, socket in opened))
        print_line(console, f"N{sentence.removeprefix('n')}.")


async def wait(
    target: ProxyAddress,
    url: UrlMatch | None,
    events: Sequence[str],
    texts: Sequence[str],
    timeout: float,
    history: bool,
) -> None:
    """Print what an event says: the first that fits, of any matching socket that is open or opens meanwhile.

    `events` are names; with `texts`, one of them has to be in what the event says. `timeout` is in seconds.
    Raises NothingCame if the time is up, and if all of these sockets have closed, and Error if the proxy is
    gone.
    """
    for event in events:
        if event not in WAITED_FOR:
            raise ValueError(f"--event must be one of {', '.join(WAITED_FOR)}, not {event!r}")
    if not math.isfinite(timeout):
        raise ValueError(f"--timeout must be a number of seconds, not {timeout}")
    what = " or ".join(events) + (f" with {' or '.join(map(repr, texts))}" if texts else "")
    async with target.open_client(url, protocol.EVENTS) as proxy:
        following = _Following(proxy, events, texts, history)
        try:
            async with asyncio.timeout(timeout or None):
                value = await following.first
        except TimeoutError:
            there = following.named or await _nothing_there(target, url)
            raise NothingCame(f"no {what} came within {timeout:g} s: {there}", TIMED_OUT) from None
        await following.check_proxy()
        if value is None:
            raise NothingCame(f"all sockets closed before a {what} came: {following.named}", CLOSED)
    _print(value)


async def _nothing_there(target: ProxyAddress, url: UrlMatch | None) -> str:
    """A sentence: no socket whose URL matches was there. It names the URLs of the open sockets."""
    opened: list[WebSocket] = []
    with suppress(Error):
        async with target.open_client() as proxy:
            opened = proxy.web_sockets
    return _nothing(url, "was there", (socket.url for socket in opened))


class _Following:
    """The sockets of a proxy, those that are open and those that open, until one of them has an event."""

    def __init__(self, proxy: Proxy, events: Sequence[str], texts: Sequence[str], history: bool) -> None:
        self._events = cast(Sequence[SocketEvent], events)
        self._texts, self._history = texts, history
        self._urls: dict[str, None] = {}
        self._is_proxys_end = False
        """Whether the last event was that the proxy has closed a socket: it may end."""
        self._waits: set[asyncio.Future[Payload | WebSocket]] = set()
        self.first: asyncio.Future[Payload | WebSocket | None] = asyncio.get_running_loop().create_future()
        """What the first event that fits says, or None once all sockets have closed. Raises Error where the
        proxy is gone."""
        never = proxy.wait_for_event("websocket", lambda _: False, timeout=0)
        self._proxy_gone = asyncio.ensure_future(never)
        self._proxy_gone.add_done_callback(self._after_proxy)
        proxy.on("websocket", self._follow)
        for socket in reversed(proxy.web_sockets):
            self._follow(socket)

    @property
    def named(self) -> str:
        """The URLs of the sockets that were there; at most a few."""
        return named(self._urls)

    async def check_proxy(self) -> None:
        """Raise Error if it is the proxy that has ended, of which its sockets tell first."""
        if self._is_proxys_end:
            await asyncio.wait([self._proxy_gone], timeout=LAST_SECONDS)
            if self._proxy_gone.done():
                self._proxy_gone.result()

    def _follow(self, socket: WebSocket) -> None:
        self._urls[socket.url] = None
        for event in self._events:
            coming: Coroutine[Any, Any, Payload | WebSocket]
            if event == "close":
                coming = self._close(socket, socket.wait_for_event("close", timeout=0))
            elif event != "missed":
                coming = socket.wait_for_event(event, self._fits, timeout=0, history=self._history)
            waiting = asyncio.ensure_future(coming)
            self._waits.add(waiting)
            waiting.add_done_callback(partial(self._after_wait, socket))

    async def _close(self, socket: WebSocket, coming: Awaitable[WebSocket]) -> WebSocket:
        """A socket that has closed. Raises Error where that is not what is waited for: nothing follows it."""
        try:
            await coming
        except Error:  # it was a `socketerror`: `close` follows, or has come since
            await socket.wait_for_event("close", timeout=0, history=True)
        if not self._fits(socket):
            raise Error("Socket closed")
        return socket

    def _fits(self, value: Payload | WebSocket) -> bool:
        said = _said(value)
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        return not self._texts or has_any(self._texts, text)

    def _after_wait(self, socket: WebSocket, waiting: "asyncio.Future[Payload | WebSocket]") -> None:
        self._waits.discard(waiting)
        if waiting.cancelled():
            return
        value = None if waiting.exception() else waiting.result()
        if not self.first.done() and (value is not None or not self._waits):
            self._is_proxys_end = socket.closed_by == "proxy" and (value is None or value is socket)
            self.first.set_result(value)

    def _after_proxy(self, gone: "asyncio.Future[Any]") -> None:
        if not gone.cancelled() and (error := gone.exception()) and not self.first.done():
            self.first.set_exception(error)


async def send(target: ProxyAddress, url: UrlMatch | None, direction: Direction, message: Payload) -> None:
    """Send a message in one direction of the newest matching socket. Raises Error if there is none."""
    matches = compile_match(url)
    async with target.open_client() as proxy:
        opened = [socket for socket in proxy.web_sockets if socket.opened_at is not None]
        sockets = [socket for socket in opened if matches(socket.url)]
        if not sockets:
            raise Error(_nothing(url, "is open", (socket.url for socket in opened)))
        newest = sockets[-1]
        sending = newest.send_to_client if direction is Direction.RECEIVED else newest.send_to_server
        await sending(message)


def read_message(text: str, binary: bool) -> Payload:
    """The message to send: `-` stands for stdin. Raises Error if stdin should be text and is not UTF-8."""
    if text != "-":
        return text.encode(errors="surrogateescape") if binary else text
    message = sys.stdin.buffer.read()
    try:
        return message if binary else message.decode()
    except UnicodeDecodeError:
        raise Error("stdin is not UTF-8: send it with --binary") from None


def attach(target: ProxyAddress) -> None:
    """An interactive session with `proxy` bound: IPython's where it is installed."""
    with sync_api.connect(target.endpoint, allow_cleartext=target.allow_cleartext) as proxy:
        names = {"proxy": proxy, "Error": Error}
        count = len(proxy.web_sockets)
        sockets = f"{count} open socket{'' if count == 1 else 's'}"
        banner = f"proxy is {proxy!r}, of the sync API, with {sockets}: proxy.web_sockets"
        try:
            from IPython import start_ipython
        except ModuleNotFoundError:
            start_ipython = None
        if (
            start_ipython is None
        ):  # not above: all that goes wrong in it would be told as the import's failure
            _complete(names)
            code.interact(banner, local=names, exitmsg="")
        else:
            print(banner)
            start_ipython(argv=["--no-banner"], user_ns=names)


def _complete(names: dict[str, Any]) -> None:
    """Have the Tab key complete these names and their attributes, where Python has readline."""
    try:
        import readline
        import rlcompleter
    except ModuleNotFoundError:
        return
    readline.set_completer(rlcompleter.Completer(names).complete)
    is_editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_editline else "tab: complete")


def _nothing(url: UrlMatch | None, verb: str, others: Iterable[str]) -> str:
    """A sentence: no socket, or none whose URL matches. It names the URLs of the other sockets."""
    if url is None:
        return f"no socket {verb}"
    urls = named(others)
    return f"no socket {verb} whose URL matches" + (f"; open: {urls}" if urls else "")


def _print(value: Payload | WebSocket) -> None:
    """Print it as it is; on a terminal, text is made printable and bytes are hexadecimal."""
    said = _said(value)
    if sys.stdout.isatty():
        print(printable_lines(said) if isinstance(said, str) else said.hex(" "))
    elif isinstance(said, bytes):
        sys.stdout.buffer.write(said)
    else:
        print(said)


def _said(value: Payload | WebSocket) -> Payload:
    """What an event says, as it is printed and searched."""
    if isinstance(value, WebSocket):
        return f"{value.close_code or ''} {value.close_reason or ''}".strip()
    return value


def _described(key: str, socket: WebSocket) -> dict[str, object]:
    return {
        "id": key,
        "url": socket.url,
        "status": socket.status,
        "subprotocol": socket.subprotocol,
        "client_address": socket.client_address,
        "server_address": socket.server_address,
        "opened_at": socket.opened_at,
        "request_headers": socket.request_headers,
        "response_headers": socket.response_headers,
    }
