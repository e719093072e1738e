"""A capture, or some of it, in a file of another format."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import TextIOWrapper
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wirewright.capture.errors import CaptureError
from wirewright.capture.filters import Filter
from wirewright.capture.formats import har_export, json_lines
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.reader import Capture, T, Watch
from wirewright.capture.records import Socket, SocketFrames
from wirewright.model.handshake import Headers


class Exported(NamedTuple):
    """The content of a file that was written."""

    number: int
    unit: str
    """`frame`, or `message` for a format that has no control frames."""
    report: OmissionReport
    """The sockets and header fields that were left out."""


class _Count:
    """Counts the frames that a format has a place for; a `Watch`."""

    def __init__(self, watch: Watch, holds: Callable[[Any], bool]) -> None:
        self.frames = 0
        self._watch, self._holds = watch, holds

    def __call__(self, frames: Iterable[T], /) -> Iterator[T]:
        for frame in self._watch(frames):
            self.frames += self._holds(frame)
            yield frame


def export(capture: Capture, target: Path, chosen: Filter, watch: Watch = iter) -> Exported:
    """Write what is chosen into a new file: `.jsonl`, `.har`, `.mitm` or `.parquet`, by its name.

    Only its owner can read it; `watch` sees all frames that are chosen. Raises ValueError for another name,
    and CaptureError where the file cannot be written, and where there is one already; what was written until
    then is taken away. Sockets and header fields that the format cannot have are left out and counted.
    """
    format_ = _FORMATS.get(target.suffix.lower())
    if format_ is None:
        raise ValueError(f"{target}: a capture is exported as {', '.join(_FORMATS)}, or as - to stdout")
    count = _Count(watch, format_.holds)
    report = OmissionReport()
    report.name_entries("socket", "sockets")
    try:
        with open(target, "xb", opener=_private) as file:
            try:
                format_.write(capture, file, chosen, count, report)
                file.flush()
            except BaseException:
                with suppress(OSError):
                    target.unlink()
                raise
    except FileExistsError:
        raise CaptureError(f"{target}: there is such a file already") from None
    except FileNotFoundError:
        raise CaptureError(f"{target}: the folder {target.parent} does not exist") from None
    except OSError as error:
        raise CaptureError(f"{target}: {error.strerror}") from None
    return Exported(count.frames, format_.unit, report)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _watched(sockets: SocketFrames, watch: Watch, report: OmissionReport) -> SocketFrames:
    return ((_replayable(socket, report), watch(frames)) for socket, frames in sockets)


def _replayable(socket: Socket, report: OmissionReport) -> Socket:
    """A socket that other programs may replay: without header fields that must not be sent."""
    request = _sendable(socket.request_headers, socket.id, "request", report)
    response = socket.response_headers
    if response is not None:
        response = _sendable(response, socket.id, "response", report)
    return replace(socket, request_headers=request, response_headers=response)


def _sendable(headers: Headers, number: int, side: str, report: OmissionReport) -> Headers:
    faults = report.faults(headers.pairs, number, f"{side}.headers")
    return Headers(pair for pair, fault in zip(headers.pairs, faults, strict=True) if not fault)


def _write_jsonl(
    capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch, report: OmissionReport
) -> None:
    text = TextIOWrapper(file, encoding="utf-8", write_through=True)
    text.writelines(json_lines.lines(capture, chosen, watch))
    text.detach()


def _write_har(
    capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch, report: OmissionReport
) -> None:
    sockets = _watched(chosen.by_socket(capture), watch, report)
    file.writelines(each.encode() for each in har_export.pieces(sockets, report))


def _write_flows(
    capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch, report: OmissionReport
) -> None:
    from wirewright.capture.formats import flows  # mitmproxy takes a second to import

    sockets = _watched(chosen.by_socket(capture), watch, report)
    flows.write(file, sockets, Path(file.name).parent, report)


def _write_parquet(
    capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch, report: OmissionReport
) -> None:
    try:
        from wirewright.capture.formats import parquet
    except ModuleNotFoundError as error:
        raise CaptureError(
            f".parquet needs the package {error.name}: pip install 'wirewright[parquet]'"
        ) from None
    parquet.write(file, watch(chosen.frames(capture)))


@dataclass(frozen=True, slots=True)
class _Format:
    write: Callable[[Capture, BinaryIO, Filter, Watch, OmissionReport], None]
    unit: str = "frame"
    holds: Callable[[Any], bool] = lambda _: True
    """True if a file of this format has a place for a frame."""


_FORMATS = {
    ".jsonl": _Format(_write_jsonl),
    ".har": _Format(_write_har, "message", har_export.holds),
    ".mitm": _Format(_write_flows, "message", attrgetter("is_message")),
    ".parquet": _Format(_write_parquet),
}
