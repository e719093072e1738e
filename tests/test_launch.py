import websockets

from support.servers import serving
from wirewright import Proxy


async def test_frames_of_a_client_are_seen(proxy: Proxy) -> None:
    async with serving() as url:
        async with proxy.expect_websocket(f"{url}/*") as opened:
            client = await websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{proxy.port}")
        ws = await opened.value
        async with ws.expect_event("framereceived", lambda payload: "2" in payload) as frame:
            await client.send("m1")
            await client.send("m2")
        assert await frame.value == "m2"
        await client.close()
