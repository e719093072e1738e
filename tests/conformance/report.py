"""The page docs/conformance.md: what was run, the counts, and each case that the proxy changes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from conformance.cases import ALL, BASIC, COMPRESSION, UNSTABLE
from conformance.compare import Comparison
from conformance.explanations import explain
from conformance.proxy import Way
from conformance.verdicts import Verdict, Verdicts

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
COUNTS_HEAD = ("library", "role", "way", *GOOD, "failed", "closing", "differs", "worse")
COUNTS = """\
"Closing" counts the cases whose closing the suite finds fault with, whatever it says of the messages;
"differs" and "worse" count those that are not as direct."""
VERDICTS_HEAD = ("library", "case", *(way.value for way in Way))
VERDICT = "A verdict is the word on the messages, that on the closing unless it is OK, and the close code."

INTRODUCTION = f"""\
# Conformance

The [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) judges how a WebSocket endpoint
keeps to RFC 6455 and RFC 7692. A proxy is no endpoint: what it must show is that an endpoint behind it is
judged as without it. So two libraries are judged in both roles, three times each:

- **direct**: nothing between the library and the suite.
- **PASS**: mitmdump with Wirewright, and nobody who may change a message. Each case must have the same
  verdict and the same close code as direct.
- **HOLD**: mitmdump with Wirewright, and a script with a `websocket_message` hook that changes nothing. No
  case may be judged worse than direct.

`make autobahn` runs it and writes this page, on a machine that has Python 2.7, as the suite needs that.
There are {len(ALL)} cases: {len(BASIC)} of the groups 1 to 7 and 10, and {len(COMPRESSION)} on compression,
which are the first seven message sizes of each subgroup of 12 and 13. Group 9 is about speed. A client is
behind a regular proxy, a server behind `--mode reverse:`.
"""


def write_page(comparisons: Sequence[Comparison], versions: Mapping[str, str], date: str) -> str:
    """The whole page."""
    parts = [INTRODUCTION, _versions(versions, date), _counts(comparisons), _differences(comparisons)]
    parts += [_unstable(comparisons), _flipped(comparisons)]
    return "\n".join(part for part in parts if part)


def summarize(verdicts: Verdicts) -> str:
    """The counts of one run in one line."""
    counts = Counter(verdict.behavior for verdict in verdicts.values())
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())


def _versions(versions: Mapping[str, str], date: str) -> str:
    return f"Run on {date} with {', '.join(f'{name} {version}' for name, version in versions.items())}.\n"


def _counts(comparisons: Sequence[Comparison]) -> str:
    rows = [_count(comparison, way) for comparison in comparisons for way in Way]
    return f"## Verdicts\n\n{COUNTS}\n\n" + _table(COUNTS_HEAD, rows)


def _count(comparison: Comparison, way: Way) -> list[str]:
    verdicts = comparison.verdicts[way]
    counts = Counter(verdict.behavior for verdict in verdicts.values())
    failed = len(verdicts) - sum(counts[word] for word in GOOD)
    closing = sum(verdict.behavior_close not in GOOD for verdict in verdicts.values())
    numbers = [*(counts[word] for word in GOOD), failed, closing]
    if way is not Way.DIRECT:
        numbers += [len(comparison.differing(way)), len(comparison.worse(way))]
    cells = [comparison.library.name, comparison.role.value, way.value, *map(str, numbers)]
    return cells + [""] * (len(COUNTS_HEAD) - len(cells))


def _differences(comparisons: Sequence[Comparison]) -> str:
    rows = [
        [comparison.name, case, *_verdicts(comparison, case), explain(case)]
        for comparison in comparisons
        for case in comparison.verdicts[Way.DIRECT]
        if any(case in comparison.differing(way) for way in Way)
    ]
    if not rows:
        return "## Differences\n\nNone.\n"
    return f"## Differences\n\n{VERDICT}\n\n" + _table((*VERDICTS_HEAD, "why"), rows)


def _verdicts(comparison: Comparison, case: str) -> list[str]:
    direct = comparison.verdicts[Way.DIRECT][case]
    return [str(direct), *(_against(comparison.verdicts[way][case], direct) for way in (Way.PASS, Way.HOLD))]


def _against(verdict: Verdict, direct: Verdict) -> str:
    return "same" if verdict == direct else str(verdict)


def _unstable(comparisons: Sequence[Comparison]) -> str:
    rows = [
        [comparison.name, case, *(str(comparison.verdicts[way][case]) for way in Way)]
        for comparison in comparisons
        for case in comparison.verdicts[Way.DIRECT]
        if case in UNSTABLE and len({comparison.verdicts[way][case] for way in Way}) > 1
    ]
    reasons = "".join(f"- {case}: {explain(case)}\n" for case in sorted(UNSTABLE))
    table = "\n" + _table(VERDICTS_HEAD, rows) if rows else ""
    return f"## Left out of the comparison\n\nCounted above, and not compared:\n\n{reasons}{table}"


def _flipped(comparisons: Sequence[Comparison]) -> str:
    lines = [
        f"- {comparison.name}: {', '.join(comparison.flipped)}\n"
        for comparison in comparisons
        if comparison.flipped
    ]
    if not lines:
        return ""
    return "## Differed once\n\nNot when they were run again, on all three ways:\n\n" + "".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
