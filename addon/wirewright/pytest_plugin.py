"""The pytest plugin: a proxy for the tests of a session, and for each test what it needs of it.

    def test_order(ws, app):
        with ws.expect_websocket("**/live") as opened:
            app.open()
        with opened.value.expect_event("framereceived", lambda payload: "filled" in payload):
            app.buy()

It imports no mitmproxy until a test asks for a proxy.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wirewright.model.history import Frame
    from wirewright.model.proxy import Proxy as OwnProxy
    from wirewright.model.websocket import WebSocket
    from wirewright.sync_api import Proxy

LAST = 10
"""How many frames of a socket a report has."""
WIDTH = 200
"""How many characters of a frame."""
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
        self.capture: Path | None = None
        self.failed = False
        self._proxy = proxy
        self._passing = _Passing(proxy._own)

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


class _Passing:
    """The sockets that pass while a test runs. For the thread in which nothing of them can be lost: the
    proxy's."""

    def __init__(self, proxy: "OwnProxy") -> None:
        self._proxy = proxy
        self._seen: list[_Seen] = []

    def start(self) -> None:
        for socket in self._proxy.web_sockets:
            self._seen.append(_Seen(socket, socket._history.total, is_new=False))
        self._proxy.on("websocket", self._see)

    def stop(self) -> None:
        self._proxy.remove_listener("websocket", self._see)
        for seen in self._seen:
            seen.stop()

    def _see(self, socket: "WebSocket") -> None:
        self._seen.append(_Seen(socket, 0, is_new=True))

    def tell(self) -> Iterator[str]:
        told = [seen for seen in self._seen if seen.has_passed]
        for number, seen in enumerate(told, 1):
            yield f"#{number} {seen}"
            yield from seen.tell()
        if not told:
            at = ""
            with suppress(Exception):  # it may have no port, or be gone
                at = f" at 127.0.0.1:{self._proxy.port}"
            yield f"no socket came by: does the app use the proxy{at}?"


class _Seen:
    """A socket, and what passed of it since some moment."""

    def __init__(self, socket: "WebSocket", before: int, *, is_new: bool) -> None:
        """`before` is how many frames have passed already."""
        self._socket = socket
        self._before = before
        self._is_new = is_new
        self._error: str | None = None
        socket.on("socketerror", self._fail)

    def stop(self) -> None:
        self._socket.remove_listener("socketerror", self._fail)

    def _fail(self, message: str) -> None:
        self._error = message

    @property
    def has_passed(self) -> bool:
        """Whether anything has happened to it."""
        return self._is_new or self._socket.is_closed() or self._socket._history.total > self._before

    def __str__(self) -> str:
        from wirewright.timeline import printable

        since = "" if self._is_new else ", since before the test"
        return f"{printable(self._socket.url)} ({_state(self._socket)}{since})"

    def tell(self) -> Iterator[str]:
        """Its last frames, and its failure."""
        from wirewright.timeline import printable

        history = self._socket._history
        frames = history.since(self._before)[-LAST:]
        earlier = history.total - self._before - len(frames)
        if earlier:
            yield f"   … {earlier:,} earlier"
        elif not frames:
            yield "   no frame"
        yield from map(_tell_frame, frames)
        if self._error is not None:
            yield f"   ✕ {printable(self._error)}"


def _state(socket: "WebSocket") -> str:
    if not socket.is_closed():
        return "open" if socket.opened_at else "opening"
    if not socket.opened_at:
        return f"failed with status {socket.status}" if socket.status else "failed"
    said = [str(socket.close_code)]
    if socket.close_reason:
        said.append(repr(socket.close_reason))
    if socket.closed_by:
        said.append(f"by {socket.closed_by}")
    return f"closed {' '.join(said)}"


def _tell_frame(frame: "Frame") -> str:
    shown = repr(frame.payload)
    shown = shown if len(shown) <= WIDTH else f"{shown[:WIDTH]}… ({len(frame.payload):,} in all)"
    at = f"{datetime.fromtimestamp(frame.timestamp):%H:%M:%S.%f}"[:-3]
    return f"   {at} {'→' if frame.event == 'framesent' else '←'} {shown}"


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
    if touched is not None and touched.capture is not None and report.when == "teardown":
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
