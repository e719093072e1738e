"""A capture, or some of it, in a file of another format."""

import os
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from wirewright.capture import har, jsonl
from wirewright.capture.filters import Filter
from wirewright.capture.reader import Capture, SocketFrames, Watch
from wirewright.capture.schema import CaptureError


def export(capture: Capture, target: Path, chosen: Filter, watch: Watch = iter) -> None:
    """Write what is chosen into a new file: `.jsonl`, `.har`, `.mitm` or `.parquet`, by its name.

    Only its owner can read it. Raises ValueError for another name, and CaptureError where the file cannot be
    written, and where there is one already; what was written until then is taken away.
    """
    write = _FORMATS.get(target.suffix.lower())
    if write is None:
        raise ValueError(f"{target}: a capture is exported as {', '.join(_FORMATS)}, or as - to stdout")
    try:
        with open(target, "xb", opener=_private) as file:
            try:
                write(capture, file, chosen, watch)
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _watched(sockets: SocketFrames, watch: Watch) -> SocketFrames:
    return ((socket, watch(frames)) for socket, frames in sockets)


def _write_jsonl(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    text = TextIOWrapper(file, encoding="utf-8", write_through=True)
    text.writelines(jsonl.lines(capture, chosen, watch))
    text.detach()


def _write_har(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    file.writelines(each.encode() for each in har.pieces(_watched(chosen.by_socket(capture), watch)))


def _write_flows(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    from wirewright.capture import flows  # mitmproxy takes a second to import

    flows.write(file, _watched(chosen.by_socket(capture), watch), Path(file.name).parent)


def _write_parquet(capture: Capture, file: BinaryIO, chosen: Filter, watch: Watch) -> None:
    try:
        from wirewright.capture import parquet
    except ModuleNotFoundError as error:
        raise CaptureError(
            f".parquet needs the package {error.name}: pip install 'wirewright[parquet]'"
        ) from None
    parquet.write(file, watch(chosen.frames(capture)))


_FORMATS: dict[str, Callable[[Capture, BinaryIO, Filter, Watch], None]] = {
    ".jsonl": _write_jsonl,
    ".har": _write_har,
    ".mitm": _write_flows,
    ".parquet": _write_parquet,
}
