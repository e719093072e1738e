"""The pytest plugin: a proxy for the tests of a session, and for each test what it needs of it.

    def test_order(ws, app):
        with ws.expect_websocket("**/live") as opened:
            app.open()
        with opened.value.expect_event("framereceived", lambda payload: "filled" in payload):
            app.buy()

It imports no mitmproxy until a test asks for a proxy.
"""

import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wirewright.sync_api import Proxy

DEPRECATING = ("ldap3", "mitmproxy", "passlib", "pyasn1", "pyparsing")
"""mitmproxy and what it imports use what is deprecated; no user can mend that."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wirewright", "WebSockets of apps behind a proxy")
    group.addoption(
        "--ws-connect",
        metavar="ENDPOINT",
        help="Use the proxy that runs at this endpoint (`auto`: the one that runs here), and launch none.",
    )
    group.addoption(
        "--ws-proxy-mode",
        metavar="MODE",
        action="append",
        help="The mode of the proxy that is launched (regular); more than once for more.",
    )
    group.addoption(
        "--ws-proxy-port",
        metavar="PORT",
        type=int,
        help="Its port; 0 (the default) takes a free one. With xdist each worker takes the next.",
    )
    group.addoption(
        "--ws-capture",
        choices=["on", "off", "retain-on-failure"],
        default="off",
        help="Record each test that uses `ws` in a capture of its own.",
    )
    group.addoption(
        "--ws-capture-dir", metavar="DIR", default="test-results", help="The folder of the captures."
    )


def pytest_configure(config: pytest.Config) -> None:
    for package in DEPRECATING:
        config.addinivalue_line("filterwarnings", f"ignore::DeprecationWarning:{package}.*")
    options = config.option
    if not options.ws_connect:
        return
    if options.ws_proxy_port is not None or options.ws_proxy_mode is not None:
        raise pytest.UsageError(
            "--ws-connect does not go with --ws-proxy-port and --ws-proxy-mode: they are of a proxy to launch"
        )
    if options.ws_capture != "off" and _workers(config) > 1:
        raise pytest.UsageError(
            f"--ws-capture={options.ws_capture} does not go with --ws-connect and several xdist workers: "
            "a proxy records for one test at a time"
        )


def pytest_sessionstart(session: pytest.Session) -> None:
    options = session.config.option
    if options.ws_capture == "off":
        return
    try:
        _capture_folder(session.config).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--ws-capture-dir={options.ws_capture_dir}: {error.strerror}") from None


@pytest.fixture(scope="session")
def ws_proxy_args() -> dict[str, Any]:
    """What the session's proxy is launched with: the keyword arguments of `wirewright.sync_api.launch`.

    To be overridden in a conftest.py. The port and the modes of the command line win.
    """
    return {}


@pytest.fixture(scope="session")
def ws_proxy(request: pytest.FixtureRequest, ws_proxy_args: dict[str, Any]) -> "Iterator[Proxy]":
    """The session's proxy: launched, or with `--ws-connect` one that runs. With xdist one for each worker.

    What a test registers on it stays; `ws` is for one test.
    """
    from wirewright import sync_api

    options = request.config.option
    if options.ws_connect:
        with sync_api.connect(None if options.ws_connect == "auto" else options.ws_connect) as proxy:
            yield proxy
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # with `-W error`, too
        from wirewright import master  # noqa: F401
    arguments = {"port": 0, **ws_proxy_args}
    if options.ws_proxy_port is not None:
        arguments["port"] = options.ws_proxy_port
    if options.ws_proxy_mode is not None:
        arguments["mode"] = options.ws_proxy_mode
    if arguments["port"]:
        arguments["port"] += _worker(request.config)
    with sync_api.launch(**arguments) as proxy:
        yield proxy


@pytest.fixture
def ws(request: pytest.FixtureRequest, ws_proxy: "Proxy") -> "Iterator[Proxy]":
    """The session's proxy for one test: its listeners and routes are taken back afterwards.

    If the test fails, the report has the last frames that passed meanwhile.
    """
    from wirewright.sync_api import for_a_while

    touched = request.node.stash[_TOUCHED] = _Touched(ws_proxy)
    capture = _capture_path(request)
    with touched.watching(), for_a_while(ws_proxy) as proxy:
        if capture is not None:
            try:
                proxy.start_capture(capture)
            except BaseException:
                capture.unlink(missing_ok=True)
                raise
            touched.capture = capture
        try:
            yield proxy
        finally:
            if capture is not None:
                proxy.stop_capture()


class _Touched:
    """What a test has used."""

    def __init__(self, proxy: "Proxy") -> None:
        from wirewright.passing import Passing

        self.capture: Path | None = None
        self.failed = False
        self._proxy = proxy
        self._passing = Passing(proxy._own)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See what passes while the block runs."""
        from wirewright.sync_api import Error

        self._proxy._call(self._passing.start)
        try:
            yield
        finally:
            with suppress(Error):  # the proxy may be gone
                self._proxy._call(self._passing.stop)

    def tell(self) -> Iterator[str]:
        """The lines of a report."""
        yield from self._proxy._call(lambda: list(self._passing.tell()))
        if self.capture is not None:
            yield f"all of it: wirewright show {_shown(self.capture)}"


_TOUCHED = pytest.StashKey[_Touched]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    touched = item.stash.get(_TOUCHED, None)
    if touched is not None and report.failed:
        touched.failed = True
        with suppress(Exception):  # the proxy may be gone: the test's own failure is what counts
            report.sections.append(("WebSockets", "\n".join(touched.tell())))
    if touched is not None and report.when == "teardown":
        del item.stash[_TOUCHED]  # items live as long as the session, and what sockets remember is large
        if touched.capture is not None:
            _keep_or_not(item.config, touched, touched.capture)
    return report


def _keep_or_not(config: pytest.Config, touched: _Touched, capture: Path) -> None:
    if config.option.ws_capture == "retain-on-failure" and not touched.failed:
        capture.unlink(missing_ok=True)


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _capture_folder(config: pytest.Config) -> Path:
    return Path(config.option.ws_capture_dir).absolute()  # the proxy may run elsewhere


def _capture_path(request: pytest.FixtureRequest) -> Path | None:
    """A new file for this test; none that is there is touched."""
    if request.config.option.ws_capture == "off":
        return None
    folder = _capture_folder(request.config)
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-")[-120:]
    for number in range(1, 10_000):
        path = folder / (f"{name}.db" if number == 1 else f"{name}-{number}.db")
        with suppress(FileExistsError):
            path.touch(mode=0o600, exist_ok=False)
            return path
    raise pytest.UsageError(f"{folder}: there are too many captures of this test")


def _worker(config: pytest.Config) -> int:
    """The number of an xdist worker, from 0."""
    worker: Any = getattr(config, "workerinput", {}).get("workerid", "gw0")
    return int(worker.removeprefix("gw"))


def _workers(config: pytest.Config) -> int:
    """How many xdist workers there will be."""
    if config.getoption("dist", "no") == "no":
        return 1
    counts = [each.rpartition("*")[0] for each in config.getoption("tx", None) or ()]
    return sum(int(count or 1) for count in counts)
