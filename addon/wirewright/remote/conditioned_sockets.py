"""The sockets that one remote client has put under conditions, which end with the client."""

from collections import OrderedDict
from contextlib import suppress

from wirewright.model.errors import Error
from wirewright.model.proxy_control import Control
from wirewright.model.websocket import WebSocket
from wirewright.remote import protocol

MOST_OVER = 100
"""Sockets that are over and whose conditions can still be changed, the newest."""


class ConditionedSockets:
    """Carries out the client's orders, for a socket that is over, too: messages may still be on their way to
    the app, or stuck."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._sockets: OrderedDict[str, WebSocket] = OrderedDict()

    def put_under(self, command: protocol.Conditions) -> None:
        """Change the conditions of one direction. Raises Error, ValueError and TypeError."""
        key, feed = command.key, self._control.feed(command.key)
        socket = self._sockets.get(key) if feed is None else feed.socket
        if socket is None:
            raise Error("Socket closed")
        socket.conditions(**command.values, direction=command.direction.value)  # type: ignore[arg-type]
        self._sockets[key] = socket
        self._sockets.move_to_end(key)
        over = [each for each in self._sockets if self._control.feed(each) is None]
        for each in over[:-MOST_OVER]:
            self.release(each)

    def release(self, key: str) -> None:
        """Give a socket a perfect network, if the client has put it under conditions."""
        if (socket := self._sockets.pop(key, None)) is not None:
            with suppress(Error):  # the proxy may be ending itself
                socket.conditions()

    def end(self) -> None:
        """The client is gone."""
        for key in list(self._sockets):
            self.release(key)
