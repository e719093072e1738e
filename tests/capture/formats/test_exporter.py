"""Sockets of which another format can have no entry: they cost no other socket."""

import sqlite3
from pathlib import Path

import pytest

from support.foreign_recordings import archive, entry
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.formats.importer import import_file

ODD_URLS = [
    "ws://1.2.3.4.5/x",
    "ws://127.0.0.1:99999/x",
    "ws://user@host/x",
    f"ws://{'a' * 64}.example/x",
]


@pytest.mark.parametrize("url", ODD_URLS)
@pytest.mark.parametrize("suffix", [".mitm", ".har"])
def test_odd_socket_costs_no_other_socket(tmp_path: Path, path: Path, url: str, suffix: str) -> None:
    import_file(archive(tmp_path, entry(), entry(), entry()), path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE sockets SET url = ? WHERE id = 2", (url,))
    connection.commit()
    connection.close()
    target = path.with_suffix(suffix)
    with open_capture(path) as capture:
        exported = export(capture, target, Filter())
    left_out = exported.report.entries.count
    assert left_out <= 1
    if suffix == ".mitm":
        assert left_out == 1
        assert next(exported.report.sentences()).startswith("Skipped 1 socket: #2 (")
        assert exported.number == 4
    imported = import_file(target, path.with_name("back.db"))
    assert imported.sockets >= 2
    assert imported.cut_off is None
    assert imported.sockets + imported.report.entries.count + left_out == 3
