"""A capture, and the sockets of a model that it records."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wirewright.capture.recorder import Recorder
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control

Record = Callable[..., Recorder]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


@pytest.fixture
def control() -> Control:
    return Control(Proxy())


@pytest.fixture
def record(path: Path, control: Control) -> Iterator[Record]:
    """Begin to record; what is left of it ends with the test."""
    recorders: list[Recorder] = []

    def start(**options: Any) -> Recorder:
        recorder = Recorder(path, "test", **options)
        recorders.append(recorder)
        control.start_recording(recorder)
        return recorder

    yield start
    for recorder in recorders:
        recorder.stop()
