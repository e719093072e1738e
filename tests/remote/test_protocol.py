"""Messages, before they are written."""

from typing import Any

import pytest

from wirewright.remote import protocol


def test_user_s_mistake_is_found_before_it_is_sent() -> None:
    message: Any = protocol.Connect([("a", 5)], None)  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"Expected `str \| null`, got `int`"):
        protocol.checked(message)
    message = protocol.Reject(403, [], b"\xff")
    assert protocol.checked(message) is message
