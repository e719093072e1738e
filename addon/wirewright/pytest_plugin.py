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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wirewright.sync_api import Proxy, WebSocket

LAST = 10
"""How many frames of a socket a report has."""
WIDTH = 200
"""How many characters of a frame."""


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
        default=0,
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


@pytest.fixture(scope="session")
def ws_proxy(request: pytest.FixtureRequest) -> "Iterator[Proxy]":
    """The session's proxy: launched, or with `--ws-connect` one that runs. With xdist one for each worker.

    What a test registers on it stays; `ws` is for one test.
    """
    from wirewright import sync_api

    options = request.config.option
    if options.ws_connect:
        with sync_api.connect(None if options.ws_connect == "auto" else options.ws_connect) as proxy:
            yield proxy
        return
    port = options.ws_proxy_port and options.ws_proxy_port + _worker(request.config)
    with sync_api.launch(port, mode=options.ws_proxy_mode or ["regular"]) as proxy:
        yield proxy


@pytest.fixture
def ws(request: pytest.FixtureRequest, ws_proxy: "Proxy") -> "Iterator[Proxy]":
    """The session's proxy for one test: its listeners and routes are taken back afterwards.

    If the test fails, the report has the last frames of the sockets that were opened meanwhile.
    """
    from wirewright.sync_api import for_a_while

    touched = request.node.stash.setdefault(_TOUCHED, _Touched())
    capture = _capture_path(request)
    with for_a_while(ws_proxy) as proxy:
        proxy.on("websocket", touched.sockets.append)
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


@dataclass
class _Touched:
    """What a test has used."""

    sockets: "list[WebSocket]" = field(default_factory=list)
    capture: Path | None = None
    failed: bool = False


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
            if text := "\n".join(_tell(touched)):
                report.sections.append(("WebSockets", text))
    if touched is not None and touched.capture is not None and report.when == "teardown":
        _keep_or_not(item.config, touched, touched.capture)
    return report


def _keep_or_not(config: pytest.Config, touched: _Touched, capture: Path) -> None:
    if config.option.ws_capture == "retain-on-failure" and not touched.failed:
        capture.unlink(missing_ok=True)


def _tell(touched: _Touched) -> Iterator[str]:
    from wirewright.sync_api import last_frames

    for number, socket in enumerate(touched.sockets, 1):
        state = f"closed {socket.close_code or ''}".rstrip() if socket.is_closed() else "open"
        yield f"#{number} {socket.url} ({state})"
        frames = last_frames(socket, LAST)
        if not frames:
            yield "   no frame"
        for direction, payload in frames:
            shown = repr(payload)
            shown = shown if len(shown) <= WIDTH else f"{shown[:WIDTH]}… ({len(payload):,} in all)"
            yield f"   {'→' if direction == 'framesent' else '←'} {shown}"
    if touched.capture is not None:
        yield f"all of it: wirewright show {_shown(touched.capture)}"


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _capture_path(request: pytest.FixtureRequest) -> Path | None:
    """A new file for this test; none that is there is touched."""
    options = request.config.option
    if options.ws_capture == "off":
        return None
    folder = Path(options.ws_capture_dir).absolute()  # the proxy may run elsewhere
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
