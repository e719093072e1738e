"""The file of a cassette: which files are one, and that it is written as a whole or not at all."""

import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from wirewright.capture import Capture
from wirewright.capture.cassettes import cassette_file
from wirewright.capture.cassettes.cassette_file import (
    Cassette,
    is_cassette,
    read_cassette,
    read_lines,
    write_cassette,
)
from wirewright.capture.cassettes.line_format import BEGINNING
from wirewright.capture.errors import CaptureError
from wirewright.capture.formats.importer import import_file
from wirewright.capture.records import RecordedFrame, Socket
from wirewright.capture.redaction import Redaction

TWO_SOCKETS = f"""\
{BEGINNING}
{{"socket": "ws://shop.example/a"}}
{{"at": 1, "sent": "one"}}
{{"at": 2, "received": {{"two": 2}}}}

{{"socket": "ws://shop.example/none"}}
{{"socket": "ws://shop.example/b"}}
{{"at": 30, "received_base64": "AA=="}}
{{"at": 40, "closed_by": "server", "code": 1000}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassettes" / "chat.jsonl"


def cassette(text: str) -> Cassette:
    return read_lines(BytesIO(text.encode()), Path("chat.jsonl"))


def contents(read: Cassette) -> list[tuple[Socket, list[RecordedFrame]]]:
    spans = read.spans()
    return [
        (socket, list(read.frames(after=0, until=spans[socket.id][1], socket=socket.id, page=50)))
        if socket.id in spans
        else (socket, [])
        for socket in read.sockets()
    ]


def test_each_socket_has_the_messages_below_it() -> None:
    read = cassette(TWO_SOCKETS)
    assert read.spans() == {1: (1, 2), 3: (3, 3)}
    assert [[frame.payload for frame in frames] for _, frames in contents(read)] == [
        ["one", '{"two": 2}'],
        [],
        [b"\0"],
    ]
    assert [frame.id for frame in read.frames(after=1, until=2, socket=1, page=50)] == [2]
    assert list(read.frames(after=2, until=3, socket=1, page=50)) == []


def test_what_is_written_is_read(path: Path) -> None:
    write_cassette(path, contents(cassette(TWO_SOCKETS)), Redaction())
    assert path.read_text() == TWO_SOCKETS.replace("\n\n", "\n")
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
    again = path.with_name("again.jsonl")
    write_cassette(again, contents(read_cassette(path)), Redaction())
    assert again.read_bytes() == path.read_bytes()


def failing() -> Iterator[tuple[Socket, list[RecordedFrame]]]:
    yield from contents(cassette(TWO_SOCKETS))
    raise KeyError("in the middle")


@pytest.mark.parametrize("before", [None, "what was there"])
def test_failure_leaves_the_file_as_it_was(path: Path, before: str | None) -> None:
    if before is not None:
        path.parent.mkdir()
        path.write_text(before)
    with pytest.raises(KeyError):
        write_cassette(path, failing(), Redaction())
    assert [each.read_text() for each in path.parent.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ws://shop.example/a", "line 6: a cassette has at most 5 lines and 64 MiB"),
        ("ws://1.2.3.4.5/", "line 2: not the URL of a WebSocket: 'ws://1.2.3.4.5/'"),
    ],
)
def test_file_that_could_not_be_read_again_is_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    (socket, frames), *others = contents(cassette(TWO_SOCKETS))
    monkeypatch.setattr(cassette_file, "MOST_LINES", 5)
    with pytest.raises(CaptureError) as error:
        write_cassette(path, [(replace(socket, url=url), frames), *others], Redaction())
    assert str(error.value) == f"{path}: {said}"
    assert list(path.parent.iterdir()) == []


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cassettes").write_text("")
    with pytest.raises(CaptureError, match=r"cassettes/chat\.jsonl: (File exists|Not a directory)"):
        write_cassette(tmp_path / "cassettes" / "chat.jsonl", [], Redaction())


@pytest.mark.parametrize("limit", ["LARGEST_CASSETTE", "MOST_LINES", "MOST_SOCKETS"])
def test_reading_has_limits(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(cassette_file, limit, 2)
    with pytest.raises(CaptureError, match=r"chat\.jsonl: line \d: a cassette has at most"):
        cassette(TWO_SOCKETS)


@pytest.mark.parametrize(
    ("beginning", "said"),
    [
        ('{"wirewright": "cassette", "version": 2}', "line 1: it is of a newer Wirewright"),
        ('{"wirewright": "cassette", "version": 0}', "line 1: a cassette begins with"),
        ('{"wirewright": "cassette"', "line 1: it is not JSON"),
        ("5", "line 1: it must be a JSON object"),
    ],
)
def test_another_beginning_is_one_sentence(beginning: str, said: str) -> None:
    with pytest.raises(CaptureError) as error:
        cassette(beginning + "\n")
    assert str(error.value).startswith(f"chat.jsonl: {said}")


def test_line_that_is_not_utf_8_is_named() -> None:
    with pytest.raises(CaptureError, match=r"^chat\.jsonl: line 2: it is not UTF-8$"):
        read_lines(BytesIO(BEGINNING.encode() + b"\n\xff\n"), Path("chat.jsonl"))


def test_byte_order_mark_of_an_editor_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_bytes(BOM_UTF8 + f'{BEGINNING}\n{{"socket": "ws://host/"}}\n'.encode())
    assert is_cassette(path)
    assert [socket.url for socket in read_cassette(path).sockets()] == ["ws://host/"]


def test_file_is_a_cassette_by_its_first_line(tmp_path: Path, path: Path) -> None:
    write_cassette(path, [], Redaction())
    assert is_cassette(path)
    other = tmp_path / "other.jsonl"
    other.write_text('{"event": "socket"}')
    os.mkfifo(tmp_path / "pipe")
    for each in (other, tmp_path, tmp_path / "missing", tmp_path / "pipe"):
        assert not is_cassette(each)


def test_command_that_wants_a_capture_says_what_a_cassette_is(path: Path) -> None:
    write_cassette(path, [], Redaction())
    with pytest.raises(CaptureError, match="it is a cassette, a text file: replay it, or import it"):
        Capture(path)


def test_import_makes_a_capture_of_it(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.write_text(TWO_SOCKETS)
    end_ns = 1_700_000_000_000_000_000
    os.utime(path, ns=(end_ns, end_ns))
    target = tmp_path / "session.db"
    imported = import_file(path, target)
    assert (imported.sockets, imported.frames, imported.cut_off) == (3, 3, None)
    with Capture(target) as capture:
        first, none, last = capture.sockets()
        assert [socket.url[-5:] for socket in (first, none, last)] == ["ple/a", "/none", "ple/b"]
        assert (last.opened_ns, last.closed_ns) == (end_ns - 40_000_000, end_ns)
        assert [frame.payload for frame in capture.frames()] == ["one", '{"two": 2}', b"\0"]
        assert [frame.time_ns - (first.opened_ns or 0) for frame in capture.frames()] == [
            1_000_000,
            2_000_000,
            30_000_000,
        ]


def test_import_of_a_damaged_one_names_the_line(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.write_text(f"{BEGINNING}\n{{\n")
    with pytest.raises(CaptureError, match=r"chat\.jsonl: line 2: it is not JSON"):
        import_file(path, tmp_path / "session.db")
    assert not (tmp_path / "session.db").exists()
