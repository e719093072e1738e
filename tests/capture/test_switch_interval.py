"""Python's switch interval while a long message is searched for secrets."""

import sys
from collections.abc import Iterator

import pytest

from wirewright.capture.switch_interval import SHORT_SECONDS, short_switch_interval


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.02)
    yield sys.getswitchinterval()
    sys.setswitchinterval(before)


def test_interval_is_short_in_the_block_only(usual: float) -> None:
    with short_switch_interval():
        assert sys.getswitchinterval() == pytest.approx(SHORT_SECONDS)
    assert sys.getswitchinterval() == usual


def test_error_in_the_block_restores_the_interval(usual: float) -> None:
    with pytest.raises(KeyError), short_switch_interval():
        raise KeyError
    assert sys.getswitchinterval() == usual


def test_blocks_of_two_threads_may_end_in_any_order(usual: float) -> None:
    first, second = short_switch_interval(), short_switch_interval()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(SHORT_SECONDS)
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == usual


def test_interval_that_is_shorter_already_stays() -> None:
    sys.setswitchinterval(SHORT_SECONDS / 2)
    shorter = sys.getswitchinterval()
    with short_switch_interval():
        assert sys.getswitchinterval() == shorter < SHORT_SECONDS
