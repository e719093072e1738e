from typing import Any

import pytest

from wirewright.model.frame_match import FrameMatch
from wirewright.model.frame_run import FrameRun
from wirewright.model.passed_frames import PassedFrames
from wirewright.values import Direction, Payload


def run_of(*payloads: Payload, number: int = 1) -> FrameRun:
    return FrameRun(number, Direction.RECEIVED, list(payloads), 0.0)


def passed(*payloads: Payload, json: Any = None) -> PassedFrames:
    frames = PassedFrames(FrameMatch(json=json))
    frames.add(run_of(*payloads), 0, len(payloads))
    return frames


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([], False),
        ([None], True),
        ([None, None], True),
        ([None, False], False),
        ([0, None], False),
    ],
)
def test_predicate_that_returns_none_each_time_is_told(verdicts: list[object], *, said: bool) -> None:
    frames = PassedFrames(FrameMatch(print))
    for verdict in verdicts:
        frames.add_verdict(verdict)
    which = "the only frame" if len(verdicts) == 1 else "all 2 frames"
    sentence = f"the predicate print returned None for {which}: does it return its result?"
    assert (sentence in frames.lines()) == said


def test_nothing_that_passed_is_said() -> None:
    frames = PassedFrames(FrameMatch())
    frames.add(run_of("a"), 1, 1)
    assert (frames.count, frames.lines()) == (0, ["no frame passed"])


def test_equal_frames_are_shown_once_with_their_count() -> None:
    assert passed("hb", "a", "hb", "hb").lines() == ["passed:", "    ← 'a'", "    ← 'hb' ×3"]


def test_only_the_named_payloads_of_a_run_have_passed() -> None:
    frames = PassedFrames(FrameMatch())
    frames.add(run_of("a", "b", "c", "d"), 1, 3)
    assert frames.count == 2
    assert frames.lines() == ["passed:", "    ← 'b'", "    ← 'c'"]


def test_last_frames_are_kept_and_all_are_counted() -> None:
    frames = PassedFrames(FrameMatch())
    for number in range(0, 3_000, 3):
        run = run_of(*map(str, range(number, number + 3)), number=number + 1)
        frames.add(run, 0, 3)
    frames.add(run_of(*["hb"] * 190, number=3_001), 0, 190)
    assert frames.count == 3_190
    assert sum(len(kept.run.payloads) for kept in frames._kept) < 210
    lines = frames.lines()
    assert lines[0] == "passed, the last 199 of 3,190:"
    assert lines[1:] == [f"    ← '{number}'" for number in range(2_991, 3_000)] + ["    ← 'hb' ×190"]


def test_of_a_large_run_only_the_last_frames_are_kept() -> None:
    frames = PassedFrames(FrameMatch())
    frames.add(run_of(*map(str, range(5_000))), 0, 5_000)
    assert frames.count == 5_000
    assert [kept.run.payloads for kept in frames._kept] == [[str(number) for number in range(4_800, 5_000)]]


def test_large_payloads_are_kept_in_part() -> None:
    frames = passed("x" * 1_000_000, "a", b"y" * 1_000_001)
    assert [len(payload) for kept in frames._kept for payload in kept.run.payloads] == [66_000, 1, 66_000]
    _, first, second, third = frames.lines()
    assert first.endswith("x… (1,000,000 in all)")
    assert second == "    ← 'a'"
    assert third.endswith("y… (1,000,001 in all)")


def test_nearest_frame_is_shown_with_its_whole_length() -> None:
    (nearest, misfit, *_) = passed(" " * 100_000, "1" + " " * 100_000, json={"type": "filled"}).lines()
    assert nearest.startswith("nearest: ← '1   ")
    assert nearest.endswith("… (100,001 in all)")
    assert misfit == "    the message: expected {'type': 'filled'}, is 1"


def test_nearest_frames_are_shown_with_what_does_not_fit() -> None:
    frames = passed(
        "hello",
        '{"type": "ack", "price": 1}',
        '{"type": "filled", "price": 1}',
        json={"type": "filled", "price": 2},
    )
    assert frames.lines()[:5] == [
        """nearest: ← '{"type": "filled", "price": 1}'""",
        "    price: expected 2, is 1",
        """nearest: ← '{"type": "ack", "price": 1}'""",
        "    type: expected 'filled', is 'ack'",
        "    price: expected 2, is 1",
    ]


def test_equal_frames_are_nearest_once() -> None:
    lines = passed('{"type": "ack"}', *['{"type": "hb"}'] * 5, json={"type": "filled"}).lines()
    assert [line for line in lines if line.startswith("nearest")] == [
        """nearest: ← '{"type": "hb"}'""",
        """nearest: ← '{"type": "ack"}'""",
    ]
