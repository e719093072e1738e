"""Text that steers a terminal, and a check that none of it got there."""

import re

HOSTILE = "\x1b]8;;http://h\x07\x1b[2J[/][link=http://h][red]\\x\x9b31m\x90\x7f\u202e\u2066\u200b\r\n\x08"
"""Escape sequences, C1, a hyperlink, Rich's markup (also a closing tag that opens none), bidi, line ends."""
SURROGATE = "\ud800"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What we write ourselves."""


def assert_is_clean(output: str) -> None:
    """Fail if there is anything but printable characters, line ends, and colours of ours."""
    for line in _COLOUR.sub("", output).replace("\t", "").split("\n"):
        assert line.isprintable(), repr(line)
