"""The app in a process of its own, as a test uses it."""

import subprocess


class Trader:
    """Each method but `says` returns before the app has done it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def open(self) -> None:
        """Have it connect to the service."""
        self._type("open")

    def buy(self, amount: int) -> None:
        """Have it buy."""
        self._type(f"buy {amount}")

    def quit(self) -> None:
        """Have it disconnect for good."""
        self._type("quit")

    def says(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def _type(self, line: str) -> None:
        print(line, file=self._process.stdin, flush=True)
