"""Hostile files and then hostile traffic: a table of the promises that they broke.

The one after the other: the traffic measures round trips, which other work on the machine makes longer.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from support.processes import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same cases")
    parser.add_argument("--only", choices=["files", "traffic"], help="one of the two")
    arguments = parser.parse_args()
    kept = Path(tempfile.mkdtemp(prefix="wirewright-findings-"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    names = [arguments.only] if arguments.only else ["files", "traffic"]
    options = ["--seconds", str(60 * arguments.minutes / len(names)), "--seed", str(arguments.seed)]
    statuses = [
        _run(name, *options, "--findings", str(kept / name), environment=environment) for name in names
    ]
    if any(kept.iterdir()):
        print(f"The files of the findings are in {kept}.")
    else:
        kept.rmdir()
    return max(statuses)


def _run(name: str, *options: str, environment: dict[str, str]) -> int:
    """Run one of the two to its end. Ctrl-C reaches it, too."""
    running = subprocess.Popen([sys.executable, "-m", f"fuzzing.{name}", *options], env=environment)
    try:
        return running.wait()
    except KeyboardInterrupt:
        running.wait()
        sys.exit(130)


if __name__ == "__main__":
    sys.exit(main())
