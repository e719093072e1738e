"""The wire's layer reads no further from a source of which too much waits."""

from collections.abc import Iterator

import pytest
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.commands import Log, SendData
from mitmproxy.proxy.layers.websocket import WebsocketEndHook

from support.layer_conversation import Talk
from support.wire_layer import Clock, Leg, Wire, undecided
from wirewright.memory import ITEM_BYTES, MemoryBudget, MemoryUse
from wirewright.mitm.layers.events import Aborted, OrderInjected
from wirewright.mitm.layers.turns import NextTurn
from wirewright.mitm.patches import back_pressure
from wirewright.values import Conditions, Direction
from wirewright.wire.frames import Opcode
from wirewright.wire.observer import Order
from wirewright.wire.stream import Close

MOST = 10_000
"""Of the tests' observer: bytes that may wait."""
PART = "x" * 3_000
"""A message of which three fit, and four do not."""


@pytest.fixture(autouse=True)
def nothing_stays_paused() -> Iterator[None]:
    yield
    assert not back_pressure._pauses


@pytest.fixture
def held(wire: Wire) -> Talk:
    """A socket in HOLD whose messages are not decided by themselves."""
    wire.observer.max_held = MOST
    wire.observer.decide = undecided
    return wire.started(holding=True)


def tell(talk: Talk, *told: events.Event) -> list[commands.Command]:
    """What the layer says to these events, its hooks completed and its turns begun."""
    said: list[commands.Command] = []
    for event in told:
        _, answer = (talk >> event).take()
        while answer and isinstance(last := answer[-1], (WebsocketEndHook, NextTurn)):
            said += answer
            going_on = events.Wakeup(last) if isinstance(last, NextTurn) else events.HookCompleted(last)
            _, answer = (talk >> going_on).take()
        said += answer
    return said


def is_paused(leg: Leg) -> bool:
    return back_pressure.is_paused(leg.source)


def six_parts(leg: Leg) -> events.Event:
    """The first one is offered, and five wait."""
    return leg.says(leg.peer.text(PART) * 6)


def test_reading_pauses_above_the_limit_and_goes_on_below_a_quarter(leg: Leg, held: Talk) -> None:
    paused = []
    for event in [*[leg.says(leg.peer.text(PART))] * 5, *[leg.decided(PART)] * 5]:
        tell(held, event)
        paused.append(is_paused(leg))
        assert not is_paused(leg.back)
    assert paused == [False, False, False, False, True, True, True, True, False, False]


def test_large_message_may_wait_alone(leg: Leg, wire: Wire, held: Talk) -> None:
    tell(held, leg.says(leg.peer.text("x" * 5 * MOST)))
    assert not is_paused(leg)
    tell(held, leg.says(leg.peer.text("y" * 5 * MOST)))
    assert is_paused(leg)
    tell(held, leg.decided("x"))
    assert not is_paused(leg)
    assert len(wire.observer.offered) == 2


@pytest.mark.parametrize("payload", ["", b""])
def test_empty_messages_count(leg: Leg, held: Talk, payload: str | bytes) -> None:
    message = leg.peer.text(payload) if isinstance(payload, str) else leg.peer.binary(payload)
    tell(held, leg.says(message * (MOST // ITEM_BYTES)))
    assert is_paused(leg)
    while is_paused(leg):
        tell(held, leg.decided(""))


def test_inflated_size_counts(leg: Leg, wire: Wire) -> None:
    wire.observer.max_held = MOST
    wire.observer.decide = undecided
    talk = wire.started("permessage-deflate", holding=True)
    tell(talk, leg.says(leg.peer.compressed(b"x" * MOST) + leg.peer.compressed(b"y" * MOST)))
    assert is_paused(leg)
    tell(talk, leg.decided("x"))
    assert not is_paused(leg)


def test_messages_that_are_decided_at_once_do_not_pause(leg: Leg, wire: Wire) -> None:
    wire.observer.max_held = MOST
    talk = wire.started(holding=True)
    for _ in range(10):
        tell(talk, six_parts(leg))
        assert not is_paused(leg)


def test_pings_go_ahead_and_do_not_count(leg: Leg, held: Talk) -> None:
    ping = leg.peer.frame(Opcode.PING, b"?")
    tell(held, leg.says(leg.peer.text(PART)))
    (command,) = tell(held, leg.says(ping * 1000))
    assert isinstance(command, SendData)
    assert command.data == ping * 1000
    assert not is_paused(leg)


def test_close_of_the_other_end_resumes_reading(leg: Leg, wire: Wire, held: Talk) -> None:
    tell(held, six_parts(leg))
    assert is_paused(leg)
    tell(held, leg.back.says(leg.back.close_frame()))
    assert not is_paused(leg)
    wire.flow.request.url = "http://user:secret@host/\x1b[31m?token=1"
    said = tell(held, *[leg.says(leg.peer.text("dropped"))] * 2, leg.says(leg.close_frame()))
    (log,) = said
    assert isinstance(log, Log)
    assert log.message.startswith(r"http://host/\x1b[31m?…: the socket is closing")
    tell(held, *[leg.decided(None)] * 6)
    assert wire.observer.offered == leg.offers(*[PART] * 6)
    assert wire.ended[0] == 1000


def test_lost_connection_of_the_other_end_resumes_reading(leg: Leg, held: Talk) -> None:
    tell(held, six_parts(leg))
    assert is_paused(leg)
    tell(held, events.ConnectionClosed(leg.back.source))
    assert not is_paused(leg)


def test_close_frame_of_a_route_resumes_reading(leg: Leg, wire: Wire, held: Talk) -> None:
    tell(held, six_parts(leg))
    assert is_paused(leg)
    tell(held, OrderInjected(wire.flow, Order(leg.direction.opposite, Close(1000))))
    assert not is_paused(leg)


@pytest.mark.parametrize("mocked", [False, True])
def test_end_by_the_proxy_resumes_reading(wire: Wire, mocked: bool) -> None:
    app = Leg(wire, Direction.SENT)
    wire.observer.max_held = MOST
    wire.observer.decide = undecided
    talk = wire.started(holding=True, mocked=mocked)
    tell(talk, six_parts(app))
    assert is_paused(app)
    tell(talk, Aborted(wire.flow, "a reason"))
    assert not is_paused(app)


def test_app_that_goes_on_without_a_server_loses_nothing(wire: Wire, held: Talk) -> None:
    wire.observer.keeps = True
    app = Leg(wire, Direction.SENT)
    tell(held, six_parts(app), events.ConnectionClosed(app.back.source))
    assert is_paused(app)
    tell(held, app.says(app.peer.text("one more")), *[app.decided(None)] * 7)
    assert wire.observer.offered == app.offers(*[PART] * 6, "one more")
    assert not is_paused(app)


def test_messages_under_way_in_a_bad_network_count(leg: Leg, wire: Wire, clock: Clock) -> None:
    wire.observer.max_held = MOST
    talk = wire.started(holding=True)
    tell(talk, OrderInjected(wire.flow, Order(leg.direction, Conditions(latency=1_000))))
    for _ in range(4):
        assert not is_paused(leg)
        tell(talk, leg.says(leg.peer.text(PART)))
    assert is_paused(leg)
    tell(talk, clock.after(1_000))
    assert not is_paused(leg)
    assert wire.layer._limits.waiting(wire.layer._socket.legs[leg.direction]) == 0


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> MemoryBudget:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.mitm.layers.reading_limits.budget", budget)
    return budget


def test_reading_pauses_while_all_messages_together_use_up_the_memory(
    leg: Leg, held: Talk, budget: MemoryBudget
) -> None:
    others = budget.share(MemoryUse.HELD)
    tell(held, leg.says(leg.peer.text(PART)))
    assert not is_paused(leg)
    others.set(budget.limit + 1)
    tell(held, leg.says(leg.peer.text("")))
    assert is_paused(leg)
    tell(held, leg.decided(None))  # the next one is offered
    assert is_paused(leg)
    tell(held, leg.decided(None))  # nothing waits: the next message may come
    assert not is_paused(leg)
    assert not is_paused(leg.back)


def test_held_messages_are_part_of_the_memory_that_messages_take(
    leg: Leg, wire: Wire, held: Talk, budget: MemoryBudget
) -> None:
    tell(held, leg.says(leg.peer.text("x" * 50_000)))  # a message that is undecided
    assert budget.used >= 50_000
    tell(held, leg.says(leg.peer.text("x" * 60_000)))
    assert budget.used >= 110_000
    tell(held, leg.decided(None), leg.decided(None))
    assert budget.used == 0
    tell(held, leg.says(leg.peer.text("x" * 50_000)), Aborted(wire.flow, "a reason"))
    assert budget.used == 0


def test_data_that_inflates_to_much_more_waits_uninflated(leg: Leg, wire: Wire) -> None:
    size, count = 1_000_000, 64
    wire.observer.max_message = wire.observer.max_held = size
    wire.observer.decide = undecided
    talk = wire.started("permessage-deflate", holding=True)
    tell(talk, leg.says(b"".join(leg.peer.compressed(bytes([number]) * size) for number in range(count))))
    most = 0
    for number in range(count):
        direction = wire.layer._socket.legs[leg.direction]
        most = max(most, wire.layer._limits.waiting(direction))
        assert wire.observer.offered[number:] == leg.offers(bytes([number]) * size)
        tell(talk, leg.decided(None))
    assert most < 12 * size
    assert len(wire.observer.offered) == count
    assert not is_paused(leg)


def test_data_that_was_not_read_yet_is_read_when_the_other_end_closes(leg: Leg, wire: Wire) -> None:
    size = 1_000_000
    wire.observer.max_message = wire.observer.max_held = size
    wire.observer.decide = undecided
    talk = wire.started("permessage-deflate", holding=True)
    messages = [leg.peer.compressed(bytes([number]) * size) for number in range(64)]
    tell(talk, leg.says(b"".join([*messages, leg.close_frame()])))
    assert is_paused(leg)
    tell(talk, leg.back.says(leg.back.close_frame()))
    while wire.layer._socket.legs[leg.direction].undecided:
        tell(talk, leg.decided(None))
    assert wire.ended[0] == 1000


def test_held_message_for_which_there_is_no_memory_closes_the_socket(
    leg: Leg, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.wire.unfinished_message.budget", budget)
    others = budget.share(MemoryUse.HELD)
    others.set(9_900_000)
    wire.observer.max_message = 10_000_000
    talk = wire.started(holding=True)
    first, last = leg.peer.fragments(Opcode.BINARY, bytes(500_000), b"")
    said = tell(talk, leg.says(first), leg.says(last))
    reason = "no memory for this message: others take all of ws_memory"
    assert leg.gets(leg.close_frame(1009, reason)).data in [  # type: ignore[attr-defined]
        getattr(command, "data", b"") for command in said
    ]
    others.set(0)
    assert budget.used == 0
