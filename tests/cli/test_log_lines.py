"""Log lines have no URL with its query: logs are passed around, and a query may have a token."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import wirewright

LOGGING = {"critical", "debug", "error", "exception", "info", "Log", "log", "report", "warning"}
SHOWING = {"shown_url", "_without_query", "partition"}
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


def logged_urls(source: str) -> list[str]:
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        url
        for call in calls
        if name_of(call) in LOGGING
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]
        for url in whole_urls(argument)
    ]


@pytest.mark.parametrize(
    "path",
    sorted(Path(wirewright.__file__).parent.rglob("*.py")),
    ids=lambda path: str(path.relative_to(Path(wirewright.__file__).parent)),
)
def test_log_lines_have_no_url_with_its_query(path: Path) -> None:
    assert logged_urls(path.read_text()) == []


def test_whole_url_in_a_log_line_is_found() -> None:
    assert logged_urls('logger.warning("%s", flow.request.pretty_url)') == ["flow.request.pretty_url"]
    assert logged_urls('commands.Log(f"{self.socket.url}: no", WARNING)') == ["self.socket.url"]
    assert logged_urls('logger.warning("%s", shown_url(socket.url))') == []
