"""`wirewright list`, `wait`, `send` and `attach`: commands for a running proxy."""

from typing import Annotated

import typer
from rich.console import Console
from typer import Argument, Option

from wirewright.cli.program import OptionGroup, ProxyAddress, Urls, command, fail
from wirewright.values import Direction

CANNOT_WAIT = 3
"""Exit code of `wait` if no proxy runs or the proxy ends."""

commands = typer.Typer()

Target = Annotated[ProxyAddress, OptionGroup(ProxyAddress)]


@command(commands, "list")
def list_(
    target: Target, urls: Urls, as_json: Annotated[bool, Option("--json", help="As JSON.")] = False
) -> None:
    """List the sockets that are open in a running proxy (one with ws_remote)."""
    import asyncio

    from wirewright.cli import live

    asyncio.run(live.list_sockets(Console(), target, urls, as_json))


@command(commands, error_code=CANNOT_WAIT)
def wait(
    target: Target,
    urls: Urls,
    event: Annotated[
        list[str] | None,
        Option(
            help="`framereceived` (if not given), `framesent`, `socketerror` or `close`. "
            "More than once: any of them.",
            metavar="EVENT",
        ),
    ] = None,
    grep: Annotated[
        list[str] | None,
        Option(help="With this text in what is printed. More than once: any of them.", metavar="TEXT"),
    ] = None,
    timeout: Annotated[float, Option(help="Seconds; 0 for no limit.", min=0)] = 30.0,
    history: Annotated[bool, Option("--history", help="Also try messages that sockets remember.")] = False,
) -> None:
    """Wait for the first event that fits, of any matching socket that is open or opens, and print it.

    Ends with 1 if the time is up, with 3 if no proxy runs or the proxy ends, and with 4 if all these sockets
    have closed. As for every command, 2 is a mistake in the command line.
    """
    import asyncio

    from wirewright.cli import live

    try:
        asyncio.run(live.wait(target, urls, event or ("framereceived",), grep or (), timeout, history))
    except live.NothingCame as nothing:
        fail(nothing.message, nothing.code)


@command(commands)
def send(
    message: Annotated[str, Argument(help="The text of the message; - sends stdin, unchanged.")],
    *,
    to: Annotated[str, Option(help="The `client` (the app) or the `server`.")] = "client",
    binary: Annotated[bool, Option("--binary", help="As a binary message.")] = False,
    target: Target,
    urls: Urls,
) -> None:
    """Send one end of the newest matching socket a message, as if the other end had."""
    directions = {"client": Direction.RECEIVED, "server": Direction.SENT}
    if to not in directions:
        raise ValueError(f"--to must be client or server, not {to!r}")
    import asyncio

    from wirewright.cli import live

    asyncio.run(live.send(target, urls, directions[to], live.read_message(message, binary)))


@command(commands)
def attach(target: Target) -> None:
    """Use a running proxy interactively: Python, or IPython if it is installed, with `proxy` bound."""
    from wirewright.cli import live

    live.attach(target)
