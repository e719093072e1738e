"""A running proxy on the command line: `wirewright list`, `wait`, `send` and `attach`."""

import asyncio
import code
import json
import sys
from collections.abc import Iterable
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wirewright import sync_api
from wirewright.async_api import connect
from wirewright.model.errors import Error
from wirewright.model.history import Payload
from wirewright.model.proxy import Proxy
from wirewright.model.websocket import WebSocket
from wirewright.timeline import printable

TIMED_OUT, CLOSED = 1, 2
"""Exit codes of `wait`."""
WAITED_FOR = ("framereceived", "framesent", "socketerror", "close")


async def list_sockets(console: Console, endpoint: str | None, url: str | None, as_json: bool) -> None:
    """The sockets that are open now."""
    async with connect(endpoint, url=url, events=()) as proxy:
        sockets = proxy.web_sockets
        if as_json:
            print(json.dumps([_described(number, socket) for number, socket in enumerate(sockets, 1)]))
            return
        table = Table("", "url", "app", "status", box=None, pad_edge=False)
        for number, socket in enumerate(sockets, 1):
            app = ":".join(map(str, socket.client_address or ()))
            table.add_row(f"#{number}", Text(printable(socket.url)), app, str(socket.status or "opening"))
        console.print(table if sockets else "No socket is open.", highlight=False)


async def wait(
    endpoint: str | None, url: str | None, event: str, grep: str | None, timeout: float, history: bool
) -> int:
    """Print what an event of the newest matching socket says. `timeout` is in seconds.

    Returns 0, or 1 where the time is up, or 2 where the socket closes first.
    """
    if event not in WAITED_FOR:
        raise ValueError(f"--event must be one of {', '.join(WAITED_FOR)}, not {event!r}")
    async with connect(endpoint, url=url) as proxy:
        try:
            async with asyncio.timeout(timeout or None):
                socket = await _socket(proxy)
                value = await socket.wait_for_event(
                    event, lambda payload: _has(payload, grep), timeout=0, history=history
                )
        except TimeoutError:
            return TIMED_OUT
        except Error as error:
            Console(stderr=True).print(printable(error.message), style="red", highlight=False)
            return CLOSED
    _print(value)
    return 0


async def send(endpoint: str | None, url: str | None, to: Literal["client", "server"], message: str) -> None:
    """Send one end of the newest matching socket a text message. Raises Error if there is none."""
    async with connect(endpoint, url=url, events=()) as proxy:
        sockets = [socket for socket in proxy.web_sockets if socket.opened_at is not None]
        if not sockets:
            raise Error(f"no socket {'of such a URL ' if url else ''}is open")
        sending = sockets[-1].send_to_client if to == "client" else sockets[-1].send_to_server
        await sending(message)


def attach(endpoint: str | None) -> None:
    """An interactive session with `proxy` bound: IPython's where it is installed."""
    with sync_api.connect(endpoint) as proxy:
        names = {"proxy": proxy, "Error": Error}
        banner = f"proxy is {proxy!r}, with {len(proxy.web_sockets)} open sockets: proxy.web_sockets"
        try:
            from IPython import start_ipython
        except ModuleNotFoundError:
            code.interact(banner, local=names, exitmsg="")
        else:
            print(banner)
            start_ipython(argv=["--no-banner"], user_ns=names)


async def _socket(proxy: Proxy) -> WebSocket:
    """The newest that is open, or the next one."""
    sockets: Iterable[WebSocket] = reversed(proxy.web_sockets)
    for socket in sockets:
        return socket
    return await proxy.wait_for_websocket(timeout=0)


def _has(payload: object, grep: str | None) -> bool:
    if grep is None or isinstance(payload, WebSocket):
        return True
    text = payload.decode(errors="replace") if isinstance(payload, bytes) else str(payload)
    return grep.lower() in text.lower()


def _print(value: Payload | WebSocket) -> None:
    if isinstance(value, WebSocket):
        value = f"{value.close_code or ''} {value.close_reason or ''}".strip()
    if isinstance(value, bytes):
        sys.stdout.buffer.write(value)
    else:
        print(value)


def _described(number: int, socket: WebSocket) -> dict[str, object]:
    return {
        "number": number,
        "url": socket.url,
        "status": socket.status,
        "subprotocol": socket.subprotocol,
        "client_address": socket.client_address,
        "server_address": socket.server_address,
        "opened_at": socket.opened_at,
        "request_headers": socket.request_headers,
        "response_headers": socket.response_headers,
    }
