"""A capture with sockets of each kind, for the tests of formats."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.model_sockets import begin_socket
from wirewright.capture.recorder import Recorder
from wirewright.model.proxy_control import Control
from wirewright.values import Direction, Payload

Fill = Callable[[Sequence[Payload]], Path]


@pytest.fixture
def fill(path: Path, control: Control, record: Callable[..., Recorder]) -> Fill:
    """Record the sockets `one` and `two`, in which a server sends the given messages, and one that fails."""

    def filled(received: Sequence[Payload]) -> Path:
        recorder = record()
        for name in ("one", "two"):
            feed = begin_socket(control.proxy, f"wss://h/{name}?a=1&b=%20", key=name, headers={"host": "h"})
            feed.answered(101, {"upgrade": "websocket"})
            feed.opened(("10.0.0.1", 443))
            assert feed.tape is not None
            feed.tape.messages([f"text é {name}", b"\x00\xff"], 9, direction=Direction.SENT)
            feed.tape.offered("dropped", direction=Direction.RECEIVED)
            feed.tape.settled(None, direction=Direction.RECEIVED)
            feed.tape.controls([(9, b"?")], direction=Direction.RECEIVED)
            feed.tape.messages(received, 0, direction=Direction.RECEIVED)
            control.close(name, 3000, "bye", "client")
        feed = begin_socket(control.proxy, "ws://h/refused", key="refused")
        feed.failed("net::ERR_CONNECTION_REFUSED")
        control.close("refused")
        recorder.stop()
        return path

    return filled
