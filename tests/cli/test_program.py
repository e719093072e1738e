"""Groups of options, and errors as one sentence, in all commands."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from support.time_limits import STEP_SECONDS
from wirewright.cli.program import OptionGroup, command
from wirewright.model.errors import Error


@dataclass
class Place:
    host: Annotated[str, typer.Option(help="Where.")] = "h"
    port: Annotated[int, typer.Option()] = 1

    def __post_init__(self) -> None:
        if not self.port:
            raise ValueError("a port must be more than 0")


@pytest.fixture
def commands() -> typer.Typer:
    """A program of one command, whose parameter stands for two options."""
    commands = typer.Typer()

    @command(commands, error_code=3)
    def call(name: str, *, loud: bool = False, place: Annotated[Place, OptionGroup(Place)]) -> None:
        if name == "nobody":
            raise Error("there is nobody")
        print(name.upper() if loud else name, place.host, place.port)

    return commands


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("ada", 0, "ada h 1"),
        ("ada --port 2 --loud --host x", 0, "ADA x 2"),
        ("ada --port 0", 2, "wirewright: a port must be more than 0"),
        ("nobody", 3, "wirewright: there is nobody"),
    ],
)
def test_command_gets_a_group_of_options_as_one_value(
    commands: typer.Typer, arguments: str, code: int, said: str
) -> None:
    ran = CliRunner().invoke(commands, arguments.split())
    assert (ran.exit_code, ran.output.strip()) == (code, said)


def test_options_of_a_group_are_shown_in_its_place(commands: typer.Typer) -> None:
    shown = CliRunner().invoke(commands, ["--help"]).output
    assert shown.index("--loud") < shown.index("--host") < shown.index("--port")
    assert "--place" not in shown


CTRL_C_DURING = """
import os
import signal
import sys

import typer.core
from wirewright.cli import captures
from wirewright.cli import main as program

def press(*arguments, **named):
    os.kill(os.getpid(), signal.SIGINT)
    print("it went on")

{place} = press
sys.argv = ["wirewright", "captures", {folder!r}]
program.main()
"""


@pytest.mark.parametrize(
    ("place", "status"),
    [("typer.core.TyperCommand.parse_args", -signal.SIGINT), ("captures.list_captures", 130)],
    ids=["in the parser", "in a command"],
)
def test_ctrl_c_ends_the_program_without_a_word(place: str, status: int, tmp_path: Path) -> None:
    code = CTRL_C_DURING.format(place=place, folder=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=STEP_SECONDS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, b"", b"")
