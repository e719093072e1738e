"""The fixtures of the sync API: the session's proxy, and the same proxy for one test."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wirewright.sync_api import Proxy


@pytest.fixture(scope="session")
def ws_proxy_args() -> dict[str, Any]:
    """The keyword arguments of `wirewright.sync_api.launch` for the session's proxy.

    Override this fixture in a conftest.py. A port and modes in the command line take precedence.
    """
    return {}


@pytest.fixture(scope="session")
def ws_context_args() -> dict[str, Any]:
    """The keyword arguments of `proxy.context` for the session's proxy; none for the sockets of all apps.

    Override this fixture in a conftest.py, such as by `{"user": f"phone-{worker_id}"}`. Then the fixtures
    see, route and record the sockets of this context alone: xdist workers that share a proxy need that.
    """
    return {}


@pytest.fixture(scope="session")
def ws_session_proxy(
    request: pytest.FixtureRequest, ws_proxy_args: dict[str, Any], ws_context_args: dict[str, Any]
) -> "Iterator[Proxy]":
    """The session's proxy: launched, or with `--ws-connect` one that runs. With xdist one for each worker.

    Listeners and routes that are registered on it stay; `ws_proxy` is for one test.
    """
    from wirewright import sync_api

    options = request.config.option
    if options.ws_connect:
        check_capture(request.config, ws_context_args)
        with limited(sync_api.connect(**connect_arguments(request.config)), ws_context_args) as proxy:
            yield proxy
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # with `-W error`, too
        from wirewright.mitm import master  # noqa: F401
    arguments = {"port": 0, **ws_proxy_args}
    if options.ws_proxy_port is not None:
        arguments["port"] = options.ws_proxy_port
    if options.ws_proxy_mode is not None:
        arguments["mode"] = options.ws_proxy_mode
    if arguments["port"]:
        arguments["port"] += _worker(request.config)
    with sync_api.launch(**arguments) as proxy:
        if not ws_context_args:
            yield proxy
            return
        with proxy.context(**ws_context_args) as context:
            yield context


@pytest.fixture
def ws_proxy(ws_session_proxy: "Proxy", _ws_cassette: None) -> "Iterator[Proxy]":
    """The session's proxy for one test. Listeners and routes of the test are removed at its end."""
    from wirewright.sync_api import temporary_registrations

    with temporary_registrations(ws_session_proxy) as proxy:
        yield proxy


@pytest.fixture
def ws(ws_proxy: "Proxy") -> "Proxy":
    """The old name of `ws_proxy`. It is deprecated."""
    sentence = "the fixture ws is now ws_proxy; the next version of Wirewright has no fixture ws"
    warnings.warn(pytest.PytestDeprecationWarning(sentence), stacklevel=2)
    return ws_proxy


def connect_arguments(config: pytest.Config) -> dict[str, Any]:
    """The arguments of `connect` for the proxy of `--ws-connect`."""
    endpoint = None if config.option.ws_connect == "auto" else config.option.ws_connect
    return {"endpoint": endpoint, "allow_cleartext": config.option.ws_allow_cleartext}


def limited(connection: Any, context_args: dict[str, Any]) -> Any:
    """A connection of either API for the context of `ws_context_args`, or for all sockets without any."""
    return connection.context(**context_args) if context_args else connection


def check_capture(config: pytest.Config, context_args: dict[str, Any]) -> None:
    """Fail the test if xdist workers would record the sockets of each other."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if config.option.ws_capture != "off" and not context_args and workers > 1:
        pytest.fail(
            f"--ws-capture={config.option.ws_capture} with --ws-connect and several xdist workers needs a "
            "context for each worker: override the fixture ws_context_args",
            pytrace=False,
        )


def _worker(config: pytest.Config) -> int:
    """The number of an xdist worker, from 0."""
    worker: Any = getattr(config, "workerinput", {}).get("workerid", "gw0")
    return int(worker.removeprefix("gw"))
