"""The program: what its commands have in common, from shared options to errors and exit codes."""

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, get_args

import typer
from rich.console import Console
from typer import Argument, Option
from typer.core import TyperCommand, TyperGroup

from wirewright.model.errors import Error
from wirewright.model.matching import Globs, any_of_globs
from wirewright.printable import print_line

USAGE = 2
"""Exit code of every command for a mistake in the command line."""
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Settings of a command whose other arguments are mitmdump's."""


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


class OptionGroup(NamedTuple):
    """Annotates a parameter that stands for several options of the command line."""

    make: Callable[..., object]
    """Its parameters are the options, and its result is the value of the parameter."""


def command(
    commands: typer.Typer, name: str | None = None, *, error_code: int | None = 1, **settings: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a function to a module's commands. Its parameters are the arguments and options.

    `error_code` is for `exit_on_error`; None for a function that handles its errors itself.
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        clear = function if error_code is None else exit_on_error(error_code)(function)
        commands.command(name, cls=Command, **settings)(_with_options_of_groups(clear))
        return function

    return add


def _with_options_of_groups(function: Callable[..., None]) -> Callable[..., None]:
    """The function for typer: options take the place of the parameters that have an OptionGroup."""
    signature = inspect.signature(function)
    groups = {
        name: each.make
        for name, parameter in signature.parameters.items()
        for each in get_args(parameter.annotation)
        if isinstance(each, OptionGroup)
    }
    options = {name: inspect.signature(make).parameters for name, make in groups.items()}
    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        for each in (options[name].values() if name in groups else [parameter])
    ]

    @wraps(function)
    def run(**arguments: Any) -> None:
        with exit_on_error():
            _raise_keyboard_interrupts()
            values = {
                name: make(**{option: arguments.pop(option) for option in options[name]})
                for name, make in groups.items()
            }
        function(**arguments, **values)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # for typer
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def die_of_ctrl_c() -> None:
    """Have Ctrl-C end the program at once, until a command runs.

    While the command line is parsed, modules are imported. A KeyboardInterrupt in some of them would be
    printed and forgotten.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is not ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _raise_keyboard_interrupts() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def exit_on_error(code: int = 1) -> Iterator[None]:
    """End the program with one sentence for an error that the user can mend, and silently for a closed pipe
    or Ctrl-C.

    The exit code is `code`, but 2 for a ValueError: that is a mistake in the command line.
    """
    try:
        with exit_if_output_fails(code):
            yield
    except ValueError as error:
        fail(str(error), USAGE)
    except Error as error:
        fail(error.message, code)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def exit_if_output_fails(code: int = 1) -> Iterator[None]:
    """End the program with one sentence for an OSError, and silently for a closed pipe."""
    try:
        yield
    except OSError as error:
        # Python flushes stdout when the program ends, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(code) from None
        fail(f"stdout: {error.strerror}", code)


def fail(sentence: str, code: int = 1) -> NoReturn:
    """End the program with a sentence on stderr."""
    print_line(Console(stderr=True), f"wirewright: {sentence}", "red")
    raise typer.Exit(code)


UrlOption = Annotated[
    list[str] | None,
    Option(
        "--url",
        help="Sockets whose URL matches this glob, with or without its query. More than once: any of them.",
        metavar="GLOB",
    ),
]


def _any_of_urls(url: UrlOption = None) -> Globs | None:
    return any_of_globs(url or ())


Urls = Annotated[Globs | None, OptionGroup(_any_of_urls)]
FileArgument = Annotated[Path, Argument(help="A capture.", metavar="FILE")]


class ProxyAddress(NamedTuple):
    """The running proxy that a command uses."""

    endpoint: Annotated[
        str | None,
        Option(
            help="The proxy, if several run here: its address, or its file (or WIREWRIGHT_ENDPOINT).",
            metavar="ENDPOINT",
        ),
    ] = None
    allow_cleartext: Annotated[
        bool,
        Option("--allow-cleartext", help="Send the token to another machine without encryption (ws://)."),
    ] = False
