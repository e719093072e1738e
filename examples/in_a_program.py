"""A proxy inside a program of your own: wait for an app's first socket and for its first frame.

python examples/in_a_program.py

The proxy listens on port 8080, or on the one in the environment variable PORT.
"""

import asyncio
import os

from wirewright import Error, launch


async def main() -> None:
    async with launch(port=int(os.environ.get("PORT", "8080"))) as proxy:
        print(f"Use http://127.0.0.1:{proxy.port} as an app's proxy; for wss:// it must trust")
        print(f"{proxy.ca_certificate}")
        ws = await proxy.wait_for_websocket(timeout=0)
        print(f"{ws.url} was opened")
        frame = await ws.wait_for_event("framereceived", timeout=0, history=True)
        print(f"the server's first frame: {frame!r}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Error as error:
        raise SystemExit(error.message) from None
    except KeyboardInterrupt:
        pass
