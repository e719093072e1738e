"""The `wirewright` command."""

import sys
from typing import Annotated

import typer

from wirewright.cli.commands import captures, demo, live, replay, run
from wirewright.cli.program import Group, die_of_ctrl_c, exit_if_output_fails
from wirewright.values import VERSION

app = typer.Typer(
    cls=Group,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # older typers print them, tokens and payloads included
    rich_markup_mode="rich",
    help="Playwright's WebSocket API for any app behind mitmproxy.",
)
for group in (run, demo, captures, replay, live):
    app.add_typer(group.commands)


def main() -> None:
    die_of_ctrl_c()
    try:
        with exit_if_output_fails():
            try:
                app()
            finally:
                sys.stdout.flush()  # Python itself would fail with two lines and the exit code 120
    except typer.Exit as end:
        sys.exit(end.exit_code)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"wirewright {VERSION}")
        raise typer.Exit
