"""A relay on picows alone, with TLS on both sides: what a proxy in Python that looks at nothing can carry.

    python bench/scripts/picows_relay.py CERTIFICATE SERVER_CA SERVER_URL

It says on which port it listens, as PORT, and ends with SIGTERM.
"""

import asyncio
import signal
import ssl
import sys
from typing import Self

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

LARGEST_FRAME = 1 << 30


class RelayedEnd(WSListener):  # type: ignore[misc, unused-ignore]
    """One end of a relayed socket: what it sends goes to the other end, frame by frame."""

    def __init__(self) -> None:
        self.transport: WSTransport | None = None
        self.other: Self
        self._waiting: list[tuple[WSMsgType, bytes, bool]] = []
        """Frames of an app that its server does not yet take."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        for kind, payload, is_last in self.other._waiting:
            transport.send(kind, payload, is_last)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if (other := self.other.transport) is None:
            self._waiting.append((frame.msg_type, frame.get_payload_as_bytes(), frame.fin))
        elif frame.msg_type == WSMsgType.CLOSE:
            other.send_close(frame.get_close_code())
            other.disconnect()
            transport.disconnect()
        else:
            other.send(frame.msg_type, frame.get_payload_as_memoryview(), frame.fin)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.other.transport is not None:
            self.other.transport.disconnect()

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.underlying_transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.underlying_transport.resume_reading()


class Relay:
    """Connects each app with a server."""

    def __init__(self, server_ca: str, url: str) -> None:
        self._url = url
        self._trusted = ssl.create_default_context(cafile=server_ca)
        self._opening: set[asyncio.Task[object]] = set()

    def accept(self) -> RelayedEnd:
        app, server = RelayedEnd(), RelayedEnd()
        app.other, server.other = server, app
        opening = asyncio.ensure_future(
            ws_connect(
                lambda: server,
                self._url,
                ssl_context=self._trusted,
                max_frame_size=LARGEST_FRAME,
                proxy=None,
            )
        )
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return app


async def main(certificate: str, server_ca: str, url: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    relay, ended = Relay(server_ca, url), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await ws_create_server(
        lambda _: relay.accept(), "127.0.0.1", 0, ssl=context, backlog=1024, max_frame_size=LARGEST_FRAME
    )
    print(f"PORT {server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
