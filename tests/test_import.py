"""What importing Wirewright brings into a process."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    code = f"{statement}; import sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(said.splitlines()[-1].split())


def packages_after(statement: str) -> set[str]:
    """Their top-level packages."""
    return {name.partition(".")[0] for name in modules_after(statement)}


def test_package_imports_next_to_nothing() -> None:
    modules = modules_after("import wirewright")
    assert "wirewright" in modules
    assert not modules & {"asyncio", "greenlet", "msgspec", "sqlite3", "wirewright.model.proxy"}


@pytest.mark.parametrize("statement", ["from wirewright import launch, proxy", "from wirewright import *"])
def test_names_import_neither_mitmproxy_nor_what_the_command_needs(statement: str) -> None:
    packages = packages_after(statement)
    assert "wirewright" in packages
    assert not packages & {"mitmproxy", "mitmproxy_rs", "rich", "typer", "websockets", "trustme"}


@pytest.mark.parametrize("first", ["wirewright.launcher", "wirewright.async_api", "wirewright.sync_api"])
def test_names_are_the_same_whichever_module_is_imported_first(first: str) -> None:
    modules_after(
        f"import {first}; from wirewright import *; import wirewright, wirewright.in_process_api as api; "
        "assert all(getattr(wirewright, name) is getattr(api, name) for name in wirewright.__all__); "
        "assert launch is wirewright.launch is api.launch; assert set(api.__all__) <= set(dir(wirewright))"
    )


def test_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    import wirewright

    with pytest.raises(AttributeError, match=r"^module 'wirewright' has no attribute 'lunch'$"):
        wirewright.lunch  # type: ignore[attr-defined]  # noqa: B018


def test_pytest_plugin_imports_no_more_than_its_hooks_need() -> None:
    """pytest imports it at each start, whether or not a test uses a proxy."""
    added = modules_after("import pytest, wirewright.pytest_plugin") - modules_after("import pytest")
    packages = {name for name in added if "wirewright" not in name}
    assert packages <= {"pyee", "pyee.base"}
    assert {name for name in added if name.startswith("wirewright.model.")} == {
        f"wirewright.model.{name}"
        for name in (
            "code_places",
            "errors",
            "frame",
            "json_match",
            "misuse",
            "running_proxies",
            "socket_text",
            "user_errors",
        )
    }
    assert not any(name.startswith(("wirewright.capture", "wirewright.remote")) for name in added)


def test_help_of_the_command_imports_what_it_prints_only() -> None:
    modules = modules_after("from wirewright.cli.main import app; app(['--help'], standalone_mode=False)")
    assert "rich.panel" in modules
    assert not modules & {"asyncio", "mitmproxy", "sqlite3", "websockets", "wirewright.model.proxy"}


def test_command_imports_no_pydantic() -> None:
    """As typer does from 0.29 on. It would stay in the memory of a proxy."""
    packages = packages_after("from wirewright.cli.main import app; app(['captures'], standalone_mode=False)")
    assert "sqlite3" in packages
    assert "pydantic" not in packages


def test_addon_does_not_import_what_the_command_needs() -> None:
    packages = packages_after("import wirewright.mitm.addon, wirewright.mitm.master")
    assert "mitmproxy" in packages
    assert not packages & {"rich", "typer", "trustme"}
