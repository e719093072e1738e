"""`ws_context_args`: tests of somebody else whose xdist workers share a proxy."""

from pathlib import Path

import pytest

from support.devices import OPTIONS
from support.pytest_projects import APP, run
from wirewright.capture import open as open_capture
from wirewright.sync_api import launch

pytest_plugins = ["pytester"]

CONTEXTS = """

@pytest.fixture(scope="session")
def user(worker_id):
    return f"phone-{worker_id}"


@pytest.fixture(scope="session")
def ws_context_args(user):
    return {"user": user}
"""
LOGGED_IN = APP.replace("def app(ws_proxy)", "def app(ws_proxy, user)").replace(
    "http://127.0.0.1", "http://{user}:secret@127.0.0.1"
)
"""Apps that log in at the proxy."""
SHARING = """
import time
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(ws_proxy, app, user, number):
    ws_proxy.route_web_socket("**/routed", lambda ws: ws.on_message(lambda _: ws.send(user)))
    with ws_proxy.expect_websocket("**/live") as opened:
        client, routed = app(f"/{number}/live"), app("/routed")
    client.send(f"{user} {number}")
    assert opened.value.next_frame(direction="received").payload == f"{user} {number}"
    routed.send("?")
    assert routed.recv() == user
    assert {socket.proxy_user for socket in ws_proxy.web_sockets} == {user}
    assert number < 3
"""


def test_workers_that_share_a_proxy_have_a_context_each(pytester: pytest.Pytester, confdir: Path) -> None:
    pytester.makeconftest(LOGGED_IN + CONTEXTS)
    pytester.makepyfile(SHARING)
    options = ("--ws-connect=auto", "--ws-capture=on", "--ws-capture-dir=kept", "-n", "2")
    with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0", **OPTIONS}) as proxy:
        result = run(pytester, *options)
        result.assert_outcomes(passed=3, failed=1)
        assert proxy._own._state.contexts == []
    captures = sorted((pytester.path / "kept").iterdir())
    assert len(captures) == 4
    recorded_users = set()
    for number, path in enumerate(captures):
        with open_capture(path) as capture:
            paths = {socket.url.split("/", 3)[3] for socket in capture.sockets()}
            said = {str(each.payload) for each in capture.frames() if each.is_message}
        (user,) = (message for message in said if message.startswith("phone-") and " " not in message)
        assert paths == {f"{number}/live", "routed"}
        assert said == {"?", user, f"{user} {number}"}
        recorded_users.add(user)
    assert recorded_users == {"phone-gw0", "phone-gw1"}
    shown = result.stdout.str()
    assert shown.count("/live (open)") == 1  # the report has the sockets of the worker alone
    assert f"all of it: wirewright show kept/{captures[3].name}" in shown


def test_capture_of_workers_without_contexts_is_refused(pytester: pytest.Pytester, confdir: Path) -> None:
    pytester.makepyfile("def test_it(ws_proxy): pass")
    with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}):
        result = run(pytester, "--ws-connect=auto", "--ws-capture=on", "-n", "2")
        result.assert_outcomes(errors=1)
        said = "--ws-capture=on with --ws-connect and several xdist workers needs a context for each worker: "
        assert said + "override the fixture ws_context_args" in result.stdout.str()
        assert "Traceback" not in result.stdout.str()
        run(pytester, "--ws-connect=auto", "--ws-capture=on", "-n", "1").assert_outcomes(passed=1)


def test_launched_proxy_of_a_session_may_be_a_context(pytester: pytest.Pytester) -> None:
    launched = f"""

@pytest.fixture(scope="session")
def ws_proxy_args():
    return {{"options": {OPTIONS}}}


@pytest.fixture(scope="session")
def user():
    return "ann"


@pytest.fixture(scope="session")
def ws_context_args():
    return {{"user": "ann"}}
"""
    pytester.makeconftest(LOGGED_IN + launched)
    pytester.makepyfile(
        """
        from websockets.sync.client import connect

        def test_it(ws_proxy, ws_session_proxy, app):
            client = app()
            assert repr(ws_session_proxy) == "<ProxyContext user='ann'>"
            assert [socket.proxy_user for socket in ws_proxy.web_sockets] == ["ann"]
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_async_fixture_has_the_context_too(pytester: pytest.Pytester, confdir: Path) -> None:
    context = """

@pytest.fixture(scope="session")
def ws_context_args():
    return {"client": "127.0.0.2"}
"""
    pytester.makeconftest(APP + context)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_it(async_ws_proxy):
            assert repr(async_ws_proxy) == "<ProxyContext client='127.0.0.2'>"
        """
    )
    run(pytester).assert_outcomes(passed=1)
    with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}):
        run(pytester, "--ws-connect=auto").assert_outcomes(passed=1)
