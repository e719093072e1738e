"""How fast masking is in Python (RFC 6455, section 5.3), by three ways: python -m bench.masking"""

import argparse
import os
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path

from websockets.speedups import apply_mask

from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.table import markdown, number

Mask = Callable[[bytes, bytes], bytes]

SIZES = (20, 100, 1_000, 16_000, 1_000_000, 16_000_000)
ROUNDS = 5
SECONDS = 0.05
"""How long one round is meant to take."""

TABLES = [bytes(byte ^ key for byte in range(256)) for key in range(256)]


def by_integer(data: bytes, key: bytes) -> bytes:
    """Both as one large integer each."""
    size = len(data)
    mask = key * (size // 4) + key[: size % 4]
    return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")


def by_translate(data: bytes, key: bytes) -> bytes:
    """Each fourth byte by the table of its key byte."""
    out = bytearray(data)
    for position, byte in enumerate(key):
        out[position::4] = out[position::4].translate(TABLES[byte])
    return bytes(out)


WAYS: dict[str, Mask] = {
    "big-integer XOR": by_integer,
    "`bytes.translate`": by_translate,
    "`websockets.speedups.apply_mask`": apply_mask,
}


def seconds_a_call(mask: Mask, size: int) -> float:
    """The median of the rounds."""
    data, key = os.urandom(size), b"\x12\x34\x56\x78"
    timer = timeit.Timer(lambda: mask(data, key))
    once = timer.timeit(1)
    number_of_calls = max(1, int(SECONDS / max(once, 1e-7)))
    return statistics.median(timer.repeat(ROUNDS, number_of_calls)) / number_of_calls


def table() -> str:
    rows = []
    for size in SIZES:
        assert len({bytes(mask(bytes(range(20)), b"\x01\x02\x03\xff")) for mask in WAYS.values()}) == 1
        times = [seconds_a_call(mask, size) for mask in WAYS.values()]
        cells = [f"{number(time * 1e6)} µs, {number(size / time / 1e6)} MB/s" for time in times]
        rows.append([f"{size:,} bytes", *cells])
    return markdown(["payload", *WAYS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.masking", description=__doc__)
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    arguments = parser.parse_args()
    text = f"{circumstances('python -m bench.masking')}\n\n{table()}"
    print(text)
    write_section(arguments.output, "masking", text)


if __name__ == "__main__":
    main()
