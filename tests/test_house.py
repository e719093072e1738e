"""The order of the rooms that docs/architecture.md describes, held against the imports of the package."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.processes import ROOT

PACKAGE = ROOT / "addon" / "wirewright"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()

FLOORS = (
    {"values", "printable", "memory", "no_redirects", "requirements"},
    {"model", "wire"},
    {"state", "sync", "capture"},
    {"remote"},
    {"mitm"},
    {"launcher", "addon"},
    {"async_api", "in_process_api"},
    {"sync_api"},
    {"cli"},
    {"pytest_plugin"},
)
"""The rooms from the lowest floor up: folders, and modules beside them."""

IMPORTERS_OF_MITMPROXY = {
    "addon",
    "capture.formats.flows",
    "capture.formats.flow_import",
    "cli.run",
    "cli.banner",
}
"""Modules outside `mitm` that import mitmproxy."""


def _modules() -> dict[str, Path]:
    """The modules of the package by their names in it. The package itself is ""."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


@cache
def trees() -> dict[str, ast.Module]:
    """The modules of the package, parsed."""
    return {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def _when_imported(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, without `if TYPE_CHECKING`."""
    for statement in body:
        if isinstance(statement, ast.If):
            is_for_types = ast.unparse(statement.test) == "TYPE_CHECKING"
            yield from _when_imported(statement.orelse if is_for_types else statement.body + statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _when_imported(statement.body + statement.orelse + statement.finalbody)
        else:
            yield statement


def _imported(statements: Iterable[ast.AST]) -> Iterator[str]:
    """The full names of what import statements name."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (each.name for each in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield from (f"{statement.module}.{each.name}" for each in statement.names)


def _own(names: Iterable[str]) -> set[str]:
    """The modules of the package among imported names, which may be names inside a module."""
    found = set()
    for name in names:
        if name.partition(".")[0] == "wirewright":
            inside = name.removeprefix("wirewright").removeprefix(".")
            found.add(inside if inside in MODULES else inside.rpartition(".")[0])
    return found


def _room(module: str) -> str:
    return module.partition(".")[0]


def _floor(module: str) -> int:
    (number,) = (number for number, rooms in enumerate(FLOORS) if _room(module) in rooms)
    return number


def test_every_room_has_a_floor() -> None:
    assert set().union(*FLOORS) == {_room(name) for name in MODULES if name}
    assert len(set().union(*FLOORS)) <= 20


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_module_imports_only_from_floors_below_its_own(module: str) -> None:
    """Imports in functions and for types count, too."""
    imported = _own(_imported(ast.walk(trees()[module])))
    assert "" not in imported, "no module imports the package as a whole"
    others = {each for each in imported if _room(each) != _room(module)}
    assert {each for each in others if _floor(each) >= _floor(module)} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: _own(_imported(_when_imported(tree.body))) - {name} for name, tree in trees().items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_few_modules_know_mitmproxy() -> None:
    def knows(statements: Iterable[ast.AST]) -> bool:
        return any(name.partition(".")[0] == "mitmproxy" for name in _imported(statements))

    outside = {name: tree for name, tree in trees().items() if _room(name) != "mitm"}
    assert {name for name, tree in outside.items() if knows(ast.walk(tree))} == IMPORTERS_OF_MITMPROXY | {
        "launcher"
    }
    assert not knows(_when_imported(trees()["launcher"].body)), "launcher names mitmproxy's types only"


def test_architecture_shows_the_floors() -> None:
    numbered = re.findall(r"^\| (\d+) \| (.*?) \|", ARCHITECTURE, re.MULTILINE)
    assert [int(number) for number, _ in numbered] == list(range(len(FLOORS), 0, -1))
    shown = [
        {each.rstrip("/").removesuffix(".py") for each in re.findall(r"`(.*?)`", rooms)}
        for _, rooms in numbered
    ]
    assert shown == list(reversed(FLOORS))


def test_architecture_names_modules_that_exist() -> None:
    named = re.findall(r"^- `(.*?)`:", ARCHITECTURE, re.MULTILINE)
    assert named
    assert [name for name in named if not (PACKAGE / name).exists()] == []


def test_no_module_is_long() -> None:
    """But for the two lists: the names of the sync API, and the messages of the remote protocol."""
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name for name, count in lines.items() if count > 350} == {"sync_api", "remote.protocol"}


def test_no_function_is_long() -> None:
    functions = (
        (module, node.name, node.end_lineno - node.lineno + 1)
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    )
    assert [each for each in functions if each[2] > 50] == []


def _class_names(tree: ast.AST) -> Iterator[str]:
    return (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def test_no_two_classes_have_the_same_name() -> None:
    """Except the public classes of both APIs. Messages of the protocol are used by their module's name."""
    of_both = {
        "Cursor",
        "EventContextManager",
        "EventInfo",
        "Proxy",
        "ProxyAssertions",
        "ProxyContext",
        "SocketAssertions",
        "WebSocket",
        "WebSocketRoute",
    }
    homes: dict[str, list[str]] = {}
    for module, tree in trees().items():
        if module != "remote.protocol":
            for name in _class_names(tree):
                homes.setdefault(name, []).append(module)
    assert {name: each for name, each in homes.items() if len(each) > 1 and name not in of_both} == {}
    assert all(len(homes[name]) == 2 for name in of_both)


def test_no_boolean_stands_for_a_direction() -> None:
    """Only `mitm/` has such parameters, where it reads attributes of mitmproxy."""
    ends = ("app", "client", "server")
    forbidden = {f"{way}_{end}" for way in ("by", "from", "is", "to") for end in ends} | {"is_ours"}
    found = {
        (module, node.arg)
        for module, tree in trees().items()
        if _room(module) != "mitm"
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) and node.arg in forbidden
    }
    assert found == set()
