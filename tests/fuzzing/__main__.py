"""Hostile traffic and hostile files, side by side: a table of the promises that they broke."""

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
    running = []
    for name in [arguments.only] if arguments.only else ["files", "traffic"]:
        options = ["--seconds", str(60 * arguments.minutes), "--seed", str(arguments.seed)]
        command = [sys.executable, "-m", f"fuzzing.{name}", *options, "--findings", str(kept / name)]
        running.append(subprocess.Popen(command, env=environment))
    try:
        statuses = [each.wait() for each in running]
    except KeyboardInterrupt:
        # Ctrl-C reaches them too.
        statuses = [each.wait() for each in running]
    if any(kept.iterdir()):
        print(f"The files of the findings are in {kept}.")
    else:
        kept.rmdir()
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
