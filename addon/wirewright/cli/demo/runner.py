"""The demo as a whole: two processes, the proxy between them, the timeline, and the script."""

import asyncio
import re
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from wirewright.capture.errors import CaptureError
from wirewright.cli.demo import script
from wirewright.cli.demo.service import CA_FILE
from wirewright.cli.timeline import Timeline
from wirewright.launcher import launch
from wirewright.model.errors import Error
from wirewright.printable import printable
from wirewright.state import control, tls_failures

APP_QUOTES = 12
"""One comes each 0.4 s. The ninth is the first with the price that the script waits for."""
CAPTURE = Path("demo.db")
PRICE = 106.0
TIMEOUT = 12_000.0
"""Milliseconds."""


async def run(console: Console, timeout: float = TIMEOUT) -> bool:
    """Show the demo and record it in CAPTURE. True if the frame came within `timeout` milliseconds."""
    console.print("A market app and its service, with the proxy between them. Meanwhile this script waits:\n")
    console.print(Panel(Syntax(_source(), "python", background_color="default"), expand=False))
    try:
        with tempfile.TemporaryDirectory(prefix="wirewright-demo-") as folder:
            quote = await _show(console, Path(folder), timeout)
    except CaptureError:
        raise
    except Error as error:
        console.print(
            f"\n[bold red]The script did not get its frame:[/] {escape(printable(error.message))}",
            highlight=False,
        )
        return False
    console.print(
        f"\n[bold green]The script got the frame that it waited for:[/] {escape(printable(quote))}",
        highlight=False,
    )
    command = shlex.quote(_command())
    console.print("\nAll that passed was recorded. Look into it:", highlight=False)
    for arguments in (
        f"show {CAPTURE} --url '**/chat' --session last",
        f"stats {CAPTURE} --session last",
        f"export {CAPTURE} - --session last",
    ):
        console.print(Text(f"  {command} {arguments}", "bold"), soft_wrap=True, highlight=False)
    console.print(Text.assemble("Now your own app: ", (f"{command} run", "bold")), soft_wrap=True)
    return True


async def _show(console: Console, folder: Path, timeout: float) -> str:
    async with _module("service", "--certificates", folder) as service:
        service_url = await _listening(service)
        options = {"ssl_verify_upstream_trusted_ca": str(folder / CA_FILE)}
        async with launch(port=0, confdir=folder, options=options) as proxy:
            proxy.start_capture(CAPTURE)
            timeline = Timeline(control, tls_failures, console)
            timeline.start()
            waiting = asyncio.ensure_future(script.wait_for_price(proxy, PRICE, timeout))
            proxy_url = f"http://127.0.0.1:{proxy.port}"
            app = ("--service", service_url, "--proxy", proxy_url, "--ca", proxy.ca_certificate)
            async with _module("app", *app, "--quotes", APP_QUOTES) as process:
                try:
                    quote = await waiting
                    timeline.note(f"the script got its frame: {quote}")
                    await process.wait()
                finally:
                    timeline.stop()
    return quote


@asynccontextmanager
async def _module(name: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of the demo's programs as a process of its own, which ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"wirewright.cli.demo.{name}",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _listening(service: asyncio.subprocess.Process) -> str:
    assert service.stdout is not None
    line = (await service.stdout.readline()).decode()
    found = re.search(r"wss://\S+", line)
    if found is None:
        raise Error(f"the demo's service did not start: {line.strip() or 'it said nothing'}")
    return found[0]


def _command() -> str:
    """`wirewright` as it was typed, or would have to be, as a virtual environment may not be active."""
    typed = Path(sys.argv[0])
    return str(typed) if typed.name == "wirewright" else "wirewright"


def _source() -> str:
    """The script itself, without its imports."""
    assert script.__file__ is not None
    _, _, body = Path(script.__file__).read_text().partition("async def ")
    return f"async def {body}".rstrip()
