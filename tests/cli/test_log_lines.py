"""Log lines have no URL with its query: logs are passed around, and a query may have a token."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import wirewright

LOGGING = {"critical", "debug", "error", "exception", "info", "Log", "log", "report", "warning"}
SHOWING = {"shown_url"}
URLS = {"url", "pretty_url", "url_of"}


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def whole_urls(node: ast.AST) -> Iterator[str]:
    if name_of(node) in URLS:
        yield ast.unparse(node)
    elif not (isinstance(node, ast.Call) and name_of(node) in SHOWING):
        for child in ast.iter_child_nodes(node):
            yield from whole_urls(child)


def unprintable_values(source: str) -> list[str]:
    """Values of traffic in lines for mitmproxy's own logger, which has no filter under `mitmdump -s`."""
    values = [
        value
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and name_of(call) == "Log"
        for value in ast.walk(call)
        if isinstance(value, ast.FormattedValue)
    ]
    return [ast.unparse(value.value) for value in values if not is_printable(value)]


def is_printable(value: ast.FormattedValue) -> bool:
    is_number = isinstance(value.format_spec, ast.JoinedStr)  # such as `:,`
    return name_of(value.value) in {"printable", "source"} or value.conversion == ord("r") or is_number


def logged_urls(source: str) -> list[str]:
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        url
        for call in calls
        if name_of(call) in LOGGING
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]
        for url in whole_urls(argument)
    ]


each_module = pytest.mark.parametrize(
    "path",
    sorted(Path(wirewright.__file__).parent.rglob("*.py")),
    ids=lambda path: str(path.relative_to(Path(wirewright.__file__).parent)),
)


@each_module
def test_lines_for_mitmproxy_s_logger_are_printable(path: Path) -> None:
    assert unprintable_values(path.read_text()) == []


def test_value_that_may_not_be_printable_is_found() -> None:
    assert unprintable_values('commands.Log(f"{shown_url(url)}: no", WARNING)') == ["shown_url(url)"]
    assert unprintable_values('commands.Log(f"{printable(shown_url(url))} {size:,} {name!r}")') == []


@each_module
def test_log_lines_have_no_url_with_its_query(path: Path) -> None:
    assert logged_urls(path.read_text()) == []


def test_whole_url_in_a_log_line_is_found() -> None:
    assert logged_urls('logger.warning("%s", flow.request.pretty_url)') == ["flow.request.pretty_url"]
    assert logged_urls('commands.Log(f"{self.socket.url}: no", WARNING)') == ["self.socket.url"]
    assert logged_urls('logger.warning("%s", url.partition("?")[0])') == ["url"]
    assert logged_urls('logger.warning("%s", shown_url(socket.url))') == []
