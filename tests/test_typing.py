"""The types of the API, as mypy and pyright check them in code of users."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import wirewright
from support.processes import ROOT
from wirewright import async_api, sync_api

pytestmark = pytest.mark.slow

SAMPLES = ROOT / "tests" / "typing_samples"


CHECKERS = pytest.mark.parametrize("checker", ["mypy", "pyright"], scope="module")


@pytest.fixture(scope="module")
def errors(checker: str, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, int]]:
    """The lines of all samples for which a type checker shows an error, by one run of it."""
    pytest.importorskip(checker)
    folder = tmp_path_factory.mktemp(checker)
    for sample in ("good.py", "bad.py"):
        shutil.copy(SAMPLES / sample, folder)
    (folder / "imports.py").write_text("\n".join(import_lines()))
    settings = json.loads((SAMPLES / "pyrightconfig.json").read_text())
    settings |= {"extraPaths": [str(ROOT / "addon")], "reportUnusedImport": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    if checker == "mypy":
        command = [sys.executable, "-m", "mypy", "--strict", *map(str, folder.glob("*.py"))]
    else:
        pyright = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
        command = [*pyright, "--project", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert re.search(r"\d+ error", run.stdout), run.stdout + run.stderr
    shown = re.findall(r"(\w+\.py):(\d+):(?:\d+ -)? error", run.stdout)
    return {(sample, int(line)) for sample, line in shown}


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of projects with the same options: the package is checked once for all of them."""
    return {"MYPY_CACHE_DIR": str(tmp_path_factory.mktemp("mypy_cache"))}


def import_lines() -> list[str]:
    """An import of each public name."""
    return [
        f"from {face.__name__} import {name} as {name}_{number}"
        for number, face in enumerate((wirewright, async_api, sync_api))
        for name in face.__all__
    ]


@CHECKERS
def test_events_have_types(errors: set[tuple[str, int]]) -> None:
    assert {line for sample, line in errors if sample == "good.py"} == set()


@CHECKERS
def test_example_project_passes_type_checkers(
    checker: str, tmp_path: Path, mypy_cache: dict[str, str]
) -> None:
    project = tmp_path / "tested"
    shutil.copytree(ROOT / "examples" / "tested", project)
    pytest.importorskip(checker)
    (project / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT / "addon")]}))
    commands = {"mypy": ["--strict", "."], "pyright": ["--pythonpath", sys.executable]}
    run = subprocess.run(
        [sys.executable, "-m", checker, *commands[checker]],
        cwd=project,
        env={**os.environ, **mypy_cache, "MYPYPATH": str(ROOT / "addon")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@CHECKERS
def test_all_public_names_may_be_imported(errors: set[tuple[str, int]]) -> None:
    assert {line for sample, line in errors if sample == "imports.py"} == set()


PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COOKBOOK_IMPORTS = """
import itertools
import pytest
from conftest import App
from wirewright.sync_api import Proxy, WebSocket, WebSocketMock, WebSocketRoute, expect

"""
COOKBOOK_FUNCTION = "def recipe(ws_proxy: Proxy, app: App, live: WebSocket, mock: WebSocketMock) -> None:\n"


def test_tests_of_the_documentation_have_right_names_and_types(
    tmp_path: Path, mypy_cache: dict[str, str]
) -> None:
    """Whole files stand alone. What the cookbook shows is a part of a test."""
    pytest.importorskip("mypy")
    blocks = PYTHON.findall((ROOT / "docs" / "testing.md").read_text())
    recipes = [each for each in blocks if not each.startswith("# ")]
    files = [each for each in blocks if each.startswith("# ")]
    (tmp_path / "conftest.py").write_text(files[0])
    for number, file in enumerate(files[1:]):
        (tmp_path / f"file_{number}.py").write_text(file)
    for number, recipe in enumerate(recipes):
        code = COOKBOOK_IMPORTS + COOKBOOK_FUNCTION + textwrap.indent(recipe, "    ")
        (tmp_path / f"recipe_{number}.py").write_text(code)
    assert len(recipes) > 10
    assert len(files) > 7
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = True\n[mypy-{','.join(path.stem for path in tmp_path.glob('*.py'))}]\n"
        "disable_error_code = import-not-found, import-untyped\ndisallow_untyped_decorators = False\n"
    )
    environment = {**os.environ, **mypy_cache, "MYPYPATH": str(ROOT / "addon")}
    command = [sys.executable, "-m", "mypy", "."]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    errors = re.findall(r"^\w+\.py:\d+: error.*", run.stdout, re.MULTILINE)
    assert re.search(r"checked \d+|no issues found in \d+", run.stdout), run.stdout + run.stderr
    assert errors == []


@CHECKERS
def test_misspelt_events_and_wrong_parameters_are_errors(errors: set[tuple[str, int]]) -> None:
    lines = (SAMPLES / "bad.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    assert {line for sample, line in errors if sample == "bad.py"} == wrong
