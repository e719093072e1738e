"""SIGHUP: the terminal of a mitmproxy program was closed."""

import os
import signal
from types import FrameType

from mitmproxy.master import Master

STANDARD_STREAMS = (0, 1, 2)


def stop_on_hangup(master: Master) -> None:
    """Have SIGHUP end a mitmproxy program as SIGTERM does, so that captures are closed.

    Nothing is changed inside another program (`launch` runs a plain `Master`), for a program that does not
    handle SIGTERM, and where SIGHUP is ignored (`nohup`) or handled already.
    """
    if type(master) is Master or signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.SIG_IGN):
        return
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        return  # Windows has none
    terminals = [fd for fd in STANDARD_STREAMS if os.isatty(fd)]

    def hang_up(signum: int, frame: FrameType | None) -> None:
        for fd in terminals:
            if not os.isatty(fd):
                _silence(fd)
        master.shutdown()

    # Not the loop's: the console of mitmproxy 11 reads from a closed terminal without end, in one callback.
    signal.signal(signal.SIGHUP, hang_up)


def _silence(fd: int) -> None:
    """Replace a closed terminal. An addon that fails to print at its end would keep others from ending."""
    if fd == 0:
        replacement, _ = os.pipe()  # never readable, as nothing is written and nothing closed
    else:
        replacement = os.open(os.devnull, os.O_WRONLY)
    os.dup2(replacement, fd)
