"""`wirewright replay`."""

import re
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from typer import Option

from wirewright.cli.program import PASS_ON, FileArgument, OptionGroup, UrlOption, command, exit_on_error
from wirewright.model.matching import any_of_globs

if TYPE_CHECKING:
    from wirewright.capture.filters import Filter
    from wirewright.capture.replay.comparisons import Compare

commands = typer.Typer()


def _make_filter(
    url: UrlOption = None,
    socket: Annotated[
        list[str] | None,
        Option(
            help="As a client: the recorded socket of this number. More than once: any of them.",
            metavar="NUMBER",
        ),
    ] = None,
) -> "Filter":
    from wirewright.capture.filters import Filter, parse_socket

    sockets = [parse_socket(each) for each in socket] if socket else None
    return Filter(url=any_of_globs(url or ()), socket=sockets)


def _make_comparison(
    json: Annotated[bool, Option("--json", help="JSON messages may be written in another way.")] = False,
    ignore_key: Annotated[
        list[str] | None,
        Option(help="Keys in JSON whose values may differ; more than once.", metavar="NAME"),
    ] = None,
    ignore: Annotated[
        list[str] | None, Option(help="Text that matches may differ; more than once.", metavar="REGEX")
    ] = None,
) -> "Compare":
    """Raises ValueError if the options contradict each other."""
    from wirewright.capture.replay.comparisons import ignoring, ignoring_keys

    if not ignore:
        return ignoring_keys(*ignore_key or ()) if json or ignore_key else "exact"
    if json or ignore_key:
        raise ValueError("--ignore goes with neither --json nor --ignore-key")
    for pattern in ignore:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"--ignore must be a regex, and {pattern!r} is none: {error}") from None
    return ignoring(re.compile("|".join(f"(?:{pattern})" for pattern in ignore)))


class PlayOptions(NamedTuple):
    """Options for the order and the pace of the messages."""

    match: Annotated[
        str | None,
        Option(help="`lockstep` (each answer after its question) or `timed` (whatever the app says)."),
    ] = None
    speed: Annotated[float, Option(help="How much faster than recorded; `inf` for no gaps.")] = 1.0
    on_mismatch: Annotated[
        str | None,
        Option(help="A message that was not recorded: `abort`, `wait` for another, `passthrough`."),
    ] = None


class ClientOptions(NamedTuple):
    """Options for the connection to a live server."""

    header: Annotated[
        list[str] | None,
        Option(help="As a client: a header of the handshake; more than once.", metavar="NAME:VALUE"),
    ] = None
    timeout: Annotated[float, Option(help="As a client: seconds to wait for an answer.", min=0)] = 10.0
    insecure: Annotated[bool, Option("--insecure", help="As a client: trust any certificate.")] = False


@command(commands, error_code=None, context_settings=PASS_ON)
def replay(
    context: typer.Context,
    file: FileArgument,
    *,
    as_client: Annotated[
        str | None,
        Option(
            help="Play the app's side to this live server instead, and compare its answers.", metavar="URL"
        ),
    ] = None,
    chosen: Annotated["Filter", OptionGroup(_make_filter)],
    play: Annotated[PlayOptions, OptionGroup(PlayOptions)],
    compare: Annotated["Compare", OptionGroup(_make_comparison)],
    client: Annotated[ClientOptions, OptionGroup(ClientOptions)],
) -> None:
    """Play a capture's server to the apps that use this proxy, or (--as-client) its app to a server.

    Without --as-client all other arguments are mitmdump's own: [bold]wirewright replay session.db -p 9090[/].
    """
    with exit_on_error():
        from wirewright.cli.replay import client_settings, play_to_server, serve

        if as_client is not None:
            if context.args:
                raise ValueError(f"there is no option {context.args[0]}")
            if play.match is not None or play.on_mismatch is not None:
                raise ValueError("--match and --on-mismatch do not go with --as-client")
            how = client_settings(compare, play.speed, client.timeout, client.header or (), client.insecure)
            is_as_recorded = play_to_server(Console(), file, chosen, as_client, how)
            raise typer.Exit(0 if is_as_recorded else 1)
        only_as_client = {"--socket": chosen.socket, "--header": client.header, "--insecure": client.insecure}
        for name, value in only_as_client.items():
            if value:
                raise ValueError(f"{name} goes with --as-client only")
        match, on_mismatch = play.match or "lockstep", play.on_mismatch or "abort"
        remark = serve(file, chosen.url, match, play.speed, on_mismatch, compare)
    from wirewright.cli.run import run_mitmdump

    run_mitmdump(context.args, url=chosen.url, remark=remark)
