"""Ctrl-C while a capture is written."""

import os
import signal
import threading

import pytest

from wirewright.capture.interrupts import interrupts_allowed, interrupts_deferred


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_interrupt_comes_at_the_end_of_the_block() -> None:
    done: list[str] = []

    def work() -> None:
        with interrupts_deferred():
            interrupt()
            done.append("all")
        done.append("too much")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all"]


def test_interrupt_that_waits_comes_where_it_is_allowed() -> None:
    done: list[str] = []

    def work() -> None:
        with interrupts_deferred():
            interrupt()
            try:
                with interrupts_allowed():
                    done.append("too much")
            finally:
                interrupt()
                done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["cleaned up"]


def test_interrupts_come_at_once_after_the_block() -> None:
    with interrupts_deferred(), interrupts_allowed():
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_handler_of_ctrl_c_stays_the_same() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_deferred():
        assert signal.getsignal(signal.SIGINT) is not before
        with interrupts_allowed():
            assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_change_nothing() -> None:
    handlers: list[object] = []

    def look() -> None:
        with interrupts_deferred(), interrupts_allowed():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
