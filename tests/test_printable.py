"""Text that is made printable, and log lines."""

import io
import logging
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from mitmproxy.log import MitmFormatter
from rich.console import Console

import wirewright
from support.hostile_text import HOSTILE, SURROGATE, assert_is_clean
from wirewright.model import user_errors
from wirewright.printable import (
    PrintableRecords,
    get_logger,
    print_line,
    printable,
    printable_lines,
    shown_url,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 漢 🎉", "plain é 漢 🎉"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x7f\u202e\u2066\u200b\u2028", r"\x7f\u202e\u2066\u200b\u2028"),
        ("\ud800", r"\ud800"),
        ("[red]", "[red]"),
    ],
)
def test_characters_that_steer_a_terminal_become_escapes(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_lines_and_tabs_are_kept_where_a_text_has_lines() -> None:
    assert printable_lines("a\tb\n\x1b[2J\r\nc\n") == "a\tb\n\\x1b[2J\\r\nc\n"


def test_sentence_is_one_line_without_markup() -> None:
    out = io.StringIO()
    print_line(Console(file=out, force_terminal=True, width=20), f"[bold]{HOSTILE}[/] {'x' * 40}", "red")
    assert_is_clean(out.getvalue())
    assert out.getvalue().count("\n") == 1
    assert "[bold]" in out.getvalue()


@pytest.fixture(params=[logging.Formatter(), MitmFormatter(colorize=False)], ids=["plain", "mitmproxy"])
def logged(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """The lines of this package's loggers, as a handler prints them."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(request.param)
    logging.getLogger().addHandler(handler)
    yield out
    logging.getLogger().removeHandler(handler)


def test_log_line_is_printable_with_its_arguments(logged: io.StringIO) -> None:
    get_logger("wirewright.test").error("%s: %d of %r\n+%s", HOSTILE, 3, "ok", HOSTILE)
    assert_is_clean(logged.getvalue())
    assert ": 3 of 'ok'\n+" in logged.getvalue()


def test_log_line_with_an_exception_is_printable(logged: io.StringIO) -> None:
    try:
        raise ValueError(HOSTILE + SURROGATE)
    except ValueError as error:
        user_errors.logger.error("%s", HOSTILE, exc_info=error)
    assert_is_clean(logged.getvalue())
    assert "ValueError: " in logged.getvalue()


def test_log_line_with_a_stack_is_printable(logged: io.StringIO) -> None:
    namespace = {"logger": user_errors.logger}
    exec(compile("logger.error('where', stack_info=True)", HOSTILE, "exec"), namespace)
    assert "where" in logged.getvalue()
    assert_is_clean(logged.getvalue())


def test_exception_that_is_printable_stays_with_its_record(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("plain")
    except ValueError as error:
        get_logger("wirewright.test").error("%s", "it raised", exc_info=error)
    (record,) = caplog.records
    assert record.args == ("it raised",)
    assert record.exc_info is not None


def test_every_logger_of_the_package_has_the_filter() -> None:
    names = [each.name for each in pkgutil.walk_packages(wirewright.__path__, "wirewright.")]
    for name in names:
        if not name.startswith("wirewright.cli.demo"):
            import_module(name)
    ours = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if name in names and isinstance(logger, logging.Logger)
    ]
    assert len(ours) > 15
    without = [
        each.name for each in ours if not any(isinstance(one, PrintableRecords) for one in each.filters)
    ]
    assert without == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://host/live", "wss://host/live"),
        ("wss://host:8080/live?token=secret&a=1", "wss://host:8080/live?…"),
        ("ws://user:secret@host/a@b", "ws://host/a@b"),
        ("ws://user:sec@ret@host?x", "ws://host?…"),
        ("no URL", "no URL"),
    ],
)
def test_shown_url_has_neither_a_query_nor_a_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown
