"""The owner of a listener, a wait or a route: a user's script, or the program itself.

mitmproxy loads a script again each time it is saved. Registrations of the old version are found by their
owner, and removed.
"""

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

Owner = Mapping[str, Any]
"""The namespace (`__dict__`) of a script's module: one object for each time that it was loaded."""

_SCRIPT_PREFIX = "__mitmproxy_script__."
_PACKAGE = Path(__file__).resolve().parent.parent


def current_owner() -> Owner | None:
    """The user's script on whose behalf the caller runs, or None.

    A module that a script imports outlives the script's reload, and so does what its top level registers:
    it runs only once.
    """
    frame = sys._getframe(1)
    while frame is not None:
        namespace = frame.f_globals
        if str(namespace.get("__name__", "")).startswith(_SCRIPT_PREFIX) and not _is_ours(namespace):
            return namespace
        if frame.f_code.co_name == "<module>":
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _is_ours(namespace: Owner) -> bool:
    """Our own addon is a script too where it is loaded with `-s`."""
    return _is_in_package(str(namespace.get("__file__", "")))


@cache
def _is_in_package(file: str) -> bool:
    return Path(file).resolve().is_relative_to(_PACKAGE)
