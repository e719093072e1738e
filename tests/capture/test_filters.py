"""Which frames of a capture are meant."""

import json
import sqlite3
import time
from datetime import datetime
from pathlib import Path

import pytest

from capture.conftest import Record
from support.model_sockets import begin_socket
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter, parse_session, parse_since, parse_socket, parse_value
from wirewright.model.matching import any_of_globs
from wirewright.model.proxy_control import Control
from wirewright.values import Direction


@pytest.fixture
def filled(path: Path, control: Control, record: Record) -> Path:
    recorder = record()
    for number, name in enumerate(("live", "other")):
        tape = begin_socket(control.proxy, f"ws://h/{name}", key=name).tape
        assert tape is not None
        tape.messages(
            [f"{name} Text", json.dumps({"user": {"id": number, "names": ["Ada", "Bob"]}})],
            0,
            direction=Direction.SENT,
        )
        tape.messages([b"\x00 binary text"], 0, direction=Direction.RECEIVED)
        tape.controls([(9, b"text")], direction=Direction.RECEIVED)
    recorder.stop()
    return path


def ids(path: Path, chosen: Filter) -> list[int]:
    with open_capture(path) as capture:
        found = list(chosen.frames(capture))
    assert all(socket.id == frame.socket_id for socket, frame in found)
    return [frame.id for _, frame in found]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Filter(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(url="**/live"), [1, 2, 3, 4]),
        (Filter(socket=2), [5, 6, 7, 8]),
        (Filter(socket=[2, 7]), [5, 6, 7, 8]),
        (Filter(socket=[1, 2]), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(url=any_of_globs(["**/live", "**/nothing"])), [1, 2, 3, 4]),
        (Filter(url=any_of_globs(["**/live", "**/other"])), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(sessions=[1]), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(sessions=[2]), []),
        (Filter(grep=["live t", "other t"]), [1, 5]),
        (Filter(url="**/live", socket=2), []),
        (Filter(direction=Direction.SENT), [1, 2, 5, 6]),
        (Filter(direction=Direction.RECEIVED), [3, 4, 7, 8]),
        (Filter(grep="TEXT"), [1, 3, 4, 5, 7, 8]),
        (Filter(grep="other t"), [5]),
        (Filter(values=[("user.id", "1")]), [6]),
        (Filter(values=[("user.names.0", "Ada")]), [2, 6]),
        (Filter(values=[("user.names.0", "Ada"), ("user.id", "0")]), [2]),
        (Filter(values=[("user.names.7", "Ada")]), []),
        (Filter(values=[("user.id.deeper", "1")]), []),
        (Filter(since_ns=0), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(since_ns=time.time_ns() + 10**15), []),
    ],
)
def test_frames_that_are_meant(filled: Path, chosen: Filter, expected: list[int]) -> None:
    assert ids(filled, chosen) == expected


def test_socket_that_is_opened_meanwhile_is_known(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    with open_capture(path) as capture:
        for number, name in enumerate(("live", "other"), start=1):
            tape = begin_socket(control.proxy, f"ws://h/{name}", key=name).tape
            assert tape is not None
            tape.messages(["hello"], 5, direction=Direction.SENT)
            recorder.flush()
            found = list(Filter(url="**/other").frames(capture, after=number - 1))
            assert [socket.url for socket, _ in found] == ["ws://h/other"] * (name == "other")


def test_bad_url_is_no_filter() -> None:
    with pytest.raises(ValueError, match="has no '}' after it"):
        Filter(url="{a")


def test_value_at_a_path() -> None:
    assert parse_value("a.b=c=d") == ("a.b", "c=d")
    for text in ("a.b", "=c"):
        with pytest.raises(ValueError, match="must be PATH=VALUE"):
            parse_value(text)


def test_time_since() -> None:
    now = time.time_ns()
    for text, seconds in (("90s", 90), ("5m", 300), ("2h", 7200), ("1.5d", 129_600), ("250ms", 0.25)):
        assert abs(now - parse_since(text) - seconds * 1e9) < 1e9
    today = datetime.now()
    for text, moment in (
        ("14:05", today.replace(hour=14, minute=5, second=0, microsecond=0)),
        ("14:05:09", today.replace(hour=14, minute=5, second=9, microsecond=0)),
        ("2026-01-31T14:05:10", datetime(2026, 1, 31, 14, 5, 10)),
        ("2026-01-31T14:05:10+00:00", datetime.fromisoformat("2026-01-31T14:05:10+00:00")),
    ):
        assert parse_since(text) == int(moment.timestamp() * 1e9)
    with pytest.raises(ValueError, match="'yesterday' is not a time"):
        parse_since("yesterday")


def test_last_session_is_the_newest_one(filled: Path, control: Control, record: Record) -> None:
    recorder = record()
    for feed in control.feeds().values():
        assert feed.tape is not None
        feed.tape.messages(["more"], 4, direction=Direction.SENT)
    recorder.stop()
    assert ids(filled, Filter(sessions=["last"])) == [9, 10]
    assert ids(filled, Filter(sessions=[2])) == [9, 10]
    assert ids(filled, Filter(sessions=[1])) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(ids(filled, Filter(sessions=["last", 1]))) == 10


def test_time_of_day_is_one_of_the_chosen_sessions(filled: Path) -> None:
    days_ago = 3 * 86_400_000_000_000
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE frames SET time_ns = time_ns - ?", (days_ago,))
        for name in ("started_ns", "seen_ns", "ended_ns"):
            connection.execute(f"UPDATE sessions SET {name} = {name} - ?", (days_ago,))
        (last,) = connection.execute("SELECT max(time_ns) FROM frames").fetchone()
    connection.close()
    shown = f"{datetime.fromtimestamp(last / 1e9):%H:%M:%S.%f}"[:-3]
    found = ids(filled, Filter(since_ns=parse_since(shown)))
    assert found
    assert found[-1] == 8


def test_numbers_are_taken_as_they_are_printed() -> None:
    assert [parse_socket(text) for text in ("3", "#3", "012")] == [3, 3, 12]
    assert [parse_session(text) for text in ("3", "#3", "last")] == [3, 3, "last"]
    for text in ("", "#", "three", "-1", "1.5", "last", "²"):
        with pytest.raises(ValueError, match="is not the number of a socket: use 3, #3"):
            parse_socket(text)
    with pytest.raises(ValueError, match="is not the number of a session: use 3, #3 or last"):
        parse_session("first")
