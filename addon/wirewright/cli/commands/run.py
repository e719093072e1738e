"""`wirewright run`: its options become settings of mitmdump."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from wirewright.cli.program import PASS_ON, USAGE, OptionGroup, Urls, command, exit_on_error

commands = typer.Typer()


def _capture_settings(
    capture: Annotated[
        Path | None,
        Option(
            help="Record all sockets in this file; an existing capture gets another session.", metavar="FILE"
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        Option(
            help="How large the capture gets, such as 500m, before it goes on in another file.",
            metavar="SIZE",
        ),
    ] = None,
    rotate: Annotated[
        int | None, Option(help="How many of these files are kept, the newest.", metavar="COUNT")
    ] = None,
    min_free: Annotated[
        str | None,
        Option(
            help="End the recording before less than this is free on the disk: 100m if not given; 0 for no "
            "limit.",
            metavar="SIZE",
        ),
    ] = None,
) -> list[str]:
    if capture is None:
        for name, value in {"--max-size": max_size, "--rotate": rotate, "--min-free": min_free}.items():
            if value is not None:
                raise typer.BadParameter("it goes with --capture", param_hint=name)
    return _settings(
        ws_capture=capture,
        ws_capture_max_size=max_size,
        ws_capture_rotate=rotate,
        ws_capture_min_free=min_free,
    )


def _remote_settings(
    remote: Annotated[
        str | None,
        Option(
            help="Serve the API to other processes of yours at 127.0.0.1:0 (any free port) or unix:/path.",
            metavar="ADDRESS",
        ),
    ] = None,
    remote_insecure_bind: Annotated[
        bool, Option("--remote-insecure-bind", help="Allow an address that other machines can reach.")
    ] = False,
    remote_cert: Annotated[
        Path | None, Option(help="The certificate and key (PEM) of such an address.", metavar="FILE")
    ] = None,
) -> list[str]:
    if remote is not None and not remote.startswith("unix:"):
        from wirewright.remote.transport import split_address

        with exit_on_error(USAGE):
            split_address(remote)
    return _settings(
        ws_remote=remote,
        ws_remote_insecure_bind="true" if remote_insecure_bind else None,
        ws_remote_cert=remote_cert,
    )


def _redaction_settings(
    redact: Annotated[
        list[str] | None,
        Option(
            help="A header, parameter or key whose value is neither shown nor recorded, instead of the usual "
            "ones; may be given more than once.",
            metavar="NAME",
        ),
    ] = None,
    no_redact: Annotated[
        bool, Option("--no-redact", help="Show and record secrets such as tokens and cookies, too.")
    ] = False,
) -> list[str]:
    if not no_redact:
        return [f"ws_capture_redact={name}" for name in redact or ()]
    if redact:
        raise typer.BadParameter("it does not go with --redact", param_hint="--no-redact")
    return ["ws_capture_redact"]  # an empty list


def _settings(**values: object) -> list[str]:
    """`NAME=VALUE`, as mitmdump's `--set` takes it, for each option that was given."""
    return [f"{name}={value}" for name, value in values.items() if value is not None]


@command(commands, error_code=None, context_settings=PASS_ON)
def run(
    context: typer.Context,
    *,
    urls: Urls,
    max_preview: Annotated[
        int | None,
        Option(help="Characters of a message to show; as many as fit the terminal if not given.", min=0),
    ] = None,
    quiet: Annotated[bool, Option("--quiet", help="Print no timeline, only what goes wrong.")] = False,
    config: Annotated[
        Path | None,
        Option(
            help="A mitmproxy configuration: a file such as config/config.yaml, or a folder that has one and "
            "is then also where the CA is kept.",
            exists=True,
        ),
    ] = None,
    capture: Annotated[list[str], OptionGroup(_capture_settings)],
    remote: Annotated[list[str], OptionGroup(_remote_settings)],
    redaction: Annotated[list[str], OptionGroup(_redaction_settings)],
) -> None:
    """Run mitmdump with Wirewright, and print the frames of every app that uses it as its proxy.

    All other arguments are mitmdump's own: [bold]wirewright run -p 9090 -s watch.py --mode regular[/].
    """
    from wirewright.cli.run import run_mitmdump

    settings = [each for setting in (*capture, *remote, *redaction) for each in ("--set", setting)]
    run_mitmdump([*settings, *context.args], url=urls, max_preview=max_preview, quiet=quiet, config=config)
