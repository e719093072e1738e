"""A user's code. `mypy --strict` and pyright's strict mode accept it."""

from typing import assert_type

from wirewright import (
    EventInfo,
    Frame,
    MessageHandler,
    Payload,
    Proxy,
    UrlMatch,
    WebSocket,
    async_api,
    sync_api,
)


async def wait_async(proxy: Proxy, ws: WebSocket) -> None:
    async with proxy.expect_event("websocket", lambda socket: socket.url == "") as opened:
        pass
    assert_type(await opened.value, WebSocket)
    assert_type(await proxy.wait_for_event("websocket"), WebSocket)
    async with proxy.expect_websocket("**/live") as live:
        pass
    assert_type(await live.value, WebSocket)
    assert_type(await ws.wait_for_event("framesent", history=True), str | bytes)
    assert_type(await ws.wait_for_event("framereceived", lambda payload: "a" in str(payload)), str | bytes)
    assert_type(await ws.wait_for_event("close"), WebSocket)
    assert_type(await ws.wait_for_event("socketerror"), str)
    assert_type(await ws.wait_for_event("missed", lambda: True), int)
    async with (
        ws.expect_event("framesent") as sent,
        ws.expect_event("framereceived") as received,
        ws.expect_event("close") as closed,
        ws.expect_event("socketerror") as failed,
        ws.expect_event("missed") as missed,
    ):
        pass
    assert_type(await sent.value, str | bytes)
    assert_type(await received.value, str | bytes)
    assert_type(await closed.value, WebSocket)
    assert_type(await failed.value, str)
    assert_type(await missed.value, int)
    assert_type(await ws.next_frame("filled", direction="received"), Frame)
    assert_type(await ws.cursor("now").next_frame(json={"type": "filled"}), Frame)
    assert_type(await ws.wait_for_open(timeout=1000), None)
    assert_type(await async_api.expect(ws).to_have_received("filled", count=1), None)


def wait_sync(proxy: sync_api.Proxy, ws: sync_api.WebSocket) -> None:
    with proxy.expect_event("websocket") as opened:
        pass
    assert_type(opened.value, sync_api.WebSocket)
    assert_type(proxy.wait_for_event("websocket"), sync_api.WebSocket)
    assert_type(ws.wait_for_event("framesent"), str | bytes)
    assert_type(ws.wait_for_event("framereceived", history=True), str | bytes)
    assert_type(ws.wait_for_event("close"), sync_api.WebSocket)
    assert_type(ws.wait_for_event("socketerror"), str)
    assert_type(ws.wait_for_event("missed"), int)
    with (
        ws.expect_event("framesent", lambda payload: payload == "a") as sent,
        ws.expect_event("framereceived") as received,
        ws.expect_event("close") as closed,
        ws.expect_event("socketerror") as failed,
        ws.expect_event("missed") as missed,
    ):
        pass
    assert_type(sent.value, str | bytes)
    assert_type(received.value, str | bytes)
    assert_type(closed.value, sync_api.WebSocket)
    assert_type(failed.value, str)
    assert_type(missed.value, int)
    assert_type(ws.url, str)
    assert_type(ws.close_code, int | None)


def take_payload(payload: str | bytes) -> None:
    print(payload)


def take_text(message: str) -> None:
    print(message)


def take_number(frames: int) -> None:
    print(frames)


def take_socket(ws: WebSocket) -> None:
    print(ws.url)


def take_sync_socket(ws: sync_api.WebSocket) -> None:
    print(ws.url)


def listen_async(proxy: Proxy, ws: WebSocket) -> None:
    proxy.on("websocket", take_socket)
    proxy.on("websocket", lambda socket: print(socket.url))
    ws.on("framesent", take_payload)
    ws.once("framereceived", take_payload)
    ws.on("close", take_socket)
    ws.on("socketerror", take_text)
    ws.on("missed", take_number)
    ws.on("framesent", lambda: None)
    ws.on("framesent", lambda payload: print(len(payload)))

    @ws.on("framereceived")
    async def note(payload: str | bytes) -> None:
        print(payload)

    ws.remove_listener("framereceived", note)


def listen_sync(proxy: sync_api.Proxy, ws: sync_api.WebSocket) -> None:
    proxy.on("websocket", take_sync_socket)
    proxy.on("websocket", lambda socket: print(socket.url))
    ws.on("framesent", take_payload)
    ws.once("framereceived", take_payload)
    ws.on("close", take_sync_socket)
    ws.on("socketerror", take_text)
    ws.on("missed", take_number)

    @proxy.once("websocket")
    def take(socket: sync_api.WebSocket) -> None:
        print(socket.url)

    proxy.remove_listener("websocket", take)


def route(ws: async_api.WebSocketRoute) -> None:
    server = ws.connect_to_server()

    def sell(message: str | bytes) -> None:
        if isinstance(message, str):
            message = message.replace("buy", "sell")
        server.send(message)

    ws.on_message(sell)


def name_types(info: EventInfo[Payload], url: UrlMatch, proxy: Proxy) -> async_api.ReplayHandler:
    print(info.is_done())
    return proxy.route_from_capture("session.db", url=url)


def name_sync_types(handler: MessageHandler, ws: sync_api.WebSocketRoute) -> sync_api.Conditions:
    ws.on_message(handler)
    ws.send("a")
    return ws.conditions(latency=20, direction="sent")


def use_sync(ws: sync_api.WebSocket) -> None:
    with sync_api.launch(port=0) as proxy:
        assert_type(proxy, sync_api.Proxy)
    ws.send_to_client(b"a")
    assert_type(ws.close(3000, "bye"), None)


async def disturb(proxy: Proxy, ws: WebSocket, route: async_api.WebSocketRoute) -> None:
    await ws.close(1011, "restart", to="client")
    await ws.abort("rst")
    assert_type(await ws.conditions("3g", drop=0.1, direction="sent"), async_api.Conditions)
    await ws.conditions(plan=[(0, "3g"), (2.5, {"latency": 50}), (5, "offline")])
    assert_type(route.conditions("lift", seed=1), async_api.Conditions)
    route.abort("rst")
    await proxy.offline()
    await proxy.online()
    assert_type(await async_api.expect(proxy).to_reconnect("**/live", within=3000), WebSocket)
    await async_api.expect(ws).to_be_closed(code=1011)


def disturb_sync(proxy: sync_api.Proxy, ws: sync_api.WebSocket, route: sync_api.WebSocketRoute) -> None:
    ws.close(1011, "restart", to="server")
    ws.abort("rst")
    assert_type(ws.conditions("3g", drop=0.1, direction="sent"), sync_api.Conditions)
    ws.conditions(plan=[(0, "3g"), (2.5, {"latency": 50}), (5, "offline")])
    assert_type(route.conditions("lift", seed=1), sync_api.Conditions)
    route.abort("rst")
    proxy.offline()
    proxy.online()
    assert_type(sync_api.expect(proxy).to_reconnect("**/live", within=3000), sync_api.WebSocket)
    sync_api.expect(ws).to_be_closed(code=1011)
