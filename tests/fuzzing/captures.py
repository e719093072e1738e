"""Captures that a stranger sends: good ones with changes that SQLite accepts, or does not."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from support.mutations import Draw, good, write_har
from wirewright.capture.formats.importer import import_file

TABLES = {
    "sessions": ("id", "started_ns", "seen_ns", "ended_ns", "program"),
    "sockets": (
        *("id", "session_id", "url", "asked_ns", "opened_ns", "closed_ns", "request_headers"),
        *("response_headers", "status", "subprotocol", "extensions", "client_address", "server_address"),
        *("close_code", "close_reason", "closed_by", "error", "response_body"),
    ),
    "frames": (
        *("id", "socket_id", "time_ns", "from_client", "opcode", "size", "payload", "flags", "original"),
    ),
    "gaps": ("id", "session_id", "time_ns", "frames", "bytes", "reason"),
    "annotations": ("id", "session_id", "socket_id", "time_ns", "text"),
}
HOSTILE_TEXT = "\x1b]8;;http://evil/\x07\x1b[2J[red]\u202e\x9b31m[/nonsense]"
VALUES = (
    *("NULL", "0", "-1", "9223372036854775807", "-9223372036854775808", "1e308", "9e999", "'x'", "''"),
    *("x''", "x'ff00'", "zeroblob(20000000)", "'[]'", "'{\"a\":1}'", "'[[1,2]]'", "'[[\"a\"]]'", "'['"),
    *("replace(hex(zeroblob(1000)), '00', '[')", "'wss://[bad/x'", f"'{HOSTILE_TEXT}'", "char(0)"),
)
"""SQL expressions."""
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


def make_good(folder: Path) -> Path:
    """A capture with two sockets and their frames, a gap and an annotation."""
    target = folder / "session.db"
    import_file(write_har(folder, [good("one"), good("two")]), target)
    with sqlite3.connect(target) as connection:
        connection.execute(
            "INSERT INTO gaps (session_id, time_ns, frames, bytes, reason) VALUES (1, 1, 2, 3, 'a gap')"
        )
        connection.execute(
            "INSERT INTO annotations (session_id, socket_id, time_ns, text) VALUES (1, 1, 1, 'a remark')"
        )
    connection.close()
    return target


def _set_value(draw: Draw) -> list[str]:
    table = draw(st.sampled_from(sorted(TABLES)))
    column, value = draw(st.sampled_from(TABLES[table])), draw(st.sampled_from(VALUES))
    return [f"UPDATE OR IGNORE {table} SET {column} = {value}"]


def _replace_by_view(draw: Draw) -> list[str]:
    table = draw(st.sampled_from(sorted(TABLES)))
    columns = ", ".join(f"1 AS {column}" for column in TABLES[table])
    query = draw(
        st.sampled_from(
            [
                f"SELECT * FROM real_{table}",
                f"{ENDLESS} SELECT {columns} FROM n",
                f"SELECT {columns.replace('1 AS payload', 'zeroblob(900000000) AS payload')}",
            ]
        )
    )
    return [f"ALTER TABLE {table} RENAME TO real_{table}", f"CREATE VIEW {table} AS {query}"]


def _add_generated_column(draw: Draw) -> list[str]:
    table = draw(st.sampled_from(sorted(TABLES)))
    column = TABLES[table][-1]
    value = draw(st.sampled_from(["zeroblob(900000000)", "hex(zeroblob(400000000))", "abs(1)"]))
    return [
        f"ALTER TABLE {table} RENAME COLUMN {column} TO real_{column}",
        f"ALTER TABLE {table} ADD COLUMN {column} GENERATED ALWAYS AS ({value}) VIRTUAL",
    ]


def _add_trigger(draw: Draw) -> list[str]:
    table = draw(st.sampled_from(sorted(TABLES)))
    action = draw(
        st.sampled_from(
            [
                "DELETE FROM frames",
                "SELECT RAISE(IGNORE)",
                f"INSERT INTO gaps (session_id, time_ns, frames, bytes, reason) {ENDLESS} "
                "SELECT 1, i, i, i, 'x' FROM n",
            ]
        )
    )
    moment = draw(st.sampled_from(["BEFORE", "AFTER"]))
    return [f"CREATE TRIGGER t {moment} INSERT ON {table} BEGIN {action}; END"]


def _virtual_table(draw: Draw) -> list[str]:
    table = draw(st.sampled_from(sorted(TABLES)))
    columns = ", ".join(TABLES[table][1:])
    return [f"DROP TABLE {table}", f"CREATE VIRTUAL TABLE {table} USING fts5({columns})"]


def _pragma(draw: Draw) -> list[str]:
    return [
        draw(
            st.sampled_from(
                [
                    "PRAGMA user_version = 0",
                    "PRAGMA user_version = 1",
                    "PRAGMA user_version = -7",
                    "PRAGMA user_version = 99",
                    "PRAGMA application_id = 0",
                    "PRAGMA application_id = 5",
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA auto_vacuum = 2; VACUUM",
                    "DROP INDEX IF EXISTS x",
                    "CREATE INDEX x ON frames (abs(random()))",
                ]
            )
        )
    ]


def _drop(draw: Draw) -> list[str]:
    table = draw(st.sampled_from(sorted(TABLES)))
    column = draw(st.sampled_from(TABLES[table]))
    return [draw(st.sampled_from([f"DROP TABLE {table}", f"ALTER TABLE {table} DROP COLUMN {column}"]))]


CHANGES: tuple[Callable[[Draw], list[str]], ...] = (
    *(_set_value, _set_value, _set_value),
    *(_replace_by_view, _add_generated_column, _add_trigger, _virtual_table, _pragma, _drop),
)


@st.composite
def hostile_sql(draw: st.DrawFn) -> list[str]:
    """One to three changes of a good capture, as SQL statements."""
    changes = draw(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3))
    return [statement for change in changes for statement in change(draw)]


def apply(path: Path, statements: list[str]) -> list[str]:
    """Change a capture; the statements that SQLite accepted."""
    accepted = []
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = OFF")
    for statement in statements:
        try:
            connection.executescript(statement)
            accepted.append(statement)
        except sqlite3.Error:
            continue
    connection.close()
    return accepted


def hot_journal(path: Path, victim: Path) -> bytes:
    """A rollback journal that names a victim as its super-journal, as SQLite reads it (fileformat2, 3)."""
    magic = bytes.fromhex("d9d505f920a163d7")
    page_size = 4096
    pages = max(1, path.stat().st_size // page_size)
    header = magic + b"".join(number.to_bytes(4, "big") for number in (0, 0, pages, 512, page_size))
    name = str(victim).encode()
    checksum = sum(each if each < 128 else each - 256 for each in name) & 0xFFFFFFFF
    lock_page = (0x40000000 // page_size + 1).to_bytes(4, "big")
    tail = lock_page + name + len(name).to_bytes(4, "big") + checksum.to_bytes(4, "big") + magic
    return header.ljust(512, b"\0") + tail


COMPANIONS = ("-journal", "-wal", "-shm")


def add_companion(draw: Draw, path: Path, victim: Path) -> str:
    """Put a file beside the capture that SQLite would use; its description."""
    suffix = draw(st.sampled_from(COMPANIONS))
    kind = draw(st.sampled_from(["hot", "link", "garbage", "empty"]))
    companion = path.with_name(path.name + suffix)
    companion.unlink(missing_ok=True)
    match kind:
        case "hot":
            companion.write_bytes(hot_journal(path, victim))
        case "link":
            companion.symlink_to(victim)
        case "garbage":
            companion.write_bytes(draw(st.binary(min_size=1, max_size=5_000)))
        case _:
            companion.touch()
    return f"{kind} {suffix}"
