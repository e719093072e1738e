"""Frames that wait to be written take the room that they take in memory."""

import sys
from collections.abc import Iterator

import pytest

from wirewright.capture.frame_batches import ChangedMessage, ControlFrames, Messages, Policy
from wirewright.capture.redaction import Redaction
from wirewright.memory import ITEM_BYTES
from wirewright.model.frame_run import total_size
from wirewright.values import Direction, Payload

POLICY = Policy(Redaction(), None)
WIDE = "a" * 1_000 + "\U0001f600"
"""Text of 1,004 bytes in UTF-8, of which Python keeps each character in four bytes."""


def messages(*payloads: Payload) -> Messages:
    return Messages(1, 0, Direction.SENT, POLICY, total_size(payloads), payloads)


@pytest.mark.parametrize(
    ("payloads", "memory"),
    [
        ((), 0),
        (("text", b"\xff\xfe"), 6),
        ((WIDE,), sys.getsizeof(WIDE)),
        ((WIDE, b"bytes", "text"), sys.getsizeof(WIDE) + 9),
    ],
    ids=["nothing", "one byte a character", "four bytes a character", "both"],
)
def test_messages_weigh_what_they_take_in_memory(payloads: tuple[Payload, ...], memory: int) -> None:
    batch = messages(*payloads)
    assert batch.weight == memory + ITEM_BYTES * len(payloads)


def test_weight_stays_the_same_once_the_text_was_encoded() -> None:
    batch = messages(WIDE + "!")
    weight = batch.weight
    list(batch.rows())
    assert batch.weight == weight


def test_unread_messages_weigh_what_was_received() -> None:
    class Unread:
        size = 1_004

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[Payload]:
            raise AssertionError("it must not be read")

    assert Messages(1, 0, Direction.SENT, POLICY, 1_004, Unread()).weight == 1_004 + ITEM_BYTES


def test_changed_message_weighs_both_texts() -> None:
    for payload, memory in ((WIDE, sys.getsizeof(WIDE)), (None, 0)):
        batch = ChangedMessage(1, 0, Direction.SENT, POLICY, 4, "text", payload)
        assert batch.weight == 4 + memory + ITEM_BYTES


def test_control_frames_weigh_their_payloads() -> None:
    assert (
        ControlFrames(1, 0, Direction.SENT, POLICY, 3, [(9, b"abc"), (10, b"")]).weight == 3 + 2 * ITEM_BYTES
    )
