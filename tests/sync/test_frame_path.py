"""How many calls a frame takes from the wire's layer to a listener of the sync API."""

import sys
from pathlib import Path

import pytest

from support.threaded_peers import echo, opened, reached, say, serving, settle
from wirewright.sync.dispatcher import Dispatcher

PACKAGE = Path(sys.modules["wirewright.sync.dispatcher"].__file__ or "").parent.parent
MOST_CALLS = 8


def calls_of_ours() -> list[str]:
    """The functions of the package that are being called, the innermost first, up to the wire's layer."""
    frame, names = sys._getframe(2), list[str]()
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE / "mitm" / "layers"):
            break
        if file.is_relative_to(PACKAGE):
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back  # type: ignore[assignment]
    return names


def test_frame_takes_few_calls_from_the_layer_to_a_listener(
    confdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_the_queue, from_the_queue = list[str](), list[str]()
    dispatch = Dispatcher.dispatch

    def noted(self: Dispatcher, *arguments: object, size: int = 0) -> None:
        if not to_the_queue and arguments[1] == "framesent":
            to_the_queue.extend(["Dispatcher.dispatch", *calls_of_ours()])
        dispatch(self, *arguments, size=size)  # type: ignore[arg-type]

    def listener(payload: str | bytes) -> None:
        from_the_queue[:] = ["listener", *calls_of_ours()]

    with reached("launch", confdir) as proxy, serving(echo) as url, opened(proxy, url) as (ws, client):
        ws.on("framesent", listener)
        monkeypatch.setattr(Dispatcher, "dispatch", noted)
        say(client, "a")
        settle(proxy)
    assert from_the_queue[-1] == "Dispatcher._work"
    assert to_the_queue[-1].endswith("Socket.passed")
    assert len(to_the_queue) + len(from_the_queue) <= MOST_CALLS, (to_the_queue, from_the_queue)
