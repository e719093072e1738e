"""Hostile captures, HARs, flow files and archives, given to every command that reads them."""

import argparse
import gzip
import hashlib
import io
import json
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzzing import captures, commands
from fuzzing.findings import Finding, Findings
from support.mutations import (
    FLOW_VALUES,
    JSON_VALUES,
    Draw,
    good,
    good_flow,
    har,
    mutated,
    write_flows,
    write_gzip,
    write_har,
    write_trace,
    write_zip,
)

WRITERS: tuple[Callable[[Path, list[Any]], Path], ...] = (write_har, write_gzip, write_zip, write_trace)
EXPORTS = ("out.har", "out.mitm", "out.jsonl", "out.parquet")
CAPTURE = "session.db"
VICTIM = "notes.txt"
CASES_A_ROUND = 20
"""Hypothesis plans so many at a time. The time is looked at between rounds."""
MIB = 1 << 20

READING = (
    ("show", "{}"),
    ("show", "{}", "--grep", "a"),
    ("stats", "{}"),
    ("captures", "."),
    ("export", "{}", "-"),
    *(("export", "{}", target) for target in EXPORTS),
    ("replay", "{}", "--as-client", f"ws://127.0.0.1:{commands.NONE_OPEN}"),
    ("import", "good.har", "{}"),
)
"""Commands that take a capture."""


def bombs() -> Mapping[str, Callable[[], tuple[str, bytes]]]:
    """Files that are small on the disk and large in memory, each with its name."""

    def archive(**members: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
            for name, data in members.items():
                written.writestr(name.replace("__", "/").replace("_dot_", "."), data)
        return file.getvalue()

    def socket_with(data: str) -> bytes:
        entry = good("bomb")
        entry["_webSocketMessages"][0]["data"] = "HERE"
        return har([good("one"), entry]).replace(b'"HERE"', data.encode())

    return {
        "a number with a huge exponent": lambda: ("a.har", socket_with('"x", "time": 1e999000')),
        "a number of a million digits": lambda: ("a.har", socket_with('"x", "time": ' + "9" * MIB)),
        "a status of a million digits": lambda: (
            "a.har",
            har([good("one")]).replace(b'"status": 101', b'"status": ' + b"9" * MIB),
        ),
        "deep nesting": lambda: ("a.har", socket_with('"x", "deep": ' + "[" * MIB)),
        "a string of 64 MiB": lambda: ("a.har", socket_with('"' + "a" * 64 * MIB + '"')),
        "a gzip of 1 GiB of spaces": lambda: ("a.har.gz", gzip.compress(b"{" + b" " * 1024 * MIB)),
        "a zip whose HAR is one string of 512 MiB": lambda: (
            "a.zip",
            archive(har_dot_har=socket_with('"' + "a" * 512 * MIB + '"')),
        ),
        "a zip whose attachment is one line of 512 MiB": lambda: (
            "a.zip",
            archive(
                har_dot_har=har(
                    [good("one") | {"response": {"status": 101, "content": {"_file": "1.jsonl"}}}]
                ),
                **{"1_dot_jsonl": b" " * 512 * MIB},
            ),
        ),
        "a trace whose network is one line of 512 MiB": lambda: (
            "trace.zip",
            archive(trace_dot_network=b"{" + b" " * 512 * MIB),
        ),
        "a flow whose length has a million digits": lambda: ("a.mitm", b"9" * MIB + b":"),
        "a flow that says it has 8 EiB": lambda: ("a.mitm", b"9223372036854775807:" + b"a" * 1000),
        "flows within flows": lambda: ("a.mitm", _nested_flow(20_000)),
        "a flow of 64 MiB of zeros": lambda: ("a.mitm", b"%d:" % (64 * MIB) + bytes(64 * MIB) + b","),
    }


def _nested_flow(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = b"%d:%b]" % (len(data), data)
    return data


def damaged(draw: Draw, whole: bytes) -> bytes:
    """One to four places of a file cut off, doubled, or overwritten."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = len(data) * draw(st.integers(0, 9_999)) // 10_000  # files of one kind differ in length
        piece, size = draw(st.binary(min_size=1, max_size=8)), draw(st.integers(1, 5_000))
        match draw(st.sampled_from(["overwrite", "overwrite", "insert", "remove", "double", "cut"])):
            case "overwrite":
                data[at : at + len(piece)] = piece
            case "insert":
                data[at:at] = piece
            case "remove":
                del data[at : at + len(piece)]
            case "double":
                data[at:at] = data[at : at + size]
            case _:
                del data[at:]
    return bytes(data)


class FileFuzzer:
    """Runs one case after another in a folder of its own, and checks the promises after each command."""

    def __init__(self, folder: Path, findings: Findings) -> None:
        self._templates = folder / "templates"
        self._templates.mkdir()
        self._capture = captures.make_good(self._templates)
        self._folder = folder / "case"
        self._findings = findings
        self.cases = self.commands = 0

    def run(self, data: st.DataObject) -> None:
        """One case that hypothesis draws."""
        self._begin()
        kind = data.draw(st.sampled_from(["capture", "capture", "bytes of a capture", "companion", "import"]))
        if kind == "import":
            self._import(data)
            return
        path = self._folder / CAPTURE
        shutil.copy(self._capture, path)
        if kind == "capture":
            accepted = captures.apply(path, data.draw(captures.hostile_sql()))
            described = "; ".join(accepted)
        elif kind == "bytes of a capture":
            path.write_bytes(damaged(data.draw, path.read_bytes()))
            described = "damaged"
        else:
            described = captures.add_companion(data.draw, path, self._folder / VICTIM)
        words = data.draw(st.sampled_from(READING))
        arguments = [word.format(path.name) for word in words]
        written = {path.name, *(path.name + suffix for suffix in captures.COMPANIONS)}
        writes_capture = words[0] == "import"
        self._check(
            f"{' '.join(arguments)} of a capture ({kind}: {described})",
            arguments,
            written if writes_capture else set(words) & set(EXPORTS),
            data,
        )

    def bomb(self, name: str, make: Callable[[], tuple[str, bytes]]) -> None:
        """One of the files that are small on the disk and large in memory."""
        self._begin()
        file, content = make()
        (self._folder / file).write_bytes(content)
        del content
        self._check(f"import of {name}", ["import", file, "target.db"], {"target.db"}, None)

    def _begin(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        (self._folder / VICTIM).write_text("precious")
        shutil.copy(self._templates / "source.har", self._folder / "good.har")
        self.cases += 1

    def _import(self, data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            write = data.draw(st.sampled_from(WRITERS))
            odd = mutated(data.draw, good("odd"), JSON_VALUES)
            path = write(self._folder, [good("one"), odd, good("two")])
        else:
            odd = mutated(data.draw, good_flow("odd"), FLOW_VALUES)
            path = write_flows(self._folder, [good_flow("one"), odd, good_flow("two")])
        if data.draw(st.booleans()):
            path.write_bytes(damaged(data.draw, path.read_bytes()))
        self._check(f"import of {path.name}", ["import", path.name, "target.db"], {"target.db"}, data)
        if (self._folder / "target.db").exists():
            self._check("show of the import", ["show", "target.db"], set(), None)

    def _check(self, case: str, arguments: list[str], written: set[str], data: st.DataObject | None) -> None:
        """Run a command, and hold what it did against the promises."""
        before = dict(self._state())
        interrupted = None
        if data is not None and data.draw(st.integers(0, 19)) == 0:
            interrupted = data.draw(st.integers(0, 300)) / 1000
        outcome = commands.run(arguments, self._folder, interrupted)
        self.commands += 1
        broken = outcome.broken() or self._changed(before, written, arguments) or _unprintable(outcome.output)
        if broken:
            when = "" if interrupted is None else f", Ctrl-C after {interrupted} s"
            self._findings.add(Finding(case + when, broken, outcome.output), self._folder.iterdir())

    def _changed(self, before: dict[str, str], written: set[str], arguments: list[str]) -> str | None:
        after = dict(self._state())
        touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        # SQLite's own files beside a capture that is being read come and go.
        source = CAPTURE if arguments[1] == "." else arguments[1]
        own = {source + suffix for suffix in captures.COMPANIONS if source + suffix not in before}
        others = touched - written - own
        return f"it wrote or deleted {', '.join(sorted(others))}" if others else None

    def _state(self) -> Iterator[tuple[str, str]]:
        for path in sorted(self._folder.rglob("*")):
            if path.is_symlink():
                yield path.name, f"-> {path.readlink()}"
            elif path.is_file():
                yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def _unprintable(output: str) -> str | None:
    """Whether an output, which is not a terminal, has what a terminal would obey."""
    found = {
        character
        for character in output
        if (ord(character) < 32 and character not in "\n\t\r")
        or 0x7F <= ord(character) < 0xA0
        or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    }
    return f"it printed {', '.join(map(ascii, sorted(found)))}" if found else None


def fuzz(fuzzer: FileFuzzer, seconds: float, first_seed: int, *, with_bombs: bool) -> None:
    """Run cases until the time is up."""
    until = time.monotonic() + seconds
    for name, make in bombs().items():
        if with_bombs and time.monotonic() < until:
            fuzzer.bomb(name, make)
    number = first_seed
    while time.monotonic() < until:
        _round(fuzzer, number)
        number += 1


def _round(fuzzer: FileFuzzer, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=CASES_A_ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def one(data: st.DataObject) -> None:
        fuzzer.run(data)

    one()


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzzing.files", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-bombs", action="store_true", help="no files that are large in memory")
    parser.add_argument("--findings", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    findings = Findings(arguments.findings)
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = FileFuzzer(Path(folder), findings)
        fuzz(fuzzer, arguments.seconds, arguments.seed, with_bombs=not arguments.no_bombs)
    summary = {"cases": fuzzer.cases, "commands": fuzzer.commands, "findings": len(findings.all)}
    print(f"files: {json.dumps(summary)}", flush=True)
    return 1 if findings.all else 0


if __name__ == "__main__":
    sys.exit(main())
