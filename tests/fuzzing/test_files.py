"""The fuzzer of files finds broken promises, and there are none in a few seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
FAULTY = """
import signal, sys, time
from pathlib import Path
import wirewright.cli.main
from fuzzing import commands, files
from fuzzing.findings import Findings

if sys.argv[1] in ("stubborn", "slow"):
    commands.SLOW_SECONDS = commands.STUBBORN_SECONDS = 1.0
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
wirewright.cli.main.main = faults[sys.argv[1]]
folder = Path(sys.argv[2])
findings = Findings(folder / "findings")
files.FileFuzzer(folder, findings).bomb("a small file", lambda: ("a.har", b"{}"))
print([finding.broken for finding in findings.all])
"""


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
        ("escape", r"it printed '\\x1b'"),
        ("none", "[]"),
    ],
)
def test_each_broken_promise_is_found(fault: str, broken: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAULTY, fault, str(tmp_path)]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert broken in run.stdout.splitlines()[-1]
    assert (tmp_path / "findings" / "1" / "a.har").exists() is (fault != "none")


def test_no_promise_is_broken_in_a_few_seconds(tmp_path: Path) -> None:
    options = ["--no-bombs", "--seconds", "3", "--findings", str(tmp_path)]
    command = [sys.executable, "-m", "fuzzing.files", *options]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert '"findings": 0' in run.stdout
