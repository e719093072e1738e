"""Places in users' code, for errors: the line of a function, and the line that called the package."""

import functools
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from wirewright.printable import printable

PACKAGE = Path(__file__).parent.parent
_FILES = f"{PACKAGE}{os.sep}"
"""The beginning of the names of all files of the package."""
PLUGIN = PACKAGE / "pytest_plugin"
"""Its functions that call `launch` are fixtures."""
LONGEST = 200
"""Characters of the repr of an object that is called."""


def function_text(function: Any) -> str:
    """The name of a function with its file and line, as all lambdas have one name; else the repr."""
    if isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        try:
            shown = printable(repr(function))
        except Exception:  # it is a user's
            shown = type(function).__name__
        return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
    name = printable(name.rpartition("<locals>.")[2])
    code = getattr(function, "__code__", None)
    return name if code is None else f"{name} ({place_text(code.co_filename, code.co_firstlineno)})"


def place_text(file: str, line: int) -> str:
    """A line of a file: `tests/test_order.py:12`, relative to the current folder if the file is in it."""
    path = Path(file)
    try:
        shown = path.relative_to(os.getcwd())
    except (ValueError, OSError):  # it is elsewhere, or the folder is gone
        shown = Path(path.name)
    return f"{printable(str(shown))}:{line}"


def caller() -> FrameType | None:
    """The code that called the package; None if that is the package itself, in a thread of its own."""
    return _call_into_package()[0]


def caller_text() -> str:
    """The code that called the package: `at conftest.py:12, in my_proxy`, or the plugin's fixture."""
    frame, inner = _call_into_package()
    if inner is not None and Path(inner.f_code.co_filename).is_relative_to(PLUGIN):
        return f"by the pytest fixture {inner.f_code.co_name}"
    if frame is None:
        return "by Wirewright"
    name = "" if frame.f_code.co_name == "<module>" else f", in {frame.f_code.co_name}"
    return f"at {place_text(frame.f_code.co_filename, frame.f_lineno)}{name}"


def is_raised_here(exception: BaseException) -> bool:
    """True if the package itself has raised an exception."""
    traceback, file = exception.__traceback__, ""
    while traceback is not None:
        file, traceback = traceback.tb_frame.f_code.co_filename, traceback.tb_next
    return file.startswith(_FILES)


def _call_into_package() -> tuple[FrameType | None, FrameType | None]:
    """The frame that called the package, and the package's own frame that it called."""
    frame: FrameType | None = sys._getframe(1)
    inner: FrameType | None = None
    while frame is not None and frame.f_code.co_filename.startswith(_FILES):
        frame, inner = frame.f_back, frame
    return frame, inner
