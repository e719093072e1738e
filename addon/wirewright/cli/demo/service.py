"""The demo's service: a market ticker and a chat, over `wss://`.

python -m wirewright.cli.demo.service --port 8765 --certificates folder

/ticker   a quote each 0.4 s: {"symbol": "WIRE", "price": 101.5}
/chat     answers each line that it is told
"""

import argparse
import asyncio
import itertools
import json
import ssl
from contextlib import suppress
from pathlib import Path

import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

SYMBOL = "WIRE"
START_PRICE = 100.0
STEP = 0.75
QUOTE_SECONDS = 0.4
CA_FILE = "service-ca.pem"


async def ticker(connection: ServerConnection) -> None:
    """Send quotes that rise more than they fall."""
    for tick in itertools.count():
        price = START_PRICE + STEP * (tick - (tick % 4 == 3) * 2)
        await connection.send(json.dumps({"symbol": SYMBOL, "price": price}))
        await asyncio.sleep(QUOTE_SECONDS)


async def chat(connection: ServerConnection) -> None:
    """Answer each line with a text message and a binary one."""
    await connection.send(json.dumps({"from": "service", "text": "welcome"}))
    async for line in connection:
        await connection.send(json.dumps({"from": "service", "text": f"you said {str(line)!r}"}))
        await connection.send(bytes(range(32)))


async def handle(connection: ServerConnection) -> None:
    routes = {"/ticker": ticker, "/chat": chat}
    path = connection.request.path if connection.request else ""
    if path not in routes:
        await connection.close(4004, "no such room")
        return
    with suppress(ConnectionClosed):
        await routes[path](connection)


def make_tls(folder: Path, host: str) -> ssl.SSLContext:
    """A context with a certificate of a new CA, which is written into the folder for clients to trust."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(host, "localhost", "127.0.0.1").configure_cert(context)
    folder.mkdir(parents=True, exist_ok=True)
    ca.cert_pem.write_to_path(str(folder / CA_FILE))
    return context


async def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The demo's WebSocket service.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 takes a free one")
    parser.add_argument("--name", default="localhost", help="the host name that its certificate is for")
    parser.add_argument("--certificates", type=Path, required=True, help=f"the folder to put {CA_FILE} into")
    options = parser.parse_args(arguments)
    tls = make_tls(options.certificates, options.name)
    async with serve(handle, options.host, options.port, ssl=tls) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"service listening on wss://{options.name}:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
