"""A flooded socket does a bounded work in one turn of the event loop, and loses and reorders nothing."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import SendData

from support.frames import Peer, pieces
from support.wire_layer import Leg, Wire, turns, undecided, written
from wirewright.mitm.layers.turns import HELD_WORK, LEAST_WORK, TURN_SECONDS, TURN_WORK, NextTurn, Turn
from wirewright.mitm.patches import back_pressure
from wirewright.values import Direction, Payload
from wirewright.wire.frames import Opcode
from wirewright.wire.reader_events import ControlFrame

pytestmark = pytest.mark.slow


READ = 65535
"""Bytes that mitmproxy reads at a time."""
FLOOD = 2 * READ


def pings(peer: Peer) -> bytes:
    return b"".join(peer.frame(Opcode.PING, bytes([number])) for number in range(250))


def empty_pings(peer: Peer) -> bytes:
    return peer.frame(Opcode.PING)


def empty_messages(peer: Peer) -> bytes:
    return peer.text("")


def messages_and_pings_in_turn(peer: Peer) -> bytes:
    return peer.binary(b"") + peer.frame(Opcode.PONG)


def fragments(peer: Peer) -> bytes:
    return b"".join(peer.fragments(Opcode.TEXT, *[b"a"] * 1000))


def empty_fragments(peer: Peer) -> bytes:
    return b"".join(peer.fragments(Opcode.BINARY, b"a", *[b""] * 1000))


FLOODS = [pings, empty_pings, empty_messages, messages_and_pings_in_turn, fragments, empty_fragments]


@pytest.mark.once("it counts what our own layer does")
@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("hears", [True, False], ids=["heard", "unheard"])
def test_flood_that_passes_takes_bounded_turns(
    leg: Leg, wire: Wire, flood: Callable[[Peer], bytes], hears: bool
) -> None:
    wire.observer.hears = hears
    unit = flood(leg.peer)
    data = unit * (FLOOD // len(unit))
    whole = leg.peer.reader()
    expected = len(whole.feed(data))
    talk, passed, most, seen = wire.started(), b"", 0, 0
    for piece in pieces(data, READ):
        talk = talk >> leg.says(piece)
        for said in turns(talk):
            passed += written(said)
            done = len(wire.observer.told) + len(wire.observer.reported)
            most, seen = max(most, done - seen), done
    assert passed == data
    assert len(leg.peer.reader().feed(passed)) == expected
    assert most <= 2 * TURN_WORK


@pytest.mark.once("it counts what our own layer does")
@pytest.mark.parametrize("flood", FLOODS)
def test_flood_that_is_held_takes_bounded_turns(leg: Leg, wire: Wire, flood: Callable[[Peer], bytes]) -> None:
    unit = flood(leg.peer)
    data = unit * (READ // len(unit))
    talk = wire.started(holding=True) >> leg.says(data)
    passed, most, seen = b"", 0, 0
    for said in turns(talk):
        passed += written(said)
        done = HELD_WORK * len(wire.observer.offered) + len(wire.observer.reported)
        most, seen = max(most, done - seen), done
    assert leg.peer.reader().feed(passed) == leg.peer.reader().feed(data)
    assert most <= TURN_WORK + HELD_WORK


def test_messages_that_waited_for_a_decision_are_offered_in_bounded_turns(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = undecided
    data = leg.peer.text("a") * 4_000
    talk = wire.started(holding=True)
    for piece in pieces(data, READ):
        talk = talk >> leg.says(piece)
        for _ in turns(talk):
            pass
    wire.observer.decide = lambda payload: payload
    passed, seen = b"", len(wire.observer.offered)
    for said in turns(talk >> leg.decided("a")):
        passed += written(said)
        assert len(wire.observer.offered) - seen <= TURN_WORK // HELD_WORK + 1
        seen = len(wire.observer.offered)
    assert passed == data


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("wants", [100, 1 << 20], ids=["unwanted", "wanted"])
def test_compressed_messages_are_inflated_in_bounded_turns(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, takeover: bool, wants: int
) -> None:
    wire.observer.wants, wire.observer.max_message = wants, 64 << 20
    leg = Leg(wire, Direction.RECEIVED)
    talk = wire.started("permessage-deflate" + ("" if takeover else "; server_no_context_takeover"))
    size = 12 << 20
    data = leg.peer.compressed(bytes(size)) + leg.peer.compressed("the last")
    inflated: list[int] = []
    reader = wire.layer._socket.legs[Direction.RECEIVED].stream.reader
    assert reader._message.inflater is not None
    push = reader._message.inflater.push

    def counting(part: bytes, limit: int) -> bytes:
        inflated.append(len(result := push(part, limit)))
        return result

    monkeypatch.setattr(reader._message.inflater, "push", counting)
    passed, most, seen = b"", 0, 0
    for said in turns(talk >> leg.says(data)):
        passed += written(said)
        most, seen = max(most, sum(inflated) - seen), sum(inflated)
    assert passed == data
    assert wire.observer.told[0] == ("too large",)
    if takeover:
        assert most <= 2 * TURN_WORK * 512
        assert size < sum(inflated)
        assert wire.observer.told[1:] == leg.told("the last")
    else:
        assert sum(inflated) < wants + (1 << 17)


def test_events_wait_for_the_next_turn_in_their_order(leg: Leg, wire: Wire) -> None:
    data, one, back = empty_messages(leg.peer) * TURN_WORK, leg.peer.text("one"), leg.back.peer.text("back")
    talk, said = (wire.started() >> leg.says(data + data)).take()
    assert isinstance(said[-1], NextTurn)
    talk = talk >> leg.says(one) >> leg.back.says(back) >> leg.inject("ours") >> wire.close()
    for each in turns(talk >> events.Wakeup(said[-1])):
        said += each
    ours, close = leg.peer.text("ours"), leg.close_frame(3000, "bye")
    to_destination = b"".join(
        each.data for each in said if isinstance(each, SendData) and each.connection != leg.source
    )
    assert to_destination == data + data + one + ours + close
    to_source = b"".join(
        each.data for each in said if isinstance(each, SendData) and each.connection == leg.source
    )
    assert to_source == back + leg.back.close_frame(3000, "bye")


def test_neither_end_is_read_from_before_the_next_turn(leg: Leg, wire: Wire) -> None:
    ends = wire.client, wire.server
    talk, said = (wire.started() >> leg.says(empty_messages(leg.peer) * 2 * TURN_WORK)).take()
    assert isinstance(said[-1], NextTurn)
    assert all(back_pressure.is_paused(end, back_pressure.PauseReason.TURN) for end in ends)
    for _ in turns(talk >> events.Wakeup(said[-1])):
        pass
    assert not any(back_pressure.is_paused(end, back_pressure.PauseReason.TURN) for end in ends)


def test_layer_that_is_never_woken_pauses_nothing(wire: Wire) -> None:
    leg = Leg(wire, Direction.RECEIVED)
    _, said = (wire.started() >> leg.says(empty_messages(leg.peer) * 2 * TURN_WORK)).take()
    assert isinstance(said[-1], NextTurn)
    assert wire.layer._paused is not None
    wire.layer._paused.generator.close()
    assert not back_pressure.is_paused(wire.client, back_pressure.PauseReason.TURN)


def test_messages_after_a_close_of_ours_are_dropped_in_later_turns_too(leg: Leg, wire: Wire) -> None:
    wire.observer.max_message = 1000
    large = leg.peer.binary(os.urandom(1001))
    data = leg.peer.text("a") * (TURN_WORK // HELD_WORK) + large + leg.peer.text("late") * TURN_WORK
    talk = wire.started(holding=True)
    for piece in pieces(data, READ):
        talk = talk >> leg.says(piece)
        for _ in turns(talk):
            pass
    assert wire.observer.offered == leg.offers("a") * (TURN_WORK // HELD_WORK)


def test_held_messages_whose_handler_is_slow_take_turns_of_some_milliseconds(
    leg: Leg, wire: Wire, now: list[float]
) -> None:
    def decide(payload: Payload) -> Payload:
        now[0] += TURN_SECONDS / 3.5
        return payload

    wire.observer.decide = decide
    data = leg.peer.text("a") * 20
    offered: list[int] = []
    passed = b""
    for said in turns(wire.started(holding=True) >> leg.says(data)):
        passed += written(said)
        offered.append(len(wire.observer.offered) - sum(offered))
    assert passed == data
    assert offered == [4, 4, 4, 4, 4]


def test_listeners_that_are_slow_hear_less_in_a_turn(leg: Leg, wire: Wire, now: list[float]) -> None:
    wire.observer.hears = True
    unit = empty_pings(leg.peer)
    data = unit * (READ // len(unit))
    report = wire.observer.controls

    def report_slowly(frames: Sequence[ControlFrame], **named: Any) -> None:
        now[0] += len(frames) * TURN_SECONDS / 200
        report(frames, **named)

    wire.observer.controls = report_slowly  # type: ignore[method-assign]
    heard: list[int] = []
    passed = b""
    for said in turns(wire.started() >> leg.says(data)):
        passed += written(said)
        heard.append(len(wire.observer.reported) - sum(heard))
    assert passed == data
    assert heard[0] > 1000
    assert all(190 <= count <= 210 for count in heard[1:-1])


def test_turn_is_as_long_as_before_once_listeners_are_quick_again() -> None:
    turn = Turn()
    turn.measure(TURN_WORK, 10 * TURN_SECONDS)
    assert turn.work_of_read == TURN_WORK // 10
    turn.measure(LEAST_WORK - 1, 1.0)  # too little to say anything
    assert turn.work_of_read == TURN_WORK // 10
    turn.measure(TURN_WORK // 10, TURN_SECONDS / 20)
    assert turn.work_of_read == TURN_WORK
    turn.measure(TURN_WORK, 1000 * TURN_SECONDS)
    assert turn.work_of_read == LEAST_WORK


@pytest.mark.parametrize("size", [10, 200])
def test_usual_traffic_never_waits_for_a_turn(leg: Leg, wire: Wire, size: int) -> None:
    message = leg.peer.text("a" * size)
    data = message * (READ // len(message))
    assert wire.started() >> leg.says(data) << leg.gets(data)


def test_frame_in_two_reads_is_forwarded_once_after_a_turn_of_held_messages(leg: Leg, wire: Wire) -> None:
    """Messages that are decided one by one use up the turn before the rest of the frame arrives."""
    wire.observer.decide, wire.observer.passing = undecided, leg.back.direction
    frame = leg.back.peer.text("hi")
    talk = wire.started(holding=True) >> leg.back.says(frame[:1])
    passed = b"".join(map(written, turns(talk)))
    for _ in turns(talk >> leg.says(leg.peer.text("a"))):
        pass
    for _ in range(2 * TURN_WORK // HELD_WORK):
        if wire.layer._socket.turn.work >= TURN_WORK:
            break
        for event in (leg.says(leg.peer.text("a")), leg.decided("a")):
            for _ in turns(talk >> event):
                pass
    passed += b"".join(map(written, turns(talk >> leg.back.says(frame[1:]))))
    assert passed == frame
