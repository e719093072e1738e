"""Frames as sockets report them, while they wait to be written, and the rows that they become."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wirewright.capture.records import FrameFlag
from wirewright.capture.redaction import Redaction
from wirewright.memory import ITEM_BYTES, memory_size
from wirewright.model.frame_run import UnreadBatch
from wirewright.values import Direction, Payload, payload_size

TEXT, BINARY, CLOSE = 1, 2, 8
"""Opcodes (RFC 6455, 5.2)."""

Row = tuple[Any, ...]
"""The values of a row of `frames`, with or without the last two columns."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for the payloads in the file: secrets are replaced, and long payloads are cut."""

    redaction: Redaction
    max_payload: int | None
    """Bytes; None for all of them."""

    def keeps_all(self, payloads: Iterable[Payload]) -> bool:
        """True if all of these get into the file as they are."""
        return self.max_payload is None and not self.redaction.concerns(payloads)

    def kept(self, payload: Payload) -> tuple[Payload, FrameFlag]:
        """The part of a payload that is kept, and TRUNCATED if that is not all."""
        payload, most = self.redaction.payload(payload), self.max_payload
        if most is None or payload_size(payload) <= most:
            return payload, FrameFlag.NONE
        if isinstance(payload, bytes):
            return payload[:most], FrameFlag.TRUNCATED
        return payload[:most].encode()[:most].decode(errors="ignore"), FrameFlag.TRUNCATED


@dataclass(slots=True)
class FrameBatch(ABC):
    """Frames of one direction of a socket that came at the same time."""

    socket_id: int
    time_ns: int
    direction: Direction
    policy: Policy
    size: int
    """Bytes of their payloads."""
    memory: int = field(init=False)
    """Bytes of memory that their payloads take."""
    weight: int = field(init=False)
    """The same with the frames themselves."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of frames."""

    def _weigh(self, memory: int, count: int) -> None:
        self.memory, self.weight = memory, memory + ITEM_BYTES * count

    @abstractmethod
    def rows(self) -> Iterable[Row]:
        """Return the rows of the frames. This is called in the writer's thread."""

    def _as_row(
        self, opcode: int, size: int, payload: Payload, flags: FrameFlag, original: Payload | None = None
    ) -> Row:
        is_sent = self.direction is Direction.SENT
        return self.socket_id, self.time_ns, is_sent, opcode, size, payload, flags.value, original


@dataclass(slots=True)
class Messages(FrameBatch):
    """Messages that were sent on as they came, or that were injected."""

    payloads: Sequence[Payload] | UnreadBatch
    flags: FrameFlag = FrameFlag.NONE

    def __post_init__(self) -> None:
        payloads, memory = self.payloads, self.size
        # If there are as many characters as bytes, all of it is ASCII or binary. Unread messages are bytes.
        if isinstance(payloads, (list, tuple)) and sum(map(len, payloads)) != memory:
            memory = sum(map(memory_size, payloads))
        self._weigh(memory, len(payloads))

    def __len__(self) -> int:
        return len(self.payloads)

    def rows(self) -> Iterable[Row]:
        socket_id, time_ns, is_sent = self.socket_id, self.time_ns, self.direction is Direction.SENT
        payloads = list(self.payloads)
        if self.flags or not self.policy.keeps_all(payloads):
            return [self._row(payload) for payload in payloads]
        return [
            (
                socket_id,
                time_ns,
                is_sent,
                TEXT if isinstance(payload, str) else BINARY,
                len(payload) if isinstance(payload, bytes) or payload.isascii() else payload_size(payload),
                payload,
            )
            for payload in payloads
        ]

    def _row(self, payload: Payload) -> Row:
        kept, truncated = self.policy.kept(payload)
        return self._as_row(_opcode(payload), payload_size(payload), kept, self.flags | truncated)


@dataclass(slots=True)
class ChangedMessage(FrameBatch):
    """A message that was changed or dropped."""

    original: Payload
    payload: Payload | None
    """None if it was dropped."""

    def __post_init__(self) -> None:
        self._weigh(memory_size(self.original) + memory_size(self.payload or ""), 1)

    def __len__(self) -> int:
        return 1

    def rows(self) -> Iterable[Row]:
        sent = self.original if self.payload is None else self.payload
        kept, truncated = self.policy.kept(sent)
        original, original_truncated = self.policy.kept(self.original)
        if self.payload is None:
            flags, original_kept = truncated | FrameFlag.DROPPED, None
        else:
            flags, original_kept = truncated | original_truncated | FrameFlag.CHANGED, original
        return [self._as_row(_opcode(sent), payload_size(sent), kept, flags, original_kept)]


@dataclass(slots=True)
class ControlFrames(FrameBatch):
    """Pings, pongs and close frames."""

    frames: Sequence[tuple[int, bytes]]
    """The opcode and the payload of each."""
    flags: FrameFlag = FrameFlag.NONE

    def __post_init__(self) -> None:
        self._weigh(self.size, len(self.frames))

    def __len__(self) -> int:
        return len(self.frames)

    def rows(self) -> Iterable[Row]:
        redaction = self.policy.redaction
        return [
            self._as_row(
                opcode,
                len(payload),
                redaction.close(payload) if opcode == CLOSE else redaction.binary(payload),
                self.flags,
            )
            for opcode, payload in self.frames
        ]


def _opcode(payload: Payload) -> int:
    return TEXT if isinstance(payload, str) else BINARY
