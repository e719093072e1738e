"""Why a case is judged otherwise behind the proxy than without it: what docs/conformance.md says of it."""

from fnmatch import fnmatch

_APART = (
    "A good message and a bad frame come in one write. HOLD sends the message on and then fails the socket "
    "itself, so the library gets a good message and a close frame, and echoes first; direct it has both in "
    "one read, and fails before it echoes."
)
_BY_CHANCE = (
    "The suite sends a good message and a bad frame byte by byte. A library that has both in one read fails "
    "before it echoes (NON-STRICT), one that reads them apart echoes first (OK): chance, on any way."
)

EXPLANATIONS: dict[str, str] = {
    "3.4": _BY_CHANCE,
    "4.1.5": _BY_CHANCE,
    "4.2.5": _BY_CHANCE,
    "3.*": _APART,
    "4.[12].*": _APART,
    "5.15": _APART,
    "7.1.5": "A close frame comes between two fragments, which the library takes for a violation. HOLD sends "
    "on no part of a message, so the library gets a close frame alone.",
    "7.9.5": "A close frame with 1006, which no endpoint may send, and which the library takes for a good "
    "one. HOLD fails the socket, as it cannot pass on what it cannot read.",
}
"""By the number of a case, or a pattern such as `6.4.*`."""

NONE_YET = "Not explained yet."


def explain(case: str) -> str:
    """The first explanation that fits."""
    return next((text for pattern, text in EXPLANATIONS.items() if fnmatch(case, pattern)), NONE_YET)
