"""A user's mistakes. Each line with a comment is an error for mypy and pyright, and no other line is."""

from wirewright import Proxy, WebSocket, expect, sync_api


async def misspell(proxy: Proxy, ws: WebSocket) -> None:
    ws.on("framesend", print)  # error
    ws.once("message", print)  # error
    ws.remove_listener("closed", print)  # error
    proxy.on("web_socket", print)  # error
    await ws.wait_for_event("framerecieved")  # error
    await proxy.wait_for_event("close")  # error


def misspell_sync(proxy: sync_api.Proxy, ws: sync_api.WebSocket) -> None:
    ws.on("framesend", print)  # error
    ws.once("message", print)  # error
    ws.remove_listener("closed", print)  # error
    proxy.on("web_socket", print)  # error
    ws.wait_for_event("framerecieved")  # error
    ws.expect_event("error")  # error
    proxy.expect_event("close")  # error


def take_text(payload: str) -> None:
    print(payload)


def listen(ws: WebSocket, sync_ws: sync_api.WebSocket) -> None:
    ws.on("framesent", take_text)  # error
    sync_ws.on("framesent", take_text)  # error


def disturb(ws: WebSocket, sync_ws: sync_api.WebSocket, route: sync_api.WebSocketRoute) -> None:
    ws.close(to="app")  # error
    ws.abort("hard")  # error
    ws.conditions("5g")  # error
    sync_ws.conditions(plan=[(0, "5g")])  # error
    route.conditions(lag=5)  # error


async def forget_await(proxy: Proxy, ws: WebSocket) -> None:
    expect(ws).to_have_received("filled")  # error
    expect(ws).not_to_have_sent("cancel")  # error
    expect(proxy).to_reconnect()  # error
    ws.next_frame("filled")  # error
    ws.cursor().next_frame("filled")  # error
    ws.wait_for_open()  # error
    ws.wait_for_event("close")  # error
    proxy.wait_for_websocket("**/live")  # error
    (ws.next_frame("filled")).json()  # error
    await expect(ws).to_be_open(code=1000)  # error
