"""Where a mitmdump's time goes: the calls with the most time of their own, and whose they are."""

import pstats
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.table import markdown

Function = tuple[str, int, str]
"""File, line, name, as `cProfile` has them; `~` is the file of what is written in C."""

SHOWN = 25
PARTS = (
    ("/bench/scripts/", "the script"),
    ("/addon/wirewright/", "wirewright"),
    ("/wirewright/", "wirewright"),
    ("/mitmproxy/", "mitmproxy"),
    ("/OpenSSL/", "ssl"),
    ("/ssl.py", "ssl"),
    ("/asyncio/", "asyncio"),
    ("/selectors.py", "asyncio"),
)
IN_C = (
    ("poll", "waiting"),
    ("select.", "waiting"),
    ("_cffi", "ssl"),
    ("SSL_", "ssl"),
    ("BIO_", "ssl"),
    ("_ssl.", "ssl"),
    ("ffi.", "ssl"),
    ("_socket.", "asyncio"),
    ("_asyncio.", "asyncio"),
    ("_contextvars.", "asyncio"),
)


@dataclass(frozen=True)
class Call:
    function: Function
    calls: int
    own: float
    """Seconds."""
    owner: str


def hottest(profile: Path) -> str:
    """The hottest calls, and how much of the time belongs to whom."""
    calls = [call for call in _calls(profile) if call.owner != "waiting"]
    busy = sum(call.own for call in calls) or 1.0
    owners: Counter[str] = Counter()
    for call in calls:
        owners[call.owner] += call.own  # type: ignore[assignment]
    shares = markdown(
        ["whose", "share of the busy time"],
        [[owner, f"{own / busy:.1%}"] for owner, own in owners.most_common()],
    )
    calls.sort(key=lambda call: -call.own)
    rows = [
        [_name(call.function), call.owner, f"{call.calls:,}", f"{call.own:.3f} s", f"{call.own / busy:.1%}"]
        for call in calls[:SHOWN]
    ]
    return markdown(["call", "whose", "calls", "own time", "share"], rows) + "\n\n" + shares


def _calls(profile: Path) -> list[Call]:
    stats = pstats.Stats(str(profile)).stats  # type: ignore[attr-defined]
    return [
        Call(function, calls, own, _owner(function, callers))
        for function, (_, calls, own, _, callers) in stats.items()
    ]


def _owner(function: Function, callers: Mapping[Function, tuple[int, int, float, float]]) -> str:
    """Whose code it is; what is written in C and nobody's in particular belongs to whom called it most."""
    file, _, name = function
    if file != "~":
        return _owner_of_file(file)
    for part, owner in IN_C:
        if part in name:
            return owner
    time: Counter[str] = Counter()
    for (caller_file, _, _), (_, _, own, _) in callers.items():
        time[_owner_of_file(caller_file)] += own  # type: ignore[assignment]
    return time.most_common(1)[0][0] if time else "other"


def _owner_of_file(file: str) -> str:
    for part, owner in PARTS:
        if part in file:
            return owner
    package = file.split("site-packages/")[-1] if "site-packages/" in file else ""
    return package.split("/")[0] or "other"


def _name(function: Function) -> str:
    file, line, name = function
    if file == "~":
        return f"`{name}`".replace("|", "\\|")
    return f"`{'/'.join(Path(file).parts[-2:])}:{line} {name}`"
