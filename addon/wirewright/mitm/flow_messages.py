"""mitmproxy's own list of a flow's messages: bounded, and made when it is needed."""

from collections.abc import Callable, Iterator
from typing import Any

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from wirewright.memory import REPORT_STEP, MemoryUse, Share, budget
from wirewright.mitm.flow_socket import new_message, trim
from wirewright.model.history import History, HistoryLimit, Window

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


class MessageList:
    """Keeps the list of one flow.

    A message is either stored here before it is reported, or it is reported, remembered by the socket's
    history, and added from there when the list is read.
    """

    def __init__(self, flow: http.HTTPFlow, limit: HistoryLimit, history: History) -> None:
        self.keep_all = False
        """True if mitmproxy is asked to save the whole flow."""
        self._flow = flow
        self._history = history
        self._kept = Window(limit)
        self._share: Share | None = None
        """The share of the memory budget; None while little is kept."""
        self._reported = 0
        self._seen = history.total
        """How many messages of the history are in the list, or have been."""

    def store(self, message: WebSocketMessage) -> None:
        """Put a message into the list."""
        messages = self.current()
        self._update(messages)
        list.append(messages, message)
        if not self.keep_all:
            self._kept.add(len(message.content))
            trim(messages, self._kept)
            self._report_memory()

    def expect(self, count: int) -> None:
        """Skip the next `count` messages of the history: they have been stored here already."""
        self._update(self.current())
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
            self._seen = self._history.total
            data.messages = LazyMessages(self._fill, data.messages)
        return data.messages

    def _update(self, messages: LazyMessages) -> None:
        if self._seen < self._history.total:
            messages.update()

    def _fill(self, messages: LazyMessages) -> None:
        history = self._history
        frames, self._seen = history.after(self._seen), max(self._seen, history.total)
        for frame in frames:
            message = new_message(frame.payload, direction=frame.direction)
            message.timestamp = frame.at
            messages.append(message)
            self._kept.add(len(message.content))
        if frames and not self.keep_all:
            trim(messages, self._kept)
            self._report_memory()

    def _report_memory(self) -> None:
        size = self._kept.size + MESSAGE_BYTES * len(self._kept)
        if -REPORT_STEP < size - self._reported < REPORT_STEP:
            return
        if self._share is None:
            self._share = budget.share(MemoryUse.REMEMBERED, self)
        self._reported = size
        self._share.set(size)

    def free(self, size: int) -> None:
        """Drop the oldest messages, at least so many bytes of memory; not where the whole flow is saved."""
        data = self._flow.websocket
        if self.keep_all or data is None:
            return
        self._kept.forget(size, overhead=MESSAGE_BYTES)
        trim(data.messages, self._kept)
        self._report_memory()
