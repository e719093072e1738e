"""The tasks and waits of a proxy and its sockets, so that they can be ended together, as by a cancel scope.

A Proxy and its sockets share one Scope: its tasks are kept alive until done, and its waits are known.
Both end when their script is reloaded, or when the proxy is shut down.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from wirewright.model import user_errors
from wirewright.model.errors import EndedError
from wirewright.model.ownership import Owner


class Wait(Protocol):
    """A pending wait, as a Scope sees it."""

    owner: Owner | None

    @property
    def emitter(self) -> object:
        """The object whose events it waits for."""

    def cancel(self) -> None: ...

    def fail(self, message: str) -> None: ...


class Scope:
    """The tasks and the waits that a Proxy and its sockets share."""

    def __init__(self) -> None:
        self.on_new_owner: Callable[[Owner], None] | None = None
        """It is called with each script, the first time that the script registers something."""
        self.ended_reason: str | None = None
        """Why nothing can happen here any more; None while something can."""
        self.is_ending = False
        """True while the proxy closes its sockets: an Error of a wait that fails then is an EndedError."""
        self._owners: dict[int, Owner] = {}
        self._tasks: dict[asyncio.Task[Any], tuple[Owner | None, object]] = {}
        """By task, the script that it belongs to, and the object whose listener or handler it runs."""
        self._waits: set[Wait] = set()

    def check_runs(self) -> None:
        """Raise Error where nothing can happen any more."""
        if self.ended_reason is not None:
            raise EndedError(self.ended_reason)

    def note_owner(self, owner: Owner | None) -> None:
        """Remember that a script has something here."""
        if owner is None or id(owner) in self._owners:
            return
        self._owners[id(owner)] = owner
        if self.on_new_owner is not None:
            self.on_new_owner(owner)

    def start(self, awaitable: Awaitable[object], owner: Owner | None, source: object) -> "asyncio.Task[Any]":
        """Run what an async listener returned; an exception is logged as `source`'s and goes no further."""
        running = awaitable if asyncio.iscoroutine(awaitable) else _await(awaitable)
        task = asyncio.get_running_loop().create_task(running)
        self._tasks[task] = owner, source
        task.add_done_callback(partial(self._done, source))
        return task

    def _done(self, source: object, task: asyncio.Task[object]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (exception := task.exception()):
            user_errors.report(source, "a listener", exception)

    def add_wait(self, wait: Wait) -> None:
        self.note_owner(wait.owner)
        self._waits.add(wait)

    def discard_wait(self, wait: Wait) -> None:
        self._waits.discard(wait)

    def forget(self, owner: Owner) -> None:
        """End what a script has under way: its listeners' tasks and its waits are cancelled."""
        self._owners.pop(id(owner), None)
        for task in [task for task, (of, _) in self._tasks.items() if of is owner]:
            task.cancel()
        for wait in [wait for wait in self._waits if wait.owner is owner]:
            wait.cancel()

    def end_of(self, source: object, message: str) -> None:
        """End what an emitter has under way: its waits fail with `Error(message)`, and the tasks of its
        listeners are cancelled, but for the one that runs now."""
        for wait in [wait for wait in self._waits if wait.emitter is source]:
            wait.fail(message)
        for task in [task for task, (_, of) in self._tasks.items() if of is source]:
            if task is not asyncio.current_task():
                task.cancel()

    async def end(self, message: str) -> None:
        """End everything: waits fail with `Error(message)`, tasks are cancelled and over on return."""
        for wait in list(self._waits):
            wait.fail(message)
        await asyncio.sleep(0)  # the listeners of what was emitted last get as far as their first await
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable
