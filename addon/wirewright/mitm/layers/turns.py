"""Turns of the event loop: a layer with much to do lets others run in between."""

from dataclasses import dataclass

from mitmproxy.proxy import commands, events

TURN_WORK = 8192
"""Units of work for one socket in a turn of the event loop: about five milliseconds. A short message of one
frame that is read is one unit."""
HELD_WORK = 12
"""The work of a held message."""


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
