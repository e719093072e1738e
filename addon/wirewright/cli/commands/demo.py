"""`wirewright demo`."""

from typing import Annotated

import typer
from rich.console import Console

from wirewright.cli.program import command, fail
from wirewright.model.errors import Error

commands = typer.Typer()


@command(commands, error_code=None)
def demo(
    timeout: Annotated[float | None, typer.Option(help="Milliseconds to wait for it.", hidden=True)] = None,
) -> None:
    """Show an app's frames and a script that waits for one of them; it takes some ten seconds."""
    import asyncio  # `--help` does not need it

    try:
        from wirewright.cli.demo import runner
    except ModuleNotFoundError as error:
        fail(f"the demo needs the package {error.name}: pip install 'wirewright[demo]'")
    try:
        came = asyncio.run(runner.run(Console(), timeout or runner.TIMEOUT))
    except Error as error:
        fail(error.message)
    raise typer.Exit(0 if came else 1)
