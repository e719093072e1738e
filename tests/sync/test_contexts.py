"""Contexts of the sync API: of a proxy that is launched here, and of one that is connected to."""

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
from websockets.sync.server import ServerConnection

from support.devices import OPTIONS, Device, modes, ports
from support.threaded_peers import echo, let_waits_time_out, say, serving, settle
from support.time_limits import STEP_MILLISECONDS, STEP_SECONDS
from wirewright.capture import open as open_capture
from wirewright.sync_api import (
    EndedError,
    Error,
    Proxy,
    ProxyContext,
    TimeoutError,  # noqa: A004  Playwright's name
    WebSocket,
    WebSocketRoute,
    connect,
    launch,
    temporary_registrations,
)

pytestmark = pytest.mark.slow

NOWHERE = "ws://nowhere.invalid/live"


@pytest.fixture(params=["launch", "connect"])
def proxy(
    request: pytest.FixtureRequest, confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """A proxy with two ports, at which apps log in: of this process, and as another one has it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    options = {**OPTIONS, "ws_remote": "127.0.0.1:0"}
    with launch(port=0, mode=modes(), confdir=confdir, options=options) as launched:
        if request.param == "launch":
            yield launched
        else:
            with connect(route_timeout=STEP_MILLISECONDS) as connected:
                yield connected


@pytest.fixture
def url() -> Iterator[str]:
    with serving(echo) as served:
        yield f"{served}/live"


@pytest.fixture
def ann(proxy: Proxy) -> Device:
    return Device(ports()[0], "ann")


@pytest.fixture
def bob(proxy: Proxy) -> Device:
    return Device(ports()[1], "bob", "127.0.0.2")


@pytest.mark.parametrize("condition", ["user", "port", "client"])
def test_context_sees_its_own_sockets_alone(
    proxy: Proxy, url: str, ann: Device, bob: Device, condition: str
) -> None:
    conditions = {"user": "bob", "port": bob.port, "client": "127.0.0.2"}
    heard: SimpleQueue[WebSocket] = SimpleQueue()
    with proxy.context(**{condition: conditions[condition]}) as context:  # type: ignore[arg-type]
        context.on("websocket", heard.put)
        with (
            context.expect_websocket(opened=True) as opened,
            ann.threaded_socket(url) as other,
            bob.threaded_socket(url) as client,
        ):
            ws = opened.value
            assert context.web_sockets == [ws]
            assert len(proxy.web_sockets) == 2
            assert heard.get(timeout=STEP_SECONDS) is ws
            say(other, "ann's")
            say(client, "bob's")
            assert ws.next_frame().payload == "bob's"
            assert (ws.proxy_user, ws.proxy_port) == ("bob", bob.port)
        assert context.port == (bob.port if condition == "port" else proxy.port)
    assert heard.empty()


def test_frames_of_a_socket_that_both_hear_are_lost_by_neither(proxy: Proxy, bob: Device) -> None:
    def speak(connection: ServerConnection) -> None:
        for number in range(20):
            connection.send(str(number))
        connection.close()

    heard: dict[str, SimpleQueue[object]] = {"proxy": SimpleQueue(), "context": SimpleQueue()}

    def listen(name: str) -> object:
        def opened(ws: WebSocket) -> None:
            ws.on("framereceived", heard[name].put)
            ws.on("close", heard[name].put)

        return opened

    with proxy.context(user="bob") as context, serving(speak) as url:
        proxy.on("websocket", listen("proxy"))  # type: ignore[call-overload]
        context.on("websocket", listen("context"))  # type: ignore[call-overload]
        with bob.threaded_socket(url) as client:
            for _ in client:
                pass
        for queue in heard.values():
            frames = [queue.get(timeout=STEP_SECONDS) for _ in range(21)]
            assert frames[:20] == [str(number) for number in range(20)]
            assert isinstance(frames[20], WebSocket)


def test_routes_and_mocks_of_a_context_are_for_its_sockets_alone(
    proxy: Proxy, url: str, ann: Device, bob: Device
) -> None:
    def refuse(route: WebSocketRoute) -> None:
        route.reject(403)

    with proxy.context(user="bob") as context:
        context.mock_web_socket("**/live").on().reply("mocked")
        context.route_web_socket("**/refused", refuse)
        proxy.route_web_socket("**/live", lambda route: route.connect_to_server())
        with ann.threaded_socket(url) as one, bob.threaded_socket(NOWHERE) as two:
            say(one, "echo")
            two.send("?")
            assert two.recv(timeout=STEP_SECONDS) == "mocked"
    with bob.threaded_socket(url) as three:
        say(three, "echo")


def test_each_context_records_into_its_own_file(
    proxy: Proxy, url: str, ann: Device, bob: Device, tmp_path: Path
) -> None:
    paths = {user: tmp_path / f"{user}.db" for user in ("ann", "bob", "all")}
    with proxy.context(user="ann") as first, proxy.context(user="bob") as second:
        first.start_capture(paths["ann"])
        second.start_capture(paths["bob"])
        proxy.start_capture(paths["all"])
        second.annotate("hello")
        with ann.threaded_socket(f"{url}?ann") as one, bob.threaded_socket(f"{url}?bob") as two:
            say(one, "from ann")
            say(two, "from bob")
        second.stop_capture()
        with pytest.raises(Error, match="no capture runs"):
            second.annotate("too late")
    proxy.stop_capture()
    said = {}
    for user, path in paths.items():
        with open_capture(path) as capture:
            said[user] = {frame.payload for frame in capture.frames() if frame.is_message}
            assert len(capture.annotations()) == (user == "bob")
    assert said == {"ann": {"from ann"}, "bob": {"from bob"}, "all": {"from ann", "from bob"}}


def test_default_timeout_of_a_context_is_its_own(proxy: Proxy, url: str, bob: Device) -> None:
    with proxy.context(user="bob") as context:
        with context.expect_websocket() as opened, bob.threaded_socket(url):
            context.set_default_timeout(0.01)
            for wait in (context.wait_for_websocket, opened.value.next_frame):
                with pytest.raises(TimeoutError, match=r"^Timeout 0\.01ms"):
                    wait()
        assert proxy._own._default_timeout == 30_000


@pytest.mark.parametrize("condition", ["user", "port", "client"])
def test_wait_of_a_context_says_which_sockets_came_by_outside_of_it(
    proxy: Proxy, url: str, ann: Device, bob: Device, condition: str
) -> None:
    bob_s = {"user": "bob", "port": bob.port, "client": "127.0.0.2"}
    ann_s = {"user": "ann", "port": ann.port, "client": "127.0.0.1"}
    with (  # noqa: PT012
        proxy.context(**{condition: bob_s[condition]}) as context,  # type: ignore[arg-type]
        pytest.raises(TimeoutError) as caught,
        context.expect_websocket("**/live", timeout=30_000),
        proxy.expect_websocket() as opened,
        ann.threaded_socket(url),
    ):
        assert opened.value.url == url
        let_waits_time_out(proxy)
    assert caught.value.message.splitlines()[1] == (
        f"no socket of {condition} {bob_s[condition]!r} matched '**/live'; "
        f"came by outside of this context: {url} ({condition} {ann_s[condition]!r})"
    )


def test_closed_context_refuses_calls_and_its_waits_end(proxy: Proxy, url: str, bob: Device) -> None:
    context = proxy.context(user="bob")
    heard: list[WebSocket] = []
    context.on("websocket", heard.append)
    with pytest.raises(EndedError, match=r"^Context closed$"), context.expect_websocket():
        context.close()
    context.close()
    for call in (
        lambda: context.on("websocket", print),
        lambda: context.web_sockets,
        lambda: context.route_web_socket("**", print),
        context.wait_for_websocket,
    ):
        with pytest.raises(EndedError, match=r"^Context closed$"):
            call()
    with proxy.expect_websocket(), bob.threaded_socket(url):
        pass
    settle(proxy)
    assert heard == []


def test_context_of_a_test_ends_with_it(proxy: Proxy, url: str, bob: Device) -> None:
    with proxy.context(user="bob") as session:
        session.set_default_timeout(STEP_MILLISECONDS)
        with temporary_registrations(session) as test:
            assert not isinstance(test, ProxyContext)
            test.set_default_timeout(STEP_MILLISECONDS + 1)
            inner = test.context(client="127.0.0.2")
            with inner.expect_websocket() as opened, bob.threaded_socket(url):
                assert opened.value.proxy_user == "bob"
        assert session._own._default_timeout == STEP_MILLISECONDS
        with pytest.raises(EndedError, match=r"^this test is over$"):
            inner.wait_for_websocket()
        assert proxy._own._state.contexts == [session._own]
        with session.expect_websocket(), bob.threaded_socket(url):
            pass


def test_connection_for_a_context_has_its_sockets_alone(
    confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    options = {**OPTIONS, "ws_remote": "127.0.0.1:0"}
    with launch(port=0, confdir=confdir, options=options) as launched:
        ann, bob = Device(launched.port, "ann"), Device(launched.port, "bob")
        with connect().context(user="bob") as context, ann.threaded_socket(url):
            assert isinstance(context, ProxyContext)
            with context.expect_websocket() as opened, bob.threaded_socket(url) as client:
                say(client, "hello")
            assert opened.value.next_frame().payload == "hello"
            assert len(launched.web_sockets) >= len(context.web_sockets)
            assert {ws.proxy_user for ws in context.web_sockets} <= {"bob"}
            with (  # noqa: PT012
                pytest.raises(TimeoutError) as caught,
                context.expect_websocket(timeout=30_000),
                ann.threaded_socket(url),
            ):
                settle(context)
                let_waits_time_out(context)
            assert caught.value.message.endswith(f"; came by outside of this context: {url} (user 'ann')")
        with pytest.raises(ValueError, match=r"^a context needs a client, a port or a user$"):
            connect().context()
