"""The model without mitmproxy: sockets that a test feeds by hand."""

import asyncio
import functools
import textwrap
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec

from support.clock import VirtualTimeLoop
from wirewright.model.close_codes import CloseTarget
from wirewright.model.emitter import Emitter
from wirewright.model.feed import Feed
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.history import HistoryLimit
from wirewright.model.origin import Origin
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Conditions, Direction, Payload

P = ParamSpec("P")

URL = "ws://example.test/live"


class RecordingCarrier:
    """Keeps what it was asked to send."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def send(self, payload: Payload, *, direction: Direction) -> None:
        self.asked.append(("send", payload, "client" if direction is Direction.RECEIVED else "server"))

    def close(self, code: int, reason: str, *, to: CloseTarget) -> None:
        self.asked.append(("close", code, reason, *([] if to == "both" else [to])))

    def abort(self, how: str) -> None:
        self.asked.append(("abort", *([] if how == "fin" else [how])))

    def order_conditions(self, conditions: Conditions, *, direction: Direction) -> None:
        self.asked.append((direction, conditions))


def begin_socket(
    proxy: Proxy,
    url: str = URL,
    *,
    key: str = "1",
    limit: HistoryLimit | None = None,
    headers: Mapping[str, str] | None = None,
    client_address: tuple[str, int] | None = None,
    flow: object = None,
    proxy_port: int | None = None,
    proxy_user: str | None = None,
) -> Feed:
    """A socket whose handshake is on its way."""
    handshake = HandshakeRequest(url, headers or {}, Origin(client_address, proxy_port, proxy_user), flow)
    return Control(proxy).open(key, handshake, RecordingCarrier(), limit or HistoryLimit())


def open_socket(
    proxy: Proxy | None = None, url: str = URL, *, key: str = "1", limit: HistoryLimit | None = None
) -> Feed:
    """A socket that messages may pass."""
    feed = begin_socket(proxy or Proxy(), url, key=key, limit=limit)
    feed.answered(101, {})
    feed.opened()
    return feed


def receive(feed: Feed, *payloads: Payload) -> None:
    """The server sends messages."""
    for payload in payloads:
        feed.frames("framereceived", [payload])


def left_behind(emitter: Emitter) -> list[object]:
    """The listeners of an emitter, and the waits and tasks of all that share its scope."""
    scope = emitter._scope
    return [*emitter.event_names(), *scope._waits, *scope._tasks]


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a loop whose clock jumps; one in which nothing can happen any more fails."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def load_script(source: str, *, file: str = "/scripts/watch.py", **names: object) -> dict[str, Any]:
    """Execute a script as mitmproxy does, with `names` already known to it; its namespace."""
    namespace: dict[str, Any] = {"__name__": "__mitmproxy_script__.watch", "__file__": file, **names}
    exec(compile(textwrap.dedent(source), file, "exec"), namespace)
    return namespace
