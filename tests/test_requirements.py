"""The packages that Wirewright needs, and the sentence about one that is missing."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.processes import ADDON, ROOT
from wirewright import requirements
from wirewright.requirements import OLDEST_VERSIONS, RequirementError, require, require_mitmproxy

NO_MODULE = "no_such_module"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a virtual environment in which mitmproxy is installed."""
    folder = tmp_path / "mitmproxy"
    folder.mkdir()
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "bin" / "python"))
    return folder


def sentence(*needed: str, with_them: tuple[str, ...] = ()) -> str:
    with pytest.raises(RequirementError) as caught:
        require(needed, with_them)
    text = str(caught.value)
    assert "\n" not in text
    return text


def install(folder: Path, name: str, version: str, code: str = "") -> None:
    """A package as pip leaves it, in a folder that is on the path."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [re.match(r"(\w+)>=([\d.]+)", each) for each in project["dependencies"]]
    assert {each[1]: each[2] for each in found if each} == OLDEST_VERSIONS
    python = ".".join(map(str, requirements.OLDEST_PYTHON))
    assert project["requires-python"] == f">={python}"


def test_installed_packages_are_enough() -> None:
    require(list(OLDEST_VERSIONS))
    require_mitmproxy()


def test_missing_package_is_added_with_pip_or_pipx(environment: Path) -> None:
    text = sentence(NO_MODULE)
    assert f"needs the package {NO_MODULE}. " in text
    assert f"{environment}/bin/python -m pip install {NO_MODULE}" in text
    assert f"pipx inject mitmproxy {NO_MODULE}" in text


def test_the_command_adds_all_that_are_missing() -> None:
    text = sentence("another_module", with_them=("pyee", NO_MODULE))
    assert f"packages another_module, {NO_MODULE}. " in text
    assert f"-m pip install another_module {NO_MODULE} " in text


def test_a_package_that_is_only_useful_may_be_missing() -> None:
    require(["pyee"], with_them=[NO_MODULE])


def test_pipx_environment_is_named(environment: Path) -> None:
    (environment / "pipx_metadata.json").write_text("{}")
    assert sentence(NO_MODULE).endswith(f"Install with: pipx inject mitmproxy {NO_MODULE}")


def test_uv_tool_gets_its_own_command(environment: Path) -> None:
    (environment / "uv-receipt.toml").write_text("")
    assert sentence("a_b", "c_d").endswith("uv tool install --reinstall mitmproxy --with a_b,c_d")


def test_standalone_binary_cannot_be_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert "standalone binaries take no packages" in sentence(NO_MODULE)


def test_old_package_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "pyee", "12.1.1")
    monkeypatch.syspath_prepend(tmp_path)
    text = sentence("pyee")
    assert "needs pyee 13 or newer, and this is pyee 12.1.1" in text
    assert "-m pip install --upgrade pyee" in text
    assert "pipx inject --force mitmproxy pyee" in text


@pytest.mark.parametrize("version", ["10.4.2", "11.0.1", "9"])
def test_old_mitmproxy_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(tmp_path, "mitmproxy", version)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RequirementError) as caught:
        require_mitmproxy()
    assert f"needs mitmproxy 11.0.2 or newer, and this is mitmproxy {version}" in str(caught.value)
    assert "pipx upgrade mitmproxy" in str(caught.value)


@pytest.mark.parametrize("version", ["11.0.2", "11.1.0.dev0", "13.0"])
def test_newer_mitmproxy_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(tmp_path, "mitmproxy", version)
    monkeypatch.syspath_prepend(tmp_path)
    require_mitmproxy()


def test_broken_package_is_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OLDEST_VERSIONS, "half_a_package", "1")
    install(tmp_path, "half_a_package", "1.0", "import half_a_package._binary")
    monkeypatch.syspath_prepend(tmp_path)
    text = sentence("half_a_package")
    assert "half_a_package that Wirewright needs cannot be imported (No module named" in text
    assert "-m pip install --force-reinstall half_a_package" in text


def test_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    assert sentence("pyee").startswith("Wirewright needs Python 3.11 or newer, and this is Python 3.10.13.")


@pytest.mark.parametrize("minor", [8, 9, 10])
def test_old_python_can_read_the_files_that_say_so(minor: int) -> None:
    for path in (ADDON, ADDON.with_name("__init__.py"), ADDON.with_name("requirements.py")):
        ast.parse(path.read_text(), feature_version=(3, minor))


def test_sync_api_says_that_greenlet_is_missing() -> None:
    code = "import sys; sys.modules['greenlet'] = None; import wirewright.sync_api"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "RequirementError: Wirewright needs the package greenlet. Install with: " in ended.stderr
