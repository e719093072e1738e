"""`wirewright captures`, `show`, `follow`, `stats`, `export` and `import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from typer import Argument, Option

from wirewright.cli.program import FileArgument, OptionGroup, UrlOption, command
from wirewright.model.matching import any_of_globs

if TYPE_CHECKING:
    from wirewright.capture.filters import Filter

commands = typer.Typer()

PreviewOption = Annotated[int | None, Option(help="Characters of a message to show.", min=0)]


def _make_filter(
    url: UrlOption = None,
    socket: Annotated[
        list[str] | None,
        Option(help="The socket with this number. More than once: any of them.", metavar="NUMBER"),
    ] = None,
    session: Annotated[
        list[str] | None,
        Option(
            help="The session with this number, or the `last`. More than once: any of them.", metavar="NUMBER"
        ),
    ] = None,
    direction: Annotated[
        list[str] | None, Option(help="What the app has `sent`, or `received`.", metavar="DIRECTION")
    ] = None,
    grep: Annotated[
        list[str] | None,
        Option(help="Messages with this text. More than once: any of them.", metavar="TEXT"),
    ] = None,
    json: Annotated[
        list[str] | None,
        Option(
            help="JSON messages that have this, such as user.name=Ada. More than once: all of them.",
            metavar="PATH=VALUE",
        ),
    ] = None,
    since: Annotated[
        list[str] | None,
        Option(
            help="From this time on: 14:05, 14:05:10.123, 2026-01-31 14:05, or 90s, 5m, 2h ago.",
            metavar="TIME",
        ),
    ] = None,
) -> "Filter":
    """Raises ValueError for a mistake in one of the options."""
    from wirewright.capture import filters

    directions = {filters.parse_direction(each) for each in direction or ()}
    if since and len(since) > 1:
        raise ValueError("--since can be given once only")
    return filters.Filter(
        url=any_of_globs(url or ()),
        socket=[filters.parse_socket(each) for each in socket] if socket else None,
        sessions=[filters.parse_session(each) for each in session] if session else None,
        direction=directions.pop() if len(directions) == 1 else None,
        grep=grep,
        values=[filters.parse_value(each) for each in json or ()],
        since_ns=filters.parse_since(since[0]) if since else None,
    )


ChosenFrames = Annotated["Filter", OptionGroup(_make_filter)]


@command(commands)
def captures(folder: Annotated[Path, Argument(help="Where to look.", metavar="FOLDER")] = Path()) -> None:
    """List the captures in a folder."""
    from wirewright.cli.captures import list_captures

    list_captures(Console(), folder)


@command(commands)
def show(file: FileArgument, *, max_preview: PreviewOption = None, chosen: ChosenFrames) -> None:
    """Print the frames of a capture."""
    from wirewright.cli import captures

    captures.show(Console(), file, chosen, max_preview)


@command(commands)
def follow(file: FileArgument, *, max_preview: PreviewOption = None, chosen: ChosenFrames) -> None:
    """Print the frames of a capture, and those that come, until its recorder ends."""
    from wirewright.cli import captures

    captures.follow(Console(), file, chosen, max_preview)


@command(commands)
def stats(file: FileArgument, chosen: ChosenFrames) -> None:
    """Count the messages of each socket, their bytes, their rate and the time between them."""
    from wirewright.cli import captures

    captures.show_statistics(Console(), file, chosen)


@command(commands)
def export(
    file: FileArgument,
    target: Annotated[Path, Argument(help="A new file, or - for stdout.", metavar="OUT")],
    chosen: ChosenFrames,
) -> None:
    """Write a capture, or some of it, as an HTTP archive, for mitmweb, as JSON lines or as a table.

    The name of OUT tells: it ends in .har, .mitm, .jsonl or .parquet.
    """
    from wirewright.cli import captures

    captures.export(Console(), file, target, chosen)


@command(commands, "import")
def import_(
    source: Annotated[
        Path,
        Argument(
            help="A HAR, a trace of Playwright, mitmproxy's flows or a cassette; it may be compressed.",
            metavar="SOURCE",
        ),
    ],
    file: Annotated[
        Path, Argument(help="A new capture, or an existing one, to which it is added.", metavar="FILE")
    ],
    min_free: Annotated[
        str | None,
        Option(
            help="Import nothing if less than this would be left free on the disk: 100m if not given; 0 for "
            "no limit.",
            metavar="SIZE",
        ),
    ] = None,
) -> None:
    """Add the WebSockets of a recording of another program (Chrome, Playwright, mitmproxy, ...) to a capture.

    Entries and messages that cannot be read are skipped and counted.
    """
    from wirewright.cli import captures

    captures.import_file(Console(), source, file, min_free)
