"""The measurements themselves: each measure with each carrier in turn, round by round."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bench import process_figures
from bench.bench_run import Scale, Session, say
from bench.measure import Measure
from bench.processes import Ends, Failure
from bench.proxies import SCRIPTS, Carrier, Mitmdump, Workplace
from bench.results import Results
from bench.table import number


@asynccontextmanager
async def session(scale: Scale) -> AsyncIterator[Session]:
    """The ends, and a folder for all that the carriers need; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Workplace.prepare(Path(folder))
        ends = await Ends.start(place.server_certificate)
        running = Session(replace(place, server_port=ends.port("wss")), ends, scale)
        try:
            yield running
        finally:
            await running.end()
            await ends.stop()


async def measure_all(measures: Sequence[Measure], carriers: Sequence[Carrier], scale: Scale) -> Results:
    results = Results()
    for carrier in carriers:
        if why := carrier.missing():
            say(f"{carrier.title} is left out: {why}.")
            results.notes["", carrier.name] = f"left out, as {why}"
    there = [carrier for carrier in carriers if not carrier.missing()]
    async with session(scale) as running:
        for measure in measures:
            if measure.needs_memory and not process_figures.KNOWN:
                say(f"{measure.title} is left out: this system does not tell the memory of a process.")
                continue
            taking_part = [carrier for carrier in there if carrier.name in measure.carriers]
            for round_ in range(scale.rounds):
                # Each round begins with another one, so that none always has the same neighbour in time.
                first = round_ % max(1, len(taking_part))
                for carrier in (*taking_part[first:], *taking_part[:first]):
                    await _measure(running, measure, carrier, round_, results)
    results.notes.update(running.notes)  # some are made at the very end
    return results


async def profile(measure: Measure, carrier: Mitmdump, scale: Scale, output: Path) -> None:
    """Run one measure once, with a mitmdump that writes its profile."""
    profiled = replace(
        carrier,
        scripts=(*carrier.scripts, SCRIPTS / "profiling.py"),
        environment={**carrier.environment, "BENCH_PROFILE": str(output)},
    )
    async with session(scale) as running:
        for name, value in (await measure.run(running, profiled)).items():
            say(f"{name}: {number(value)}, while it was profiled")


async def _measure(
    running: Session, measure: Measure, carrier: Carrier, round_: int, results: Results
) -> None:
    if any((row.name, carrier.name) in running.notes for row in measure.rows):
        # It was broken off, and would be each time.
        for row in measure.rows:
            results.add(row.name, carrier.name, None)
        return
    try:
        values = dict(await measure.run(running, carrier))
    except Failure as failure:
        await running.drop(carrier)
        values = {}
        for row in measure.rows:
            running.note(row.name, carrier, str(failure))
    for row in measure.rows:
        value = values.get(row.name)
        if values and value is None:
            continue  # the row is not for this carrier
        results.add(row.name, carrier.name, value)
        said = "failed" if value is None else f"{number(value)} {row.unit}"
        note = running.notes.get((row.name, carrier.name), "")
        say(f"{row.name:16} round {round_ + 1}  {carrier.name:14} {said:>20}  {note}".rstrip())
