"""Why a case is judged otherwise behind the proxy than without it: what docs/conformance.md says of it."""

from fnmatch import fnmatch

EXPLANATIONS: dict[str, str] = {
    "3.4": "The suite sends a good message and a bad frame byte by byte. A library that has both in one read "
    "fails before it echoes (NON-STRICT), one that reads them apart echoes first (OK): chance, on any way.",
    "4.1.5": "As 3.4.",
    "4.2.5": "As 3.4.",
    "5.2": "The frame begins with a line feed (0x0A: a pong that is not the last fragment), and mitmproxy "
    "drops line feeds that come in one read with the 101: the library waits for the rest of a broken frame.",
}
"""By the number of a case, or a pattern such as `6.4.*`."""

NONE_YET = "Not explained yet."


def explain(case: str) -> str:
    """The first explanation that fits."""
    return next((text for pattern, text in EXPLANATIONS.items() if fnmatch(case, pattern)), NONE_YET)
