"""What holds for one lane holds for the other, but where a test says why not."""

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with a proxy of either lane; one that is marked `wire` with ours alone."""
    if "lane" in metafunc.fixturenames:
        only_ours = metafunc.definition.get_closest_marker("wire")
        metafunc.parametrize("lane", ["auto"] if only_ours else ["auto", "hooks"])
