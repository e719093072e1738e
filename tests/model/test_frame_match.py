import asyncio
import inspect
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wirewright.model.frame import Frame
from wirewright.model.frame_list import FrameList
from wirewright.model.frame_match import FrameMatch
from wirewright.model.frame_run import FrameRun
from wirewright.model.json_match import ANY
from wirewright.values import Direction, Payload


def frame(payload: Payload, direction: Direction = Direction.RECEIVED) -> Frame:
    return Frame(1, direction, payload, 0.0)


@pytest.mark.parametrize(
    ("match", "payload", "holds"),
    [
        (None, "", True),
        ("ell", "hello", True),
        ("ell", b"hello", False),
        (b"ell", b"hello", True),
        (b"ell", "hello", False),
        ("", "hello", True),
        ("x", "hello", False),
        (re.compile("l+o$"), "hello", True),
        (re.compile(b"l+o$"), b"hello", True),
        (re.compile(b"l+o$"), "hello", False),
        (re.compile("l+o$"), b"hello", False),
        (lambda each: each.payload == "hello", "hello", True),
        (lambda each: None, "hello", False),
        (lambda: True, "hello", True),
    ],
)
def test_match_is_contained_found_or_called(match: Any, payload: Payload, holds: bool) -> None:
    assert FrameMatch(match).holds_now(frame(payload)) == holds


@pytest.mark.parametrize("payload", ['{"type": "filled", "id": 7}', b'{"type": "filled", "id": 7}'])
def test_json_of_text_and_binary_messages_is_matched(payload: Payload) -> None:
    assert FrameMatch(json={"type": "filled"}).holds_now(frame(payload))
    assert not FrameMatch(json={"type": "cancel"}).holds_now(frame(payload))


@pytest.mark.parametrize("payload", ["", "hello", b"\xff\x00", "{", "[" * 100_000, "1" * 5_000])
def test_frames_that_are_not_json_do_not_match(payload: Payload) -> None:
    meant = FrameMatch(json=ANY)
    assert not meant.holds_now(frame(payload))
    assert meant.misfits(frame(payload)) is None


def test_all_conditions_must_hold() -> None:
    meant = FrameMatch("7", json={"type": "filled"}, direction="sent")
    assert meant.holds_now(frame('{"type": "filled", "id": 7}', Direction.SENT))
    assert not meant.holds_now(frame('{"type": "filled", "id": 7}'))
    assert not meant.holds_now(frame('{"type": "filled"}', Direction.SENT))
    assert not meant.holds_now(frame('{"type": "7"}', Direction.SENT))


def test_function_is_only_asked_about_frames_that_may_be_meant() -> None:
    asked: list[Payload] = []
    meant = FrameMatch(lambda each: asked.append(each.payload), json={"a": 1}, direction="sent")
    for payload, direction in (("x", Direction.SENT), ('{"a": 1}', Direction.RECEIVED)):
        assert not meant.holds_now(frame(payload, direction))
    assert asked == []
    meant.holds_now(frame('{"a": 1}', Direction.SENT))
    assert asked == ['{"a": 1}']


@pytest.mark.parametrize("match", [{"type": "filled"}, 7, ["a"], bytearray(b"x")])
def test_match_of_another_kind_is_refused(match: Any) -> None:
    with pytest.raises(TypeError, match="match must be a str, bytes, a compiled pattern or a callable, not"):
        FrameMatch(match)


def test_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="direction must be 'sent' or 'received', not 'framesent'"):
        FrameMatch(direction="framesent")


def test_async_function_is_refused_where_nothing_can_wait_for_it() -> None:
    async def later(_: Frame) -> bool:
        return True

    with pytest.raises(TypeError, match="match must be a plain function here"):
        FrameMatch(later).holds_now(frame("a"))


def named(_: Frame) -> bool:
    return True


@pytest.mark.parametrize(
    ("meant", "said"),
    [
        (FrameMatch(), "a frame"),
        (FrameMatch("a", direction="sent"), "a sent frame that contains 'a'"),
        (FrameMatch(re.compile("^a")), "a frame in which '^a' is found"),
        (FrameMatch(json={"type": "filled", "id": ANY}), "a frame with json={'type': 'filled', 'id': ANY}"),
        (FrameMatch(direction="received", json=[1, "b"]), "a received frame with json=[1, 'b']"),
    ],
)
def test_condition_is_told_in_words(meant: FrameMatch, said: str) -> None:
    assert str(meant) == said


def test_functions_are_told_by_name_and_line() -> None:
    place = f"tests/model/test_frame_match.py:{named.__code__.co_firstlineno}"
    assert str(FrameMatch(named)) == f"a frame for which named ({place}) is true"
    assert str(FrameMatch(json={"id": named})) == f"a frame with json={{'id': named ({place})}}"


ENCODINGS = ("utf-8", "utf-16", "utf-32-le")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(values=st.lists(JSON, min_size=1, max_size=4), data=st.data())
def test_no_frame_that_is_meant_is_left_out_by_the_first_look(values: list[Any], data: st.DataObject) -> None:
    """Whatever of a JSON value is named, and however the value is written."""
    expected = data.draw(st.sampled_from(values))
    if isinstance(expected, dict):
        expected = {key: expected[key] for key in data.draw(st.sets(st.sampled_from(sorted(expected))))}
    assume(expected is not None)
    encodings: list[Callable[[str], Payload]] = [str, *(partial(str.encode, encoding=e) for e in ENCODINGS)]
    payloads = [
        data.draw(st.sampled_from(encodings))(json.dumps(value, ensure_ascii=data.draw(st.booleans())))
        for value in values
    ]
    run, meant = FrameRun(1, Direction.SENT, payloads, 0.0), FrameMatch(json=expected)
    held = [index for index in range(len(payloads)) if meant.holds_now(run.frame(index))]
    assert held
    assert set(held) <= set(meant.candidates(run))
    assert meant.may_match(run)


@pytest.mark.parametrize(
    ("meant", "indexes"),
    [
        (FrameMatch(), [1, 2, 3]),
        (FrameMatch(direction="received"), []),
        (FrameMatch("a"), [3]),
        (FrameMatch(b"a"), [2]),
        (FrameMatch(re.compile("a")), [3]),
        (FrameMatch(json="a"), [2, 3]),  # a binary message may be in any encoding
        (FrameMatch(json={"b": ["a"]}), [2]),
        (FrameMatch(lambda frame: False), [1, 2, 3]),
    ],
)
def test_first_look_leaves_out_frames_that_cannot_be_meant(meant: FrameMatch, indexes: list[int]) -> None:
    run = FrameRun(7, Direction.SENT, ["a", "b", b"ab", '"a"'], 0.0)
    assert list(meant.candidates(run, 1)) == indexes


@pytest.mark.parametrize("match", ["absent", b"absent", re.compile("absent")])
@pytest.mark.parametrize("payloads", [["a", "b"], [b"a", b"b"]])
def test_run_without_a_match_is_left_out_at_once(match: Any, payloads: list[Payload]) -> None:
    run = FrameRun(1, Direction.SENT, payloads, 0.0)
    assert not FrameMatch(match).may_match(run)
    assert not FrameMatch(direction="received").may_match(run)
    assert not FrameMatch(json={"absent": 1}).may_match(FrameRun(1, Direction.SENT, ["a", "b"], 0.0))


async def fail_async(_: Frame) -> bool:
    raise KeyError("nothing")


def fail(_: object) -> bool:
    raise KeyError("nothing")


async def result(held: Any) -> object:
    return await held if inspect.isawaitable(held) else held


@pytest.mark.parametrize(
    ("conditions", "name"),
    [
        ({"match": fail}, "the predicate fail"),
        ({"match": fail_async}, "the predicate fail_async"),
        ({"json": {"id": fail}}, "a function of json={'id': fail"),
    ],
)
def test_exception_of_a_function_names_the_frame_once(conditions: dict[str, Any], name: str) -> None:
    meant = FrameMatch(**conditions)
    each = Frame(1_200, Direction.SENT, '{"id": 7, "token": "abc"}', 0.0)
    with pytest.raises(KeyError) as caught:
        asyncio.run(result(meant.holds(each)))
    (note,) = caught.value.__notes__
    assert note.startswith(name)
    assert note.endswith(""" raised on frame 1,200: → '{"id": 7, "token": "REDACTED"}'""")


def test_exception_of_a_function_that_selects_names_the_frame() -> None:
    with pytest.raises(KeyError) as caught:
        FrameList([frame("a")], 0).matching(fail)
    assert caught.value.__notes__[0].endswith(" raised on frame 1: ← 'a'")
