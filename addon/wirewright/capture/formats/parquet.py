"""A capture as a Parquet table, a row a frame, for DuckDB, pandas, polars and the like."""

from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow
from pyarrow.parquet import ParquetWriter

from wirewright.capture.records import FrameFlag, RecordedFrame, Socket
from wirewright.values import Payload

ROWS = 20_000
"""How many rows a group has at most."""
GROUP_BYTES = 8 * 1024 * 1024
"""And about how many bytes of payloads."""

SCHEMA = pyarrow.schema(
    [
        ("session", pyarrow.int64()),
        ("socket", pyarrow.int64()),
        ("url", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
        ("time", pyarrow.timestamp("ns", "UTC")),
        ("direction", pyarrow.dictionary(pyarrow.int8(), pyarrow.string())),
        ("opcode", pyarrow.int8()),
        ("size", pyarrow.int64()),
        ("text", pyarrow.string()),
        ("binary", pyarrow.binary()),
        ("original_text", pyarrow.string()),
        ("original_binary", pyarrow.binary()),
        ("injected", pyarrow.bool_()),
        ("changed", pyarrow.bool_()),
        ("dropped", pyarrow.bool_()),
        ("truncated", pyarrow.bool_()),
    ]
)


def write(file: BinaryIO, frames: Iterable[tuple[Socket, RecordedFrame]]) -> None:
    """All frames, in the order of the wire; of `text` and `binary` one is null."""
    with ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for socket, frame in frames:
            rows.append(_row(socket, frame))
            size += len(frame.payload) + len(frame.original or b"")
            if len(rows) == ROWS or size > GROUP_BYTES:
                writer.write_table(pyarrow.Table.from_pylist(rows, SCHEMA))
                rows, size = [], 0
        writer.write_table(pyarrow.Table.from_pylist(rows, SCHEMA))


def _row(socket: Socket, frame: RecordedFrame) -> dict[str, Any]:
    return {
        "session": socket.session_id,
        "socket": socket.id,
        "url": socket.url,
        "time": frame.time_ns,
        "direction": frame.direction,
        "opcode": frame.opcode,
        "size": frame.size,
        **_columns("", frame.payload),
        **_columns("original_", frame.original),
        "injected": FrameFlag.INJECTED in frame.flags,
        "changed": FrameFlag.CHANGED in frame.flags,
        "dropped": FrameFlag.DROPPED in frame.flags,
        "truncated": FrameFlag.TRUNCATED in frame.flags,
    }


def _columns(prefix: str, payload: Payload | None) -> dict[str, Payload | None]:
    return {
        f"{prefix}text": payload if isinstance(payload, str) else None,
        f"{prefix}binary": payload if isinstance(payload, bytes) else None,
    }
