"""Turns of the event loop: a layer with much to do lets others run in between."""

from dataclasses import dataclass
from time import monotonic

from mitmproxy.proxy import commands, events

TURN_SECONDS = 0.005
"""After so many seconds a layer lets others run."""
TURN_WORK = 8192
"""The most units of work for one socket in a turn of the event loop: TURN_SECONDS, if nobody listens. A short
message of one frame that is read is one unit."""
LEAST_WORK = TURN_WORK // 16
"""The least units of work of a read, however long they take."""
HELD_WORK = 12
"""The work of a held message."""


class Turn:
    """What a socket has done in a turn of the event loop, and how long it has taken.

    A turn ends after TURN_SECONDS, or after TURN_WORK units. A read cannot be stopped by the clock, so it
    gets as many units as the read before did in TURN_SECONDS: a unit takes longer with listeners, with a
    route, and with a recorder, whose thread holds the interpreter's lock for a part of the time.
    """

    def __init__(self) -> None:
        self.work = 0
        """Units of work since the last NextTurn."""
        self._work_before = 0
        """The same at the last event."""
        self._end = 0.0
        self._work_in_time = TURN_WORK
        """Units of work that take TURN_SECONDS, as in the last read."""

    def event_came(self) -> None:
        """An event begins."""
        self._work_before = self.work
        self._end = monotonic() + TURN_SECONDS

    def begin(self) -> None:
        """The next turn of the event loop has begun."""
        self.work = 0
        self.event_came()

    @property
    def is_over(self) -> bool:
        """True if others are to run now."""
        return self.work >= TURN_WORK or (self.work > self._work_before and monotonic() >= self._end)

    @property
    def work_of_read(self) -> int:
        """Units of work after which the next read is to stop."""
        return min(TURN_WORK - self.work, self._work_in_time)

    def measure(self, work: int, seconds: float) -> None:
        """A read of messages that pass took so much work, and so long."""
        if work >= LEAST_WORK:
            in_time = int(work * TURN_SECONDS / seconds) if seconds else TURN_WORK
            self._work_in_time = max(LEAST_WORK, min(in_time, TURN_WORK))


class NextTurn(commands.RequestWakeup):
    """The layer waits for the next turn of the event loop."""

    blocking = True

    def __init__(self) -> None:
        super().__init__(0.0)


@dataclass(repr=False)
class TurnBegan(events.CommandCompleted):
    """The next turn has begun: the reply to NextTurn. A mitmproxy `Wakeup` is not a reply to a command."""

    command: NextTurn
    reply: None = None
