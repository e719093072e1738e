"""Sends a client's messages to the proxy, and has the answers to its commands."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wirewright.model.app_connections import NOTHING_SEEN
from wirewright.model.errors import Error
from wirewright.model.event_loops import call_in_loop, running_loop
from wirewright.model.scope import Scope
from wirewright.printable import get_logger
from wirewright.remote import protocol
from wirewright.remote.codec import Codec
from wirewright.remote.connection import Connection, Disconnected

logger = get_logger(__name__)


class ClientSender:
    """Sends messages in the order of the calls."""

    def __init__(self, connection: Connection, codec: Codec, scope: Scope) -> None:
        self.apps_seen = NOTHING_SEEN
        """The counts of the last `CountApps`."""
        self._connection = connection
        self._codec = codec
        self._scope = scope
        self._loop = asyncio.get_running_loop()
        self._outgoing: asyncio.Queue[list[str | bytes]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[None]] = {}
        """By the ids of commands that are not answered yet."""
        self._last_id = 0

    def command(self, kind: Callable[..., Any], **values: Any) -> "asyncio.Future[None]":
        """Send a command. The future raises the error with which the proxy refuses it."""
        self._scope.check_runs()
        self._last_id += 1
        command = protocol.checked(kind(id=self._last_id, **values))
        answer = self._answers[self._last_id] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_log_refusal)
        try:
            self.put(command)
        except (ValueError, OverflowError) as error:
            del self._answers[self._last_id]
            raise ValueError(f"it cannot be sent: {error}") from None
        return answer

    def command_of_any_thread(self, kind: Callable[..., Any], **values: Any) -> "asyncio.Future[None] | None":
        """As `command`, but another thread gets no answer."""
        if running_loop() is self._loop:
            return self.command(kind, **values)

        def send() -> None:
            with suppress(Error):  # the proxy is gone
                self.command(kind, **values)

        call_in_loop(self._loop, send)
        return None

    def put(self, message: Any) -> None:
        """Send a message, after those before it. Raises ValueError and OverflowError."""
        self._outgoing.put_nowait(self._codec.encode(message))

    def answered(self, message: protocol.Succeeded | protocol.Refused) -> None:
        """The proxy has answered a command."""
        answer = self._answers.pop(message.id, None)
        if answer is None or answer.done():
            return
        if isinstance(message, protocol.Refused):
            kind = {"ValueError": ValueError, "TypeError": TypeError}.get(message.kind, Error)
            answer.set_exception(kind(message.message))
        else:
            answer.set_result(None)

    async def run(self) -> None:
        """Send what is put, until the connection ends."""
        try:
            while True:
                for data in await self._outgoing.get():
                    await self._connection.send(data)
                self._outgoing.task_done()
        except Disconnected:
            pass  # the receiving task has the reason

    async def all_sent(self) -> None:
        """Return when everything that was put is sent."""
        await self._outgoing.join()

    def end(self, message: str) -> None:
        """Fail the commands that are not answered yet."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Error(message))
                answer.exception()


def _log_refusal(answer: "asyncio.Future[None]") -> None:
    """Commands need not be awaited: the error of one that is not is only logged."""
    if not answer.cancelled() and (error := answer.exception()):
        logger.debug("the proxy refused a command: %s", error)
