"""SIGHUP: the terminal of a mitmproxy program was closed."""

import os
import signal

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

    def hang_up() -> None:
        for fd in terminals:
            if not os.isatty(fd):
                # Addons that fail to print while they stop would keep others from stopping.
                os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        master.shutdown()

    master.event_loop.add_signal_handler(signal.SIGHUP, hang_up)
