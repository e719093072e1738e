"""A capture session while it runs: what sockets report goes into its file."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from wirewright.capture.frame_batches import ChangedMessage, ControlFrames, Messages, Policy
from wirewright.capture.free_space import FreeSpace
from wirewright.capture.records import FrameFlag
from wirewright.capture.redaction import DEFAULT, REDACTED, Redaction, secret_protocol
from wirewright.capture.rotation import Rotation
from wirewright.capture.schema import create_or_append, newest_socket
from wirewright.capture.tables import INSERT_REMARK
from wirewright.capture.write_queue import WriteQueue
from wirewright.capture.writer import Writer
from wirewright.model import user_errors
from wirewright.model.frame_run import UnreadBatch
from wirewright.model.handshake import Headers
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.tape import Tape
from wirewright.model.websocket import WebSocket
from wirewright.values import ClosedBy, Direction, Payload, payload_size


class Recorder:
    """Records one session, in one file or, with `max_size`, in several."""

    def __init__(
        self,
        path: str | Path,
        program: str,
        *,
        url: UrlMatch | None = None,
        max_payload: int | None = None,
        redact: Iterable[str] = DEFAULT,
        max_size: int | None = None,
        rotate: int | None = None,
        min_free: int | None = None,
        on_over: Callable[["Recorder"], None] = lambda _: None,
    ) -> None:
        """Make the file, or add to a capture. `max_payload` is how many bytes of each message are kept.

        A file that has got `max_size` bytes is followed by another one, and `rotate` of them are kept. The
        recording ends by itself before fewer than `min_free` bytes are free on the disk; `on_over` is called
        at its end, in another thread. Raises CaptureError where the file cannot be, and ValueError and
        TypeError for a bad argument.
        """
        if max_payload is not None and max_payload < 0:
            raise ValueError(f"max_payload must be 0 or more bytes, or None, not {max_payload!r}")
        self.path = Path(path)
        self._matches = compile_match(url)
        self._policy = Policy(Redaction(redact), max_payload)
        if rotate is not None and max_size is None:
            raise ValueError("rotate needs a max_size: the size at which a file is followed by another one")
        rotation = None if max_size is None else Rotation(self.path, program, max_size, rotate)
        space = FreeSpace(self.path, min_free)
        target = create_or_append(self.path, program)
        self.first_number = newest_socket(target.connection, self.path) + 1
        """The id of the first socket of this session."""
        self._session = target.session_id
        self._writer = Writer(target, space, rotation, lambda: on_over(self))

    def record(self, socket: WebSocket, number: int) -> "SocketTape | None":
        """Begin to record a socket under this id. Returns None if the capture's URL does not match."""
        try:
            if not self._matches(socket.url):
                return None
        except Exception:
            user_errors.report(socket, "a capture's url", sys.exception())
            return None
        return SocketTape(number, self._session, socket, self._writer.queue, self._policy)

    def annotate(self, text: str) -> None:
        """Add a remark to the session, redacted as messages are. Raises TypeError for what is no str."""
        if not isinstance(text, str):
            raise TypeError(f"a remark must be a str, not {type(text).__name__}")
        self._writer.queue.execute(
            INSERT_REMARK,
            self._session,
            time.time_ns(),
            self._policy.redaction.text(text),
        )

    @property
    def has_ended(self) -> bool:
        """True if nothing more is recorded: after `stop`, or after an end for lack of free space."""
        return self._writer.queue.is_closed

    def flush(self) -> None:
        """Return when everything that was recorded until now is in the file, or is counted as missing."""
        self._writer.flush()

    def stop(self) -> None:
        """Write what waits, and close the file."""
        self._writer.stop()


class SocketTape(Tape):
    """Records one socket."""

    def __init__(
        self, socket_id: int, session: int, socket: WebSocket, queue: WriteQueue, policy: Policy
    ) -> None:
        self._id = socket_id
        self._queue = queue
        self._policy = policy
        self._offered: dict[Direction, tuple[int, Payload]] = {}
        """By direction, the message that is held, and when it came."""
        self._secret: str | None = None
        """The subprotocol that the server chose, if it is a token. A `socketerror` may quote it."""
        asked_ns = time.time_ns() if socket.opened_at is None else int(socket.opened_at * 1e9)
        self._has_row = queue.execute(
            "INSERT INTO sockets (id, session_id, url, asked_ns, request_headers, client_address) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            socket_id,
            session,
            policy.redaction.url(socket.url),
            asked_ns,
            policy.redaction.headers(socket._state.request_headers),
            _address_text(socket.client_address),
        )
        self._put = queue.put if self._has_row else queue.count_refused
        if socket._state.response_headers is not None and socket.status is not None:
            self.answered(socket.status, socket._state.response_headers)
        if socket.opened_at is not None:
            self.opened(socket.opened_at, socket.server_address)

    def requested(self, headers: Headers) -> None:
        self._set(request_headers=self._policy.redaction.headers(headers))

    def answered(self, status: int, headers: Headers, body: bytes | None = None) -> None:
        kept = self._policy.redaction.headers(headers)
        self._secret = secret_protocol(headers, kept)
        self._set(
            status=status,
            response_headers=kept,
            subprotocol=kept.get("sec-websocket-protocol"),
            extensions=kept.get("sec-websocket-extensions"),
            response_body=None if body is None else self._policy.redaction.binary(body),
        )

    def opened(self, at: float, server_address: tuple[str, int] | None) -> None:
        self._set(opened_ns=int(at * 1e9), server_address=_address_text(server_address))

    def too_large(self) -> None:
        self._queue.unread.frames += 1

    def failed(self, message: str) -> None:
        quoted = message.replace(self._secret, REDACTED) if self._secret else message
        self._set(error=self._policy.redaction.text(quoted))

    def closed(self, at: float, code: int | None, reason: str | None, by: ClosedBy | None) -> None:
        for direction in list(self._offered):
            self._drop_offered(direction)
        kept = None if reason is None else self._policy.redaction.close_reason(reason)
        self._set(closed_ns=int(at * 1e9), close_code=code, close_reason=kept, closed_by=by)

    def messages(
        self,
        payloads: Sequence[Payload] | UnreadBatch,
        size: int,
        *,
        direction: Direction,
        injected: bool = False,
    ) -> None:
        flags = FrameFlag.INJECTED if injected else FrameFlag.NONE
        self._put(Messages(self._id, time.time_ns(), direction, self._policy, size, payloads, flags))

    def offered(self, payload: Payload, *, direction: Direction) -> None:
        self._drop_offered(direction)
        self._offered[direction] = time.time_ns(), payload

    def settled(self, payload: Payload | None, *, direction: Direction, injected: bool = False) -> None:
        time_ns, original = self._offered.pop(direction, (time.time_ns(), payload))
        if payload is not None and payload == original:
            flags = FrameFlag.INJECTED if injected else FrameFlag.NONE
            size = payload_size(payload)
            self._put(Messages(self._id, time_ns, direction, self._policy, size, [payload], flags))
        elif original is not None:
            size = payload_size(original)
            self._put(ChangedMessage(self._id, time_ns, direction, self._policy, size, original, payload))

    def ordered(self, payload: Payload, *, direction: Direction) -> None:
        if direction in self._offered:
            self.settled(payload, direction=direction)
        else:
            self.messages([payload], payload_size(payload), direction=direction, injected=True)

    def controls(
        self, frames: Sequence[tuple[int, bytes]], *, direction: Direction, injected: bool = False
    ) -> None:
        size = sum(len(payload) for _, payload in frames)
        flags = FrameFlag.INJECTED if injected else FrameFlag.NONE
        self._put(ControlFrames(self._id, time.time_ns(), direction, self._policy, size, frames, flags))

    def _drop_offered(self, direction: Direction) -> None:
        """A message that a route was given, and of which it has sent on nothing until now."""
        if direction in self._offered:
            self.settled(None, direction=direction)

    def _set(self, **columns: Any) -> None:
        if not self._has_row:
            return
        names = ", ".join(f"{name} = ?" for name in columns)
        self._queue.execute(f"UPDATE sockets SET {names} WHERE id = ?", *columns.values(), self._id)  # noqa: S608


def _address_text(address: tuple[str, int] | None) -> str | None:
    return None if address is None else f"{address[0]}:{address[1]}"
