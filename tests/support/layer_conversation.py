"""A layer as a conversation: `talk >> event << command`, as in mitmproxy's own tests of its layers."""

from collections import deque
from collections.abc import Callable
from typing import Any, Self

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.commands import SendData

Reply = Callable[[Any], object]
"""What happens to the flow while a hook is handled; its result is ignored."""


class Talk:
    """`>>` tells the layer an event, `<<` says what it must answer next.

    Each answer must have been named before the next event; `assert` at the front checks that of the last.
    A command matches one with the same values, or its class if that stands there. The bytes of one write may
    be named one part after another: `take` shows how many writes there were. A function after `>>`
    completes the hook that was answered last; it is called with the flow.
    """

    def __init__(self, tested: layer.Layer) -> None:
        self._layer = tested
        self._said: deque[commands.Command] = deque()
        self._hook: commands.StartHook | None = None

    def __rshift__(self, event: events.Event | Reply) -> Self:
        self._check()
        if not isinstance(event, events.Event):
            assert self._hook is not None, "there is no hook to complete"
            event(self._hook.args()[0])
            event, self._hook = events.HookCompleted(self._hook), None
        self._said.extend(self._layer.handle_event(event))
        return self

    def __lshift__(self, expected: commands.Command | type[commands.Command]) -> Self:
        assert self._said, f"it said nothing where this was due: {expected}"
        said = self._said.popleft()
        if isinstance(said, SendData) and isinstance(expected, SendData):
            said = self._beginning(said, len(expected.data))
        if isinstance(expected, type):
            assert isinstance(said, expected), f"it said {said} where this was due: {expected}"
        else:
            same = type(said) is type(expected) and _values(said) == _values(expected)
            assert same, f"it said {said} where this was due: {expected}"
        if isinstance(said, commands.StartHook):
            self._hook = said
        return self

    def _beginning(self, said: SendData, size: int) -> SendData:
        if 0 < size < len(said.data):
            self._said.appendleft(SendData(said.connection, said.data[size:]))
            return SendData(said.connection, said.data[:size])
        return said

    def take(self) -> tuple[Self, list[commands.Command]]:
        """What it said that was not named yet, for a closer look."""
        said = list(self._said)
        self._said.clear()
        return self, said

    def __bool__(self) -> bool:
        self._check()
        return True

    def _check(self) -> None:
        assert not self._said, f"it said what nobody expected: {list(self._said)}"


def _values(command: commands.Command) -> dict[str, object]:
    # Which layer waits for a hook is mitmproxy's own note.
    return {name: value for name, value in vars(command).items() if name != "blocking"}


def done(_: object) -> None:
    """Nothing happens while a hook is handled."""
