"""The report of an import or an export: which entries, messages and values were left out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wirewright.capture.formats import bounded_json
from wirewright.model.handshake import field_fault
from wirewright.printable import printable

NAMED = 8
"""How many omissions of one kind are named; the others are only counted."""
REASON_CHARACTERS = 100
"""A reason may quote the file; more of it than this is cut."""


@dataclass(slots=True)
class Omissions:
    """Things of one kind that were left out."""

    noun: str
    plural: str
    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, place: str, reason: str) -> None:
        self.count += 1
        if len(self.named) < NAMED:
            shown = printable(reason[:REASON_CHARACTERS])
            self.named.append(f"{place} ({shown}{'…' if len(reason) > REASON_CHARACTERS else ''})")

    def __str__(self) -> str:
        what = self.noun if self.count == 1 else self.plural
        rest = self.count - len(self.named)
        more = f" and {rest:,} more" if rest else ""
        return f"Skipped {self.count:,} {what}: {', '.join(self.named)}{more}."


class OmissionReport:
    """Counts what an import or an export leaves out, and names the first few with their reasons.

    Entries are numbered from 1 in the order of the file, the messages of each entry too. In a file of
    mitmproxy's flows an entry is a flow. For an export, an entry is a socket of the capture.
    """

    def __init__(self) -> None:
        self.entries = Omissions("entry", "entries")
        self.messages = Omissions("message", "messages")
        self.values = Omissions("value", "values")
        """Headers and other parts that are left out of entries that were read."""
        self.notes: list[str] = []
        """Other sentences that the user should read."""

    def name_entries(self, noun: str, plural: str) -> None:
        """Call the entries something else."""
        self.entries.noun, self.entries.plural = noun, plural

    def skip_entry(self, number: int, reason: str) -> None:
        """Count an entry that is left out."""
        self.entries.add(f"#{number}", reason)

    def skip_message(self, entry: int, number: int, reason: str) -> None:
        """Count a message that is left out; its entry is read."""
        self.messages.add(f"#{number} of {self.entries.noun} #{entry}", reason)

    def skip_value(self, entry: int, name: str, reason: str) -> None:
        """Count a part of an entry that is left out; the entry is read without it."""
        self.values.add(f"`{name}` of {self.entries.noun} #{entry}", reason)

    def faults(self, fields: Iterable[tuple[str, str]], entry: int, place: str) -> list[str | None]:
        """Why each of some header fields must not be sent; None for one that may be. Counts the faults."""
        found = [field_fault(*field) for field in fields]
        for fault in filter(None, found):
            self.skip_value(entry, place, fault)
        return found

    def note_long_strings(self, count: int) -> None:
        """Add a note where strings of a JSON file were too long to be read."""
        if count:
            most = f"{bounded_json.LARGEST_STRING >> 20} MiB"
            strings = "1 string that is" if count == 1 else f"{count:,} strings that are"
            self.notes.append(f"It was read without {strings} longer than {most}.")

    def sentences(self) -> Iterator[str]:
        """A sentence for each kind of omission, and the notes."""
        for omissions in (self.entries, self.messages, self.values):
            if omissions.count:
                yield str(omissions)
        yield from self.notes
