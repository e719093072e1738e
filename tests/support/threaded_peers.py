"""For tests without an event loop: a proxy, and apps and servers that are threads of their own."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from support.time_limits import STEP_MILLISECONDS, STEP_SECONDS
from wirewright.model.event_wait import TimedWait
from wirewright.sync_api import Proxy, WebSocket, launch
from wirewright.sync_api import connect as connect_to


@contextmanager
def reached(way: str, confdir: Path) -> Iterator[Proxy]:
    """A proxy that is launched here, or (`connect`) one of which this is the client. It leaves no thread."""
    if way == "launch":
        with launch(port=0, confdir=confdir) as launched:
            yield launched
    else:
        with (
            launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}),
            connect_to(route_timeout=STEP_MILLISECONDS) as connected,
        ):
            yield connected
    assert not [each.name for each in threading.enumerate() if each.name.startswith("wirewright-")]


@contextmanager
def serving(handler: Callable[[ServerConnection], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The URL of a server."""
    with serve(handler, "127.0.0.1", 0, ssl=tls) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port_of(server)}"
        finally:
            server.shutdown()
            thread.join()


def port_of(server: Server) -> int:
    port: int = server.socket.getsockname()[1]
    return port


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def app(proxy: Proxy, url: str) -> Any:
    """An app's socket, a context manager."""
    return connect(url, proxy=f"http://127.0.0.1:{proxy.port}")


@contextmanager
def opened(proxy: Proxy, url: str) -> Iterator[tuple[WebSocket, ClientConnection]]:
    """A socket as the proxy's user and as its app have it."""
    with ExitStack() as stack:
        with proxy.expect_websocket() as info:
            client = stack.enter_context(app(proxy, url))
        yield info.value, client


def say(client: ClientConnection, message: str) -> None:
    """Have an echo."""
    client.send(message)
    assert client.recv(timeout=STEP_SECONDS) == message


def let_waits_time_out(proxy: Proxy) -> None:
    """End all waits that are under way, as their timers would."""

    def time_out() -> None:
        for wait in list(proxy._own._scope._waits):
            assert isinstance(wait, TimedWait)
            assert wait._timer is not None
            wait._timer._run()

    proxy._call(time_out)


def settle(proxy: Proxy) -> None:
    """Return when the dispatcher has done what it was given until now, and no handler waits any more.

    A client of the remote protocol asks its proxy first. Events that the proxy sent before the answer have
    arrived then.
    """
    bridge, done = proxy._bridge, threading.Event()
    bridge.wait(proxy._own._running_host().apps_seen())

    def look() -> None:
        if bridge.dispatcher.waiting:
            bridge.post(bridge.dispatcher.in_turn, look)
        else:
            done.set()

    bridge.dispatcher.in_turn(look)
    assert done.wait(STEP_SECONDS)
