"""The cost of holding a message that its sender compressed (RFC 7692): python -m bench.compression_cost

A held message is read and encoded anew. It is compressed if its sender's was, each by itself. The sender's
messages refer to earlier ones.
"""

import argparse
import itertools
import timeit
import zlib
from pathlib import Path

from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.sender import payload
from bench.table import markdown, number
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode, encode_frame
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import Deflated
from wirewright.wire.stream import Encoder, Mode, Stream

SIZES = (20, 100, 1_000, 16_000, 1_000_000)
ROUNDS = 30
SECONDS = 0.02
"""How long one round is meant to take."""


def message(size: int, index: int) -> bytes:
    """One of a stream of messages that are much alike."""
    return payload(size).replace(b"1.08431", f"{1 + index % 90_000 / 100_000:.5f}".encode())


class Held:
    """The direction from a server, which a route holds."""

    def __init__(self, size: int, *, compressed: bool) -> None:
        agreed = Compression()
        reader = MessageReader(masked=False, compression=agreed, max_message=1 << 30)
        self._stream = Stream(reader, Encoder(masked=False, compression=agreed), shared_window=True)
        self._stream.wish(Mode.HOLD)
        self._deflater = zlib.compressobj(wbits=-15)
        self._compressed = compressed
        self._messages = (message(size, index) for index in itertools.count())
        self.came = self.went = 0
        """Bytes of the last message's frame, before and after."""

    def frame(self) -> bytes:
        """As the sender has it."""
        content = next(self._messages)
        if not self._compressed:
            return encode_frame(Opcode.BINARY, content)
        deflated = self._deflater.compress(content) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return encode_frame(Opcode.BINARY, deflated[:-4], rsv1=True)

    def pass_on(self, frame: bytes) -> None:
        (event,) = self._stream.receive(frame).events
        compress = isinstance(event, Deflated)
        content = event.payload if isinstance(event, Deflated) else event
        assert isinstance(content, bytes)
        self.came = len(frame)
        self.went = len(self._stream.encoder.message(Opcode.BINARY, content, compress=compress))


def seconds_a_message(held: Held) -> float:
    """In the fastest round: what else the machine does takes part in the others."""
    started = timeit.default_timer()
    held.pass_on(held.frame())
    count = max(1, int(SECONDS / max(timeit.default_timer() - started, 1e-6)))
    rounds = []
    for _ in range(ROUNDS):
        frames = [held.frame() for _ in range(count)]
        started = timeit.default_timer()
        for frame in frames:
            held.pass_on(frame)
        rounds.append((timeit.default_timer() - started) / count)
    return min(rounds)


def table() -> str:
    rows = []
    for size in SIZES:
        cells = []
        for compressed in (False, True):
            held = Held(size, compressed=compressed)
            seconds = seconds_a_message(held)
            cells.append(f"{number(seconds * 1e6)} µs")
        rows.append([f"{size:,} bytes", *cells, f"{held.came:,} bytes", f"{held.went:,} bytes"])
    return markdown(
        [
            "message",
            "uncompressed",
            "compressed",
            "the sender's compressed frame",
            "the frame that is sent on",
        ],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compression_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    arguments = parser.parse_args()
    text = f"{circumstances('python -m bench.compression_cost')}\n\n{table()}"
    print(text)
    write_section(arguments.output, "deflating", text)


if __name__ == "__main__":
    main()
