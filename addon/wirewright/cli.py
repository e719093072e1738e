"""The command line: `wirewright run` and `wirewright demo`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import wirewright
from wirewright.model.errors import Error
from wirewright.model.matching import compile_match

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Playwright's WebSocket API for any app behind mitmproxy.",
)
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def main() -> None:
    """The `wirewright` command."""
    app()


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"wirewright {wirewright.__version__}")
        raise typer.Exit


@app.command(context_settings=_PASS_ON)
def run(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(help="Show only the sockets whose URL matches this glob.", metavar="GLOB")
    ] = None,
    max_preview: Annotated[
        int | None,
        typer.Option(
            help="Characters of a message to show; as many as fit the terminal if not given.", min=0
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no timeline, only what goes wrong.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A mitmproxy configuration: a file such as config/config.yaml, or a folder that has one and "
            "is then also where the CA is kept.",
            exists=True,
        ),
    ] = None,
) -> None:
    """Run mitmdump with Wirewright, and print the frames of every app that uses it as its proxy.

    All other arguments are mitmdump's own: [bold]wirewright run -p 9090 -s watch.py --mode regular[/].
    """
    try:
        compile_match(url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None
    from wirewright.command import run_mitmdump

    run_mitmdump(context.args, url=url, max_preview=max_preview, quiet=quiet, config=config)


@app.command()
def demo(
    price: Annotated[float | None, typer.Option(help="The price to wait for.", hidden=True)] = None,
    timeout: Annotated[float | None, typer.Option(help="Milliseconds to wait for it.", hidden=True)] = None,
) -> None:
    """Show an app's frames and a script that waits for one of them; it takes some ten seconds."""
    try:
        from wirewright.demo import runner
    except ModuleNotFoundError as error:
        _fail(f"the demo needs the package {error.name}: pip install 'wirewright[demo]'")
    console = Console()
    try:
        came = asyncio.run(
            runner.run(console, price=price or runner.PRICE, timeout=timeout or runner.TIMEOUT)
        )
    except Error as error:
        _fail(error.message)
    raise typer.Exit(0 if came else 1)


def _fail(sentence: str) -> None:
    Console(stderr=True).print(
        f"wirewright: {sentence}", style="red", highlight=False, markup=False, soft_wrap=True
    )
    raise typer.Exit(1)
