import pytest

from wirewright.model.frame import Frame
from wirewright.model.frame_run import FrameRun, total_size
from wirewright.values import Direction

RUN = FrameRun(7, Direction.SENT, ["a", b"b", "c"], 1.5)


def test_payloads_become_frames_with_numbers_that_follow_each_other() -> None:
    assert RUN.frames() == [
        Frame(7, Direction.SENT, "a", 1.5),
        Frame(8, Direction.SENT, b"b", 1.5),
        Frame(9, Direction.SENT, "c", 1.5),
    ]
    assert RUN.frame(1) == RUN.frames()[1]
    assert RUN.last == 9


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [(7, 9, [7, 8, 9]), (0, 20, [7, 8, 9]), (8, 9, [8, 9]), (7, 7, [7]), (8, 8, [8]), (0, 8, [7, 8])],
)
def test_part_has_the_frames_with_these_numbers(first: int, last: int, numbers: list[int]) -> None:
    frames = {frame.number: frame for frame in RUN.frames()}
    assert RUN.part(first, last).frames() == [frames[number] for number in numbers]


@pytest.mark.parametrize(
    ("payloads", "size"), [([], 0), (["é"], 2), (["a"], 1), (["a", b"\xff\x00"], 3), (["a", "\ud800"], 4)]
)
def test_size_is_that_of_the_bytes_on_the_wire(payloads: list[str | bytes], size: int) -> None:
    assert total_size(payloads) == size
