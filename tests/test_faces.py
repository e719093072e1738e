"""The public names of each face of the package."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import pytest

import wirewright
from wirewright import async_api, sync_api

faces = pytest.mark.parametrize("face", [wirewright, async_api, sync_api], ids=lambda face: face.__name__)


def functions_of(value: Any) -> Iterator[Any]:
    """The functions that a user of a public name calls, those behind properties included."""
    if inspect.isfunction(value):
        yield inspect.unwrap(value)
    elif inspect.isclass(value):
        for name, member in inspect.getmembers_static(value):
            is_call = name == "__init__" and value.__name__.islower()  # others are made by the package
            if is_call or not name.startswith("_"):
                getter = getattr(member, "fget", None) or getattr(member, "_get", None)
                yield from functions_of(getter or member)


def names_in_signature(function: Any) -> set[str]:
    """The classes and type aliases of the package that the annotations of a function name."""
    module = sys.modules[function.__module__]
    if not module.__name__.startswith("wirewright") or not Path(inspect.getfile(function)).exists():
        return set()  # of the standard library, pyee or `dataclass`
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    annotated = [node for node in ast.walk(definition) if isinstance(node, ast.arg | ast.FunctionDef)]
    written = [getattr(node, "annotation", None) or getattr(node, "returns", None) for node in annotated]
    return {name for each in written if each is not None for name in _names(each)} & _of_the_package(module)


def _names(annotation: ast.AST) -> Iterator[str]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def _of_the_package(module: ModuleType) -> set[str]:
    names: set[str] = set()
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("wirewright"):
            names.update(each.name for each in statement.names)
        elif isinstance(statement, ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign):
            names.update(each.id for each in statement.targets if isinstance(each, ast.Name))
    variables = {name for name, value in vars(module).items() if isinstance(value, TypeVar | ParamSpec)}
    return {each for each in names - variables if not each.islower()}


@faces
def test_face_exports_all_that_it_takes_and_returns(face: ModuleType) -> None:
    named: set[str] = set()
    for name in face.__all__:
        for function in functions_of(getattr(face, name)):
            named |= names_in_signature(function)
    named -= {"Steps"}  # the result of functions that `stepped` makes methods of
    if face is sync_api:
        named -= {"Completion"}  # its methods return when the work is done
    assert {"ReplayHandler", "UrlMatch", "WebSocket"} <= named
    assert named - set(face.__all__) == set()


@faces
def test_exported_names_are_sorted_and_there(face: ModuleType) -> None:
    assert face.__all__ == sorted(face.__all__)
    assert all(hasattr(face, name) for name in face.__all__)
