"""The command line: `wirewright run`, `wirewright demo`, and what looks into captures."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import wirewright
from wirewright.model.errors import Error
from wirewright.model.matching import compile_match

if TYPE_CHECKING:
    from wirewright.capture.filters import Filter

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
    capture: Annotated[
        Path | None,
        typer.Option(help="Record all sockets in this file; one that is there grows.", metavar="FILE"),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            help="A header, query parameter or JSON key whose value does not get into the capture, instead "
            "of the usual ones; may be given more than once.",
            metavar="NAME",
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

    arguments = list(context.args)
    if capture is not None:
        arguments = ["--set", f"ws_capture={capture}", *arguments]
    for name in redact or ():
        arguments = ["--set", f"ws_capture_redact={name}", *arguments]
    run_mitmdump(arguments, url=url, max_preview=max_preview, quiet=quiet, config=config)


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


FileArgument = Annotated[Path, typer.Argument(help="A capture.", metavar="FILE")]
UrlOption = Annotated[str | None, typer.Option(help="Sockets whose URL matches this glob.", metavar="GLOB")]
SocketOption = Annotated[int | None, typer.Option(help="The socket with this number.", metavar="NUMBER")]
DirectionOption = Annotated[str | None, typer.Option(help="What the app has `sent`, or `received`.")]
GrepOption = Annotated[str | None, typer.Option(help="Messages with this text.", metavar="TEXT")]
JsonOption = Annotated[
    list[str] | None,
    typer.Option("--json", help="JSON messages that have this, such as user.name=Ada.", metavar="PATH=VALUE"),
]
SinceOption = Annotated[
    str | None, typer.Option(help="From this time on: 14:05, 2026-01-31T14:05:10, or 90s, 5m, 2h ago.")
]
PreviewOption = Annotated[int | None, typer.Option(help="Characters of a message to show.", min=0)]


@app.command()
def captures(
    folder: Annotated[Path, typer.Argument(help="Where to look.", metavar="FOLDER")] = Path(),
) -> None:
    """List the captures in a folder."""
    with _clear_errors():
        from wirewright.captures import list_captures

        list_captures(Console(), folder)


@app.command()
def show(
    file: FileArgument,
    url: UrlOption = None,
    socket: SocketOption = None,
    direction: DirectionOption = None,
    grep: GrepOption = None,
    json: JsonOption = None,
    since: SinceOption = None,
    max_preview: PreviewOption = None,
) -> None:
    """Print the frames of a capture."""
    with _clear_errors():
        from wirewright import captures

        chosen = _filter(url, socket, direction, grep, json, since)
        captures.show(Console(), file, chosen, max_preview)


@app.command()
def follow(
    file: FileArgument,
    url: UrlOption = None,
    socket: SocketOption = None,
    direction: DirectionOption = None,
    grep: GrepOption = None,
    json: JsonOption = None,
    since: SinceOption = None,
    max_preview: PreviewOption = None,
) -> None:
    """Print the frames of a capture, and those that come, until its recorder ends."""
    with _clear_errors():
        from wirewright import captures

        chosen = _filter(url, socket, direction, grep, json, since)
        captures.follow(Console(), file, chosen, max_preview)


@app.command()
def stats(
    file: FileArgument,
    url: UrlOption = None,
    socket: SocketOption = None,
    grep: GrepOption = None,
    json: JsonOption = None,
    since: SinceOption = None,
) -> None:
    """Count the messages of each socket, their bytes, their rate and the time between them."""
    with _clear_errors():
        from wirewright import captures

        captures.show_statistics(Console(), file, _filter(url, socket, None, grep, json, since))


@app.command()
def export(
    file: FileArgument,
    target: Annotated[Path, typer.Argument(help="A new file, or - for stdout.", metavar="OUT.jsonl|OUT.har")],
    url: UrlOption = None,
    socket: SocketOption = None,
    direction: DirectionOption = None,
    grep: GrepOption = None,
    json: JsonOption = None,
    since: SinceOption = None,
) -> None:
    """Write a capture, or some of it, as JSON lines or as an HTTP archive (HAR)."""
    with _clear_errors():
        from wirewright import captures

        chosen = _filter(url, socket, direction, grep, json, since)
        captures.export(Console(), file, target, chosen)


def _filter(
    url: str | None,
    socket: int | None,
    direction: str | None,
    grep: str | None,
    json: list[str] | None,
    since: str | None,
) -> "Filter":
    from wirewright.capture.filters import Filter, parse_since, parse_value

    if direction not in (None, "sent", "received"):
        raise ValueError(f"--direction must be sent or received, not {direction}")
    return Filter(
        url=url,
        socket=socket,
        direction=direction,  # type: ignore[arg-type]  # it is one of them
        grep=grep,
        values=[parse_value(each) for each in json or ()],
        since_ns=None if since is None else parse_since(since),
    )


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What a user can mend is one sentence; a pipe that is closed, or Ctrl-C, is the end."""
    try:
        yield
    except (Error, ValueError) as error:
        _fail(str(error))
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nothing is flushed into it at the end
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _fail(sentence: str) -> None:
    Console(stderr=True).print(
        f"wirewright: {sentence}", style="red", highlight=False, markup=False, soft_wrap=True
    )
    raise typer.Exit(1)
