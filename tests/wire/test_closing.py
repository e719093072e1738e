"""How a socket closes: single moves of the machine, and any order of events."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wirewright.values import Direction
from wirewright.wire.closing import Closing
from wirewright.wire.closing_actions import (
    Action,
    DropHeld,
    End,
    EndConnection,
    ForwardClose,
    ForwardViolation,
    NotifyRoute,
    Place,
    QueueLoss,
    ReportEnd,
    ReportFailure,
    SendClose,
    StartTimer,
    Timer,
)
from wirewright.wire.closing_states import TRANSITIONS, IllegalMove, Move, State, next_state
from wirewright.wire.frames import CloseCode, ProtocolError
from wirewright.wire.stream import Close

SENT, RECEIVED = Direction
BYE = Close(3000, "bye")
FAILURE = ProtocolError("Invalid frame header")


def closing(*, has_server: bool = True, handled: bool = False) -> Closing:
    return Closing(has_server=has_server, handles_close=lambda _: handled)


def timers(actions: list[Action]) -> list[Timer]:
    return [each.timer for each in actions if isinstance(each, StartTimer)]


def but_timers(actions: list[Action]) -> list[Action]:
    return [each for each in actions if not isinstance(each, StartTimer)]


# The table


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
def test_move_that_is_not_in_the_table_raises(state: State, move: Move) -> None:
    if move in TRANSITIONS[state]:
        assert next_state(state, move) is TRANSITIONS[state][move]
    else:
        with pytest.raises(IllegalMove, match=f"{move.name} in {state.name}"):
            next_state(state, move)


def test_no_state_is_left_by_a_second_close_frame() -> None:
    for state in (State.CLOSE_SENT, State.COPIED, State.CLOSED, State.FAILED):
        assert not TRANSITIONS[state].keys() & {Move.SEND, Move.COPY}


# Single events


@pytest.mark.parametrize("first", Direction)
def test_copied_close_frames_end_the_socket_and_leave_the_connections_to_the_ends(first: Direction) -> None:
    machine = closing()
    assert machine.close_received(first, 3000, "bye") == [ForwardClose(first, None)]
    assert machine.conclude() == []
    assert machine.close_received(first.opposite, 3001, "") == [ForwardClose(first.opposite, None)]
    assert machine.conclude() == [ReportEnd(End(first, 3000, "bye"))]
    assert machine.lost(first) == []
    assert machine.conclude() == [EndConnection(RECEIVED), EndConnection(SENT)]
    assert machine.conclude() == []


@pytest.mark.parametrize("direction", Direction)
def test_answer_to_an_ordered_close_is_replaced_by_it(direction: Direction) -> None:
    machine = closing()
    actions = machine.close_ordered(direction, BYE)
    assert but_timers(actions) == [SendClose(direction, BYE)]
    machine.close_sent(direction)
    assert direction.opposite in machine.closes_to_answer
    back = direction.opposite
    assert machine.close_received(back, 3001, "") == [ForwardClose(back, BYE)]
    assert machine.close_received(direction, 3002, "") == []
    ends: list[Action] = [EndConnection(RECEIVED), EndConnection(SENT), ReportEnd(End(None, 3000, "bye"))]
    assert machine.conclude() == ends


@pytest.mark.parametrize("direction", Direction)
def test_side_without_a_close_frame_gets_the_one_of_ours_when_time_is_up(direction: Direction) -> None:
    machine = closing()
    (timer,) = timers(machine.close_ordered(direction, BYE))
    machine.close_sent(direction)
    assert machine.time_is_up(Timer()) == []
    assert machine.conclude() == []
    assert machine.time_is_up(timer) == []
    assert machine.conclude()[0] == SendClose(direction.opposite, BYE, Place.NOW)


def test_close_frame_of_a_mocked_socket_is_answered() -> None:
    machine = closing(has_server=False)
    assert machine.close_received(SENT, 1005, "") == [SendClose(RECEIVED, Close(1005))]
    machine.close_sent(RECEIVED)
    assert ReportEnd(End(SENT, 1005, "")) in machine.conclude()


@pytest.mark.parametrize("direction", Direction)
def test_close_frame_that_a_route_handles_is_answered_and_told(direction: Direction) -> None:
    machine = closing(handled=True)
    actions = machine.close_received(direction, 3000, "bye")
    assert but_timers(actions) == [
        SendClose(direction.opposite, BYE),
        NotifyRoute(direction, 3000, "bye"),
    ]
    machine.close_sent(direction.opposite)
    assert len(timers(actions)) == (direction is SENT)
    assert machine.has_server is (direction is SENT)
    assert machine.conclude() == []


@pytest.mark.parametrize("direction", Direction)
def test_close_frame_that_has_passed_already_is_not_answered(direction: Direction) -> None:
    machine = closing(handled=True)
    told = machine.close_received(direction, 3000, "bye", is_forwarded=True)
    assert told == [NotifyRoute(direction, 3000, "bye")]
    assert machine.states[direction] is State.COPIED


@pytest.mark.parametrize("direction", Direction)
def test_loss_waits_for_messages_and_is_dropped_with_them_when_time_is_up(direction: Direction) -> None:
    machine = closing()
    machine.hung_up(direction)
    actions = machine.loss_arrived(direction, End(direction), is_handled=True)
    assert but_timers(actions) == [QueueLoss(direction)]
    assert machine.conclude() == []
    assert machine.time_is_up(*timers(actions)) == [DropHeld(direction)]
    assert machine.conclude()[-1] == ReportEnd(End(direction))


@pytest.mark.parametrize("direction", Direction)
def test_violation_is_forwarded_and_a_destination_that_takes_it_is_closed(direction: Direction) -> None:
    machine = closing()
    actions = machine.violated(direction, FAILURE)
    assert but_timers(actions) == [ReportFailure(FAILURE.message), ForwardViolation(direction)]
    machine.time_is_up(*timers(actions))
    assert machine.conclude() == [
        SendClose(direction.opposite, Close(CloseCode.PROTOCOL_ERROR), Place.NOW),
        EndConnection(RECEIVED),
        EndConnection(SENT),
        ReportEnd(End(None, CloseCode.PROTOCOL_ERROR, FAILURE.message)),
    ]


@pytest.mark.parametrize("direction", Direction)
def test_violation_after_a_copied_close_frame_is_for_the_destination_to_judge(direction: Direction) -> None:
    machine = closing()
    machine.close_received(direction, 3000, "")
    assert ForwardViolation(direction) in machine.violated(direction, FAILURE)
    assert machine.states[direction] is State.COPIED


@pytest.mark.parametrize("direction", Direction)
def test_message_that_cannot_be_held_closes_both_sides(direction: Direction) -> None:
    machine = closing()
    actions = machine.refused(direction, "Message too large", BYE)
    assert but_timers(actions) == [ReportFailure("Message too large"), SendClose(direction, BYE)]
    machine.close_sent(direction)
    back = direction.opposite
    assert machine.close_received(back, 1000, "") == [ForwardClose(back, BYE)]
    assert EndConnection(SENT) in machine.conclude()


@pytest.mark.parametrize("direction", Direction)
def test_end_that_breaks_the_protocol_does_not_answer_any_more(direction: Direction) -> None:
    machine = closing()
    machine.close_requested(BYE)
    for each in Direction:
        machine.close_sent(each)
    machine.close_received(direction.opposite, 3000, "")
    assert machine.broken(direction, FAILURE) == [ReportFailure(FAILURE.message)]
    assert EndConnection(SENT) in machine.conclude()


def test_cut_sends_no_close_frame() -> None:
    machine = closing()
    machine.close_requested(BYE)
    machine.cut("no traffic")
    assert machine.conclude() == [
        EndConnection(RECEIVED),
        EndConnection(SENT),
        ReportEnd(End(None, 3000, "bye")),
    ]


# Any order of events


class Ends:
    """A client and a server as the machine sees them. It carries the actions out, and checks the rules."""

    def __init__(self, *, has_server: bool) -> None:
        self.handled: set[Direction] = set()
        self.machine = Closing(has_server=has_server, handles_close=lambda each: each in self.handled)
        self.is_mocked = not has_server
        self.closed: Counter[Direction] = Counter()
        """By direction, the close frames that its destination got."""
        self.violated: Counter[Direction] = Counter()
        """By direction, the violations that its destination got."""
        self.silent = set() if has_server else {RECEIVED}
        """The directions of which the source says nothing any more, as it has closed, or failed."""
        self.lost_sources: set[Direction] = set() if has_server else {RECEIVED}
        self.queued: set[Direction] = set()
        self.waiting: list[SendClose] = []
        """Close frames of ours that wait for their place."""
        self.timers: list[Timer] = []
        self.told: list[ReportEnd] = []
        self.told_routes: Counter[Direction] = Counter()
        self.failures: Counter[str] = Counter()
        self.first: End | None = None
        self.delays = False

    def carry_out(self, actions: list[Action]) -> None:
        for action in [*actions, *self.machine.conclude()]:
            self._carry_out(action)
        for action in self.machine.conclude():
            self._carry_out(action)
        self.check()

    def _carry_out(self, action: Action) -> None:
        match action:
            case ForwardClose(direction):
                self._close(direction)
            case ForwardViolation(direction):
                assert self.machine.states[direction] in (State.FAILED, State.COPIED)
                self.violated[direction] += 1
            case SendClose(direction, _, Place.NOW):
                if not self.delays:
                    self._send_close(direction)
            case SendClose(direction):
                if self.delays:
                    self.waiting.append(action)
                else:
                    self._send_close(direction)
            case QueueLoss(direction):
                assert direction in self.lost_sources
                self.queued.add(direction)
            case DropHeld(direction):
                self.queued.discard(direction)
            case StartTimer(timer):
                self.timers.append(timer)
            case ReportFailure(message):
                self.failures[message] += 1
            case NotifyRoute(direction):
                self.told_routes[direction] += 1
            case ReportEnd():
                self.told.append(action)
            case EndConnection(direction):
                self.lost_sources.add(direction)

    def _send_close(self, direction: Direction) -> None:
        self.machine.close_sent(direction)
        self._close(direction)

    def _close(self, direction: Direction) -> None:
        assert not self.is_mocked or direction is RECEIVED, "nobody is there"
        assert not self.violated[direction], "nothing follows a violation"
        self.closed[direction] += 1

    def let_waiting_go(self) -> None:
        for action in self.waiting:
            if not self.machine.nothing_may_follow(action.direction):
                self._send_close(action.direction)
        self.waiting.clear()

    def check(self) -> None:
        assert all(count == 1 for count in self.closed.values()), "one close frame for each end"
        assert all(count == 1 for count in self.violated.values()), "one violation for each end"
        assert all(count == 1 for count in self.told_routes.values()), "a route is told once"
        assert all(count == 1 for count in self.failures.values()), "a failure is told once"
        assert len(self.told) <= 1, "the end is told once"
        for direction in self.closed:
            assert self.machine.nothing_may_follow(direction)
        self.first = self.first or self.machine.end
        assert self.machine.end is self.first, "the first reason wins"
        assert self.machine.is_end_reported is bool(self.told)
        if self.told:
            assert self.told[0].end is self.first
        if self.machine.is_finished:
            assert self.lost_sources == set(Direction)
            assert self.told


def close_frame(ends: Ends, direction: Direction) -> None:
    if direction not in ends.silent:  # a connection may have ended before the frame has its turn
        ends.silent.add(direction)
        ends.carry_out(ends.machine.close_received(direction, 3001, direction))


def passed_close_frame(ends: Ends, direction: Direction) -> None:
    """In PASS the bytes have gone to the destination, if nothing has closed that direction."""
    if direction in ends.silent | ends.lost_sources or not ends.machine.has_destination(direction):
        return
    ends.silent.add(direction)
    is_forwarded = not ends.machine.is_cut(direction)
    ends.closed[direction] += is_forwarded
    ends.carry_out(ends.machine.close_received(direction, 3002, "", is_forwarded=is_forwarded))


def hang_up(ends: Ends, direction: Direction) -> None:
    if direction not in ends.lost_sources:
        ends.lost_sources.add(direction)
        ends.machine.hung_up(direction)
        ends.carry_out(ends.machine.loss_arrived(direction, None, is_handled=False))


def hang_up_behind_messages(ends: Ends, direction: Direction) -> None:
    if direction not in ends.lost_sources:
        ends.lost_sources.add(direction)
        ends.machine.hung_up(direction)
        ends.carry_out(ends.machine.loss_arrived(direction, End(direction), is_handled=True))


def decide(ends: Ends, direction: Direction) -> None:
    """The messages before a loss are dealt with."""
    if direction in ends.queued:
        ends.queued.discard(direction)
        ends.silent.add(direction)
        ends.carry_out(ends.machine.lost(direction))


def break_in_pass(ends: Ends, direction: Direction) -> None:
    if direction not in ends.silent | ends.lost_sources:
        ends.silent.add(direction)
        ends.carry_out(ends.machine.broken(direction, ProtocolError(direction)))


def break_in_hold(ends: Ends, direction: Direction) -> None:
    if direction not in ends.lost_sources:  # perhaps after its close frame
        ends.silent.add(direction)
        ends.carry_out(ends.machine.violated(direction, ProtocolError(direction)))


def say_too_much(ends: Ends, direction: Direction) -> None:
    """After a close frame of ours messages are dropped, and the source is still heard."""
    is_heard = direction not in ends.silent | ends.lost_sources and not ends.machine.is_cut(direction)
    if is_heard and not ends.delays:
        ends.silent.add(direction)
        ends.carry_out(ends.machine.refused(direction, direction, Close(1009)))


def order_close(ends: Ends, direction: Direction) -> None:
    ends.carry_out(ends.machine.close_ordered(direction, Close(3003, direction)))


def request_close(ends: Ends, _: Direction) -> None:
    ends.carry_out(ends.machine.close_requested(BYE))


def handle_close(ends: Ends, direction: Direction) -> None:
    ends.handled ^= {direction}


def delay(ends: Ends, _: Direction) -> None:
    ends.delays = not ends.delays
    if not ends.delays:
        ends.let_waiting_go()
        ends.carry_out([])


def end_messages(ends: Ends, direction: Direction) -> None:
    if ends.delays:
        delay(ends, direction)


def run_out_of_time(ends: Ends, _: Direction) -> None:
    if ends.timers:
        ends.carry_out(ends.machine.time_is_up(ends.timers.pop(0)))


def cut(ends: Ends, _: Direction) -> None:
    ends.machine.cut("no traffic")
    ends.carry_out([])


EVENTS: list[Callable[[Ends, Direction], None]] = [
    close_frame,
    passed_close_frame,
    hang_up,
    hang_up_behind_messages,
    decide,
    break_in_pass,
    break_in_hold,
    say_too_much,
    order_close,
    request_close,
    handle_close,
    delay,
    run_out_of_time,
    cut,
]
SOME_EVENTS = st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(Direction)), max_size=14)
ENDINGS: list[list[Callable[[Ends, Direction], None]]] = [
    [cut],
    [request_close, run_out_of_time, run_out_of_time, run_out_of_time],
    [hang_up, decide],
    [end_messages, order_close, close_frame, run_out_of_time],
]


@settings(max_examples=500, deadline=None)
@given(st.booleans(), SOME_EVENTS)
def test_any_order_of_events_keeps_the_rules(
    has_server: bool, some: list[tuple[Callable[[Ends, Direction], None], Direction]]
) -> None:
    ends = Ends(has_server=has_server)
    for event, direction in some:
        event(ends, direction)


@settings(max_examples=500, deadline=None)
@given(st.booleans(), SOME_EVENTS, st.sampled_from(ENDINGS))
@example(True, [(close_frame, RECEIVED), (order_close, SENT), (say_too_much, SENT)], ENDINGS[-1])
def test_socket_always_ends(
    has_server: bool,
    some: list[tuple[Callable[[Ends, Direction], None], Direction]],
    ending: list[Callable[[Ends, Direction], None]],
) -> None:
    """By a cut, by a close of ours and time, by the loss of both connections, or by closes of both ends."""
    ends = Ends(has_server=has_server)
    for event, direction in some:
        event(ends, direction)
    for event in ending:
        for direction in Direction:
            event(ends, direction)
    while ends.timers:
        run_out_of_time(ends, SENT)
    assert ends.told
