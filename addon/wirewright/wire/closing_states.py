"""The states of a direction that closes, and the table of their transitions."""

from enum import Enum


class State(Enum):
    """How far one direction has closed: what its source has sent, and what its destination has been sent."""

    OPEN = "open"
    CLOSE_SENT = "close sent"
    """The destination has been sent a close frame of ours. The source may still close."""
    CLOSE_RECEIVED = "close received"
    """The source has closed, and its close frame was not forwarded."""
    COPIED = "copied"
    """The source has closed, and its close frame was forwarded."""
    CLOSED = "closed"
    """The destination has been sent a close frame of ours, or a violation. The source has closed, is lost, or
    is not read any more."""
    LOST = "lost"
    """The connection of the source has ended without a close frame."""
    BROKEN = "broken"
    """The source broke the protocol, or cannot be read. In PASS its bytes are still forwarded."""
    FAILED = "failed"
    """The destination has been sent bytes of the source that break the protocol, so that it fails the socket
    (7.1.7)."""

    __hash__ = object.__hash__  # each held message looks one up: Enum's own is not in C


class Move(Enum):
    """A change of the state of a direction."""

    SEND = "send"
    """A close frame of ours goes to the destination."""
    COPY = "copy"
    """The close frame of the source goes to the destination."""
    RECEIVE = "receive"
    """The source has closed, and its close frame goes nowhere."""
    LOSE = "lose"
    """The connection of the source has ended, and all that came before is dealt with."""
    BREAK = "break"
    """The source cannot be read any more: a violation, a message too large to hold, an unknown extension."""
    FAIL = "fail"
    """The violation of the source goes to the destination."""


TRANSITIONS: dict[State, dict[Move, State]] = {
    State.OPEN: {
        Move.SEND: State.CLOSE_SENT,
        Move.COPY: State.COPIED,
        Move.RECEIVE: State.CLOSE_RECEIVED,
        Move.LOSE: State.LOST,
        Move.BREAK: State.BROKEN,
        Move.FAIL: State.FAILED,
    },
    State.CLOSE_SENT: {Move.RECEIVE: State.CLOSED, Move.LOSE: State.CLOSED, Move.BREAK: State.CLOSED},
    State.CLOSE_RECEIVED: {Move.SEND: State.CLOSED, Move.BREAK: State.CLOSE_RECEIVED},
    # A source may send data after its own close frame. The destination judges that data, as in PASS.
    State.COPIED: {Move.BREAK: State.COPIED, Move.FAIL: State.COPIED},
    State.CLOSED: {Move.BREAK: State.CLOSED},
    State.LOST: {Move.SEND: State.CLOSED, Move.BREAK: State.LOST},
    State.BROKEN: {Move.SEND: State.CLOSED, Move.LOSE: State.LOST, Move.BREAK: State.BROKEN},
    State.FAILED: {Move.LOSE: State.CLOSED, Move.BREAK: State.FAILED},
}


class IllegalMove(Exception):
    """A direction in this state cannot do that."""


def next_state(state: State, move: Move) -> State:
    """The state of a direction after a move. Raises IllegalMove for one that the table does not have."""
    try:
        return TRANSITIONS[state][move]
    except KeyError:
        raise IllegalMove(f"{move.name} in {state.name}") from None
