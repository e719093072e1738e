"""The work of commands for a running proxy: `wirewright list`, `wait`, `send` and `attach`."""

import asyncio
import code
import json
import math
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from wirewright import sync_api
from wirewright.async_api import connect
from wirewright.capture.filters import has_any
from wirewright.capture.reasons import named
from wirewright.cli.program import ProxyAddress
from wirewright.model.errors import Error
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.model.websocket import WebSocket
from wirewright.printable import print_line, printable, printable_lines
from wirewright.remote import protocol
from wirewright.values import Direction, Payload

TIMED_OUT, CLOSED = 1, 4
"""Exit codes of `wait`, beside 2 for a mistake in the command line and 3 for a missing proxy."""
WaitedFor = Literal["framereceived", "framesent", "socketerror", "close"]
"""The events that `wait` can wait for."""
LAST_SECONDS = 1.0
"""Seconds that a proxy may take to end after it has closed its sockets."""
DESCRIBED = (
    *("url", "status", "subprotocol", "client_address", "server_address", "opened_at"),
    *("request_headers", "response_headers"),
)
"""The properties of a socket that `list --json` prints."""
UNBOUNDED = 1_000_000
"""Columns where there is no terminal to fit into."""


class NothingCame(Error):
    """`wait` ended without its event; `code` is the exit code that says why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


async def list_sockets(console: Console, target: ProxyAddress, url: UrlMatch | None, as_json: bool) -> None:
    """Print a table of the sockets that are open now, or JSON."""
    async with _client(target) as proxy:
        opened = Control(proxy).sockets()
    matches = compile_match(url)
    sockets = [(key, socket) for key, socket in opened if matches(socket.url)]
    if as_json:
        described = (
            {"id": key} | {name: getattr(socket, name) for name in DESCRIBED} for key, socket in sockets
        )
        print(json.dumps(list(described)))
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
    """Print the value of the first event that fits, of any matching socket that is open or opens meanwhile.

    `events` are names; if there are `texts`, the value must contain one of them. `timeout` is in seconds.
    Raises NothingCame if the time is up, and if all of these sockets have closed, and Error if the proxy has
    ended.
    """
    for event in events:
        if event not in get_args(WaitedFor):
            raise ValueError(f"--event must be one of {', '.join(get_args(WaitedFor))}, not {event!r}")
    if not math.isfinite(timeout):
        raise ValueError(f"--timeout must be a number of seconds, not {timeout}")
    what = " or ".join(events) + (f" with {' or '.join(map(repr, texts))}" if texts else "")
    async with _client(target, url, protocol.EVENTS) as proxy:
        followed = _FollowedSockets(proxy, events, texts, history)
        proxy_end = asyncio.ensure_future(_end_of(proxy))
        waiting: list[asyncio.Future[Any]] = [followed.first, proxy_end]
        await asyncio.wait(waiting, timeout=timeout or None, return_when=asyncio.FIRST_COMPLETED)
        if followed.is_end_of_proxy:
            await asyncio.wait([proxy_end], timeout=LAST_SECONDS)
        if proxy_end.done() and (followed.is_end_of_proxy or not followed.first.done()):
            raise proxy_end.result()
        if not followed.first.done():
            there = named(followed.urls) or await _nothing_there(target, url)
            raise NothingCame(f"no {what} came within {timeout:g} s: {there}", TIMED_OUT)
        value = followed.first.result()
        if value is None:
            raise NothingCame(f"all sockets closed before a {what} came: {named(followed.urls)}", CLOSED)
    _print(value)


async def _nothing_there(target: ProxyAddress, url: UrlMatch | None) -> str:
    """A sentence: no socket whose URL matches was there. It names the URLs of the open sockets."""
    opened: list[WebSocket] = []
    with suppress(Error):
        async with _client(target) as proxy:
            opened = proxy.web_sockets
    return _nothing(url, "was there", (socket.url for socket in opened))


async def _end_of(proxy: Proxy) -> Error:
    """The error of waits when the proxy ends. Returns then."""
    try:
        await proxy.wait_for_event("websocket", lambda _: False, timeout=0)
    except Error as error:
        return error
    raise AssertionError("no socket fits")


class _FollowedSockets:
    """Follows the sockets of a proxy, those that are open and those that open, until an event fits."""

    def __init__(self, proxy: Proxy, events: Sequence[str], texts: Sequence[str], history: bool) -> None:
        self._events = cast(Sequence[WaitedFor], events)
        self._texts = texts
        self._open: set[WebSocket] = set()
        self.urls: dict[str, None] = {}
        """The URLs of all sockets that were followed."""
        self.first: asyncio.Future[Payload | WebSocket | None] = asyncio.get_running_loop().create_future()
        """The value of the first event that fits, or None once all sockets have closed."""
        self.is_end_of_proxy = False
        """True if `first` is a close by the proxy: a proxy that ends closes its sockets first."""
        proxy.on("websocket", self._follow)
        for socket in reversed(proxy.web_sockets):
            self._follow(socket)
            for frame in socket._history.after(0) if history else ():
                if frame.direction.event in events:
                    self._settle_if_it_fits(frame.payload)

    def _follow(self, socket: WebSocket) -> None:
        self.urls[socket.url] = None
        self._open.add(socket)
        for event in self._events:
            if event != "close":
                socket.on(event, self._settle_if_it_fits)
        socket.on("close", self._closed)

    def _closed(self, socket: WebSocket) -> None:
        self._open.discard(socket)
        if self.first.done():
            return
        if "close" in self._events:
            self._settle_if_it_fits(socket)
        if not (self._open or self.first.done()):
            self.first.set_result(None)
        self.is_end_of_proxy = self.first.done() and socket.closed_by == "proxy"

    def _settle_if_it_fits(self, value: Payload | WebSocket) -> None:
        payload = _payload_of(value)
        text = payload.decode(errors="replace") if isinstance(payload, bytes) else payload
        if not self.first.done() and (not self._texts or has_any(self._texts, text)):
            self.first.set_result(value)


async def send(target: ProxyAddress, url: UrlMatch | None, direction: Direction, message: Payload) -> None:
    """Send a message in one direction of the newest matching socket. Raises Error if there is none."""
    matches = compile_match(url)
    async with _client(target) as proxy:
        opened = [socket for socket in proxy.web_sockets if socket.opened_at is not None]
        sockets = [socket for socket in opened if matches(socket.url)]
        if not sockets:
            raise Error(_nothing(url, "is open", (socket.url for socket in opened)))
        newest = sockets[-1]
        sending = newest.send_to_client if direction is Direction.RECEIVED else newest.send_to_server
        await sending(message)


def _client(
    target: ProxyAddress, url: UrlMatch | None = None, events: Sequence[protocol.Event] = ()
) -> connect:
    """A client that is sent no messages, unless `events` are given."""
    return connect(target.endpoint, url=url, events=events, allow_cleartext=target.allow_cleartext)


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
        if find_spec("IPython"):
            from IPython import start_ipython

            print(banner)
            start_ipython(argv=["--no-banner"], user_ns=names)
        else:
            _complete(names)
            code.interact(banner, local=names, exitmsg="")


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
    payload = _payload_of(value)
    if sys.stdout.isatty():
        print(printable_lines(payload) if isinstance(payload, str) else payload.hex(" "))
    elif isinstance(payload, bytes):
        sys.stdout.buffer.write(payload)
    else:
        print(payload)


def _payload_of(value: Payload | WebSocket) -> Payload:
    """The value of an event as it is printed and searched; of `close`, its code and reason."""
    if isinstance(value, WebSocket):
        return f"{value.close_code or ''} {value.close_reason or ''}".strip()
    return value
