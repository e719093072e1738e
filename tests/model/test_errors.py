import asyncio
import builtins
import pickle
import traceback

import pytest

import wirewright
from wirewright.model.errors import EndedError, EndpointError, Error, TimeoutError  # noqa: A004  Playwright's name


def test_error_carries_its_message() -> None:
    error = Error("Socket closed")
    assert error.message == "Socket closed"
    assert str(error) == "Socket closed"


@pytest.mark.parametrize("kind", [Error, builtins.TimeoutError, asyncio.TimeoutError])
def test_timeout_is_caught_as(kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^Timeout 1ms exceeded$") as caught:
        raise TimeoutError("Timeout 1ms exceeded")
    assert isinstance(caught.value, Error)
    assert caught.value.message == "Timeout 1ms exceeded"


def test_closed_socket_is_no_timeout() -> None:
    assert not isinstance(Error("Socket closed"), builtins.TimeoutError)


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_wrong_argument_is_no_error_of_a_socket(kind: type[Exception]) -> None:
    assert not issubclass(Error, kind)


def test_errors_are_public() -> None:
    assert (wirewright.Error, wirewright.TimeoutError) == (Error, TimeoutError)


@pytest.mark.parametrize("kind", [EndedError, EndpointError, Error, TimeoutError])
def test_error_is_called_as_users_import_it(kind: type[Error]) -> None:
    error = kind("a sentence")
    assert traceback.format_exception_only(error) == [f"wirewright.{kind.__name__}: a sentence\n"]
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is getattr(wirewright, kind.__name__) is kind
    assert copy.message == "a sentence"
