"""Everything side by side, round by round, as ratios.

The table goes into docs/performance.md, unless only a part is measured; `--output` says where it goes then.
"""

import argparse
import asyncio
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.bench_run import FULL, QUICK, Scale
from bench.carriers import CARRIERS
from bench.catalogue import measures
from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.measure import Measure
from bench.processes import Failure
from bench.profile_report import hottest
from bench.proxies import Mitmdump, raise_file_limit
from bench.rounds import measure_all, profile
from bench.table import tables


def main() -> None:
    arguments = _parser().parse_args()
    scale = QUICK if arguments.quick else FULL
    scale = replace(scale, rounds=arguments.rounds or scale.rounds)
    raise_file_limit()
    try:
        if arguments.list:
            _list(scale)
        elif arguments.profile:
            _profile(arguments.profile[0], arguments.profile[1], scale)
        else:
            _measure(arguments, scale)
    except Failure as failure:
        sys.exit(str(failure))


def _measure(arguments: argparse.Namespace, scale: Scale) -> None:
    chosen = [each for each in measures(scale) if not arguments.only or each.name in arguments.only]
    carriers = [
        each for each in CARRIERS.values() if not arguments.carriers or each.name in arguments.carriers
    ]
    results = asyncio.run(measure_all(chosen, carriers, scale))
    rounds = f"medians of {scale.rounds} rounds" if scale.rounds > 1 else "one round"
    text = f"{circumstances(_command(arguments))} · {rounds}\n\n{tables(chosen, results)}"
    print(text)
    whole = not (arguments.quick or arguments.only or arguments.carriers)
    if arguments.output or whole:
        write_section(arguments.output or DOCUMENT, "bench", text)


def _profile(carrier: str, measure: str, scale: Scale) -> None:
    profiled = CARRIERS.get(carrier)
    if not isinstance(profiled, Mitmdump):
        sys.exit(f"{carrier} is no mitmdump: see --list")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "profile"
        asyncio.run(profile(_measure_named(measure, scale), profiled, scale, output))
        print(hottest(output))


def _measure_named(name: str, scale: Scale) -> Measure:
    for measure in measures(scale):
        if measure.name == name:
            return measure
    sys.exit(f"there is no measure {name}: see --list")


def _list(scale: Scale) -> None:
    for measure in measures(scale):
        print(f"{measure.name:14} {measure.title}")
    print()
    for carrier in CARRIERS.values():
        print(f"{carrier.name:14} {carrier.title}" + (f" ({why})" if (why := carrier.missing()) else ""))


def _command(arguments: argparse.Namespace) -> str:
    """The command line, without the path that the table goes to."""
    words = ["python", "-m", "bench"]
    words += ["--quick"] if arguments.quick else []
    words += ["--rounds", str(arguments.rounds)] if arguments.rounds else []
    words += ["--only", *arguments.only] if arguments.only else []
    words += ["--carriers", *arguments.carriers] if arguments.carriers else []
    return shlex.join(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [measure.name for measure in measures(FULL)]
    parser.add_argument(
        "--rounds", type=int, help=f"how many ({FULL.rounds}, or {QUICK.rounds} with --quick)"
    )
    parser.add_argument("--quick", action="store_true", help="little of everything: to see that it works")
    parser.add_argument("--only", nargs="+", choices=names, metavar="MEASURE", help="these measures")
    parser.add_argument(
        "--carriers", nargs="+", choices=CARRIERS, metavar="CARRIER", help="with these carriers"
    )
    parser.add_argument("--output", type=Path, help="the document to write the table into")
    parser.add_argument("--list", action="store_true", help="show the names of measures and carriers")
    parser.add_argument(
        "--profile", nargs=2, metavar=("CARRIER", "MEASURE"), help="show the hottest calls of that mitmdump"
    )
    return parser


if __name__ == "__main__":
    main()
