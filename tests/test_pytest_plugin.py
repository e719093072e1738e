"""The pytest plugin, as it works in the tests of somebody else."""

import re
from pathlib import Path

import pytest

import wirewright.master  # noqa: F401  pytester unloads what is first imported in its tests
from support.processes import ROOT
from wirewright.sync_api import launch

pytest_plugins = ["pytester"]

APP = """
import threading
from contextlib import ExitStack, contextmanager

import pytest
from websockets.sync.client import connect
from websockets.sync.server import serve


@contextmanager
def serving():
    def echo(connection):
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def app(ws):
    with ExitStack() as stack:
        url = stack.enter_context(serving())

        def open(path="/live"):
            return stack.enter_context(connect(url + path, proxy=f"http://127.0.0.1:{ws.port}"))

        yield open
"""


@pytest.fixture(autouse=True)
def their_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "addon"))
    pytester.makeconftest(APP)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    plugin = () if _is_installed() else ("-p", "wirewright.pytest_plugin")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *plugin, *arguments, timeout=50)


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(each.value == "wirewright.pytest_plugin" for each in entry_points(group="pytest11"))


def test_test_waits_for_what_its_app_says(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(ws, app):
            with ws.expect_websocket("**/live") as opened:
                client = app()
            with opened.value.expect_event("framereceived", lambda payload: payload == "b") as frame:
                client.send("a")
                client.send("b")
            assert frame.value == "b"
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_what_a_test_registers_goes_with_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        heard = []

        def test_one(ws, app):
            ws.on("websocket", lambda socket: socket.on("framereceived", heard.append))
            ws.route_web_socket("**", lambda route: route.on_message(lambda message: route.send("mocked")))
            client = app()
            client.send("a")
            assert client.recv(timeout=10) == "mocked"

        def test_two(ws, app, ws_proxy):
            assert ws.port == ws_proxy.port
            client = app()
            client.send("a")
            assert client.recv(timeout=10) == "a"
            assert "a" not in heard
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_report_of_a_failure_has_the_last_frames_and_the_capture(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["a/b", "c"])
        def test_fails(ws, app, name):
            with ws.expect_websocket():
                client = app("/" + name)
            for number in range(12):
                client.send(f"message {number}")
                client.recv(timeout=10)
            assert False

        def test_passes(ws, app):
            client = app()
            client.send("fine")
            client.recv(timeout=10)

        def test_without():
            assert False
        """
    )
    result = run(pytester, "--ws-capture=retain-on-failure", "--ws-capture-dir=kept")
    result.assert_outcomes(failed=3, passed=1)
    said = result.stdout.str()
    assert len(re.findall(r"-+ WebSockets -+", said)) == 2
    assert re.search(r"#1 ws://127\.0\.0\.1:\d+/a/b \(open\)", said)
    assert "→ 'message 11'" in said
    assert "← 'message 11'" in said
    assert "'message 5'" not in said
    captures = sorted(path.name for path in (pytester.path / "kept").iterdir())
    assert len(captures) == 2
    assert all(f"all of it: wirewright show kept/{name}" in said for name in captures)
    again = run(pytester, "--ws-capture=on", "--ws-capture-dir=kept", "-k", "passes or fails")
    again.assert_outcomes(failed=2, passed=1)
    assert len(list((pytester.path / "kept").iterdir())) == 5  # none was touched


def test_running_proxy_is_used(pytester: pytest.Pytester, confdir: Path) -> None:
    pytester.makepyfile(
        """
        def test_it(ws, app):
            ws.route_web_socket("**", lambda route: route.on_message(lambda message: route.send("mocked")))
            client = app()
            client.send("a")
            assert client.recv(timeout=10) == "mocked"
            print("port", ws.port)
        """
    )
    with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}) as proxy:
        result = run(pytester, "--ws-connect=auto", "-s")
        result.assert_outcomes(passed=1)
        assert f"port {proxy.port}" in result.stdout.str()
    result = run(pytester, "--ws-connect=auto")
    result.assert_outcomes(errors=1)
    assert "no proxy with ws_remote runs here" in result.stdout.str()


def test_each_worker_has_a_proxy_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(ws, app, number):
            client = app(f"/{number}")
            client.send("a")
            assert client.recv(timeout=10) == "a"
            assert [socket.url[-1] for socket in ws.web_sockets] == [str(number)]
        """
    )
    run(pytester, "-n", "2").assert_outcomes(passed=4)


def test_async_tests_may_use_it_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio

        async def test_it(ws, app):
            with ws.expect_websocket():
                client = await asyncio.to_thread(app)
            await asyncio.to_thread(client.send, "a")
            found = await asyncio.to_thread(
                lambda: ws.web_sockets[0].wait_for_event("framereceived", history=True)
            )
            assert found == "a"
        """
    )
    run(pytester, "-o", "asyncio_mode=auto").assert_outcomes(passed=1)


def test_nothing_is_imported_unless_a_test_asks_for_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("")
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "mitmproxy" not in sys.modules
            assert "wirewright.sync_api" not in sys.modules
        """
    )
    run(pytester).assert_outcomes(passed=1)
