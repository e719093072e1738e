"""The memory and the time that exports of a large capture take: python -m bench.export_command"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.table import markdown, number
from wirewright.capture.frame_insertion import insertion
from wirewright.capture.recorder import Recorder

FORMATS = (".jsonl", ".har", ".mitm", ".parquet")
SOCKETS = 20
SIZE = 1_000
"""Bytes of a message."""
LIMIT_MIB = 200


def make_capture(path: Path, megabytes: int) -> int:
    """Text and binary messages of sockets that take turns; how many there are."""
    Recorder(path, "bench").stop()
    connection = sqlite3.connect(path, isolation_level=None)
    count = megabytes * 1_000_000 // SIZE
    with connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO sockets (id, session_id, url, asked_ns, opened_ns, request_headers, status) "
            "VALUES (?, 1, ?, 0, 0, '[]', 101)",
            [(number, f"wss://host/{number}") for number in range(1, SOCKETS + 1)],
        )
        connection.executemany(insertion(1, 6), rows(count))
        connection.execute("COMMIT")
    connection.close()
    return count


def rows(count: int) -> Iterator[tuple[object, ...]]:
    text = "".join(chr(32 + number % 90) for number in range(SIZE - 10))
    for index in range(count):
        payload: str | bytes = f"{index:010}{text}" if index % 2 else b"%010d" % index + os.urandom(SIZE - 10)
        yield index % SOCKETS + 1, index * 1_000, index % 3 == 0, 1 if index % 2 else 2, SIZE, payload


def export(path: Path, target: Path) -> tuple[float, float, int]:
    """Seconds, MiB at the peak, and bytes of the file, of the command that a user types."""
    code = "import sys; from wirewright.cli.main import main; sys.argv = sys.argv[1:]; main()"
    command = [sys.executable, "-c", code, "wirewright", "export", str(path), str(target)]
    started = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the export to {target.suffix} failed")
    size = target.stat().st_size
    target.unlink()
    return time.monotonic() - started, usage.ru_maxrss / 1024, size


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.export_command", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2_000, help="of the messages together")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.db"
        count = make_capture(path, arguments.megabytes)
        size = path.stat().st_size
        table = []
        for suffix in FORMATS:
            seconds, mebibytes, written = export(path, path.with_suffix(suffix))
            verdict = "yes" if mebibytes <= LIMIT_MIB else "no"
            table.append(
                [
                    f"`{suffix}`",
                    f"{mebibytes:.0f} MiB",
                    verdict,
                    f"{seconds:.0f} s",
                    f"{number(written / 1e6)} MB",
                ]
            )
    head = ["format", "memory at the peak", f"at most {LIMIT_MIB} MiB", "time", "file"]
    text = "\n\n".join(
        [
            circumstances("python -m bench.export_command"),
            f"A capture of {number(size / 1e6)} MB: {count:,} messages of {SIZE:,} bytes, text and binary, "
            f"of {SOCKETS} sockets that take turns. Memory is that of the whole command.",
            markdown(head, table),
        ]
    )
    print(text)
    write_section(arguments.output, "exports", text)


if __name__ == "__main__":
    main()
