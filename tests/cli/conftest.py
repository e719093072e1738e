"""What the tests of commands may ask for."""

from collections.abc import Iterator

import pytest

from support.forked_programs import forked_programs


@pytest.fixture(scope="session", autouse=True)
def _forked_programs() -> Iterator[None]:
    with forked_programs():
        yield
