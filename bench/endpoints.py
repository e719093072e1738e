"""The two ends of every measurement: a server and a client, each a process of its own, on picows.

    python -m bench.endpoints server CERTIFICATE
    python -m bench.endpoints client

Both take requests as JSON, one a line, on stdin, answer each with a line on stdout, and end with their stdin.
What the server shall do on a socket it is told on that socket, by a message of the client: an `Order`.
"""

import asyncio
import json
import logging
import ssl
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport, ws_connect, ws_create_server

from bench.sender import NUMBER, Order, Sender, payload

LARGEST_FRAME = 1 << 30
HANDSHAKE_LIMIT = 120.0
"""Seconds; many sockets that are opened at once wait for each other."""
CLOSING_LIMIT = 5.0
"""Seconds within which a socket must be gone."""
AT_ONCE = 32
"""How many handshakes are under way at the same time."""


class ServerEnd(Sender):
    """Carries out the orders that come with the messages."""

    def __init__(self) -> None:
        super().__init__()
        self._receiving: Order | None = None
        self._got = 0
        self._size = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        order = self._receiving
        if order is None:
            if frame.msg_type != WSMsgType.CLOSE:
                self._obey(Order(**json.loads(frame.get_payload_as_bytes())))
            else:
                transport.send_close(WSCloseCode.OK)
                transport.disconnect()
            return
        self._size += frame.payload_size
        if order.do == "echo":
            transport.send(order.kind, frame.get_payload_as_bytes())
        if frame.fin:
            self._got += 1
            if self._got == order.count:
                self._receiving = None
                if order.do == "sink":
                    transport.send(WSMsgType.TEXT, json.dumps({"messages": self._got, "bytes": self._size}))

    def _obey(self, order: Order) -> None:
        if order.do == "flood":
            self.pump(order)
        else:
            self._receiving, self._got, self._size = order, 0, 0


class ClientEnd(Sender):
    """Gives an order, and knows when it has been carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.got = 0
        self.size = 0
        self.misplaced = 0
        """Messages that did not carry the number that was their turn."""
        self.sample = b""
        """The last frame."""
        self.round_trips: list[float] = []
        self._asked = Order("flood", 0, 0)
        self._fresh = True
        self._at = 0.0

    def begin(self, order: Order) -> None:
        self._asked, self.got, self.size, self.misplaced, self._fresh = order, 0, 0, 0, True
        self.done = asyncio.get_running_loop().create_future()
        self.round_trips = []
        self.transport.send(WSMsgType.TEXT, order.encode())
        if order.do == "sink":
            self.pump(order)
        elif order.do == "echo":
            self._ping()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        asked = self._asked
        self.size += frame.payload_size
        if asked.numbered and self._fresh:
            self._check_number(frame)
        self._fresh = frame.fin
        if not frame.fin:
            return
        self.got += 1
        if asked.do == "echo":
            self.round_trips.append(time.perf_counter() - self._at)
            if self.got < asked.count:
                self._ping()
        elif asked.do == "sink":
            self._acknowledged(frame)
        if self.got == asked.count:
            self.sample = bytes(frame.get_payload_as_memoryview()[:1000])
            self._finish()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the socket was closed"))
            self.done.exception()  # it may be that nobody waits

    def _ping(self) -> None:
        self._at = time.perf_counter()
        self.transport.send(self._asked.kind, payload(self._asked.size))

    def _check_number(self, frame: WSFrame) -> None:
        number = int.from_bytes(frame.get_payload_as_memoryview()[:NUMBER])
        self.misplaced += number != self.got

    def _acknowledged(self, frame: WSFrame) -> None:
        answer = json.loads(frame.get_payload_as_bytes())
        self.got, self.size = answer["messages"], answer["bytes"]

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class Server:
    """Listens with TLS and without; `progress` says how many messages the newest socket has been sent."""

    def __init__(self) -> None:
        self._newest: ServerEnd | None = None

    async def listen(self, certificate: Path) -> dict[str, int]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        return {"ws": await self._listen(None), "wss": await self._listen(context)}

    async def _listen(self, context: ssl.SSLContext | None) -> int:
        server = await ws_create_server(
            lambda _: self._accept(),
            "127.0.0.1",
            0,
            ssl=context,
            backlog=1024,
            max_frame_size=LARGEST_FRAME,
            websocket_handshake_timeout=HANDSHAKE_LIMIT,
        )
        self._servers = [*getattr(self, "_servers", []), server]
        port: int = server.sockets[0].getsockname()[1]
        return port

    def _accept(self) -> ServerEnd:
        self._newest = ServerEnd()
        return self._newest

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"sent": self._newest.sent if self._newest else 0}


class Client:
    """Opens sockets, gives them orders and takes the time."""

    def __init__(self) -> None:
        self._sockets: list[ClientEnd] = []

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await getattr(self, request.pop("request"))(**request)
        except Exception as error:
            await self.close(CLOSING_LIMIT)
            return {"error": str(error) or type(error).__name__}
        return answer

    async def open(self, url: str, proxy: str | None, ca: str, sockets: int, limit: float) -> dict[str, Any]:
        """Open sockets, and say how many seconds that took."""
        context = _trusting(ca) if url.startswith("wss:") else None
        turns = asyncio.Semaphore(AT_ONCE)

        async def open_one() -> None:
            async with turns:
                _, end = await ws_connect(
                    ClientEnd,
                    url,
                    ssl_context=context,
                    proxy=proxy,
                    max_frame_size=LARGEST_FRAME,
                    websocket_handshake_timeout=HANDSHAKE_LIMIT,
                )
            assert isinstance(end, ClientEnd)
            self._sockets.append(end)

        started = time.perf_counter()
        try:
            async with asyncio.timeout(limit):
                await asyncio.gather(*(open_one() for _ in range(sockets)))
        except TimeoutError:
            raise TimeoutError(f"{len(self._sockets)} of {sockets} open in {limit:.0f} s") from None
        return {"seconds": time.perf_counter() - started}

    async def carry(self, order: dict[str, Any], limit: float) -> dict[str, Any]:
        """Have each socket carry the order; what came, and in how many seconds."""
        started = time.perf_counter()
        for socket in self._sockets:
            socket.begin(Order(**order))
        return await self._outcome(started, limit)

    async def stall(self, order: dict[str, Any], limit: float) -> dict[str, Any]:
        """Give the order, and read nothing of what comes until `resume`."""
        (socket,) = self._sockets
        socket.transport.underlying_transport.pause_reading()
        socket.begin(Order(**order))
        return {}

    async def resume(self, limit: float) -> dict[str, Any]:
        (socket,) = self._sockets
        started = time.perf_counter()
        socket.transport.underlying_transport.resume_reading()
        return await self._outcome(started, limit)

    async def close(self, limit: float) -> dict[str, Any]:
        for socket in self._sockets:
            socket.transport.send_close(WSCloseCode.OK)
            socket.transport.disconnect()
        waits = [socket.transport.wait_disconnected() for socket in self._sockets]
        self._sockets = []
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await asyncio.gather(*waits, return_exceptions=True)
        return {}

    async def _outcome(self, started: float, limit: float) -> dict[str, Any]:
        error = ""
        try:
            async with asyncio.timeout(limit):
                await asyncio.gather(*(socket.done for socket in self._sockets))
        except TimeoutError:
            error = f"not done in {limit:.0f} s"
        except ConnectionError as lost:
            error = str(lost)
        seconds = time.perf_counter() - started
        trips = [trip for socket in self._sockets for trip in socket.round_trips]
        return {
            "seconds": seconds,
            "messages": sum(socket.got for socket in self._sockets),
            "size": sum(socket.size for socket in self._sockets),
            "misplaced": sum(socket.misplaced for socket in self._sockets),
            "round_trip": statistics.median(trips) if trips else 0.0,
            "slow_round_trip": sorted(trips)[len(trips) * 99 // 100] if trips else 0.0,
            "changed": all(b"sell" in socket.sample for socket in self._sockets),
            "unfinished": error,
        }


@cache
def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


async def obey(answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """Answer the requests on stdin until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        say(await answer(json.loads(line)))


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def main(role: str, *arguments: str) -> None:
    logging.basicConfig(level=logging.CRITICAL)
    if role == "server":
        server = Server()
        say(await server.listen(Path(arguments[0])))
        await obey(server.answer)
    else:
        await obey(Client().answer)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
