"""mitmproxy's own list of a flow's messages, made when it is needed."""

from collections.abc import Callable, Iterator
from typing import Any

from mitmproxy.websocket import WebSocketMessage


class LazyMessages(list[WebSocketMessage]):
    """mitmproxy's list of a flow's messages, brought up to date by whoever looks at it."""

    def __init__(self, catch_up: Callable[[list[WebSocketMessage]], None]) -> None:
        super().__init__()
        self._fill = catch_up
        self._busy = False

    def catch_up(self) -> None:
        """Bring it up to date."""
        if not self._busy:
            self._busy = True
            self._fill(self)
            self._busy = False

    def __len__(self) -> int:
        self.catch_up()
        return super().__len__()

    def __iter__(self) -> Iterator[WebSocketMessage]:
        self.catch_up()
        return super().__iter__()

    def __reversed__(self) -> Iterator[WebSocketMessage]:
        self.catch_up()
        return super().__reversed__()

    def __getitem__(self, index: Any) -> Any:
        self.catch_up()
        return super().__getitem__(index)

    def append(self, message: WebSocketMessage) -> None:
        self.catch_up()
        super().append(message)
