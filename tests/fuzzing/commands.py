"""Commands of `wirewright` in a process each, forked from one that has imported everything."""

import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet  # noqa: F401  imported here once, for all children

from support.forked_programs import become, import_everything

import_everything()  # once, for all children

SLOW_SECONDS = 30.0
"""A command that takes longer is interrupted, as by Ctrl-C."""
STUBBORN_SECONDS = 20.0
"""A command that runs on so long after Ctrl-C is killed."""
MAX_MEMORY = 768 * 1024 * 1024
"""Bytes that a command may take: its resident size."""
ADDRESS_SPACE = 4 * 1024**3
"""Bytes; a command that wants more fails, so that the machine does not."""
NONE_OPEN = 9
"""A port on which nothing listens."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    arguments: tuple[str, ...]
    status: int | None
    """Exit code; negative for a signal; None if it was killed because it ignored Ctrl-C."""
    output: str
    was_slow: bool
    """True if it was interrupted because it took too long."""
    memory: int
    """Bytes, its largest resident size."""

    def broken(self) -> str | None:
        """The promise that it broke, if any."""
        if self.status is None:
            return f"Ctrl-C did not end it within {STUBBORN_SECONDS:.0f} s"
        if "Traceback (most recent call last)" in self.output or "Error in atexit" in self.output:
            return "it ended with a traceback"
        if self.status < 0 and self.status != -signal.SIGINT:
            return f"it ended by signal {-self.status}"
        if self.was_slow:
            return f"it took longer than {SLOW_SECONDS:.0f} s"
        if self.memory > MAX_MEMORY:
            return f"it took {self.memory / 2**20:,.0f} MiB"
        return None


def run(arguments: Sequence[str | Path], folder: Path, interrupt_after: float | None = None) -> Outcome:
    """Run `wirewright` with these arguments in a folder. `interrupt_after` seconds it is sent a Ctrl-C."""
    words = tuple(map(str, arguments))
    reading, writing = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the child is the command
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become(words, folder, writing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.close(writing)
    os.set_blocking(reading, False)
    began, output = time.monotonic(), bytearray()
    interrupted_at: float | None = None
    was_slow = was_killed = False
    while True:
        _drain(reading, output)
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        now = time.monotonic()
        if interrupted_at is None:
            limit = SLOW_SECONDS if interrupt_after is None else interrupt_after
            if now - began > limit:
                interrupted_at, was_slow = now, interrupt_after is None
                os.kill(child, signal.SIGINT)
        elif now - interrupted_at > STUBBORN_SECONDS:
            was_killed = True
            os.kill(child, signal.SIGKILL)
            interrupted_at = now
        time.sleep(0.002)
    _drain(reading, output)
    os.close(reading)
    code = None if was_killed else os.waitstatus_to_exitcode(status)
    return Outcome(words, code, output.decode(errors="replace"), was_slow, usage.ru_maxrss * 1024)


def _drain(reading: int, output: bytearray) -> None:
    """Read what the child has written; of a long output its beginning and its end count."""
    try:
        while data := os.read(reading, 1 << 16):
            output += data
            if len(output) > 1 << 20:
                del output[1 << 18 : -(1 << 18)]
    except BlockingIOError:
        pass


def _become(words: tuple[str, ...], folder: Path, writing: int) -> None:
    """Be the command, in a forked process. Does not return."""
    status = 70
    try:
        gc.callbacks.clear()  # hypothesis's own, in which a Ctrl-C could arrive
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        streams = (os.open(os.devnull, os.O_RDONLY), writing, writing)
        status = become("wirewright", words, folder, os.environ | {"PYTHONUNBUFFERED": "1"}, streams)
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)
