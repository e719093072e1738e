"""The processor time in which a replay reads a cassette: python -m bench.cassette_load [--frames 10000]

It ends with 1 if that takes longer than the goal.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.show_command import rows
from wirewright.capture.cassettes.cassette_file import read_cassette, write_cassette
from wirewright.capture.cassettes.line_format import BEGINNING
from wirewright.capture.records import FrameFlag, RecordedFrame
from wirewright.capture.redaction import Redaction
from wirewright.capture.replay.as_server import Replay
from wirewright.values import Direction

GOAL = 0.3
"""Seconds for 10,000 messages."""
ROUNDS = 9


def make_cassette(path: Path, frames: int) -> None:
    """Messages of one socket, text and some binary, a millisecond apart."""
    path.write_text(f'{BEGINNING}\n{{"socket": "wss://host/room"}}\n')
    (socket,) = read_cassette(path).sockets()
    write_cassette(path, [(socket, [_frame(*row) for row in rows(frames, 0)])], Redaction())


def _frame(_: object, time_ns: Any, is_sent: Any, opcode: Any, size: Any, payload: Any) -> RecordedFrame:
    direction = Direction.SENT if is_sent else Direction.RECEIVED
    return RecordedFrame(0, 0, time_ns, direction, opcode, size, payload, FrameFlag.NONE, None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cassette_load", description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    frames = parser.parse_args().frames
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.jsonl"
        make_cassette(path, frames)
        size = path.stat().st_size / 1e6
        for _ in range(ROUNDS):
            began = time.process_time()
            Replay(path)
            seconds.append(time.process_time() - began)
    median, goal = statistics.median(seconds), GOAL * frames / 10_000
    print(f"{frames:,} messages, {size:.1f} MB: {median:.3f} s (goal: {goal:.3f} s)")
    sys.exit(median > goal)


if __name__ == "__main__":
    main()
