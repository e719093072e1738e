"""The results as tables in Markdown."""

from collections.abc import Sequence

from bench.carriers import CARRIERS
from bench.goals import GOALS, Goal
from bench.measure import LOST, Measure, Row
from bench.results import Results


def tables(measures: Sequence[Measure], results: Results) -> str:
    """One table of all that stands beside each other, then the notes, then the goals."""
    parts = []
    for base in dict.fromkeys(measure.base for measure in measures):
        together = [measure for measure in measures if measure.base == base]
        columns = dict.fromkeys([base, *(name for measure in together for name in measure.carriers)])
        rows = [row for measure in together for row in measure.rows]
        parts.append(_comparison(rows, list(columns), results))
    return "\n\n".join(part for part in (*parts, _notes(results), goals(results)) if part)


def _comparison(rows: Sequence[Row], columns: Sequence[str], results: Results) -> str:
    shown = [name for name in columns if any((row.name, name) in results.values for row in rows)]
    head = ["measure", *(CARRIERS[name].title for name in shown)]
    body = [[row.title, *(cell(row, name, columns[0], results) for name in shown)] for row in rows]
    return markdown(head, body)


def cell(row: Row, carrier: str, base: str, results: Results) -> str:
    """A ratio to the base where it is meant and can be had; else the value itself."""
    value = results.median(row.name, carrier)
    if value is None:
        return "failed" if (row.name, carrier) in results.values else ""
    ratio = results.ratio((row.name, carrier), (row.name, base))
    if row.relative and carrier != base and ratio is not None:
        text = f"{number(ratio)} x"
    else:
        text = f"{number(value) if row.unit != LOST else f'{value:.0f}'} {row.unit}"
    return text + (" *" if (row.name, carrier) in results.notes else "")


def goals(results: Results) -> str:
    body = [_goal(goal, results) for goal in GOALS if goal.measured(results) is not None]
    return markdown(["measure", "goal", "measured", "met"], body) if body else ""


def _goal(goal: Goal, results: Results) -> list[str]:
    value = goal.measured(results)
    assert value is not None
    met = {True: "yes", False: "no", None: "not to the end"}[goal.met(results)]
    text = f"{value:.0f}" if goal.unit == LOST else number(value)
    return [goal.text, goal.limit_text, text, met]


def _notes(results: Results) -> str:
    rows = [
        f"- {CARRIERS[carrier].title}{', ' + row if row else ''}: {text}."
        for (row, carrier), text in results.notes.items()
    ]
    return "\n".join(["\\* What must be said to these:", "", *rows]) if rows else ""


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---", *("---:" for _ in head[1:])], *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
