"""A running proxy on the command line: `wirewright list`, `wait`, `send` and `attach`."""

import asyncio
import code
import json
import math
import sys
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Any, Literal

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from wirewright import sync_api
from wirewright.async_api import connect
from wirewright.model.errors import Error
from wirewright.model.history import Payload
from wirewright.model.matching import compile_match
from wirewright.model.proxy import Control, Proxy
from wirewright.model.websocket import WebSocket
from wirewright.timeline import printable

TIMED_OUT, CLOSED = 1, 2
"""Exit codes of `wait`."""
WAITED_FOR = ("framereceived", "framesent", "socketerror", "close")
MOST_NAMED = 3
"""How many URLs a sentence has."""
LAST_SECONDS = 1.0
"""How long after its sockets a proxy that ends may be gone."""
UNBOUNDED = 1_000_000
"""Columns where there is no terminal to fit into."""


class NothingCame(Error):
    """What `wait` has waited for did not come; `code` is the exit code that says why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


async def list_sockets(console: Console, endpoint: str | None, url: str | None, as_json: bool) -> None:
    """The sockets that are open now."""
    compile_match(url)
    async with connect(endpoint, url=url, events=()) as proxy:
        sockets = Control(proxy).sockets()
    if as_json:
        print(json.dumps([_described(key, socket) for key, socket in sockets]))
        return
    if not console.file.isatty():
        console.width = UNBOUNDED
    short = [Column(name, no_wrap=True) for name in ("id", "app", "status")]
    table = Table(short[0], Column("url", overflow="fold"), *short[1:], box=None, pad_edge=False)
    for key, socket in sockets:
        app = ":".join(map(str, socket.client_address or ()))
        table.add_row(key[:8], Text(printable(socket.url)), app, str(socket.status or "opening"))
    console.print(table if sockets else f"No socket {_of_url(url)}is open.", highlight=False)


async def wait(
    endpoint: str | None, url: str | None, event: str, grep: str | None, timeout: float, history: bool
) -> None:
    """Print what an event says: the first that fits, of any matching socket that is open or opens meanwhile.

    `timeout` is in seconds. Raises NothingCame where the time is up, and where all of these sockets have
    closed; Error where the proxy is gone.
    """
    if event not in WAITED_FOR:
        raise ValueError(f"--event must be one of {', '.join(WAITED_FOR)}, not {event!r}")
    if not math.isfinite(timeout):
        raise ValueError(f"--timeout must be a number of seconds, not {timeout}")
    compile_match(url)
    what = event if grep is None else f"{event} with {grep!r}"
    async with connect(endpoint, url=url) as proxy:
        following = _Following(proxy, event, grep, history)
        try:
            async with asyncio.timeout(timeout or None):
                value = await following.first
        except TimeoutError:
            there = following.named or f"no socket {_of_url(url)}was there"
            raise NothingCame(f"no {what} came within {timeout:g} s: {there}", TIMED_OUT) from None
        await following.check_proxy()
        if value is None:
            raise NothingCame(f"all sockets closed before a {what} came: {following.named}", CLOSED)
    _print(value)


class _Following:
    """The sockets of a proxy, those that are open and those that open, until one of them has an event."""

    def __init__(self, proxy: Proxy, event: str, grep: str | None, history: bool) -> None:
        self._event, self._grep, self._history = event, grep, history
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
        urls = list(self._urls)
        more = f" and {len(urls) - MOST_NAMED} more" if len(urls) > MOST_NAMED else ""
        return ", ".join(urls[:MOST_NAMED]) + more

    async def check_proxy(self) -> None:
        """Raise Error if it is the proxy that has ended, of which its sockets tell first."""
        if self._is_proxys_end:
            await asyncio.wait([self._proxy_gone], timeout=LAST_SECONDS)
            if self._proxy_gone.done():
                self._proxy_gone.result()

    def _follow(self, socket: WebSocket) -> None:
        self._urls[printable(socket.url)] = None
        coming: Coroutine[Any, Any, Payload | WebSocket]
        if self._event == "close":
            coming = self._close(socket, socket.wait_for_event("close", timeout=0))
        else:
            coming = socket.wait_for_event(self._event, self._fits, timeout=0, history=self._history)
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
        return self._grep is None or self._grep.lower() in text.lower()

    def _after_wait(self, socket: WebSocket, waiting: "asyncio.Future[Payload | WebSocket]") -> None:
        self._waits.discard(waiting)
        if waiting.cancelled():
            return
        value = None if waiting.exception() else waiting.result()
        if not self.first.done() and (value is not None or not self._waits):
            self._is_proxys_end = socket.closed_by == "proxy" and (value is None or value is socket)
            self.first.set_result(value)

    def _after_proxy(self, gone: "asyncio.Future[object]") -> None:
        if not gone.cancelled() and (error := gone.exception()) and not self.first.done():
            self.first.set_exception(error)


async def send(
    endpoint: str | None, url: str | None, to: Literal["client", "server"], message: Payload
) -> None:
    """Send one end of the newest matching socket a message. Raises Error if there is none."""
    compile_match(url)
    async with connect(endpoint, url=url, events=()) as proxy:
        sockets = [socket for socket in proxy.web_sockets if socket.opened_at is not None]
        if not sockets:
            raise Error(f"no socket {_of_url(url)}is open")
        sending = sockets[-1].send_to_client if to == "client" else sockets[-1].send_to_server
        await sending(message)


def read_message(text: str, binary: bool) -> Payload:
    """The message that is meant: `-` is what stdin has. Raises ValueError for what is no text."""
    if text != "-":
        return text.encode(errors="surrogateescape") if binary else text
    message = sys.stdin.buffer.read()
    try:
        return message if binary else message.decode()
    except UnicodeDecodeError:
        raise ValueError("what stdin has is no UTF-8: send it with --binary") from None


def attach(endpoint: str | None) -> None:
    """An interactive session with `proxy` bound: IPython's where it is installed."""
    with sync_api.connect(endpoint) as proxy:
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


def _of_url(url: str | None) -> str:
    return "of such a URL " if url else ""


def _print(value: Payload | WebSocket) -> None:
    said = _said(value)
    if isinstance(said, bytes):
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
