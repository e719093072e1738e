"""Who says what in a recorded socket."""

import pytest

from wirewright.capture import CaptureError
from wirewright.capture.records import FrameFlag, RecordedFrame
from wirewright.capture.replay.lockstep import Role, played_direction, steps
from wirewright.values import Direction, Payload

SENT = Direction.SENT
RECEIVED = Direction.RECEIVED


def frame(
    direction: Direction,
    payload: Payload,
    flags: FrameFlag = FrameFlag.NONE,
    original: Payload | None = None,
    opcode: int = 1,
) -> RecordedFrame:
    return RecordedFrame(1, 1, 5, direction, opcode, len(payload), payload, flags, original)


CHANGED = FrameFlag.CHANGED


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("server", [(False, "hi"), (False, "dropped"), (False, "said"), (True, "ours"), (True, "got")]),
        ("client", [(True, "hi"), (True, "made of it"), (True, "ours"), (False, "was"), (False, "lost")]),
    ],
)
def test_each_side_says_what_it_said_and_hears_what_it_got(
    role: Role, expected: list[tuple[bool, str]]
) -> None:
    frames = [
        frame(SENT, "hi"),
        frame(SENT, "dropped", FrameFlag.DROPPED),
        frame(SENT, "made of it", CHANGED, "said"),
        frame(SENT, "ours", FrameFlag.INJECTED),
        frame(SENT, b"?", opcode=9),
        frame(RECEIVED, "ours", FrameFlag.INJECTED),
        frame(RECEIVED, "got", CHANGED, "was"),
        frame(RECEIVED, "lost", FrameFlag.DROPPED),
        frame(RECEIVED, b"\x03\xe8", opcode=8),
    ]
    assert [
        (step.direction is played_direction(role), step.payload) for step in steps(frames, role)
    ] == expected


def test_steps_of_each_side_are_counted_and_tell_if_they_are_whole() -> None:
    frames = [frame(SENT, "a", FrameFlag.TRUNCATED), frame(RECEIVED, "b"), frame(SENT, "c")]
    assert [(step.number, step.is_whole) for step in steps(frames, "server")] == [
        (1, False),
        (1, True),
        (2, True),
    ]
    with pytest.raises(CaptureError, match="the client's message 1 of socket #1 was recorded only in part"):
        list(steps(frames, "client"))
