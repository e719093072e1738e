"""One direction of a socket: bytes in, bytes and events out. It knows no loop, no flow and no layer.

In PASS bytes are forwarded as they come, and read along. In HOLD each message is returned whole, and the
decision on it is encoded anew.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from wirewright.wire.deflate import Compression, deflate
from wirewright.wire.frames import CloseCode, Opcode, encode_close, encode_frame
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import ControlFrame, Event, Violation

_NOT_DEFLATED = b"\xff" * 5
"""No window inflates this: a block of the reserved type (RFC 1951, 3.2.3)."""


class Mode(Enum):
    PASS = "pass"  # noqa: S105
    """No message may be changed: bytes are forwarded at once, as they are."""
    HOLD = "hold"
    """Each message waits for a decision."""


def content_of(payload: str | bytes) -> tuple[Opcode, bytes]:
    """The opcode and the bytes of a message."""
    return (Opcode.TEXT, payload.encode()) if isinstance(payload, str) else (Opcode.BINARY, payload)


class Encoder:
    """Frames of our own towards one end."""

    def __init__(self, *, masked: bool, compression: Compression | None = None) -> None:
        """`masked` is for frames towards a server (RFC 6455, 5.1)."""
        self._masked = masked
        self._compression = compression

    def message(self, opcode: int, content: bytes, *, compress: bool) -> bytes:
        """One message in one frame; compressed with `compress`, if that was agreed (RFC 7692, 6)."""
        if compress and self._compression is not None:
            compressed = deflate(content, self._compression)
            return encode_frame(opcode, compressed, mask=self._mask(), rsv1=True)
        return encode_frame(opcode, content, mask=self._mask())

    def violation(self, violation: Violation) -> bytes:
        """The bytes with which the destination's reader fails in the same way as ours did."""
        opcode, content = violation.opcode, violation.content
        if violation.frame:
            begun = encode_frame(opcode, content, mask=self._mask(), fin=False) if opcode else b""
            return begun + violation.frame
        if content:
            return encode_frame(opcode, content, mask=self._mask())
        return encode_frame(opcode, _NOT_DEFLATED, mask=self._mask(), rsv1=True)

    def control(self, opcode: int, payload: bytes) -> bytes:
        """A ping, a pong or a close frame."""
        return encode_frame(opcode, payload, mask=self._mask())

    def controls(self, frames: Iterable[ControlFrame]) -> list[bytes]:
        """Pings and pongs, each in a frame."""
        return [self.control(each.opcode, each.payload) for each in frames]

    def _mask(self) -> bytes | None:
        return os.urandom(4) if self._masked else None


@dataclass(frozen=True, slots=True)
class Close:
    """A close frame of ours; 1005 stands for one without a code."""

    code: int
    reason: str = ""

    @property
    def payload(self) -> bytes:
        """The payload of its frame."""
        return encode_close(None if self.code == CloseCode.NO_STATUS else self.code, self.reason)


Ours = str | bytes | Close
"""A message or a close frame of our own."""


@dataclass(slots=True)
class Received:
    """The result of reading some bytes."""

    mode: Mode
    """In HOLD the messages and control frames among `events` are still to be forwarded."""
    forward: bytes
    """To be sent on at once."""
    events: list[Event]
    """The messages and control frames that were read."""
    ours: Sequence[Ours] = ()
    """Messages of ours that waited for this place: in `forward`, unless the stream is in HOLD now."""


class Stream:
    """One direction of a socket."""

    mode: Mode
    wished: Mode
    """The mode to change to as soon as that is possible: between two messages."""
    ended: bool
    """True once a close frame of ours has gone out: nothing may follow it (5.5.1)."""

    def __init__(self, reader: MessageReader, encoder: Encoder, *, shared_window: bool) -> None:
        """`shared_window` tells whether compressed messages may refer to earlier ones (RFC 7692, 7.1.1)."""
        self.reader = reader
        self.encoder = encoder
        self.mode = self.wished = Mode.PASS
        self.ended = False
        self._shared_window = shared_window
        self._waiting: list[Ours] = []

    def wish(self, mode: Mode) -> None:
        """Change to a mode: at once between two messages, else as soon as one ends."""
        self.wished = mode
        if mode is not self.mode:
            self._change_mode()

    def receive(self, data: bytes, work: int = sys.maxsize) -> Received:
        """Read bytes from the source, up to `work` units. The next call is to get the reader's `rest`."""
        if self.mode is not self.wished:
            self._change_mode()
        self.reader.wanted.holds = self.mode is Mode.HOLD
        events = self.reader.feed(data, work)
        if self.reader.rest:
            data = data[: -len(self.reader.rest)]
        if self.mode is Mode.HOLD or self.ended:
            return Received(self.mode, b"", events)
        if self.reader.boundary is None or not (self._waiting or self.wished is Mode.HOLD):
            return Received(Mode.PASS, data, events)
        return self._at_boundary(data, self.reader.boundary, events)

    def send(self, ours: Ours) -> bytes | None:
        """Something of ours: the bytes to send now, or None if it waits for the end of a message.

        Then it is among what `receive` returns later. Nothing overtakes what waits.
        """
        if self.mode is Mode.PASS and (self._waiting or not self._fits(ours)):
            self._waiting.append(ours)
            return None
        return self._encode(ours)

    def end(self, close: Close) -> bytes | None:
        """The bytes of a close frame, even if messages wait. None in the middle of a forwarded frame."""
        if self.mode is Mode.PASS and not self._fits(close):
            return None
        return self._encode(close)

    def _fits(self, ours: Ours) -> bool:
        return self.reader.between_frames if isinstance(ours, Close) else self.reader.at_boundary

    def _encode(self, ours: Ours) -> bytes:
        if isinstance(ours, Close):
            self.ended = True
            return self.encoder.control(Opcode.CLOSE, ours.payload)
        # In PASS uncompressed: the window that the ends share stays as it is.
        return self.encoder.message(*content_of(ours), compress=self.mode is Mode.HOLD)

    def _at_boundary(self, data: bytes, boundary: int, events: list[Event]) -> Received:
        """At the end of a message, send messages of ours that waited for it, or change to HOLD."""
        pieces = [data[:boundary]]
        ours, self._waiting = self._waiting, []
        if self.wished is Mode.HOLD and self.reader.only_messages:
            # The message that has begun is held as a whole: the reader has its first part.
            self.mode = Mode.HOLD
        else:
            sent: list[Ours] = []
            while ours and not self.ended:  # nothing follows a close frame (5.5.1)
                sent.append(ours.pop(0))
                pieces.append(self._encode(sent[-1]))
            ours = sent
            if not self.ended:
                pieces.append(data[boundary:])
        return Received(Mode.PASS, b"".join(pieces), events, ours)

    def _change_mode(self) -> None:
        if not self.reader.at_boundary or self._waiting:
            return
        if self.mode is Mode.HOLD and self._shared_window:
            # The destination has not seen the compressed messages that later ones refer to.
            return
        self.mode = self.wished
