"""The packages that Wirewright needs, and how to add one that is missing.

A plain checkout is often loaded by a mitmproxy that was installed by itself, with pipx for example. This
module is imported before all others, so it uses only the standard library, and parses on an older Python.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Sequence  # noqa: UP035  collections.abc's cannot be subscripted on Python 3.8

OLDEST_PYTHON = (3, 11)
OLDEST_VERSIONS = {
    "greenlet": "3.1.1",
    "ijson": "3.4",
    "mitmproxy": "11.0.2",
    "msgspec": "0.19",
    "pyee": "13",
    "rich": "13.9",
    "typer": "0.18",
    "websockets": "17",
}
"""The oldest version of each package that works, as in pyproject.toml."""
INSIDE_MITMPROXY = ("pyee", "greenlet", "msgspec", "websockets")
"""The packages that the addon, the scripts beside it, and the remote API use."""


class RequirementError(ImportError):
    """A package is missing or too old. The message says how to add it."""


def require(needed: Sequence[str], with_them: Sequence[str] = ()) -> None:
    """Raise RequirementError unless all packages `needed` can be imported and are new enough.

    The command in the message also adds those of `with_them` that are missing.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise RequirementError(
            f"Wirewright needs Python {_dotted(OLDEST_PYTHON)} or newer, and this is Python "
            f"{_dotted(sys.version_info[:3])}. Install mitmproxy again with a newer Python"
        )
    missing = [name for name in dict.fromkeys((*needed, *with_them)) if not _is_installed(name)]
    if any(name in missing for name in needed):
        plural = "s" if len(missing) > 1 else ""
        raise RequirementError(
            f"Wirewright needs the package{plural} {', '.join(missing)}. Install with: "
            f"{_how_to_add('', *missing)}"
        )
    for name in needed:
        _require_new(name)
        _require_whole(name)


def require_mitmproxy() -> None:
    """Raise RequirementError if the mitmproxy of this environment is too old."""
    _require_new("mitmproxy")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:  # from a finder that blocks it
        return False


def _require_new(name: str) -> None:
    found, oldest = _version(name), OLDEST_VERSIONS[name]
    if found is None:
        return  # it lies on the path without having been installed
    if is_older(found, oldest):
        raise RequirementError(
            f"Wirewright needs {name} {oldest} or newer, and this is {name} {found}. Install with: "
            f"{_how_to_add('--upgrade', name)}"
        )


def _version(name: str) -> str | None:
    """The version of an installed package, or None."""
    for folder in sys.path:
        for info in Path(folder).glob(f"{name}-*.dist-info"):
            return info.name[len(name) + 1 : -len(".dist-info")]
    from importlib import metadata  # it takes as long as a third of this package

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _require_whole(name: str) -> None:
    try:
        import_module(name)
    except ImportError as error:
        raise RequirementError(
            f"The package {name} that Wirewright needs cannot be imported ({error}). Install with: "
            f"{_how_to_add('--force-reinstall', name)}"
        ) from None


def _how_to_add(option: str, *packages: str) -> str:
    """The command that adds packages to this Python environment. `option` is one of pip's, or empty."""
    if getattr(sys, "frozen", False):
        return "pipx or pip, and mitmproxy too, as its standalone binaries take no packages"
    prefix, names = Path(sys.prefix), " ".join(packages)
    if (prefix / "uv-receipt.toml").exists():
        return f"uv tool install --reinstall {prefix.name} --with {','.join(packages)}"
    with_pip = " ".join(filter(None, ("-m pip install", option, names)))
    if (prefix / "pipx_metadata.json").exists():
        return _pipx(prefix.name, option, *packages)
    return f"{sys.executable} {with_pip} (or with pipx: {_pipx('mitmproxy', option, *packages)})"


def _pipx(environment: str, option: str, *packages: str) -> str:
    if packages == ("mitmproxy",):
        return f"pipx upgrade {environment}"
    return " ".join(("pipx inject", *(["--force"] if option else []), environment, *packages))


def is_older(version: str, oldest: str) -> bool:
    """True if a version comes before another one."""
    return _numbers(version) < _numbers(oldest)


def _numbers(version: str) -> list[int]:
    """The leading numbers of a version: [11, 0, 2] of "11.0.2.dev1"."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return numbers


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))
