"""JSON that is one line of printable characters: it may be shown on a terminal, and reviewed."""

import json
from typing import Any


def printable_json(value: Any, *, is_compact: bool = False) -> str:
    """A value as JSON. Characters that are not printable are written as JSON's escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":") if is_compact else None)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
