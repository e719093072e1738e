"""The tables' place in the documentation, and what they were measured with."""

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import process_figures
from bench.processes import ROOT
from bench.proxies import NODE_FOLDER

DOCUMENT = ROOT / "docs" / "performance.md"
HEADING = "# Performance\n"


def write_section(document: Path, name: str, text: str) -> None:
    """Put the text between the two marker comments of this name; the rest of the document stays."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = f"{begin}\n\n{text}\n\n{end}"
    old = document.read_text() if document.exists() else HEADING
    if begin in old and end in old:
        before, rest = old.split(begin, 1)
        new = before + section + rest.split(end, 1)[1]
    else:
        new = f"{old.rstrip()}\n\n{section}\n"
    document.write_text(new)


def circumstances(command: str) -> str:
    """When, with what and on what kind of machine; no names, no paths."""
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in ("mitmproxy", "wirewright", "picows")]
    versions += _node_versions()
    size = f"{os.cpu_count()} cores, {process_figures.of_machine() / 2**30:.0f} GiB of memory"
    return f"{datetime.now(UTC):%Y-%m-%d} · {' · '.join(versions)} · {size} · `{command}`"


def _node_versions() -> list[str]:
    node = shutil.which("node")
    package = NODE_FOLDER / "node_modules" / "mockttp" / "package.json"
    if node is None or not package.exists():
        return []
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r'"version":\s*"([^"]+)"', package.read_text())
    return [f"Node {said.strip().lstrip('v')}", f"mockttp {found[1] if found else 'unknown'}"]
