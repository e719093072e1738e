"""WebSockets of a trace of Playwright: of its `trace.zip`, or of the `.network` file in its folder.

A `.network` file has one event a line; the snapshot of a `resource-snapshot` is an entry of an HTTP archive.
https://playwright.dev/docs/trace-viewer
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import IO, Any

from wirewright.capture.formats.bounded_json import lines
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.recorded_values import text

_Key = tuple[str, str, str]


Opener = Callable[[], IO[bytes]]
"""Opens a file from its beginning."""


def trace_entries(files: Sequence[Opener], report: OmissionReport) -> Iterator[tuple[int, Any]]:
    """The entries of the `.network` files of one trace, numbered from 1, each once.

    A socket that is open at the end of a chunk of the trace is written then, and again when it closes. Its
    last entry is the whole one.
    """
    last: dict[_Key, int] = {}
    for number, snapshot, _ in _snapshots(files):
        last[_key(number, snapshot)] = number
    for number, snapshot, reason in _snapshots(files):
        if reason is not None:
            report.skip_entry(number, reason)
        elif last[_key(number, snapshot)] == number:
            yield number, _modern(snapshot)


def _snapshots(files: Sequence[Opener]) -> Iterator[tuple[int, Any, str | None]]:
    """The snapshots of all files, and the reason for one that cannot be read."""
    number = 0
    for opener in files:
        with opener() as file:
            for event, reason in lines(file, skip_blank=True):
                if reason is not None or event is None:
                    number += 1
                    yield number, None, reason or "not an object"
                elif isinstance(event, dict) and event.get("type") == "resource-snapshot":
                    number += 1
                    yield number, event.get("snapshot"), None


def _key(number: int, snapshot: Any) -> _Key:
    """The same for all entries of one request."""
    if isinstance(snapshot, dict) and isinstance(snapshot.get("_monotonicTime"), int | Decimal | str):
        request = snapshot.get("request")
        url = request.get("url") if isinstance(request, dict) else None
        started = snapshot.get("startedDateTime")
        return str(snapshot["_monotonicTime"]), text(started) or "", text(url) or ""
    return str(number), "", ""


def _modern(snapshot: Any) -> Any:
    """The snapshot with `_file`. Traces before version 9 have `_sha1` instead."""
    response = snapshot.get("response") if isinstance(snapshot, dict) else None
    content = response.get("content") if isinstance(response, dict) else None
    if isinstance(content, dict) and isinstance(content.get("_sha1"), str) and "_file" not in content:
        content["_file"] = f"resources/{content['_sha1']}"
    return snapshot
