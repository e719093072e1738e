"""How many calls a frame takes from the wire's layer to a listener of the sync API."""

import inspect
import sys
from pathlib import Path
from types import FrameType

import pytest

from support.threaded_peers import echo, opened, reached, say, serving, settle
from wirewright.sync.dispatcher import Dispatcher

PACKAGE = Path(sys.modules["wirewright.sync.dispatcher"].__file__ or "").parent.parent
MOST_CALLS = 8


def is_ours(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).is_relative_to(PACKAGE)


def calls_of_ours() -> list[str]:
    """The functions of the package that are being called, the innermost first, up to the wire's layer."""
    frame, names = sys._getframe(2), list[str]()
    while frame is not None:
        if Path(frame.f_code.co_filename).is_relative_to(PACKAGE / "mitm" / "layers"):
            break
        if is_ours(frame):
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back  # type: ignore[assignment]
    return names


class Way:
    """A profile function that keeps the calls of the package that have not returned.

    A generator that has yielded counts as one that has not returned.
    """

    def __init__(self) -> None:
        self._frames: list[FrameType] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and is_ours(frame) and frame not in self._frames:
            self._frames.append(frame)
        elif event == "return" and frame in self._frames and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            self._frames.remove(frame)

    def names(self) -> list[str]:
        return [frame.f_code.co_qualname for frame in self._frames]


def test_frame_takes_few_calls_from_the_layer_to_a_listener(
    confdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way, to_the_queue, from_the_queue = Way(), list[str](), list[str]()
    dispatch = Dispatcher.dispatch

    def noted(self: Dispatcher, *arguments: object, size: int = 0) -> None:
        if not to_the_queue and arguments[1] == "framesent":
            to_the_queue.extend(["Dispatcher.dispatch", *calls_of_ours()])
            self.in_turn(lambda: sys.setprofile(way))
        dispatch(self, *arguments, size=size)  # type: ignore[arg-type]

    def listener(payload: str | bytes) -> None:
        sys.setprofile(None)
        from_the_queue[:] = from_the_queue or way.names()

    with reached("launch", confdir) as proxy, serving(echo) as url, opened(proxy, url) as (ws, client):
        ws.on("framesent", listener)
        say(client, "a")  # the dispatcher's first worker begins
        settle(proxy)
        monkeypatch.setattr(Dispatcher, "dispatch", noted)
        say(client, "b")
        settle(proxy)
    assert from_the_queue == ["Dispatcher._run", "ListeningWrapper._calls"]
    assert to_the_queue[-1].endswith("Socket.passed")
    assert len(to_the_queue) + len(from_the_queue) <= MOST_CALLS, (to_the_queue, from_the_queue)
