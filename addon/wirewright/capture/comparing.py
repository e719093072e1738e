"""Whether a live message is the recorded one, and where it differs."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from wirewright.capture.redaction import REDACTED, Redaction, may_be_json
from wirewright.model.arguments import fit
from wirewright.model.history import Payload

Comparison = Callable[[Payload, Payload], object]
"""Is given the recorded message and the live one; whether what it returns is true. It may be async."""
Compare = str | re.Pattern[str] | Comparison
"""`"exact"`, `"json"`, a compiled regex, or a callable. See `comparison`."""

_REDACTED_KEY = re.compile(rf'"([^"\\]+)\\*"\s*:\s*\\*"{REDACTED}')
LINES = 60
"""How many lines of a difference are shown."""
WIDTH = 200
"""How many characters of a line."""
LARGEST = 20_000
"""Characters or bytes up to which messages are compared line by line."""


def comparison(compare: Compare) -> Comparison:
    """What a value of `compare` stands for. Raises ValueError and TypeError for any other.

    `"exact"` is the same text, or the same bytes; in recorded JSON, a value that was redacted stands for any.
    `"json"` is the same value, however it is written. A regex names what may differ: all that it matches is
    left out of both. A callable is given the recorded message and the live one.
    """
    if compare == "exact":
        return _exact
    if compare == "json":
        return ignoring_keys()
    if isinstance(compare, str):
        raise ValueError(f"compare must be 'exact', 'json', a regex or a callable, not {compare!r}")
    if isinstance(compare, re.Pattern):
        return ignoring(compare)
    if not callable(compare):
        raise TypeError(f"compare must be a regex or a callable, not {type(compare).__name__}")
    return fit(compare, 2)


class ignoring_keys:  # noqa: N801  used like a function
    """The same JSON value, but for the values of these keys, wherever they are; what is no JSON is exact."""

    def __init__(self, *keys: str) -> None:
        self._ignored = frozenset(keys)

    def __call__(self, recorded: Payload, live: Payload) -> bool:
        if type(recorded) is not type(live) or recorded == live:
            return recorded == live
        try:
            if _alike(json.loads(recorded), json.loads(live), self._ignored):
                return True
        except (ValueError, RecursionError):
            pass
        return recorded == _redacted(recorded, live)

    def forgiven(self, recorded: Any, live: Any) -> Any:
        """The recorded JSON value with those of the live one where they may differ."""
        if recorded == REDACTED:
            return live
        if isinstance(recorded, dict) and isinstance(live, dict):
            merged = {key: value for key, value in live.items() if key in self._ignored}
            for key in recorded.keys() - self._ignored:
                merged[key] = self.forgiven(recorded[key], live.get(key, recorded[key]))
            # In the order of the live one, so that a line that is the same is in the same place.
            return {key: merged[key] for key in [*live, *recorded] if key in merged}
        if isinstance(recorded, list) and isinstance(live, list):
            paired = [self.forgiven(*pair) for pair in zip(recorded, live, strict=False)]
            return paired + recorded[len(paired) :]
        return recorded


def ignoring(pattern: re.Pattern[str]) -> Comparison:
    """The same text once all that the pattern matches is taken out of both; binary messages are exact."""
    if not isinstance(pattern.pattern, str):
        raise TypeError(f"compare must be a regex of str, not of bytes: {pattern.pattern!r}")

    def same(recorded: Payload, live: Payload) -> bool:
        if isinstance(recorded, bytes) or isinstance(live, bytes):
            return recorded == live
        return pattern.sub("", recorded) in (
            pattern.sub("", each) for each in (live, _redacted(recorded, live)) if isinstance(each, str)
        )

    return same


def _exact(recorded: Payload, live: Payload) -> bool:
    if recorded == live:
        return True
    text = recorded if isinstance(recorded, str) else recorded.decode("latin-1")
    return REDACTED in text and ignoring_keys()(recorded, live)


def _redacted(recorded: Payload, live: Payload) -> Payload:
    """A live message with the same keys redacted that were when the other one was recorded."""
    text = recorded if isinstance(recorded, str) else recorded.decode("latin-1")
    redaction = Redaction(_REDACTED_KEY.findall(text))
    return redaction.text(live) if isinstance(live, str) else redaction.binary(live)


def _alike(recorded: Any, live: Any, ignored: frozenset[str]) -> bool:
    if recorded == REDACTED:
        return True
    if isinstance(recorded, dict) and isinstance(live, dict):
        keys = recorded.keys() - ignored
        return keys == live.keys() - ignored and all(
            _alike(recorded[key], live[key], ignored) for key in keys
        )
    if isinstance(recorded, list) and isinstance(live, list):
        return len(recorded) == len(live) and all(
            _alike(one, other, ignored) for one, other in zip(recorded, live, strict=True)
        )
    return isinstance(recorded, bool) is isinstance(live, bool) and bool(recorded == live)  # 1 is not true


def difference(recorded: Payload | None, live: Payload | None, same: Comparison | None = None) -> str:
    """What differs, for a person: `-` lines were recorded, `+` lines came. None stands for no message.

    What may differ by the comparison, or because it was redacted, is left out of JSON.
    """
    if recorded is None or live is None or isinstance(recorded, str) is not isinstance(live, str):
        return "\n".join([*_whole("-", recorded), *_whole("+", live)])
    if max(len(recorded), len(live)) > LARGEST:
        return "\n".join(_around(recorded, live))
    before = _forgiven(recorded, live, same if isinstance(same, ignoring_keys) else ignoring_keys())
    import difflib  # only a difference needs it

    lines = list(difflib.unified_diff(_lines(before), _lines(live), n=3, lineterm=""))[2:]
    return "\n".join(_shortened(lines))


def _forgiven(recorded: Payload, live: Payload, same: ignoring_keys) -> Payload:
    try:
        values = json.loads(recorded), json.loads(live)
    except (ValueError, RecursionError):
        return recorded
    merged = json.dumps(same.forgiven(*values))
    return merged if isinstance(recorded, str) else merged.encode()


def _whole(sign: str, message: Payload | None) -> Iterator[str]:
    if message is None:
        yield f"{sign} (nothing)"
        return
    kind = "text" if isinstance(message, str) else "binary"
    yield f"{sign} ({kind}, {len(message):,} {'characters' if kind == 'text' else 'bytes'})"
    yield from _shortened([f"{sign}{line}" for line in _lines(message[:LARGEST])])


def _around(recorded: Payload, live: Payload) -> Iterator[str]:
    """Of large messages, the place where they begin to differ."""
    at = next(
        (number for number, pair in enumerate(zip(recorded, live, strict=False)) if pair[0] != pair[1]),
        min(len(recorded), len(live)),
    )
    unit = "character" if isinstance(recorded, str) else "byte"
    yield f"  they have {len(recorded):,} and {len(live):,} {unit}s, and differ from {unit} {at:,} on"
    start = max(0, at - 40) // 16 * 16
    for sign, message in (("-", recorded), ("+", live)):
        yield from (f"{sign}{line}" for line in _lines(message[start : start + WIDTH], start))


def _lines(message: Payload, start: int = 0) -> list[str]:
    """Readable lines: JSON with a line a value, other text as it is, bytes as a hex dump."""
    if isinstance(message, bytes) and not may_be_json(message):
        return [_hex(message[at : at + 16], start + at) for at in range(0, len(message), 16)] or ["(empty)"]
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, (dict, list)):
        return json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    text = message if isinstance(message, str) else message.decode(errors="replace")
    return text.splitlines() or ["(empty)"]


def _hex(row: bytes, at: int) -> str:
    readable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"{at:08x}  {row.hex(' '):<47}  {readable}"


def _shortened(lines: list[str]) -> Iterator[str]:
    for line in islice(lines, LINES):
        yield line if len(line) <= WIDTH else f"{line[:WIDTH]}… ({len(line):,} characters)"
    if len(lines) > LINES:
        yield f"… ({len(lines) - LINES:,} more lines)"
