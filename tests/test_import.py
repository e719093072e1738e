"""What importing Wirewright brings into a process."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def modules_after(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after a statement."""
    code = f"{statement}; import sys; print(*(name.partition('.')[0] for name in sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )


@pytest.mark.parametrize("statement", ["import wirewright", "from wirewright import launch, proxy"])
def test_package_imports_neither_mitmproxy_nor_what_the_command_needs(statement: str) -> None:
    modules = modules_after(statement)
    assert "wirewright" in modules
    assert not modules & {"mitmproxy", "mitmproxy_rs", "rich", "typer", "websockets", "trustme"}


def test_addon_does_not_import_what_the_command_needs() -> None:
    modules = modules_after("import wirewright.mitm.addon, wirewright.mitm.master")
    assert "mitmproxy" in modules
    assert not modules & {"rich", "typer", "trustme"}
