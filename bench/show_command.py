"""The time that `wirewright show` takes for a frame, beside `export -`: python -m bench.show_command

With `--before` the `show` of an older checkout is measured too, round by round.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.processes import ROOT
from bench.table import markdown, number
from wirewright.capture.frame_insertion import insertion

SOCKETS = 20
GOAL = 8.0
"""How many times as fast as before."""
SHOW, EXPORT, BEFORE = "`show`", "`export -`", "`show` before"


def make_capture(path: Path, frames: int, checkout: Path) -> None:
    """Messages of sockets that take turns, text and some binary, a millisecond apart.

    The file is of the version that the checkout writes.
    """
    record = f"from wirewright.capture.recorder import Recorder; Recorder({str(path)!r}, 'bench').stop()"
    subprocess.run([sys.executable, "-c", record], env=environment(checkout), check=True)
    connection = sqlite3.connect(path, isolation_level=None)
    (began,) = connection.execute("SELECT started_ns FROM sessions").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    headers = "{}" if version == 1 else "[]"
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO sockets (id, session_id, url, asked_ns, opened_ns, closed_ns, request_headers, status) "
        "VALUES (?, 1, ?, ?, ?, ?, ?, 101)",
        [
            (number, f"wss://host/room/{number}?x=1", began, began, began + (frames + 1) * 1_000_000, headers)
            for number in range(1, SOCKETS + 1)
        ],
    )
    connection.executemany(insertion(1, 6), rows(frames, began))
    connection.execute("COMMIT")
    connection.close()


def rows(frames: int, began: int) -> Iterator[tuple[object, ...]]:
    """JSON of some hundred bytes; a tenth is binary, and a tenth has characters that are not ASCII."""
    for index in range(frames):
        levels = [[round(100 + (index + level) / 7, 2), level] for level in range(20)]
        payload: str | bytes = json.dumps({"symbol": "WIRE", "sequence": index, "levels": levels})
        if index % 10 == 3:
            payload = bytes(range(250))
        elif index % 10 == 7:
            payload = json.dumps({"from": "service", "text": "grüße, 你好 " * 10}, ensure_ascii=False)
        size = len(payload.encode() if isinstance(payload, str) else payload)
        opcode = 1 if isinstance(payload, str) else 2
        yield index % SOCKETS + 1, began + (index + 1) * 1_000_000, index % 3 == 0, opcode, size, payload


def environment(checkout: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(checkout / "addon")}


def measure(checkout: Path, *arguments: str | Path) -> float:
    """Seconds of processor time of a command, with its start."""
    code = "import sys; from wirewright.cli.main import main; sys.argv = sys.argv[1:]; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "wirewright", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(checkout),
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"wirewright {arguments[0]} failed")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.show_command",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=int, default=22_547)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="an older checkout")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    arguments = parser.parse_args()
    commands = {SHOW: (ROOT, "show", ()), EXPORT: (ROOT, "export", ("-",))}
    if arguments.before is not None:
        commands[BEFORE] = (arguments.before, "show", ())
    whole: dict[str, list[float]] = {name: [] for name in commands}
    start: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        full, empty = Path(folder) / "full.db", Path(folder) / "empty.db"
        oldest = arguments.before or ROOT
        make_capture(full, arguments.frames, oldest)
        make_capture(empty, 0, oldest)
        for _ in range(arguments.rounds):
            for name, (checkout, command, more) in commands.items():
                whole[name].append(measure(checkout, command, full, *more))
                start[name].append(measure(checkout, command, empty, *more))
    text = "\n\n".join(
        [
            f"{circumstances('python -m bench.show_command')} · medians of {arguments.rounds} rounds",
            f"A capture of {arguments.frames:,} frames of {SOCKETS} sockets, some hundred bytes each. Times "
            "are those of the processor; that of a frame is without the start of the command.",
            table(whole, start, arguments.frames),
        ]
    )
    print(text)
    write_section(arguments.output, "showing", text)


def table(whole: dict[str, list[float]], start: dict[str, list[float]], frames: int) -> str:
    """A line for each command; the ratios are medians of those of each round."""
    each_frame = {
        name: [(one - without) / frames * 1e3 for one, without in zip(whole[name], start[name], strict=True)]
        for name in whole
    }
    head = ["command", "a frame", "to `export -`", "the whole command"]
    head += ["as fast as before, a frame", "as fast as before, whole", "goal"] if BEFORE in whole else []
    body = []
    for name in whole:
        row = [
            name,
            f"{statistics.median(each_frame[name]):.4f} ms",
            f"{number(ratio(each_frame[name], each_frame[EXPORT]))} x",
            f"{number(statistics.median(whole[name]))} s",
        ]
        if BEFORE in whole:
            times = [ratio(of[BEFORE], of[name]) for of in (each_frame, whole)]
            row += [f"{number(each)} x" for each in times] if name == SHOW else ["", ""]
            row.append(f"at least {GOAL:g} x" if name == SHOW else "")
        body.append(row)
    return markdown(head, body)


def ratio(ones: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


if __name__ == "__main__":
    main()
