"""The recorded app, played to a live server, whose answers are compared."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from string import punctuation
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from wirewright.capture.errors import CaptureError
from wirewright.capture.reader import Capture
from wirewright.capture.records import Socket
from wirewright.capture.redaction import REDACTED
from wirewright.capture.replay.comparisons import Comparison
from wirewright.capture.replay.lockstep import Mismatch, Pace, Step, Verdict, play_lockstep, steps
from wirewright.model.handshake import Headers, sendable_headers, split_tokens
from wirewright.no_redirects import ConnectWithoutRedirects
from wirewright.values import Payload

ANSWER_SECONDS = 10.0
"""How long a recorded answer is waited for."""

_MADE_ANEW = ("content-length", "host")
"""Headers that are written anew, as are hop-by-hop headers and those of the handshake (`Sec-WebSocket-…`)."""


@dataclass
class Played:
    """The result of playing one recorded socket."""

    socket: Socket
    url: str
    """The URL of the live server."""
    sent: int = 0
    answers: int = 0
    redacted: int = 0
    """How many of the messages were sent with the word REDACTED in the place of a secret."""
    withheld: tuple[str, ...] = ()
    """Names of recorded headers that are not sent because their values are redacted in the capture."""
    mismatches: list[Mismatch] = field(default_factory=list)
    failure: str | None = None
    """Why it could not be played to its end."""

    @property
    def is_as_recorded(self) -> bool:
        return not self.mismatches and self.failure is None


@dataclass(frozen=True)
class ClientSettings:
    """How the app's side is played."""

    compare: Comparison
    speed: float = 1.0
    timeout: float = ANSWER_SECONDS
    """Seconds."""
    headers: Headers = field(default_factory=Headers)
    """Sent instead of recorded ones with the same name, or beside them."""
    tls: ssl.SSLContext | None = None
    """None for the system's own trust."""


def live_url(url: str, recorded: str) -> str:
    """Where a recorded socket is played: at this URL, or at its own path if this is an origin alone.

    Raises ValueError for what is no URL of a WebSocket.
    """
    given, path = urlsplit(url), urlsplit(recorded)
    if given.scheme not in ("ws", "wss") or not given.hostname:
        raise ValueError(f"--as-client must be ws://host/path or wss://host/path, not {url!r}")
    if given.path in ("", "/") and not given.query:
        where = (quote(part, safe=punctuation) for part in (path.path, path.query))
        return urlunsplit((given.scheme, given.netloc, *where, ""))
    return url


async def play_as_client(
    capture: Capture,
    socket: Socket,
    url: str,
    settings: ClientSettings,
    on_mismatch: Callable[[Mismatch], None],
) -> Played:
    """Open a socket to a live server, and send the app's messages in lockstep with the recorded answers.

    `on_mismatch` is called with each answer that differs. The comparison then goes on with the next answer.
    """
    try:
        played = Played(socket, live_url(url, socket.url))
    except ValueError as error:
        live_url(url, "")  # raises for the given URL
        return Played(socket, url, failure=f"not played, as its recorded URL cannot be asked for: {error}")
    try:
        sendable_headers(socket.request_headers)
    except ValueError as error:
        played.failure = f"not played, as a recorded header cannot be sent: {error}"
        return played
    recorded = _recorded_headers(socket, settings)
    redacted = {name.lower(): name for name, value in reversed(recorded.pairs) if value == REDACTED}
    played.withheld = tuple(redacted.values())
    headers = Headers([*(pair for pair in recorded.pairs if pair[1] != REDACTED), *settings.headers.pairs])
    try:
        attempt = ConnectWithoutRedirects(played.url, **_options(socket, played.url, settings, headers))
    except ValueError as error:
        played.failure = f"not played, as its recorded handshake cannot be sent: {error}"
        return played
    try:
        async with attempt as connection:
            await _ClientPlayer(capture, played, settings, connection, on_mismatch).play()
    except InvalidHandshake as error:
        played.failure = f"the handshake failed: {error or type(error).__name__}{_redirect(error)}"
    except (OSError, TimeoutError, WebSocketException) as error:
        played.failure = f"no connection: {error or type(error).__name__}"
    return played


def _redirect(error: InvalidHandshake) -> str:
    """The end of a sentence about an answer that names another URL."""
    target = error.response.headers.get("Location") if isinstance(error, InvalidStatus) else None
    return f" (the redirect to {target} is not followed)" if target is not None else ""


def _recorded_headers(socket: Socket, settings: ClientSettings) -> Headers:
    """The recorded request headers that this handshake sends again."""
    headers = socket.request_headers.end_to_end().without((*_MADE_ANEW, *settings.headers))
    return headers.without({name for name in headers if name.startswith("sec-websocket-")})


def _options(socket: Socket, url: str, settings: ClientSettings, headers: Headers) -> dict[str, Any]:
    protocols = split_tokens(socket.request_headers.get("sec-websocket-protocol", ""))
    tls = {"ssl": settings.tls or ssl.create_default_context()} if urlsplit(url).scheme == "wss" else {}
    return tls | {
        "additional_headers": headers.octets(),
        "user_agent_header": None,
        "subprotocols": [Subprotocol(each) for each in protocols if each != REDACTED] or None,
        "compression": "deflate" if "permessage-deflate" in (socket.extensions or "") else None,
        "max_size": None,
    }


class _ClientPlayer:
    """One live connection, as the peer of one recorded socket."""

    def __init__(
        self,
        capture: Capture,
        played: Played,
        settings: ClientSettings,
        connection: ClientConnection,
        on_mismatch: Callable[[Mismatch], None],
    ) -> None:
        self._capture = capture
        self._played = played
        self._settings = settings
        self._connection = connection
        self._on_mismatch = on_mismatch
        self._came: asyncio.Queue[Payload | ConnectionClosed] = asyncio.Queue()

    async def send(self, message: Payload) -> None:
        await asyncio.wait_for(self._connection.send(message), self._settings.timeout)
        self._played.sent += 1
        self._played.redacted += REDACTED in (
            message if isinstance(message, str) else message.decode("latin-1")
        )

    async def receive(self) -> Payload | None:
        try:
            message = await asyncio.wait_for(self._came.get(), self._settings.timeout)
        except TimeoutError:
            self._played.failure = f"no answer came for {self._settings.timeout:g} s"
            return None
        if isinstance(message, ConnectionClosed):
            raise message
        self._played.answers += 1
        return message

    async def play(self) -> None:
        socket = self._played.socket
        pace = Pace(socket.opened_ns or socket.asked_ns, self._settings.speed)
        script = steps(self._capture.frames(socket=socket.id), "client")
        # All the time: a server that nobody reads stops reading itself.
        self._reading = asyncio.ensure_future(self._read())
        try:
            if await play_lockstep(script, "client", self, pace, self._settings.compare, self._judge):
                await self._end(socket, pace)
        except ConnectionClosed as error:
            self._played.failure = f"the server has closed the socket: {_close_text(error)}"
        except CaptureError as error:
            self._played.failure = error.message
        except TimeoutError:
            self._played.failure = f"the server has read nothing for {self._settings.timeout:g} s"
        finally:
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            while True:
                self._came.put_nowait(await self._connection.recv())
        except ConnectionClosed as error:
            self._came.put_nowait(error)

    async def _end(self, socket: Socket, pace: Pace) -> None:
        if socket.closed_by != "server":
            await pace.until(socket.closed_ns or 0)
            while not self._came.empty():  # what has come, and was not recorded
                self._judge(None, await self.receive())
            code = socket.close_code if socket.close_code in range(3000, 5000) else 1000
            reason = (socket.close_reason or "").encode()[:123].decode(errors="ignore")
            await self._connection.close(code or 1000, reason)
            await asyncio.wait([self._reading], timeout=self._settings.timeout)
            while not self._came.empty():  # what was said before the server knew
                if not isinstance(late := self._came.get_nowait(), ConnectionClosed):
                    self._played.answers += 1
                    self._judge(None, late)
            return
        try:
            while (message := await self.receive()) is not None:
                self._judge(None, message)
        except ConnectionClosed as error:
            code = 1006 if error.rcvd is None else int(error.rcvd.code)
            if code != socket.close_code:
                self._played.failure = (
                    f"the server has closed the socket: {_close_text(error)}, and not {socket.close_code}"
                )

    def _judge(self, step: Step | None, live: Payload | None) -> Verdict:
        mismatch = Mismatch(
            url=self._played.url,
            socket=self._played.socket.id,
            number=self._played.answers + (live is None),
            expected=None if step is None else step.payload,
            actual=live,
            compare=self._settings.compare,
        )
        self._played.mismatches.append(mismatch)
        self._on_mismatch(mismatch)
        return "next" if live is not None else "stop"


def _close_text(error: ConnectionClosed) -> str:
    return "1006" if error.rcvd is None else f"{error.rcvd.code} {error.rcvd.reason}".rstrip()
