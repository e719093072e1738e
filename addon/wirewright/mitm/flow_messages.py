"""mitmproxy's own list of a flow's messages: bounded, and made when it is needed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import time
from typing import Any, NamedTuple

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from wirewright.memory import REPORT_STEP, MemoryUse, Share, budget
from wirewright.mitm.flow_socket import new_message, trim
from wirewright.model.frame import Frame
from wirewright.model.history import History, HistoryLimit, Window
from wirewright.values import Direction, Payload, payload_size

MESSAGE_BYTES = 400
"""About what a message of mitmproxy's takes beside its payload."""


class LazyMessages(list[WebSocketMessage]):
    """mitmproxy's list of a flow's messages. It is brought up to date when it is read."""

    def __init__(self, fill: Callable[["LazyMessages"], None], messages: list[WebSocketMessage]) -> None:
        super().__init__(messages)
        self._fill = fill
        self._busy = False

    def update(self) -> None:
        """Bring it up to date."""
        if not self._busy:
            self._busy = True
            try:
                self._fill(self)
            finally:
                self._busy = False

    def __len__(self) -> int:
        self.update()
        return super().__len__()

    def __iter__(self) -> Iterator[WebSocketMessage]:
        self.update()
        return super().__iter__()

    def __reversed__(self) -> Iterator[WebSocketMessage]:
        self.update()
        return super().__reversed__()

    def __getitem__(self, index: Any) -> Any:
        self.update()
        return super().__getitem__(index)

    def append(self, message: WebSocketMessage) -> None:
        self.update()
        super().append(message)


class _Noted(NamedTuple):
    """A message that the history has not, or has without its being injected."""

    payload: Payload
    direction: Direction
    injected: bool
    at: float
    """Seconds since the epoch."""
    number: int
    """The number of the message of the history that it follows."""
    is_reported: bool
    """True if the next message of the history is this one."""

    def message(self) -> WebSocketMessage:
        """The same as mitmproxy has it."""
        message = new_message(self.payload, direction=self.direction, injected=self.injected)
        message.timestamp = self.at
        return message


class MessageList:
    """Keeps the list of one flow.

    A message is stored here, or noted here, or it is reported, and remembered by the socket's history. What
    was noted or reported is added to the list when that is read.
    """

    def __init__(self, flow: http.HTTPFlow, limit: HistoryLimit, history: History) -> None:
        self.keep_all = False
        """True if mitmproxy is asked to save the whole flow."""
        self._flow = flow
        self._history = history
        self._kept = Window(limit)
        """The messages in the list."""
        self._noted: deque[_Noted] = deque()
        self._noted_size = 0
        """Bytes of them."""
        self._share: Share | None = None
        """The share of the memory budget; None while little is kept."""
        self._reported = 0
        self._seen = history.total
        """How many messages of the history are in the list, or have been."""
        self._expected = 0
        """How many messages the history has once those are reported that were noted."""

    def note(
        self, payload: Payload, *, direction: Direction, injected: bool, is_reported: bool = False
    ) -> None:
        """Have a message put into the list when that is read. `is_reported` tells that it will be reported
        next."""
        if self.keep_all:
            self.store(new_message(payload, direction=direction, injected=injected))
            self.skip(int(is_reported))
            return
        self.current()
        number = max(self._history.total, self._expected)
        if is_reported:
            self._expected = number + 1
        noted, limit = self._noted, self._kept.limit
        noted.append(_Noted(payload, direction, injected, time(), number, is_reported))
        self._noted_size += payload_size(payload)
        while len(noted) > 1 and (len(noted) > limit.messages or self._noted_size > limit.size):
            self._noted_size -= payload_size(noted.popleft().payload)
        self._report_memory()

    def store(self, message: WebSocketMessage) -> None:
        """Put a message into the list, behind all that were noted or reported."""
        messages = self.current()
        messages.append(message)
        self._added(messages, [message])

    def skip(self, count: int) -> None:
        """The next messages of the history are in the list already."""
        self.current().update()
        self._seen += count

    def close(self) -> None:
        """Leave an ordinary list behind."""
        assert self._flow.websocket is not None
        self._flow.websocket.messages = list(self.current())

    def current(self) -> LazyMessages:
        """The flow's list. A plain list that another addon has put there is converted to LazyMessages."""
        data = self._flow.websocket
        assert data is not None
        if not isinstance(data.messages, LazyMessages):
            self._kept = Window(self._kept.limit)
            for message in data.messages:
                self._kept.add(len(message.content))
            self._forget_noted()
            self._seen = max(self._history.total, self._expected)
            data.messages = LazyMessages(self._fill, data.messages)
        return data.messages

    def _forget_noted(self) -> None:
        self._noted.clear()
        self._noted_size = 0

    def _fill(self, messages: LazyMessages) -> None:
        if self._seen >= self._history.total and not self._noted:
            return
        new = [*self._new_messages()]
        self._forget_noted()
        list.extend(messages, new)
        self._added(messages, new)

    def _new_messages(self) -> Iterator[WebSocketMessage]:
        """The messages that were noted or reported since the last time, in their order."""
        frames = deque(self._history.after(self._seen))
        for noted in self._noted:
            while frames and frames[0].number <= noted.number:
                yield _message_of(frames.popleft())
            if noted.is_reported and frames and frames[0].number == noted.number + 1:
                frames.popleft()
            yield noted.message()
        yield from map(_message_of, frames)
        self._seen = max(self._seen, self._history.total, self._expected)

    def _added(self, messages: LazyMessages, new: Iterable[WebSocketMessage]) -> None:
        """These messages are at the end of the list: the oldest make room for them."""
        if not self.keep_all:
            for message in new:
                self._kept.add(len(message.content))
            trim(messages, self._kept)
            self._report_memory()

    def _report_memory(self) -> None:
        messages = len(self._kept) + len(self._noted)
        size = self._kept.size + self._noted_size + MESSAGE_BYTES * messages
        if -REPORT_STEP < size - self._reported < REPORT_STEP:
            return
        if self._share is None:
            self._share = budget.share(MemoryUse.REMEMBERED, self)
        self._reported = size
        self._share.set(size)

    def free(self, size: int) -> None:
        """Drop the oldest messages, at least so many bytes of memory; not where the whole flow is saved."""
        if not self.keep_all and self._flow.websocket is not None:
            messages = self.current()
            messages.update()
            self._kept.forget(size, overhead=MESSAGE_BYTES)
            trim(messages, self._kept)
            self._report_memory()


def _message_of(frame: Frame) -> WebSocketMessage:
    message = new_message(frame.payload, direction=frame.direction)
    message.timestamp = frame.at
    return message
