"""Databases that have other things in the place of a capture's tables."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.foreign_recordings import archive, entry
from support.hostile_captures import run
from support.model_sockets import begin_socket
from wirewright.capture import CaptureError
from wirewright.capture import open as open_capture
from wirewright.capture.formats.importer import import_file
from wirewright.capture.recorder import Recorder
from wirewright.capture.tables import TABLES, tokens
from wirewright.model.proxy_control import Control
from wirewright.values import Direction

FRAMES = next(each for each in TABLES.split(";") if " frames " in each)
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"

HOSTILE = {
    "a view without end": (
        "DROP TABLE frames",
        f"CREATE VIEW frames AS {ENDLESS} SELECT i AS id, 1 AS socket_id, i AS time_ns, 1 AS from_client, "
        "1 AS opcode, 1 AS size, 'x' AS payload, 0 AS flags, NULL AS original FROM n",
    ),
    "a trigger that throws frames away": (
        "CREATE TRIGGER t BEFORE INSERT ON frames BEGIN SELECT RAISE(IGNORE); END",
    ),
    "a trigger without end": (f"CREATE TRIGGER t AFTER INSERT ON gaps BEGIN {ENDLESS} SELECT i FROM n; END",),
    "a generated column": (
        "DROP TABLE frames",
        FRAMES.replace("payload,", "payload AS (zeroblob(900000000)),"),
    ),
    "a virtual table": (
        "DROP TABLE frames",
        "CREATE VIRTUAL TABLE frames USING fts4(socket_id, time_ns, payload)",
    ),
    "a check": (
        "DROP TABLE frames",
        FRAMES.replace("payload,", "payload CHECK (payload <> 'x'),"),
    ),
    "a default": ("DROP TABLE frames", FRAMES.replace("DEFAULT 0", "DEFAULT (random())")),
    "another type": ("DROP TABLE frames", FRAMES.replace("payload,", "payload INTEGER,")),
    "a comment": ("DROP TABLE frames", FRAMES.replace("payload,", "payload, -- dear diary\n")),
    "a space that is a letter": ("DROP TABLE gaps", "CREATE TABLE gaps (id INTEGER\xa0PRIMARY\xa0KEY)"),
    "an index": ("CREATE INDEX i ON frames (hex(zeroblob(400000000)))",),
    "a constraint": ("CREATE UNIQUE INDEX i ON frames (socket_id)",),
    "another table": ("CREATE TABLE json_each (key)",),
    "a table less": ("DROP TABLE annotations",),
    "version 0": ("PRAGMA user_version = 0",),
    "version -1": ("PRAGMA user_version = -1",),
}


def record(path: Path) -> None:
    Recorder(path, "test").stop()


def add_an_import(path: Path) -> None:
    import_file(archive(path.parent, entry()), path)


def read(path: Path) -> None:
    open_capture(path).close()


@pytest.mark.parametrize("use", [read, record, add_an_import])
@pytest.mark.parametrize("statements", HOSTILE.values(), ids=HOSTILE)
def test_database_with_more_or_less_than_our_tables_is_neither_read_nor_written(
    path: Path, statements: tuple[str, ...], use: Callable[[Path], None]
) -> None:
    record(path)
    run(path, *statements)
    before = path.read_bytes()
    with pytest.raises(CaptureError, match=r"session\.db: (it is damaged|Wirewright did not make its )"):
        use(path)
    assert path.read_bytes() == before


def test_foreign_part_is_named_in_ascii(path: Path) -> None:
    record(path)
    run(path, 'CREATE VIEW "\x1b[2Jé" AS SELECT 1')
    said = (
        r"Wirewright did not make its 'view \\x1b\[2J\\xe9': drop it, or use a copy of the capture without it"
    )
    with pytest.raises(CaptureError, match=said):
        open_capture(path)


@pytest.mark.parametrize("table", ["sessions", "sockets", "frames", "gaps", "annotations"])
def test_capture_whose_next_rows_would_have_random_ids_does_not_grow(
    path: Path, control: Control, table: str
) -> None:
    """SQLite gives any free id to a row once the largest id is that of the largest integer."""
    recorder = Recorder(path, "test", max_payload=0)
    control.start_recording(recorder)
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.messages(["hello"], 5, direction=Direction.SENT)
    tape.too_large()
    recorder.annotate("a remark")
    recorder.stop()
    run(path, f"UPDATE {table} SET id = {2**63 - 1}")
    with pytest.raises(CaptureError, match=f"it is damaged: the ids of its {table} are too large"):
        record(path)


def test_same_tokens_are_the_same_statement() -> None:
    assert tokens("CREATE TABLE t (\n  a, b)") == tokens("CREATE  TABLE t(a,b)")
    assert tokens("a b") != tokens("ab")
    assert tokens("a\xa0b") != tokens("a b")
    assert tokens('"a"') != tokens("a")
