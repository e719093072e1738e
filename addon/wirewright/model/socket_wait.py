"""The options of a wait for an event of a socket: the past events that it tries, and the ends that end it."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from wirewright.model.catch_up import CatchUp, find
from wirewright.model.event_wait import WaitOptions
from wirewright.model.history import PastEvent
from wirewright.model.predicate_trials import FrameTrials
from wirewright.model.socket_text import END_EVENTS, end_text
from wirewright.values import Direction

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket


def socket_wait_options(socket: "WebSocket", event: str, *, history: bool, is_for_block: bool) -> WaitOptions:
    """The options of a wait that begins now. With `history` it tries all frames that the socket remembers.

    `is_for_block` is True for a wait for what a block causes.
    """
    catch_up = find(socket._history)
    past = _past_events(socket, catch_up, history=history, is_for_block=is_for_block)
    closed = end_text(socket) if socket.is_closed() else None
    if history or (closed and event == "close"):
        past = [each for each in past if each.event in (event, "missed")]
    left_out: int = sum(each.value for each in past if each.event == "missed")
    remark = socket._remark(left_out, history=history)
    options = WaitOptions(END_EVENTS, partial(end_text, socket), past, closed, remark, catch_up)
    direction = next((each for each in Direction if each.event == event), None)
    if direction is None:
        return options
    return replace(options, trials=FrameTrials(direction), newest_frame=lambda: socket._history.total)


def _past_events(
    socket: "WebSocket", catch_up: CatchUp | None, *, history: bool, is_for_block: bool
) -> list[PastEvent]:
    """The events that the wait tries first. Those without a number are -1."""
    if catch_up is None:
        frames = socket._history.after(0) if history else []
        past = [PastEvent(-1, frame.direction.event, frame.payload, frame.number) for frame in frames]
    elif history:
        past = socket._history.events_since(min(catch_up.next, socket._history.oldest))
    elif is_for_block and catch_up.next:
        past = []  # the code has waited already, and this is for what the block causes
    else:
        past = catch_up.events()
    if socket.is_closed() and not (past and past[-1].event == "close"):
        past.append(PastEvent(-1, "close", socket))
    return past
