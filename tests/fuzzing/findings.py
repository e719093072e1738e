"""What a run found: the broken promise, and what is needed to see it again."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """A promise of docs/security.md that a case broke."""

    case: str
    """The case, in words."""
    broken: str
    """The promise that it broke."""
    details: str = ""
    """Output of the program, or figures."""

    def __str__(self) -> str:
        lines = [f"{self.case}: {self.broken}", *self.details.splitlines()[-30:]]
        return "\n    ".join(lines)


class Findings:
    """All findings of a run. The files of a finding are kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all: list[Finding] = []

    def add(self, finding: Finding, files: Iterable[Path] = ()) -> None:
        """Print a finding, and copy its files."""
        self.all.append(finding)
        kept = self._folder / str(len(self.all))
        for file in files:
            kept.mkdir(parents=True, exist_ok=True)
            if file.is_file():
                shutil.copy2(file, kept / file.name, follow_symlinks=False)
        print(f"✕ {finding}\n    files: {kept if kept.exists() else 'none'}", flush=True)
