"""The pytest plugin, as it works in the tests of somebody else."""

import re
from pathlib import Path

import pytest

from support.hostile_text import assert_is_clean
from support.ports import free_port
from support.pytest_projects import APP, run
from wirewright.sync_api import launch

pytest_plugins = ["pytester"]


def test_test_waits_for_what_its_app_says(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(ws_proxy, app):
            with ws_proxy.expect_websocket("**/live") as opened:
                client = app()
            with opened.value.expect_event("framereceived", lambda payload: payload == "b") as frame:
                client.send("a")
                client.send("b")
            assert frame.value == "b"
        """
    )
    run(pytester, imports_nothing=True).assert_outcomes(passed=1)


def test_what_a_test_registers_goes_with_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        heard = []

        def test_one(ws_proxy, app):
            ws_proxy.on("websocket", lambda socket: socket.on("framereceived", heard.append))
            ws_proxy.route_web_socket("**", lambda route: route.on_message(lambda _: route.send("mocked")))
            client = app()
            client.send("a")
            assert client.recv() == "mocked"

        def test_two(ws_proxy, app, ws_session_proxy):
            assert ws_proxy.port == ws_session_proxy.port
            client = app()
            client.send("a")
            assert client.recv() == "a"
            assert "a" not in heard
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_old_name_of_the_fixture_is_an_alias_with_a_warning(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(ws, ws_proxy):
            assert ws is ws_proxy
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, warnings=1)
    assert "PytestDeprecationWarning: the fixture ws is now ws_proxy" in result.stdout.str()


def test_report_of_a_failed_test_is_clean(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def fail(payload):
            raise ValueError(payload)

        def test_it(ws_proxy, app):
            ws_proxy.on("websocket", lambda socket: socket.on("framereceived", fail))
            client = app("/%1B%9B")
            client.send("there \\x1b]8;;http://h\\x07\\x9b31m\\u202e")
            client.recv()
            client.close()
            assert not ws_proxy.web_sockets
            raise KeyError("why it fails")
        """
    )
    ran = run(pytester, "--color=no")
    ran.assert_outcomes(failed=1)
    assert r"ValueError: there \x1b]8;;http://h\x07\x9b31m\u202e" in ran.stdout.str()
    assert_is_clean(ran.stdout.str())


def test_block_without_with_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def live(ws_proxy):
            yield
            ws_proxy.expect_websocket("**/late")

        def test_call(ws_proxy):
            ws_proxy.expect_websocket("**/live")

        def test_fixture(live): ...
        """
    )
    result = run(pytester, "-W", "error", "-p", "no:asyncio")
    result.assert_outcomes(failed=1, errors=1, passed=1)
    said = 'nothing waits: write "with proxy.expect_websocket(...) as info:"'
    for line in (6, 9):
        assert f"\ntest_block_without_with_fails_its_test.py:{line}: {said}\n" in result.stdout.str()


def test_default_timeout_goes_with_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_one(ws_proxy):
            ws_proxy.set_default_timeout(0.001)

        def test_two(ws_proxy, app):
            with ws_proxy.expect_websocket():
                app()
        """
    )
    run(pytester).assert_outcomes(passed=2)


@pytest.mark.parametrize("filters", ["error", "default", "-Werror"])
def test_warnings_of_mitmproxy_are_no_users(pytester: pytest.Pytester, filters: str) -> None:
    option = [filters] if filters.startswith("-") else []
    if not option:
        pytester.makeini(f"[pytest]\nfilterwarnings = {filters}")
    pytester.makepyfile(
        """
        def test_it(ws_proxy, app):
            client = app()
            client.send("a")
            client.recv()
        """
    )
    # what pytest-asyncio warns of is not ours
    run(pytester, "-p", "no:asyncio", *option, imports_nothing=True).assert_outcomes(passed=1, warnings=0)


def launched_with(**arguments: object) -> str:
    return f"\n@pytest.fixture(scope='session')\ndef ws_proxy_args():\n    return {arguments}\n"


def test_proxy_is_launched_as_a_conftest_says(pytester: pytest.Pytester) -> None:
    port, other = free_port(), free_port()
    pytester.makeconftest(APP + launched_with(port=port, options={"ws_history": 1}))
    pytester.makepyfile(
        """
        def test_it(ws_proxy, app):
            with ws_proxy.expect_websocket() as opened:
                client = app()
            client.send("a")
            client.send("b")
            assert opened.value.wait_for_event("framereceived", lambda payload: payload == "b", history=True)
            assert opened.value.wait_for_event("framereceived", history=True) == "b"
            print("port", ws_proxy.port)
        """
    )
    for options, expected in ([], port), ([f"--ws-proxy-port={other}"], other):
        result = run(pytester, "-s", *options)
        result.assert_outcomes(passed=1)
        assert f"port {expected}" in result.stdout.str()


def test_mode_of_the_command_line_wins(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(APP + launched_with(mode=["nonsense"]))
    pytester.makepyfile("def test_it(ws_proxy, app): app()")
    run(pytester, "--ws-proxy-mode=regular").assert_outcomes(passed=1)
    run(pytester).assert_outcomes(errors=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ws-connect=auto", "--ws-proxy-port=0"], "--ws-connect does not go with --ws-proxy-port and"),
        (
            ["--ws-connect=auto", "--ws-proxy-mode=regular"],
            "--ws-connect does not go with --ws-proxy-port and",
        ),
        (["--ws-capture=on", "--ws-capture-dir=conftest.py"], "--ws-capture-dir=conftest.py: File exists"),
        (["--ws-capture=on", "--ws-capture-dir=conftest.py/x"], "conftest.py/x: Not a directory"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(
    pytester: pytest.Pytester, options: list[str], said: str
) -> None:
    pytester.makepyfile("def test_it(ws_proxy): pass")
    result = run(pytester, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(rf"^ERROR: .*{re.escape(said)}", result.stderr.str(), re.MULTILINE)
    assert "Traceback" not in result.stderr.str()


def test_report_of_a_failure_has_the_last_frames_and_the_capture(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["a/b", "c"])
        def test_fails(ws_proxy, app, name):
            with ws_proxy.expect_websocket() as opened:
                client = app("/" + name)
            for number in range(12):
                client.send(f"message {number}")
                client.recv()
            opened.value.wait_for_event("framereceived", lambda said: said == "message 11", history=True)
            assert False

        def test_passes(ws_proxy, app):
            client = app()
            client.send("fine")
            client.recv()

        def test_without():
            assert False
        """
    )
    result = run(pytester, "--ws-capture=retain-on-failure", "--ws-capture-dir=kept")
    result.assert_outcomes(failed=3, passed=1)
    said = result.stdout.str()
    assert len(re.findall(r"-+ WebSockets -+", said)) == 2
    assert re.search(r"#1 ws://127\.0\.0\.1:\d+/a/b \(open\)\n   … 14 earlier\n", said)
    assert re.search(r"^   \d\d:\d\d:\d\d\.\d\d\d → 'message 11'$", said, re.MULTILINE)
    assert re.search(r"^   \d\d:\d\d:\d\d\.\d\d\d ← 'message 11'$", said, re.MULTILINE)
    assert "'message 6'" not in said
    captures = sorted(path.name for path in (pytester.path / "kept").iterdir())
    assert len(captures) == 2
    assert all(f"all of it: wirewright show kept/{name}" in said for name in captures)
    again = run(pytester, "--ws-capture=on", "--ws-capture-dir=kept", "-k", "passes or fails")
    again.assert_outcomes(failed=2, passed=1)
    assert len(list((pytester.path / "kept").iterdir())) == 5  # none was touched


def test_report_of_a_failure_tells_how_sockets_ended(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        def test_it(ws_proxy, app):
            ws_proxy.route_web_socket("**/refused", lambda route: route.reject(403))
            with ws_proxy.expect_websocket("**/closed") as opened:
                client = app("/closed")
            client.close(4000, "broken")
            opened.value.wait_for_event("close", history=True)
            for url in ("ws://nowhere/refused", "ws://127.0.0.1:1/failed"):
                with ws_proxy.expect_websocket() as opened, pytest.raises(InvalidStatus):
                    connect(url, proxy=f"http://127.0.0.1:{ws_proxy.port}")
                opened.value.wait_for_event("close", history=True)
            assert False
        """
    )
    said = run(pytester).stdout.str()
    assert re.search(r"^#1 .*/closed \(closed 4000 'broken' by client\)\n   no frame$", said, re.MULTILINE)
    refused = "Error during WebSocket handshake: Unexpected response code: 403"
    ended = "failed with status 403: rejected by a route"
    assert f"#2 ws://nowhere/refused ({ended})\n   no frame\n   ✕ {refused}\n" in said
    failed = "Error in connection establishment: net::ERR_CONNECTION_REFUSED"
    assert f"#3 ws://127.0.0.1:1/failed (failed)\n   no frame\n   ✕ {failed}\n" in said


def test_report_of_a_failure_has_no_secrets(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        SECRET = "s3" + "cr3t"

        def test_it(ws_proxy, app):
            with ws_proxy.expect_websocket() as opened:
                client = app(f"/live?token={SECRET}")
            client.send('{"password": "%s", "a": 1}' % SECRET)
            client.recv()
            client.close(1000, f"jwt={SECRET}")
            opened.value.wait_for_event("close", history=True)
            raise AssertionError(f"{opened.value} has no order")
        """
    )
    said = run(pytester, "--junit-xml=report.xml", "-o", "junit_logging=all").stdout.str()
    assert "s3cr3t" not in said
    assert "s3cr3t" not in (pytester.path / "report.xml").read_text()
    assert "/live?token=REDACTED (closed 1000 'jwt=REDACTED' by client)" in said
    assert """→ '{"password": "REDACTED", "a": 1}'""" in said
    assert re.search(
        r"AssertionError: <WebSocket url='ws://[^/]*/live\?…' closed 1000 'jwt=REDACTED' by", said
    )


def test_report_of_a_failure_has_the_frames_that_mocks_did_not_answer(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_fails(ws_proxy, app):
            mock = ws_proxy.mock_web_socket("**/live")
            mock.on(json={"type": "ping"}).reply({"type": "pong"})
            client = app()
            for message in ('{"type": "ping"}', '{"type": "buy", "token": "secret"}', b"\\x00"):
                client.send(message)
            client.send('{"type": "ping"}')
            client.recv()
            client.recv()
            assert mock.unanswered == []

        def test_fails_too(ws_proxy, app):
            ws_proxy.mock_web_socket("**/live").on().reply("answered")
            client = app()
            client.send("x")
            assert client.recv() == ""
        """
    )
    ran = run(pytester, "--color=no", "-p", "no:randomly")
    ran.assert_outcomes(failed=2)
    ran.stdout.fnmatch_lines(
        [
            "*WebSocket mocks*",
            "<WebSocketMock url='[*][*]/live'> has no rule for 2 frames:",
            """    → '{"type": "buy", "token": "REDACTED"}'""",
            "    → b'?x00'",
        ],
        consecutive=True,
    )
    assert ran.stdout.str().count("WebSocket mocks") == 1


def test_report_of_a_failure_has_what_older_sockets_said_meanwhile(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from contextlib import ExitStack

        import pytest
        from conftest import serving
        from websockets.sync.client import connect

        @pytest.fixture(scope="module")
        def clients(ws_session_proxy):
            with serving() as url, ExitStack() as stack:
                proxy = f"http://127.0.0.1:{ws_session_proxy.port}"
                yield [stack.enter_context(connect(url + path, proxy=proxy)) for path in ("/talks", "/still")]

        def say(client, socket, message):
            client.send(message)
            socket.wait_for_event("framereceived", lambda said: said == message, history=True)

        def test_before(ws_proxy, clients):
            for client, socket in zip(clients, ws_proxy.web_sockets):
                say(client, socket, "before")

        def test_it(ws_proxy, clients):
            say(clients[0], ws_proxy.web_sockets[0], "meanwhile")
            assert False

        def test_other(ws_proxy, clients):
            ws_proxy.wait_for_websocket(timeout=1)
        """
    )
    said = run(pytester).stdout.str()
    pattern = (
        r"^#1 \S+/talks \(open, since before the test\)\n   \S+ → 'meanwhile'\n   \S+ ← 'meanwhile'\n[_-]"
    )
    assert re.search(pattern, said, re.MULTILINE)
    assert "'before'" not in said
    assert "/still (" not in said
    assert re.search(r"^no message passed: 2 sockets are open since before the test$", said, re.MULTILINE)


def test_running_proxy_is_used(pytester: pytest.Pytester, confdir: Path) -> None:
    pytester.makepyfile(
        """
        def test_it(ws_proxy, app):
            ws_proxy.route_web_socket("**", lambda route: route.on_message(lambda _: route.send("mocked")))
            client = app()
            client.send("a")
            assert client.recv() == "mocked"
            print("port", ws_proxy.port)
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
        def test_it(ws_proxy, app, number):
            client = app(f"/{number}")
            client.send("a")
            assert client.recv() == "a"
            assert [socket.url[-1] for socket in ws_proxy.web_sockets] == [str(number)]
        """
    )
    run(pytester, "-n", "2").assert_outcomes(passed=4)


def test_async_test_may_wait_in_a_thread_and_nowhere_else(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from wirewright.sync_api import Error

        def open_socket(ws_proxy, app):
            with ws_proxy.expect_websocket() as opened:
                client = app()
            return opened.value, client

        @pytest.fixture
        async def opened(ws_proxy, app):
            with pytest.raises(Error, match="inside a running event loop"):
                ws_proxy.wait_for_websocket()
            return await asyncio.to_thread(open_socket, ws_proxy, app)

        async def test_it(ws_proxy, opened):
            socket, client = opened
            client.send("a")
            for wait in (socket.wait_for_event, socket.next_frame, socket.wait_for_open):
                with pytest.raises(Error, match="in a pytest test the fixture async_ws_proxy"):
                    wait("framereceived")
            with pytest.raises(Error, match="inside a running event loop"):
                with ws_proxy.expect_websocket():
                    pytest.fail("it waits")
            found = await asyncio.to_thread(lambda: socket.wait_for_event("framereceived", history=True))
            assert found == "a"
        """
    )
    run(pytester, "-o", "asyncio_mode=auto").assert_outcomes(passed=1)


def test_launch_beside_the_fixture_is_told_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from wirewright.sync_api import Error, launch

        def test_it(ws_proxy):
            with pytest.raises(Error, match=r"launched by the pytest fixture ws_session_proxy: use that one"):
                with launch(port=0):
                    pytest.fail("it runs")
        """
    )
    run(pytester).assert_outcomes(passed=1)


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
    run(pytester, imports_nothing=True).assert_outcomes(passed=1)


def test_conditions_of_a_route_go_with_their_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from conftest import serving
        from websockets.sync.client import connect

        @pytest.fixture(scope="module")
        def url():
            with serving() as url:
                yield url

        clients = []

        def test_offline(ws_proxy, url):
            def handler(route):
                route.connect_to_server()
                route.conditions("offline")

            ws_proxy.route_web_socket("**", handler)
            with ws_proxy.expect_websocket(opened=True):
                clients.append(connect(url, proxy=f"http://127.0.0.1:{ws_proxy.port}"))
            clients[0].send("stuck")

        def test_perfect():
            with clients[0] as client:
                assert client.recv() == "stuck"
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_outage_of_a_wider_scope_outlives_that_of_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="class")
        def outage(ws_session_proxy):
            ws_session_proxy.offline()
            yield
            ws_session_proxy.online()

        class TestOffline:
            @pytest.mark.parametrize("number", [1, 2])
            def test_offline(self, ws_proxy, outage, app, number):
                with pytest.raises(Exception):
                    app()
                ws_proxy.offline()

        def test_online(ws_proxy, app):
            app()
            ws_proxy.offline()

        def test_online_again(ws_proxy, app):
            app()
        """
    )
    run(pytester).assert_outcomes(passed=4)


def test_capture_of_a_test_ends_with_it(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.makepyfile(
        f"""
        def test_starts(ws_proxy):
            ws_proxy.start_capture({str(tmp_path / "one.db")!r})

        def test_starts_another(ws_proxy, app):
            ws_proxy.start_capture({str(tmp_path / "two.db")!r})
            ws_proxy.stop_capture()
        """
    )
    run(pytester).assert_outcomes(passed=2)


LATE_LISTENERS = {
    "assertion": "expect(opened.value).to_have_received('a')",
    "next frame": "opened.value.next_frame('a', direction='received')",
    "no wait": "assert client.recv() == 'a'",
}


@pytest.mark.parametrize("wait", LATE_LISTENERS.values(), ids=LATE_LISTENERS)
def test_listener_of_a_socket_that_was_just_opened_is_called_before_the_test_ends(
    pytester: pytest.Pytester, wait: str
) -> None:
    pytester.makepyfile(
        f"""
        from wirewright.sync_api import expect

        def test_it(ws_proxy, app):
            with ws_proxy.expect_websocket("**/live", opened=True) as opened:
                client = app()
            client.send("a")
            opened.value.on("framereceived", lambda payload: 1 / 0)
            {wait}
        """
    )
    ran = run(pytester)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines("*ZeroDivisionError*")


def test_faults_of_a_test_go_with_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from conftest import serving
        from websockets.sync.client import connect
        from wirewright.sync_api import expect

        @pytest.fixture(scope="module")
        def client(ws_session_proxy):
            proxy = f"http://127.0.0.1:{ws_session_proxy.port}"
            with serving() as url, connect(f"{url}/kept", proxy=proxy) as client:
                yield client

        def test_offline(ws_proxy, app):
            ws_proxy.offline()
            with pytest.raises(Exception):
                app()

        def test_online(ws_proxy, app):
            with ws_proxy.expect_websocket(opened=True):
                app()

        def test_conditions(ws_proxy, client):
            client.send("a")
            assert client.recv() == "a"
            ws_proxy.web_sockets[-1].conditions("offline")
            client.send("stuck")

        def test_perfect_network(ws_proxy, client):
            assert client.recv() == "stuck"

        def test_ends_of_earlier_tests_do_not_count(ws_proxy, client):
            live = ws_proxy.web_sockets[-1]
            live.abort()
            expect(live).to_be_closed()

        def test_reconnection(ws_proxy, app):
            with ws_proxy.expect_websocket(opened=True) as opened:
                app()
            with pytest.raises(AssertionError, match="no such socket has ended") as failure:
                expect(ws_proxy).to_reconnect("**/other", within=50)
            assert "closed" not in str(failure.value)
            opened.value.abort()
            app()
            assert expect(ws_proxy).to_reconnect().url.endswith("/live")
        """
    )
    run(pytester).assert_outcomes(passed=6)
