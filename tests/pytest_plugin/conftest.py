"""What the tests of the pytest plugin have."""

from pathlib import Path

import pytest

from support.pytest_projects import prepare


@pytest.fixture(autouse=True)
def their_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, confdir: Path
) -> None:
    """Tests of somebody else, in the folder of `pytester`."""
    prepare(pytester, monkeypatch, tmp_path, confdir)
