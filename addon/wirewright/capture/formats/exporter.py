"""A capture, or some of it, in a file of another format."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wirewright.capture.filters import Filter
from wirewright.capture.formats import har_export, json_lines
from wirewright.capture.reader import Capture, Socket, SocketFrames, T, Watch
from wirewright.capture.schema import CaptureError
from wirewright.model.handshake import Headers, is_unsafe


class Exported(NamedTuple):
    """The content of a file that was written."""

    number: int
    unit: str
    """`frame`, or `message` for a format that has no control frames."""


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
    then is taken away.
    """
    format_ = _FORMATS.get(target.suffix.lower())
    if format_ is None:
        raise ValueError(f"{target}: a capture is exported as {', '.join(_FORMATS)}, or as - to stdout")
    count = _Count(watch, format_.holds)
    try:
        with open(target, "xb", opener=_private) as file:
            try:
                format_.write(capture, file, chosen, count)
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
    return Exported(count.frames, format_.unit)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _watched(sockets: SocketFrames, watch: Watch) -> SocketFrames:
    return ((_checked(socket), watch(frames)) for socket, frames in sockets)


def _checked(socket: Socket) -> Socket:
    """A socket that other programs may replay. Raises CaptureError for a header that ends in its middle."""
    for headers in (socket.request_headers, socket.response_headers or Headers()):
        for name, value in headers.pairs:
            if is_unsafe(name, value):
                what = f"socket #{socket.id}: its header {name!r} has a line end or a NUL (RFC 9110, 5.5)"
                raise CaptureError(f"{what}: leave the socket out, or export it as .jsonl")
    return socket


def _write_jsonl(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    text = TextIOWrapper(file, encoding="utf-8", write_through=True)
    text.writelines(json_lines.lines(capture, chosen, watch))
    text.detach()


def _write_har(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    file.writelines(each.encode() for each in har_export.pieces(_watched(chosen.by_socket(capture), watch)))


def _write_flows(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    from wirewright.capture.formats import flows  # mitmproxy takes a second to import

    flows.write(file, _watched(chosen.by_socket(capture), watch), Path(file.name).parent)


def _write_parquet(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    try:
        from wirewright.capture.formats import parquet
    except ModuleNotFoundError as error:
        raise CaptureError(
            f".parquet needs the package {error.name}: pip install 'wirewright[parquet]'"
        ) from None
    parquet.write(file, watch(chosen.frames(capture)))


@dataclass(frozen=True, slots=True)
class _Format:
    write: Callable[[Capture, BinaryIO, Filter, Watch], None]
    unit: str = "frame"
    holds: Callable[[Any], bool] = lambda _: True
    """Whether a file of this format has a place for a frame."""


_FORMATS = {
    ".jsonl": _Format(_write_jsonl),
    ".har": _Format(_write_har, "message", har_export.holds),
    ".mitm": _Format(_write_flows, "message", attrgetter("is_message")),
    ".parquet": _Format(_write_parquet),
}
