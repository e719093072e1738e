"""The fuzzer of files finds broken promises, and there are none in a few seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from support.processes import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
FAULTY = """
import json, signal, sys
from pathlib import Path
import wirewright.cli.main
from fuzzing import commands, files
from fuzzing.findings import Findings

NOT_SLOW = commands.SLOW_SECONDS
commands.STUBBORN_SECONDS = 1.0
commands.MAX_MEMORY = 400 * 2**20

def ignore_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pause()

faults = {
    "traceback": lambda: 1 / 0,
    "stubborn": ignore_ctrl_c,
    "slow": signal.pause,
    "memory": lambda: b"x" * commands.MAX_MEMORY,
    "signal": lambda: signal.raise_signal(signal.SIGSEGV),
    "write": lambda: Path("notes.txt").write_text("changed"),
    "delete": lambda: Path("notes.txt").unlink(),
    "escape": lambda: print("\\x1b[2J"),
    "none": lambda: None,
}
found = {}
for name, fault in faults.items():
    wirewright.cli.main.main = fault
    commands.SLOW_SECONDS = 1.0 if name in ("stubborn", "slow") else NOT_SLOW
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    findings = Findings(folder / "findings")
    files.FileFuzzer(folder, findings).bomb("a small file", lambda: ("a.har", b"{}"))
    found[name] = [finding.broken for finding in findings.all]
print(json.dumps(found))
"""


class Run(NamedTuple):
    """A fuzzer that was run with a program of each fault."""

    folder: Path
    found: dict[str, list[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("faults")
    command = [sys.executable, "-c", FAULTY, str(folder)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return Run(folder, json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("traceback", "it ended with a traceback"),
        ("stubborn", "Ctrl-C did not end it within 1 s"),
        ("slow", "it took longer than 1 s"),
        ("memory", "MiB"),
        ("signal", "it ended by signal 11"),
        ("write", "it wrote or deleted notes.txt"),
        ("delete", "it wrote or deleted notes.txt"),
        ("escape", r"it printed '\x1b'"),
    ],
)
def test_each_broken_promise_is_found(run: Run, fault: str, broken: str) -> None:
    (found,) = run.found[fault]
    assert broken in found
    assert (run.folder / fault / "findings" / "1" / "a.har").exists()


def test_kept_promise_is_no_finding(run: Run) -> None:
    assert run.found["none"] == []
    assert not (run.folder / "none" / "findings").exists()


def test_no_promise_is_broken_in_a_few_seconds(tmp_path: Path) -> None:
    options = ["--no-bombs", "--seconds", "3", "--findings", str(tmp_path)]
    command = [sys.executable, "-m", "fuzzing.files", *options]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert '"findings": 0' in run.stdout
