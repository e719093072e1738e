"""Looks through the frames of a socket for those that match, without making a Frame of each message."""

import inspect
from abc import ABC, abstractmethod
from collections import deque
from functools import partial

from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch
from wirewright.model.frame_run import FrameRun
from wirewright.model.passed_frames import PassedFrames
from wirewright.model.socket_watch import SocketWatch
from wirewright.model.steps import Steps

__tracebackhide__ = True  # pytest shows the line that calls


class FrameScan(ABC):
    """The frames that a call looks at, oldest first."""

    def __init__(self, match: FrameMatch, unread: "deque[FrameRun]", position: int) -> None:
        self.match = match
        self.unread = unread
        """Frames that are to be looked at. The first run may have some that were looked at."""
        self.position = position
        """The number of the frame that was looked at last."""
        self.passed = PassedFrames(match)
        """Those that did not match."""

    @abstractmethod
    def skip(self, number: int) -> None:
        """Move past the frames up to this number: they are forgotten."""

    def next_match(self, watch: SocketWatch) -> Steps[Frame | None]:
        """The steps to the next unread frame that matches; None if there is none."""
        unread = self.unread
        while unread:
            run = unread[0]
            if run.number > self.position + 1:
                self.skip(run.number - 1)
            start = max(0, self.position + 1 - run.number)
            for index in () if run.number in watch.hopeless else self.match.candidates(run, start):
                frame = run.frame(index)
                self.position = frame.number
                held = self.match.holds(frame)
                if inspect.isawaitable(held):
                    held = yield partial(watch.verdict, held)
                if not held:
                    self.passed.add_verdict(held)
                else:
                    self.passed.add(run, start, index)
                    if frame.number == run.last:
                        del unread[0]
                    return frame
            self.passed.add(run, start, len(run.payloads))
            self.position = run.last
            del unread[0]
        return None
