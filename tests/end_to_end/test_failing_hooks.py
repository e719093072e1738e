"""Errors inside our hooks, and hooks that mitmproxy does not call: no traffic bypasses a route."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from mitmproxy import ctx, hooks
from mitmproxy.exceptions import AddonHalt

from support.event_log import Recordings, eventually
from support.raw_peers import RawEnd, RawServer, asking
from wirewright import Proxy, WebSocketRoute
from wirewright.mitm.addon import WirewrightAddon
from wirewright.mitm.connection_ends import ServerResets
from wirewright.mitm.handshake_hooks import HandshakeHooks
from wirewright.model.feed import Feed
from wirewright.wire.frames import Opcode

SECRET = b"what a route stops"

Break = Callable[[pytest.MonkeyPatch], None]


class BrokenError(Exception):
    """An error in our own code."""


def broken(*_: object, **__: object) -> Any:
    raise BrokenError


def addon_module() -> ModuleType:
    return sys.modules[type(ctx.master.addons.get("wirewright")).__module__]


def handshakes() -> ModuleType:
    return sys.modules[type(ctx.master.addons.get("wirewright-handshakes")).__module__]


def breaking(where: Callable[[], object], *names: str) -> Break:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        found = where()
        for name in names[:-1]:
            found = getattr(found, name)
        monkeypatch.setattr(found, names[-1], broken)

    return patch


def breaking_once(where: Callable[[], object], name: str) -> Break:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        stock, calls = getattr(where(), name), iter([broken])
        monkeypatch.setattr(where(), name, lambda *given, **named: next(calls, stock)(*given, **named))

    return patch


BREAKS: dict[str, list[Break]] = {
    "next_layer": [breaking(addon_module, "request_start", "wait_for_request_line")],
    "requestheaders": [
        breaking(handshakes, "history_limit"),
        breaking_once(handshakes, "history_limit"),
        breaking(handshakes, "connection_ends", "watch_idleness"),
        breaking(handshakes, "admission", "asks_for_websocket"),
        breaking(handshakes, "admission", "handshake_of"),
    ],
    "request": [
        breaking(handshakes, "route_handshake"),
        breaking(lambda: Feed, "requested"),
        breaking(handshakes, "control", "take_route"),
    ],
    "responseheaders": [breaking(handshakes, "admission", "refusal_reason")],
    "response": [
        breaking(lambda: Feed, "answered"),
        breaking(handshakes, "chromium_errors", "accepts_websocket"),
    ],
    "websocket_start": [
        breaking(addon_module, "connection_ends", "allow_idleness"),
        breaking(lambda: Feed, "opened"),
    ],
    "websocket_message": [
        breaking(lambda: Feed, "frames"),
        breaking(addon_module, "HookSocket", "flush"),
    ],
    "update": [breaking(lambda: HandshakeHooks, "answer_decided")],
    "websocket_end": [breaking(addon_module, "chromium_errors", "violation_text")],
    "error": [breaking(handshakes, "chromium_errors", "no_answer_text")],
    "server_connected": [breaking(handshakes, "connection_ends", "ServerResets", "server_connected")],
    "server_disconnected": [breaking(handshakes, "connection_ends", "ServerResets", "server_disconnected")],
    "client_connected": [breaking(addon_module, "app_connections", "__class__", "connections")],
    "client_disconnected": [breaking(addon_module, "control", "sockets")],
}
"""By hook, what it calls and what raises."""

CASES = [
    pytest.param(hook, patch, id=f"{hook}-{number}")
    for hook, patches in BREAKS.items()
    for number, patch in enumerate(patches, 1)
]


def test_each_hook_of_the_addon_is_broken_here() -> None:
    ours = {
        name
        for name in hooks.all_hooks
        if any(hasattr(addon, name) for addon in (WirewrightAddon, HandshakeHooks, ServerResets))
    }
    assert ours - {"load", "configure", "running", "done"} == BREAKS.keys()


def reject(ws: WebSocketRoute) -> None:
    ws.reject(403)


def drop_all(ws: WebSocketRoute) -> None:
    ws.connect_to_server()
    ws.on_message(lambda message: None)


async def payloads(server: RawServer) -> list[bytes]:
    """The payloads of the frames that come to a server on its next connection, up to a ping or its end."""
    end, came = await server.end(), []
    with contextlib.suppress(EOFError, ConnectionError):
        while (frame := await end.frame()).opcode != Opcode.PING:
            came.append(frame.payload)
    return came


async def passed(proxy: Proxy, server: RawServer) -> list[bytes]:
    """The messages that get to a server from an app which sends one once its handshake is accepted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    app = RawEnd(reader, writer, masks=True, headers="")
    authority = server.url.removeprefix("ws://")
    await app.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await app.write(asking("/live", authority))
    answer = b""
    with contextlib.suppress(EOFError, ConnectionError):
        answer = await reader.readuntil(b"\r\n\r\n")
        await app.write(app.encode(Opcode.TEXT, SECRET), app.encode(Opcode.PING))
    if not answer.startswith(b"HTTP/1.1 101 "):
        app.hang_up()
    ended, coming = asyncio.ensure_future(app.rest()), asyncio.ensure_future(payloads(server))
    await asyncio.wait([ended, coming], return_when=asyncio.FIRST_COMPLETED)
    app.hang_up()
    if server.sockets == 0:
        coming.cancel()
        return []
    return await coming


@pytest.mark.parametrize("handler", [reject, drop_all])
@pytest.mark.parametrize(("hook", "patch"), CASES)
async def test_error_in_a_hook_lets_nothing_pass_that_a_route_stops(
    proxy: Proxy, hook: str, patch: Break, handler: Callable[[WebSocketRoute], None]
) -> None:
    proxy.route_web_socket("**/live", handler)
    async with RawServer() as server:
        with pytest.MonkeyPatch.context() as monkeypatch:
            patch(monkeypatch)
            assert SECRET not in await passed(proxy, server)
            if handler is reject:
                assert server.sockets == 0
        await eventually(lambda: not proxy.web_sockets or hook == "client_disconnected")


@pytest.mark.parametrize(("hook", "patch"), CASES)
async def test_error_in_a_hook_leaves_other_sockets_alone_or_cuts_them(
    proxy: Proxy, hook: str, patch: Break, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawServer() as server:
        with pytest.MonkeyPatch.context() as monkeypatch:
            patch(monkeypatch)
            came = await passed(proxy, server)
    if SECRET not in came:
        assert "the WebSocket is cut" in caplog.text or "the handshake is stopped" in caplog.text


class Halting:
    """Another addon, after which mitmproxy calls no further addon for these hooks."""

    def __init__(self, *names: str) -> None:
        for name in names:
            setattr(self, name, self._halt)

    def _halt(self, *_: object) -> None:
        raise AddonHalt


@pytest.mark.parametrize("handler", [reject, drop_all])
@pytest.mark.parametrize(
    "names",
    [
        ("requestheaders",),
        ("request",),
        ("responseheaders",),
        ("response",),
        ("requestheaders", "request"),
        ("requestheaders", "request", "responseheaders", "response", "websocket_start"),
    ],
    ids=" ".join,
)
async def test_addon_that_ends_the_chain_of_hooks_lets_nothing_pass_that_a_route_stops(
    proxy: Proxy,
    recordings: Recordings,
    names: tuple[str, ...],
    handler: Callable[[WebSocketRoute], None],
) -> None:
    halting = Halting(*names)
    ctx.master.addons.add(halting)
    chain = ctx.master.addons.chain
    chain.insert(0, chain.pop(chain.index(halting)))
    proxy.route_web_socket("**/live", handler)
    async with RawServer() as server:
        assert SECRET not in await passed(proxy, server)
