"""The command line: `wirewright run`, `wirewright demo`, and what looks into captures."""

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from wirewright.model.errors import Error
from wirewright.model.matching import any_of_globs
from wirewright.printable import print_line
from wirewright.values import VERSION, Direction

if TYPE_CHECKING:
    from wirewright.capture.filters import Filter

USAGE = 2
"""Exit code of every command for a mistake in the command line."""
CANNOT_WAIT = 3
"""Exit code of `wait`."""
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


class _FlagsWithoutType:
    """Leaves out `<bool>` in the help of options that take no value."""

    def get_params(self, context: Any) -> list[Any]:
        params: list[Any] = super().get_params(context)  # type: ignore[misc]  # of what this is mixed into
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class Command(_FlagsWithoutType, TyperCommand):
    """A command of this program."""


class Group(_FlagsWithoutType, TyperGroup):
    """The program."""


app = typer.Typer(
    cls=Group,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # older typers print them, tokens and payloads included
    rich_markup_mode="rich",
    help="Playwright's WebSocket API for any app behind mitmproxy.",
)


def command(name: str | None = None, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a command to the program."""
    return app.command(name, cls=Command, **settings)


UrlOption = Annotated[
    list[str] | None,
    typer.Option(
        "--url",
        help="Sockets whose URL matches this glob, with or without its query. More than once: any of them.",
        metavar="GLOB",
    ),
]
SocketOption = Annotated[
    list[str] | None,
    typer.Option(
        "--socket", help="The socket with this number. More than once: any of them.", metavar="NUMBER"
    ),
]
GrepOption = Annotated[
    list[str] | None,
    typer.Option("--grep", help="Messages with this text. More than once: any of them.", metavar="TEXT"),
]


def main() -> None:
    """The `wirewright` command."""
    app()


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"wirewright {VERSION}")
        raise typer.Exit


@command(context_settings=_PASS_ON)
def run(
    context: typer.Context,
    url: UrlOption = None,
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
        typer.Option(
            help="Record all sockets in this file; an existing capture gets another session.", metavar="FILE"
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            help="How large the capture gets, such as 500m, before it goes on in another file.",
            metavar="SIZE",
        ),
    ] = None,
    rotate: Annotated[
        int | None, typer.Option(help="How many of these files are kept, the newest.", metavar="COUNT")
    ] = None,
    min_free: Annotated[
        str | None,
        typer.Option(
            help="End the recording before less than this is free on the disk: 100m if not given; 0 for no "
            "limit.",
            metavar="SIZE",
        ),
    ] = None,
    remote: Annotated[
        str | None,
        typer.Option(
            help="Serve the API to other processes of yours at 127.0.0.1:0 (any free port) or unix:/path.",
            metavar="ADDRESS",
        ),
    ] = None,
    remote_insecure_bind: Annotated[
        bool,
        typer.Option("--remote-insecure-bind", help="Allow an address that other machines can reach."),
    ] = False,
    remote_cert: Annotated[
        Path | None, typer.Option(help="The certificate and key (PEM) of such an address.", metavar="FILE")
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            help="A header, parameter or key whose value is neither shown nor recorded, instead of the usual "
            "ones; may be given more than once.",
            metavar="NAME",
        ),
    ] = None,
    no_redact: Annotated[
        bool, typer.Option("--no-redact", help="Show and record secrets such as tokens and cookies, too.")
    ] = False,
) -> None:
    """Run mitmdump with Wirewright, and print the frames of every app that uses it as its proxy.

    All other arguments are mitmdump's own: [bold]wirewright run -p 9090 -s watch.py --mode regular[/].
    """
    with clear_errors():
        urls = any_of_globs(url or ())
    sizes = {"max_size": max_size, "rotate": rotate, "min_free": min_free}
    settings = _capture_settings(capture, sizes, redact, no_redact=no_redact)
    settings += _remote_settings(remote, remote_cert, is_insecure=remote_insecure_bind)
    from wirewright.cli.run import run_mitmdump

    arguments = [each for setting in settings for each in ("--set", setting)] + context.args
    run_mitmdump(arguments, url=urls, max_preview=max_preview, quiet=quiet, config=config)


def _capture_settings(
    capture: Path | None,
    sizes: Mapping[str, str | int | None],
    redact: list[str] | None,
    *,
    no_redact: bool,
) -> list[str]:
    """Settings of mitmdump for the options of `run` about a capture. Raises BadParameter."""
    refining: dict[str, object] = {f"--{name.replace('_', '-')}": value for name, value in sizes.items()}
    if capture is None:
        for name, value in refining.items():
            if value is not None:
                raise typer.BadParameter("it goes with --capture", param_hint=name)
    if no_redact and redact:
        raise typer.BadParameter("it does not go with --redact", param_hint="--no-redact")
    options = {"ws_capture": capture} | {f"ws_capture_{name}": value for name, value in sizes.items()}
    settings = [f"{name}={value}" for name, value in options.items() if value is not None]
    settings += ["ws_capture_redact"] if no_redact else []  # an empty list
    return settings + [f"ws_capture_redact={name}" for name in redact or ()]


def _remote_settings(address: str | None, certificate: Path | None, *, is_insecure: bool) -> list[str]:
    """Settings of mitmdump for the options of `run` about the remote API. Ends the program for a mistake."""
    if address is not None:
        _check_address(address)
    options = {
        "ws_remote": address,
        "ws_remote_insecure_bind": "true" if is_insecure else None,
        "ws_remote_cert": certificate,
    }
    return [f"{name}={value}" for name, value in options.items() if value is not None]


@command()
def demo(
    price: Annotated[float | None, typer.Option(help="The price to wait for.", hidden=True)] = None,
    timeout: Annotated[float | None, typer.Option(help="Milliseconds to wait for it.", hidden=True)] = None,
) -> None:
    """Show an app's frames and a script that waits for one of them; it takes some ten seconds."""
    try:
        from wirewright.cli.demo import runner
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
PreviewOption = Annotated[int | None, typer.Option(help="Characters of a message to show.", min=0)]


@contextmanager
def clear_errors(code: int = 1) -> Iterator[None]:
    """End the program with one sentence for an error that the user can mend, and silently for a closed pipe
    or Ctrl-C.

    The exit code is `code`, but 2 for a ValueError: that is a mistake in the command line.
    """
    try:
        yield
    except ValueError as error:
        _fail(str(error), USAGE)
    except Error as error:
        _fail(error.message, code)
    except OSError as error:
        # What is left is flushed at the end of the program, and must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(code) from None
        _fail(f"stdout: {error.strerror}", code)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def make_filter(
    url: UrlOption = None,
    socket: SocketOption = None,
    session: Annotated[
        list[str] | None,
        typer.Option(
            help="The session with this number, or the `last`. More than once: any of them.", metavar="NUMBER"
        ),
    ] = None,
    direction: Annotated[
        list[str] | None, typer.Option(help="What the app has `sent`, or `received`.", metavar="DIRECTION")
    ] = None,
    grep: GrepOption = None,
    json: Annotated[
        list[str] | None,
        typer.Option(
            "--json",
            help="JSON messages that have this, such as user.name=Ada. More than once: all of them.",
            metavar="PATH=VALUE",
        ),
    ] = None,
    since: Annotated[
        list[str] | None,
        typer.Option(
            help="From this time on: 14:05, 14:05:10.123, 2026-01-31 14:05, or 90s, 5m, 2h ago.",
            metavar="TIME",
        ),
    ] = None,
) -> "Filter":
    """The options of every command that reads a capture. Raises ValueError for a mistake in one of them."""
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


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of its parameter `chosen`, the options that make a filter."""
    own = inspect.signature(command)
    options = inspect.signature(make_filter).parameters

    @wraps(command)
    def run(**arguments: Any) -> None:
        with clear_errors():
            chosen = make_filter(**{name: arguments.pop(name) for name in options})
            command(**arguments, chosen=chosen)

    kept = [parameter for name, parameter in own.parameters.items() if name != "chosen"]
    both = sorted([*kept, *options.values()], key=lambda each: each.default is not inspect.Parameter.empty)
    run.__signature__ = own.replace(parameters=both)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {each.name: each.annotation for each in both}
    return run


@command()
def captures(
    folder: Annotated[Path, typer.Argument(help="Where to look.", metavar="FOLDER")] = Path(),
) -> None:
    """List the captures in a folder."""
    with clear_errors():
        from wirewright.cli.captures import list_captures

        list_captures(Console(), folder)


@command()
@filtered
def show(file: FileArgument, chosen: "Filter", max_preview: PreviewOption = None) -> None:
    """Print the frames of a capture."""
    from wirewright.cli import captures

    captures.show(Console(), file, chosen, max_preview)


@command()
@filtered
def follow(file: FileArgument, chosen: "Filter", max_preview: PreviewOption = None) -> None:
    """Print the frames of a capture, and those that come, until its recorder ends."""
    from wirewright.cli import captures

    captures.follow(Console(), file, chosen, max_preview)


@command()
@filtered
def stats(file: FileArgument, chosen: "Filter") -> None:
    """Count the messages of each socket, their bytes, their rate and the time between them."""
    from wirewright.cli import captures

    captures.show_statistics(Console(), file, chosen)


@command()
@filtered
def export(
    file: FileArgument,
    target: Annotated[Path, typer.Argument(help="A new file, or - for stdout.", metavar="OUT")],
    chosen: "Filter",
) -> None:
    """Write a capture, or some of it, as an HTTP archive, for mitmweb, as JSON lines or as a table.

    The name of OUT tells: it ends in .har, .mitm, .jsonl or .parquet.
    """
    from wirewright.cli import captures

    captures.export(Console(), file, target, chosen)


@command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="A HAR, a trace of Playwright or a file of mitmproxy's flows; it may be compressed.",
            metavar="SOURCE",
        ),
    ],
    file: Annotated[
        Path, typer.Argument(help="A new capture, or an existing one, to which it is added.", metavar="FILE")
    ],
    min_free: Annotated[
        str | None,
        typer.Option(
            help="Import nothing if less than this would be left free on the disk: 100m if not given; 0 for "
            "no limit.",
            metavar="SIZE",
        ),
    ] = None,
) -> None:
    """Add the WebSockets of a recording of another program (Chrome, Playwright, mitmproxy, ...) to a capture.

    Entries and messages that cannot be read are skipped and counted.
    """
    with clear_errors():
        from wirewright.cli import captures

        captures.import_file(Console(), source, file, min_free)


@command(context_settings=_PASS_ON)
def replay(
    context: typer.Context,
    file: FileArgument,
    as_client: Annotated[
        str | None,
        typer.Option(
            help="Play the app's side to this live server instead, and compare its answers.", metavar="URL"
        ),
    ] = None,
    url: UrlOption = None,
    socket: Annotated[
        list[str] | None,
        typer.Option(
            help="As a client: the recorded socket of this number. More than once: any of them.",
            metavar="NUMBER",
        ),
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(help="`lockstep` (each answer after its question) or `timed` (whatever the app says)."),
    ] = None,
    speed: Annotated[float, typer.Option(help="How much faster than recorded; `inf` for no gaps.")] = 1.0,
    on_mismatch: Annotated[
        str | None,
        typer.Option(help="A message that was not recorded: `abort`, `wait` for another, `passthrough`."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="JSON messages may be written in another way.")
    ] = False,
    ignore_key: Annotated[
        list[str] | None,
        typer.Option(help="Keys in JSON whose values may differ; more than once.", metavar="NAME"),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="What matches may differ; more than once.", metavar="REGEX"),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="As a client: a header of the handshake; more than once.", metavar="NAME:VALUE"),
    ] = None,
    timeout: Annotated[float, typer.Option(help="As a client: seconds to wait for an answer.", min=0)] = 10.0,
    insecure: Annotated[bool, typer.Option("--insecure", help="As a client: trust any certificate.")] = False,
) -> None:
    """Play a capture's server to the apps that use this proxy, or (--as-client) its app to a server.

    Without --as-client all other arguments are mitmdump's own: [bold]wirewright replay session.db -p 9090[/].
    """
    with clear_errors():
        from wirewright.cli import replay

        urls = any_of_globs(url or ())
        compare = replay.comparing(json, ignore_key or (), ignore or ())
        if as_client is not None:
            if context.args:
                raise ValueError(f"there is no option {context.args[0]}")
            if match is not None or on_mismatch is not None:
                raise ValueError("--match and --on-mismatch do not go with --as-client")
            manner = replay.manner(compare, speed, timeout, header or (), insecure)
            chosen = make_filter(url=url, socket=socket)
            if not replay.play_to_server(Console(), file, chosen, as_client, manner):
                raise typer.Exit(1)
            return
        only_as_client = {"--socket": socket, "--header": header, "--insecure": insecure}
        for name, value in only_as_client.items():
            if value:
                raise ValueError(f"{name} goes with --as-client only")
        remark = replay.serve(
            file,
            url=urls,
            match=match or "lockstep",
            speed=speed,
            on_mismatch=on_mismatch or "abort",
            compare=compare,
        )
    from wirewright.cli.run import run_mitmdump

    run_mitmdump(context.args, url=urls, remark=remark)


EndpointOption = Annotated[
    str | None,
    typer.Option(
        help="The proxy, if several run here: its address, or its file (or WIREWRIGHT_ENDPOINT).",
        metavar="ENDPOINT",
    ),
]
CleartextOption = Annotated[
    bool,
    typer.Option("--allow-cleartext", help="Send the token to another machine without encryption (ws://)."),
]


@command("list")
def list_(
    endpoint: EndpointOption = None,
    allow_cleartext: CleartextOption = False,
    url: UrlOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the sockets that are open in a running proxy (one with ws_remote)."""
    with clear_errors():
        from wirewright.cli import live

        asyncio.run(
            live.list_sockets(
                Console(), live.ProxyAddress(endpoint, allow_cleartext), any_of_globs(url or ()), as_json
            )
        )


@command()
def wait(
    endpoint: EndpointOption = None,
    allow_cleartext: CleartextOption = False,
    url: UrlOption = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="`framereceived` (if not given), `framesent`, `socketerror` or `close`. "
            "More than once: any of them.",
            metavar="EVENT",
        ),
    ] = None,
    grep: Annotated[
        list[str] | None,
        typer.Option(help="With this text in what is printed. More than once: any of them.", metavar="TEXT"),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds; 0 for no limit.", min=0)] = 30.0,
    history: Annotated[
        bool, typer.Option("--history", help="What the sockets remember counts, too.")
    ] = False,
) -> None:
    """Wait for the first event that fits, of any matching socket that is open or opens, and print it.

    Ends with 1 if the time is up, with 3 if no proxy runs or the proxy ends, and with 4 if all these sockets
    have closed. As for every command, 2 is a mistake in the command line.
    """
    with clear_errors(CANNOT_WAIT):
        from wirewright.cli import live

        try:
            urls = any_of_globs(url or ())
            events = event or ("framereceived",)
            target = live.ProxyAddress(endpoint, allow_cleartext)
            asyncio.run(live.wait(target, urls, events, grep or (), timeout, history))
        except live.NothingCame as nothing:
            _fail(nothing.message, nothing.code)


@command()
def send(
    message: Annotated[str, typer.Argument(help="A text message; - for what stdin has, as it is.")],
    to: Annotated[str, typer.Option(help="The `client` (the app) or the `server`.")] = "client",
    binary: Annotated[bool, typer.Option("--binary", help="As a binary message.")] = False,
    endpoint: EndpointOption = None,
    allow_cleartext: CleartextOption = False,
    url: UrlOption = None,
) -> None:
    """Send one end of the newest matching socket a message, as if the other end had."""
    with clear_errors():
        directions = {"client": Direction.RECEIVED, "server": Direction.SENT}
        if to not in directions:
            raise ValueError(f"--to must be client or server, not {to!r}")
        from wirewright.cli import live

        payload = live.read_message(message, binary)
        urls = any_of_globs(url or ())
        target = live.ProxyAddress(endpoint, allow_cleartext)
        asyncio.run(live.send(target, urls, directions[to], payload))


@command()
def attach(endpoint: EndpointOption = None, allow_cleartext: CleartextOption = False) -> None:
    """Use a running proxy interactively: Python, or IPython if it is installed, with `proxy` bound."""
    with clear_errors():
        from wirewright.cli import live

        live.attach(live.ProxyAddress(endpoint, allow_cleartext))


def _check_address(address: str) -> None:
    if not address.startswith("unix:"):
        from wirewright.remote.transport import split_address

        with clear_errors(USAGE):
            split_address(address)


def _fail(sentence: str, code: int = 1) -> None:
    print_line(Console(stderr=True), f"wirewright: {sentence}", "red")
    raise typer.Exit(code)
