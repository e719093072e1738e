"""Why a filter chooses nothing."""

from pathlib import Path

import pytest

from capture.conftest import Record
from support.model_sockets import begin_socket
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.reasons import named, numbers, shown, why_no_frame
from wirewright.model.matching import any_of_globs
from wirewright.model.proxy_control import Control
from wirewright.values import Direction


@pytest.fixture
def filled(path: Path, control: Control, record: Record) -> Path:
    recorder = record()
    for name in ("live?x=1", "chat", "silent"):
        tape = begin_socket(control.proxy, f"ws://h/{name}", key=name).tape
        assert tape is not None
        if name != "silent":
            tape.messages([name], 4, direction=Direction.SENT)
    recorder.stop()
    return path


ALL = "ws://h/live?x=1, ws://h/chat, ws://h/silent"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (Filter(url="**/live"), f"No URL matches: there are {ALL}."),
        (Filter(url=any_of_globs(["**/other"])), f"No URL matches: there are {ALL}."),
        (Filter(socket=9), "No socket has such a number. Sockets: #1 to #3."),
        (Filter(sessions=[2, 3]), "No session has such a number. Sessions: 1."),
        (Filter(sessions=["last"], socket=4), "No socket has such a number in this session. Sockets: "),
        (Filter(sessions=[1], url="**/x"), f"No URL matches in this session: there are {ALL}."),
        (Filter(socket=2, url="**/silent"), "No URL matches: there are ws://h/chat."),
        (Filter(socket=3), "There is no frame of ws://h/silent."),
        (Filter(socket=[1, 2], direction=Direction.RECEIVED), " None of them was received."),
        (Filter(grep=["y", "z"], direction=Direction.SENT), "None of them was sent and contains 'y' or 'z'."),
        (Filter(values=[("user.name", "Ada")]), "None of them has user.name=Ada."),
    ],
)
def test_reason_names_what_there_is(filled: Path, chosen: Filter, said: str) -> None:
    with open_capture(filled) as capture:
        assert list(chosen.frames(capture)) == []
        reason = why_no_frame(capture, chosen)
    assert reason.startswith("No frame matches. ")
    assert said in reason


def test_reason_names_the_span_of_time(filled: Path) -> None:
    with open_capture(filled) as capture:
        times = [frame.time_ns for frame in capture.frames()]
        since = times[-1] + 60_000_000_000
        reason = why_no_frame(capture, Filter(socket=(1, 2), since_ns=since))
    span = f"{shown(times[0])} to {shown(times[-1])}"
    assert reason == (
        f"No frame matches. The frames of ws://h/live?x=1, ws://h/chat are from {span}, "
        f"before {shown(since)}."
    )


def test_reason_names_the_time_beside_the_content(filled: Path) -> None:
    chosen = Filter(since_ns=1, grep="z")
    with open_capture(filled) as capture:
        reason = why_no_frame(capture, chosen)
    assert reason.endswith(f". None of those since {shown(1)} contains 'z'.")


def test_capture_without_frames_says_so(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    with open_capture(path) as capture:
        assert why_no_frame(capture, Filter()) == "There is no frame yet."
        begin_socket(control.proxy, "ws://h/1")
        recorder.flush()
        assert why_no_frame(capture, Filter()) == "There is no frame yet. The sockets are ws://h/1."


def test_long_lists_are_short() -> None:
    assert named(f"ws://h/{number}" for number in (1, 2, 2, 3, 4, 5)) == (
        "ws://h/1, ws://h/2, ws://h/3 and 2 more"
    )
    assert numbers([7, 1, 2, 3, 9, 8], "#") == "#1 to #3, #7 to #9"
