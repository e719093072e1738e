"""Programs that run on a terminal, as in a window of their own."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Screen:
    """A program that runs on a terminal of its own."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
        fd: int,
    ) -> None:
        self.process = process
        self._reader = reader
        self._transport = transport
        self._fd = fd
        self._text = ""

    async def shows(self, pattern: str) -> re.Match[str]:
        """Wait until it has written this, after what was waited for last."""
        while not (found := re.search(pattern, self._text)):
            more = b""
            with suppress(OSError):  # how a terminal says that the program has ended
                more = await self._reader.read(65536)
            assert more, f"it ended without {pattern!r}: {self._text}"
            self._text += more.decode(errors="replace")
        self._text = self._text[found.end() :]
        return found

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def close(self) -> None:
        """Close the terminal's window: the program gets a SIGHUP, and can neither read nor write any more."""
        self._transport.close()


def _take_terminal() -> None:
    """In the child: make stdin its controlling terminal, and let SIGHUP end it.

    A test run that nohup has started ignores SIGHUP, which its children would inherit.
    """
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@asynccontextmanager
async def terminal(*command: str | Path) -> AsyncIterator[Screen]:
    """Run a command as the leader of a session, with a terminal of 40 lines and 120 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
    )
    try:
        yield Screen(process, reader, transport, ours)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        transport.close()
