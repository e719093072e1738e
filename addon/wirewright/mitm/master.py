"""Starting and stopping a mitmproxy master inside a running event loop.

mitmproxy's own `Master.run` is made for a process of its own: it ends a failed start with `sys.exit`, takes
the loop's exception handler and task factory, and leaves its connections to the end of the process.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from mitmproxy import exceptions
from mitmproxy.addonmanager import safecall
from mitmproxy.addons import default_addons
from mitmproxy.addons.clientplayback import ClientPlayback
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.script import ScriptLoader
from mitmproxy.hooks import ConfigureHook
from mitmproxy.master import Master
from mitmproxy.options import Options

from wirewright.mitm.addon import WirewrightAddon
from wirewright.mitm.mode_rights import missing_right
from wirewright.mitm.unsafe_options import UnsafeOptionsCheck
from wirewright.model.errors import Error
from wirewright.state import control

T = TypeVar("T")

STOP_SECONDS = 5.0
"""How long an addon's hooks may take to let a connection end before they are cancelled."""


async def start(options: Mapping[str, Any]) -> Master:
    """A running master with mitmproxy's default addons and Wirewright. Raises Error if it cannot run."""
    if missing := missing_right(options.get("mode", ())):
        raise Error(missing)
    with _collected_errors() as errors:
        master = Master(Options())
        try:
            # First, so that it sees what a server sent before a script changes it.
            add_addons(master, WirewrightAddon(), *default_addons(), UnsafeOptionsCheck())
            _set_options(master.options, options)
            await _load_scripts(master, errors)
            await _listen(master)
            await master.running()
            errors.raise_first()
        except BaseException:
            await stop(master)
            raise
    return master


async def stop(master: Master) -> None:
    """Close the ports and the connections, tell the addons, and leave no task of mitmproxy's behind."""
    server = _get(master, "proxyserver", Proxyserver)
    await server.servers.update([])
    control.close_all()
    for handler in list(server.connections.values()):
        for transport in list(handler.transports.values()):
            if transport.handler is not None:
                transport.handler.cancel("proxy stopped")
    connections = _tasks() - _endless_tasks(master)
    if connections:
        await asyncio.wait(connections, timeout=STOP_SECONDS)
    await master.done()
    while tasks := _tasks():
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def add_addons(master: Master, *addons: object) -> None:
    """Add addons, and configure each once with all options that the addons after it have added.

    mitmproxy configures all addons again for each new option, which takes a third of the time of a start.
    """
    added: list[set[str]] = []
    changed = master.options.changed
    receivers, changed.receivers = changed.receivers, []
    try:
        for addon in addons:
            known = master.options.keys()
            master.addons.add(addon)
            added.append(master.options.keys() - known)
    finally:
        changed.receivers = receivers
    for number, addon in enumerate(addons):
        if later := set().union(*added[number + 1 :]):
            with safecall():
                master.addons.invoke_addon_sync(addon, ConfigureHook(later))


def _set_options(options: Options, values: Mapping[str, Any]) -> None:
    try:
        # An unknown option may be that of a script, which is loaded next.
        options.update_defer(**values)
    except (exceptions.OptionsError, TypeError, ValueError) as error:
        raise Error(str(error)) from None


async def _load_scripts(master: Master, errors: "_ErrorLog") -> None:
    # mitmproxy loads each script in a task of its own, which needs a few turns of the loop and no input.
    loader = _get(master, "scriptloader", ScriptLoader)
    while any(script.ns is None for script in loader.addons) and not errors.records:  # noqa: ASYNC110
        await asyncio.sleep(0)
    errors.raise_first()
    if master.options.deferred:
        raise Error(f"unknown option: {', '.join(sorted(master.options.deferred))}")


async def _listen(master: Master) -> None:
    server = _get(master, "proxyserver", Proxyserver)
    if await _uninterrupted(server.setup_servers()):
        return
    for instance in server.servers:
        failure = instance.last_exception
        if isinstance(failure, OSError) and failure.errno == errno.EADDRINUSE:
            port = instance.mode.listen_port(master.options.listen_port)
            raise Error(f"port {port} is already in use: give another one, or 0 for a free one")
        if failure is not None:
            raise Error(f"mode {instance.mode.full_spec!r} cannot start: {failure}")
    raise Error("the proxy cannot start")


async def _uninterrupted(awaitable: Awaitable[T]) -> T:
    """A result that is waited for even if the caller is cancelled: half a start cannot be taken back."""
    running = asyncio.ensure_future(awaitable)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _tasks() -> set["asyncio.Task[Any]"]:
    """mitmproxy's own tasks: it notes on each when it was created."""
    own = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if hasattr(task, "created") and task is not own}


def _endless_tasks(master: Master) -> set["asyncio.Task[Any]"]:
    """mitmproxy's tasks that end only by the `done` of their addon."""
    loader = _get(master, "scriptloader", ScriptLoader)
    playback = _get(master, "clientplayback", ClientPlayback).playback_task
    tasks = [playback, *(script.reloadtask for script in loader.addons)]
    return {task for task in tasks if task is not None}


def _get(master: Master, name: str, kind: type[T]) -> T:
    addon = master.addons.get(name)
    assert isinstance(addon, kind)
    return addon


class _ErrorLog(logging.Handler):
    """Collects the errors that mitmproxy and its addons log while they start. They raise none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def raise_first(self) -> None:
        if self.records:
            record = self.records[0]
            cause = record.exc_info[1] if record.exc_info else None
            because = f": {type(cause).__name__}: {cause}" if cause else ""
            raise Error(f"{record.getMessage()}{because}") from cause


@contextmanager
def _collected_errors() -> Iterator[_ErrorLog]:
    errors = _ErrorLog()
    logging.getLogger().addHandler(errors)
    try:
        yield errors
    finally:
        logging.getLogger().removeHandler(errors)
