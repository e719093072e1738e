"""Compares a live message with the recorded one, and shows where they differ."""

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from wirewright.capture.redaction import DEFAULT, REDACTED, Redaction
from wirewright.model.arguments import fit
from wirewright.values import Payload

Comparison = Callable[[Payload, Payload], object]
"""Is given the recorded message and the live one; whether what it returns is true. It may be async."""
Compare = str | re.Pattern[str] | Comparison
"""`"exact"`, `"json"`, a compiled regex, or a callable. See `comparison`."""

_REDACTED_NAME = re.compile(
    rf"""([\w%-]{{1,80}})(?:\\{{0,16}}["'])?\]?\s{{0,8}}[:=>,]+\s{{0,8}}(?:\\{{0,16}}["'])?{REDACTED}"""
)
"""A name whose value was redacted, in JSON, a form, a header or the like."""
SHOWN = Redaction()
"""The redaction of differences that are shown and logged."""
LINES = 60
"""How many lines of a difference are shown."""
WIDTH = 200
"""How many characters of a line."""
LARGEST_DIFFED = 20_000
"""Characters or bytes up to which messages are compared line by line."""
CONTEXT_LINES = 3
"""How many lines that are alike are shown before and after those that differ."""
MOST_LINES = 500
"""The most lines between the first and the last difference that are searched for equal lines: the search
takes quadratic time."""
MOST_DEPTH = 100
"""Lists and objects in each other up to which JSON is shown with a line for each value."""
LARGEST_VALUE = 1024 * 1024
"""Characters or bytes up to which messages are compared as JSON or by a regex: these block other threads."""
LONG = 64 * 1024
"""Longer messages are compared in a thread, so that other connections do not wait."""
COMPARE_STEP = 64 * 1024
"""Characters or bytes that are compared at once where the first difference is looked for."""


def comparison(compare: Compare) -> Comparison:
    """Return the function for a value of `compare`. Raises ValueError and TypeError for any other value.

    `"exact"` requires the same text or bytes. A value that was redacted in recorded JSON equals any value.
    `"json"` requires the same JSON value, however it is written. A regex matches the parts that may differ:
    they are removed from both messages. A callable is called with the recorded message and the live one.
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
    """Compares JSON values, except those of these keys at any depth. Other messages must be the same."""

    def __init__(self, *keys: str) -> None:
        self._ignored = frozenset(keys)

    def __call__(self, recorded: Payload, live: Payload) -> bool:
        if type(recorded) is not type(live) or recorded == live:
            return recorded == live
        if _is_small(recorded, live):
            try:
                if _alike(json.loads(recorded), json.loads(live), self._ignored):
                    return True
            except (ValueError, RecursionError):
                pass
        return _same_but_secrets(recorded, live)

    def with_live_values(self, recorded: Any, live: Any) -> Any:
        """The recorded JSON value with those of the live one where they may differ."""
        if recorded == REDACTED:
            return live
        if isinstance(recorded, dict) and isinstance(live, dict):
            merged = {key: value for key, value in live.items() if key in self._ignored}
            for key in recorded.keys() - self._ignored:
                merged[key] = self.with_live_values(recorded[key], live.get(key, recorded[key]))
            # In the order of the live one, so that a line that is the same is in the same place.
            return {key: merged[key] for key in [*live, *recorded] if key in merged}
        if isinstance(recorded, list) and isinstance(live, list):
            paired = [self.with_live_values(*pair) for pair in zip(recorded, live, strict=False)]
            return paired + recorded[len(paired) :]
        return recorded


def ignoring(pattern: re.Pattern[str]) -> Comparison:
    """Compare texts without the parts that the pattern matches. Raises TypeError for a pattern of bytes.

    Binary messages, and messages of more than `LARGEST_VALUE` characters, must be the same.
    """
    if not isinstance(pattern.pattern, str):
        raise TypeError(f"compare must be a regex of str, not of bytes: {pattern.pattern!r}")
    return _IgnoringPattern(pattern)


class _IgnoringPattern:
    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def __call__(self, recorded: Payload, live: Payload) -> bool:
        if isinstance(recorded, bytes) or isinstance(live, bytes) or not _is_small(recorded, live):
            return _exact(recorded, live)
        kept = self._without_ignored(recorded)
        return any(kept == self._without_ignored(each) for each in (live, *_redacted(recorded, live)))

    def _without_ignored(self, message: Payload) -> str:
        return self._pattern.sub("", str(message))


async def is_same(same: Comparison, recorded: Payload, live: Payload) -> bool:
    """True if a live message equals the recorded one by a comparison.

    Messages longer than LONG together are compared in a thread, unless the comparison is a user's callable.
    """
    is_known = same is _exact or isinstance(same, (ignoring_keys, _IgnoringPattern))
    if is_known and len(recorded) + len(live) > LONG:
        return bool(await asyncio.to_thread(same, recorded, live))
    verdict = same(recorded, live)
    return bool(await verdict if inspect.isawaitable(verdict) else verdict)


def _is_small(recorded: Payload, live: Payload) -> bool:
    return max(len(recorded), len(live)) <= LARGEST_VALUE


def _exact(recorded: Payload, live: Payload) -> bool:
    if recorded == live:
        return True
    mark = REDACTED if isinstance(recorded, str) else REDACTED.encode()
    return mark in recorded and ignoring_keys()(recorded, live)  # type: ignore[operator]


def _same_but_secrets(recorded: Payload, live: Payload) -> bool:
    return type(recorded) is type(live) and any(
        redacted == recorded for redacted in _redacted(recorded, live)
    )


def _redacted(recorded: Payload, live: Payload) -> Iterator[Payload]:
    """The live message as it may have been redacted when the other one was recorded: by the names that are
    redacted there, and by these and the default ones."""
    text = recorded if isinstance(recorded, str) else recorded.decode("latin-1")
    if REDACTED not in text:
        return
    names = {
        found[1]
        for start in range(0, len(text), COMPARE_STEP)
        for found in _REDACTED_NAME.finditer(text[start : start + COMPARE_STEP + 2 * WIDTH])
    }
    names.discard("value")  # of a pair, whose secret name is beside it
    for each in (names, names.union(DEFAULT)):
        yield Redaction(each).payload(live)


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
    """The difference in readable lines: `-` for the recorded message, `+` for the live one.

    None stands for a missing message. Values of JSON that may differ by the comparison, or that were redacted
    in the recording, are left out. Secrets are redacted.
    """
    if recorded is None or live is None or isinstance(recorded, str) is not isinstance(live, str):
        return "\n".join([*_whole("-", recorded), *_whole("+", live)])
    if max(len(recorded), len(live)) > LARGEST_DIFFED:
        return "\n".join(_first_difference_lines(recorded, live))
    recorded, live = SHOWN.payload(recorded), SHOWN.payload(live)
    if recorded == live:
        return "  they differ in values that are redacted"
    before = _with_ignored_values(
        recorded, live, same if isinstance(same, ignoring_keys) else ignoring_keys()
    )
    return "\n".join(_shortened(_line_difference(_lines(before), _lines(live))))


def _line_difference(before: list[str], after: list[str]) -> list[str]:
    """The lines of a unified diff."""
    start = _common_prefix_length(before, after)
    end = _common_prefix_length(before[start:][::-1], after[start:][::-1])
    removed, added = before[start : len(before) - end], after[start : len(after) - end]
    if max(len(removed), len(added)) > MOST_LINES:
        first = max(0, start - CONTEXT_LINES)
        return [
            f"@@ -{start + 1},{len(removed)} +{start + 1},{len(added)} @@",
            *(f" {line}" for line in before[first:start]),
            *(f"-{line}" for line in removed),
            *(f"+{line}" for line in added),
            *(f" {line}" for line in before[len(before) - end :][:CONTEXT_LINES]),
        ]
    import difflib  # only a difference needs it

    first, last = max(0, start - CONTEXT_LINES), min(end, CONTEXT_LINES)
    old, new = (lines[first : len(lines) - end + last] for lines in (before, after))
    return list(difflib.unified_diff(old, new, n=CONTEXT_LINES, lineterm=""))[2:]


def _common_prefix_length(before: list[str], after: list[str]) -> int:
    """How many lines are the same from the beginning on."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((number for number, pair in pairs if pair[0] != pair[1]), min(len(before), len(after)))


def _with_ignored_values(recorded: Payload, live: Payload, same: ignoring_keys) -> Payload:
    try:
        values = json.loads(recorded), json.loads(live)
        merged = json.dumps(same.with_live_values(*values))
    except (ValueError, RecursionError):
        return recorded
    return merged if isinstance(recorded, str) else merged.encode()


def _whole(sign: str, message: Payload | None) -> Iterator[str]:
    if message is None:
        yield f"{sign} (nothing)"
        return
    kind = "text" if isinstance(message, str) else "binary"
    yield f"{sign} ({kind}, {len(message):,} {'characters' if kind == 'text' else 'bytes'})"
    part, is_whole = SHOWN.part(message, LARGEST_DIFFED)
    yield from _shortened([f"{sign}{line}" for line in _lines(part)], is_whole=is_whole)


def _first_difference_lines(recorded: Payload, live: Payload) -> Iterator[str]:
    """The place where two large messages begin to differ, in readable lines."""
    at = _first_difference(recorded, live)
    unit = "character" if isinstance(recorded, str) else "byte"
    yield f"  they have {len(recorded):,} and {len(live):,} {unit}s, and differ from {unit} {at:,} on"
    start = max(0, at - 40) // 16 * 16
    for sign, message in (("-", recorded), ("+", live)):
        yield from (f"{sign}{line}" for line in _lines(_excerpt(message, start), start))


def _first_difference(recorded: Payload, live: Payload) -> int:
    shorter = min(len(recorded), len(live))
    for start in range(0, shorter, COMPARE_STEP):
        parts = recorded[start : start + COMPARE_STEP], live[start : start + COMPARE_STEP]
        if parts[0] != parts[1]:
            pairs = enumerate(zip(*parts, strict=False), start)
            return next((number for number, pair in pairs if pair[0] != pair[1]), shorter)
    return shorter


def _excerpt(message: Payload, start: int) -> Payload:
    """A part of a message without secrets, also of one whose name is a little before the part."""
    before = max(0, start - COMPARE_STEP)
    part = message[before : start + WIDTH]
    redacted = SHOWN.payload(part)
    shown = message[start : start + WIDTH]
    return shown if redacted is part else redacted[len(redacted) - len(shown) :]


def _lines(message: Payload, start: int = 0) -> list[str]:
    """Readable lines: JSON with a line a value, other text as it is, bytes as a hex dump."""
    if isinstance(message, bytes) and message[:1] not in (b"{", b"["):
        return [_hex(message[at : at + 16], start + at) for at in range(0, len(message), 16)] or ["(empty)"]
    try:
        value = json.loads(message)
        if isinstance(value, (dict, list)) and _depth(value) <= MOST_DEPTH:
            return json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    except (ValueError, RecursionError):
        pass
    text = message if isinstance(message, str) else message.decode(errors="replace")
    return text.splitlines() or ["(empty)"]


def _depth(value: Any) -> int:
    """How many lists and objects are in each other, up to one more than `MOST_DEPTH`."""
    depth, values = 0, [value]
    while values and depth <= MOST_DEPTH:
        depth += 1
        inner = [each.values() if isinstance(each, dict) else each for each in values]
        values = [each for several in inner for each in several if isinstance(each, (dict, list))]
    return depth


def _hex(row: bytes, at: int) -> str:
    readable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"{at:08x}  {row.hex(' '):<47}  {readable}"


def _shortened(lines: list[str], *, is_whole: bool = True) -> Iterator[str]:
    """The first lines, which begin with a sign. If they are not `is_whole`, the last of all has no end."""
    for number, line in enumerate(islice(lines, LINES), 1):
        if number == len(lines) and not is_whole:
            yield f"{line[:WIDTH]}…"
        else:
            yield line if len(line) <= WIDTH else f"{line[:WIDTH]}… ({len(line) - 1:,} characters)"
    if len(lines) > LINES:
        yield f"… ({len(lines) - LINES:,} more lines)" if is_whole else "… (more lines)"
