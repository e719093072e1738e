"""How a socket closes, as a state machine without I/O: RFC 6455, sections 5.5.1 and 7.

The two directions close one by one. Each event is a method call, and the actions that it demands are the
return value. After they are carried out, `conclude` returns those that end the socket, if it is over.
"""

from collections.abc import Callable

from wirewright.values import Direction
from wirewright.wire import closing_actions as act
from wirewright.wire.closing_actions import Action, End, Place, Timer
from wirewright.wire.closing_states import Move, State, next_state
from wirewright.wire.frames import CloseCode, ProtocolError
from wirewright.wire.stream import Close

_NOTHING_MAY_FOLLOW = {State.CLOSE_SENT, State.COPIED, State.CLOSED, State.FAILED}
_STOPPED = _NOTHING_MAY_FOLLOW - {State.COPIED}
_SOURCE_HAS_CLOSED = {State.CLOSE_RECEIVED, State.COPIED, State.CLOSED, State.LOST}
_ENDED_BY_THE_PEERS = {State.COPIED, State.FAILED}


class Closing:
    """The closing of one socket."""

    end: End | None
    """How the socket ends: the first reason wins."""
    has_server: bool
    """False if there is no server: the socket is mocked, or its app goes on without the server."""
    is_closing: bool
    """True if the proxy closes both sides."""
    is_end_reported: bool
    """True once the end was reported."""
    is_finished: bool
    """True once both connections have been ended."""

    def __init__(self, *, has_server: bool, handles_close: Callable[[Direction], bool]) -> None:
        """`handles_close` tells whether a route handles the close of a direction's source, so that it is not
        forwarded."""
        self.states = dict.fromkeys(Direction, State.OPEN)
        self.end = None
        self.has_server = has_server
        self.is_closing = self.is_end_reported = self.is_finished = False
        self._handles_close = handles_close
        self._must_finish = False
        self.lost_sources: frozenset[Direction] = frozenset()
        """The directions of which the connection of the source has ended, perhaps before its turn."""
        self._waiting_losses: frozenset[Direction] = frozenset()
        """The directions of which the loss of the source waits behind messages."""
        self._owed: Close | None = None
        """The newest close frame of ours: a side that has none at the end gets this one."""
        self.closes_to_answer: dict[Direction, Close] = {}
        """By direction, the close frame that its source is to answer."""
        self._broken: frozenset[Direction] = frozenset()
        """The directions of which the source broke the protocol."""
        self.failures: dict[Direction, ProtocolError] = {}
        """By direction, the violation that was forwarded."""
        self._timers: dict[Direction, Timer] = {}
        """By direction, the time limit for the answer of its destination."""

    # Questions

    def nothing_may_follow(self, direction: Direction) -> bool:
        """True if the destination has been sent a close frame, or a violation."""
        return self.states[direction] in _NOTHING_MAY_FOLLOW

    def is_cut(self, direction: Direction) -> bool:
        """True if messages of a source are dropped, because its destination has got a close frame of ours."""
        return self._has_stopped(direction) and self.has_destination(direction)

    def has_closed(self, direction: Direction) -> bool:
        """True if nothing more is expected of a direction's source."""
        return self.states[direction] in _SOURCE_HAS_CLOSED

    def has_destination(self, direction: Direction) -> bool:
        """True if a direction has a destination: a server may be missing."""
        return self.has_server or direction is Direction.RECEIVED

    def is_kept(self, direction: Direction) -> bool:
        """True if the close of a direction's source is not forwarded, because the other side goes on."""
        return self._handles_close(direction) and not self.has_closed(direction.opposite)

    def must_be_read(self, direction: Direction) -> bool:
        """True if a source must be read because its end is expected: a paused connection reports no end."""
        back = direction.opposite
        has_lost_end = self.has_destination(direction) and (
            self.has_closed(back) or back in self.lost_sources
        )
        return self.is_finished or has_lost_end or self.nothing_may_follow(back)

    # Events

    def close_ordered(self, direction: Direction, close: Close) -> list[Action]:
        """A route closes the destination of a direction."""
        if self.is_finished or not self.has_destination(direction) or self.nothing_may_follow(direction):
            return []
        actions: list[Action] = []
        if not self.has_closed(direction.opposite):
            self.closes_to_answer[direction.opposite] = close
            actions += self._begin(close, direction)
        return [*actions, act.SendClose(direction, close)]

    def close_requested(self, close: Close) -> list[Action]:
        """The proxy is to close both sides."""
        if self.is_finished or self.is_end_reported or self.is_closing:
            return []
        self.is_closing = True
        actions = self._begin(close, *Direction)
        for direction in Direction:
            if self.nothing_may_follow(direction) or not self.has_destination(direction):
                continue
            if self.states[direction] is State.BROKEN:
                self._move(direction, Move.SEND)
                actions.append(act.StopForwarding(direction))
            else:
                actions.append(act.SendClose(direction, close, Place.LAST))
        return actions

    def close_sent(self, direction: Direction) -> None:
        """A close frame of ours has gone out."""
        self._move(direction, Move.SEND)

    def close_received(
        self, direction: Direction, code: int, reason: str, *, is_forwarded: bool = False
    ) -> list[Action]:
        """The close frame of a source has its turn. In PASS it may have gone to the destination already."""
        if self.is_finished or self.has_closed(direction):
            return []
        is_kept = self.is_kept(direction) and not is_forwarded
        self.end = self.end or End(direction, code, reason)
        actions: list[Action] = []
        if is_forwarded or not (
            is_kept or not self.has_destination(direction) or self._has_stopped(direction)
        ):
            self._move(direction, Move.COPY)
            if not is_forwarded:
                actions.append(act.ForwardClose(direction, self.closes_to_answer.get(direction)))
        else:
            self._move(direction, Move.RECEIVE)
            actions += self.close_ordered(direction.opposite, Close(code, reason))
        if is_kept and direction is Direction.SENT:
            # The client waits for the end of its connection, with which mitmproxy ends the server's, too.
            actions += self._start_timer(Direction.RECEIVED)
        elif is_kept:
            self.has_server = False
        return [*actions, *self._notify_route(direction, code, reason)]

    def hung_up(self, direction: Direction) -> None:
        """The connection of a source has ended. `loss_arrived` follows."""
        self.lost_sources |= {direction}

    def loss_arrived(self, direction: Direction, waiting: End | None, *, is_handled: bool) -> list[Action]:
        """The loss of a source is next behind the messages that wait.

        `waiting` is None if none does, or else how the source ended: by a close frame that waits, or by the
        loss. `is_handled` tells whether a route handles the messages: it may wait for just this end.
        """
        waits = waiting is not None and self.has_destination(direction) and not self._has_stopped(direction)
        if not waits or direction.opposite in self.lost_sources:
            return self.lost(direction)
        self.end = self.end or waiting
        self._waiting_losses |= {direction}
        return [act.QueueLoss(direction), *(self._start_timer(direction) if is_handled else ())]

    def lost(self, direction: Direction, end: End | None = None) -> list[Action]:
        """The loss of a source has its turn. `end` is another reason for which it is not heard any more."""
        if self.is_finished:
            return []
        client_is_open = (
            Direction.SENT not in self.lost_sources and self.states[direction] is not State.COPIED
        )
        goes_on = direction is Direction.RECEIVED and client_is_open and self.is_kept(direction)
        self._waiting_losses -= {direction}
        actions: list[Action] = []
        if not self.has_closed(direction):
            self._move(direction, Move.LOSE)
            actions = self._notify_route(direction, CloseCode.ABNORMAL, "")
        if goes_on:
            self.has_server = False
            return [act.EndConnection(direction), *actions]
        self.end = self.end or end or End(direction)
        self._must_finish = True
        return actions

    def unreadable(self, direction: Direction) -> None:
        """The bytes of a source cannot be read, and are forwarded as they are."""
        self._move(direction, Move.BREAK)
        self._broken |= {direction}

    def broken(self, direction: Direction, failure: ProtocolError) -> list[Action]:
        """A source broke the protocol in PASS."""
        self._move(direction, Move.BREAK)
        return self._report_failure(direction, failure.message)

    def violated(self, direction: Direction, failure: ProtocolError) -> list[Action]:
        """A source broke the protocol in HOLD.

        The destination is sent the violation, as in PASS. Nothing follows it: no bytes may bypass the route
        that holds this direction. A destination that does not fail the socket has its connection ended.
        """
        if direction in self._broken:
            return []
        is_over = self._has_stopped(direction) or self.has_closed(direction)
        if self.is_finished or (is_over and self.states[direction] is not State.COPIED):
            return self.broken(direction, failure)
        actions = self._report_failure(direction, failure.message)
        if self.has_destination(direction) and not self.is_kept(direction):
            self._move(direction, Move.FAIL)
            self.failures[direction] = failure
            return [*actions, act.ForwardViolation(direction), *self._start_timer(direction)]
        back = direction.opposite
        if self.has_destination(back) and not self.nothing_may_follow(back):
            actions.append(act.SendClose(back, Close(failure.code), Place.NOW))
        self._owed = None
        return actions + self.lost(direction, End(None, failure.code, failure.message))

    def refused(self, direction: Direction, failure: str, close: Close) -> list[Action]:
        """A message of a source cannot be held: both sides are closed.

        The destination first: messages that it sends until it closes are still forwarded.
        """
        actions = self._report_failure(direction, failure)
        if self.is_finished or self.has_closed(direction) or self.nothing_may_follow(direction):
            return actions
        self._move(direction, Move.BREAK)
        self.is_closing = True
        self.closes_to_answer[direction.opposite] = close
        actions += self._begin(close, direction)
        if self.has_destination(direction):
            return [*actions, act.SendClose(direction, close)]
        self._must_finish = True
        return actions

    def cut(self, reason: str) -> None:
        """Both connections are to end without a close frame."""
        self._owed = None
        self.end = self.end or End(None, reason=reason)
        self._must_finish = True

    def time_is_up(self, timer: Timer) -> list[Action]:
        """A time limit has passed: for the answer to a close frame of ours, for a server that a route keeps
        after its app has closed, or for a handler whose app has gone."""
        actions: list[Action] = []
        for direction in Direction:
            if self._timers.get(direction) is not timer:
                continue
            if direction in self._waiting_losses:
                actions += (act.DropHeld(direction), *self.lost(direction))
                if not self._has_stopped(direction):
                    continue
            failure = self.failures.get(direction)
            is_answered = self.has_closed(direction.opposite) and self.nothing_may_follow(direction)
            is_answered = is_answered or not self.has_destination(direction)
            keeps_server = direction is Direction.RECEIVED and self._has_stopped(direction)
            if is_answered and failure is None and not keeps_server:
                continue
            if failure is not None:
                self._owed = self._owed or Close(failure.code)
            self._must_finish = True
        return actions

    def conclude(self) -> list[Action]:
        """The actions that end the socket, if it is over.

        The end is reported once both sides have closed. If both closes (or violations) were forwarded, the
        peers end their connections. Otherwise the proxy ends them.
        """
        if self.is_finished:
            return []
        if not self._must_finish:
            if self.is_end_reported or not all(self._is_over(end) for end in Direction):
                return []
            if all(state in _ENDED_BY_THE_PEERS for state in self.states.values()):
                return self._report_end()  # the ends then end their connections
        return self._finish()

    def _is_over(self, end: Direction) -> bool:
        """True if the source of a direction has closed or failed, and has got a close frame."""
        if end is Direction.RECEIVED and not self.has_server:
            return True
        is_heard = self.states[end] in {State.OPEN, State.CLOSE_SENT, State.BROKEN}
        return self.nothing_may_follow(end.opposite) and not is_heard

    def _finish(self) -> list[Action]:
        """End both connections, each with the close frame that it is owed."""
        self.is_finished = True
        actions: list[Action] = []
        if self._owed is not None:
            for direction in Direction:
                is_there = self.has_destination(direction) and direction.opposite not in self.lost_sources
                if is_there and not self.nothing_may_follow(direction):
                    actions.append(act.SendClose(direction, self._owed, Place.NOW))
        actions += (act.EndConnection(Direction.RECEIVED), act.EndConnection(Direction.SENT))
        return actions if self.is_end_reported else actions + self._report_end()

    def _report_end(self) -> list[Action]:
        if self.end is None:
            failure = next(iter(self.failures.values()))
            self.end = End(None, failure.code, failure.message)
        self.is_end_reported = True
        return [act.ReportEnd(self.end)]

    def _report_failure(self, direction: Direction, message: str) -> list[Action]:
        if direction in self._broken:
            return []
        self._broken |= {direction}
        return [act.ReportFailure(message)]

    def _notify_route(self, direction: Direction, code: int, reason: str) -> list[Action]:
        return [act.NotifyRoute(direction, code, reason)] if self._handles_close(direction) else []

    def _begin(self, close: Close, *directions: Direction) -> list[Action]:
        """A close frame of ours goes, or is to go, to the destinations of these directions."""
        self._owed = close
        self.end = self.end or End(None, close.code, close.reason)
        return self._start_timer(*directions)

    def _start_timer(self, *directions: Direction) -> list[Action]:
        timer = Timer()
        self._timers.update(dict.fromkeys(directions, timer))
        return [act.StartTimer(timer)]

    def _has_stopped(self, direction: Direction) -> bool:
        return self.states[direction] in _STOPPED

    def _move(self, direction: Direction, move: Move) -> None:
        self.states[direction] = next_state(self.states[direction], move)
