"""A proxy in a thread of its own whose end is interrupted."""

import gc
import threading
from pathlib import Path

import pytest

from support.time_limits import STEP_SECONDS
from wirewright.sync.proxy_thread import ProxyThread
from wirewright.sync_api import launch

pytestmark = pytest.mark.slow


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("wirewright-")]


def test_interrupt_at_the_beginning_of_the_end_leaves_nothing(
    confdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: ProxyThread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProxyThread, "leave", interrupted)
        with pytest.raises(KeyboardInterrupt), launch(port=0, confdir=confdir):
            assert threads()
    gc.collect()
    for thread in threads():
        thread.join(STEP_SECONDS)
    assert threads() == []
    with launch(port=0, confdir=confdir) as proxy:
        assert proxy.port
