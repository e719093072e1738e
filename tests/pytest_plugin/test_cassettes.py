"""`@pytest.mark.ws_cassette`, as it works in the tests of somebody else, with and without their server."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection

from support.certificates import Certificates
from support.pytest_projects import run
from support.threaded_peers import serving
from wirewright.sync_api import launch

pytest_plugins = ["pytester"]

CONFTEST = """
import os
import ssl
from contextlib import ExitStack

import pytest
from anyio.from_thread import start_blocking_portal
from websockets.asyncio.client import connect

URL = os.environ["SHOP"]


@pytest.fixture(scope="session")
def ws_proxy_args():
    return {"options": {"ssl_insecure": True}}


async def connect_in(url, address, tls):
    return connect(url, proxy=address, ssl=tls)


class Client:
    # The sync client of websockets 17.0 uses a TLS socket in two threads at once, and sometimes hangs.

    def __init__(self, connection, portal):
        self._connection, self._portal = connection, portal

    def send(self, message):
        self._portal.call(self._connection.send, message)

    def recv(self):
        return self._portal.call(self._connection.recv)


class App:
    def __init__(self, proxy, stack):
        self._proxy, self._stack = proxy, stack

    def open(self, url=URL):
        tls = ssl.create_default_context(cafile=self._proxy.ca_certificate) if url.startswith("wss") else None
        address = f"http://127.0.0.1:{self._proxy.port}"
        portal = self._stack.enter_context(start_blocking_portal())
        opening = portal.call(connect_in, url, address, tls)
        return Client(self._stack.enter_context(portal.wrap_async_context_manager(opening)), portal)

    def buy(self, item="tea", number=1):
        client = self.open()
        assert client.recv() == "welcome"
        client.send('{"buy": "%s", "id": %d, "token": "s3cr3t"}' % (item, number))
        return client.recv()


@pytest.fixture
def app(ws_proxy):
    with ExitStack() as stack:
        yield App(ws_proxy, stack)
"""


class Shop:
    """The real server: it counts its sockets."""

    def __init__(self) -> None:
        self.sockets = 0

    def __call__(self, connection: ServerConnection) -> None:
        self.sockets += 1
        connection.send("welcome")
        for message in connection:
            connection.send(f'{{"bought": "{json.loads(message)["buy"]}"}}')


@pytest.fixture
def shop() -> Shop:
    return Shop()


@contextmanager
def opened(shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The shop is open while the block runs; its URL stays in the environment."""
    with serving(shop, certificates.server_context) as url:
        monkeypatch.setenv("SHOP", f"{url}/shop")
        yield f"{url}/shop"


@pytest.fixture(autouse=True)
def their_tests(their_tests: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeconftest(CONFTEST)
    monkeypatch.setenv("SHOP", "ws://nowhere.invalid/shop")


BUYING = """
import pytest

@pytest.mark.ws_cassette("shop")
def test_buys(ws_proxy, app):
    with ws_proxy.expect_websocket("**/shop", opened=True) as opened:
        assert app.buy() == '{"bought": "tea"}'
    opened.value.next_frame(json={"bought": "tea"})
"""


def cassettes(pytester: pytest.Pytester) -> dict[str, str]:
    """The files in the folder of the cassettes, with their text."""
    folder = pytester.path / "cassettes"
    found = sorted(folder.rglob("*")) if folder.exists() else []
    return {str(path.relative_to(folder)): path.read_text() for path in found if path.is_file()}


def test_server_is_recorded_once_and_replayed_without_it_in_all_workers(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        BUYING
        + """
@pytest.mark.parametrize("number", range(6))
@pytest.mark.ws_cassette("shop", mode="none")
def test_of_the_same_cassette(app, number):
    assert app.buy() == '{"bought": "tea"}'

@pytest.mark.ws_cassette("shop")
async def test_async(async_ws_proxy, request):
    import asyncio
    from conftest import App
    from contextlib import ExitStack

    with ExitStack() as stack:
        app = App(async_ws_proxy, stack)
        assert await asyncio.to_thread(app.buy) == '{"bought": "tea"}'
"""
    )
    with opened(shop, certificates, monkeypatch) as url:
        run(pytester, "-k", "buys").assert_outcomes(passed=1)
    assert shop.sockets == 1
    (name, text) = cassettes(pytester).popitem()
    assert name == "shop.jsonl"
    beginning, socket, *messages, end = text.splitlines()
    assert beginning == '{"wirewright": "cassette", "version": 1}'
    assert socket == f'{{"socket": "{url}"}}'
    assert [re.sub(r"\d+", "N", line, count=1) for line in (*messages, end)] == [
        '{"at": N, "received": "welcome"}',
        '{"at": N, "sent": {"buy": "tea", "id": 1, "token": "REDACTED"}}',
        '{"at": N, "received": {"bought": "tea"}}',
        '{"at": N, "closed_by": "client", "code": 1000}',
    ]
    path = pytester.path / "cassettes" / "shop.jsonl"
    before = path.stat()
    for options in [], ["-n", "2"]:
        run(pytester, "-o", "asyncio_mode=auto", *options).assert_outcomes(passed=8)
    assert cassettes(pytester) == {"shop.jsonl": text}
    assert path.stat() == before
    assert shop.sockets == 1


def test_mode_all_records_anew_each_time(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(BUYING.replace('"shop")', '"shop", mode="all")', 1))
    with opened(shop, certificates, monkeypatch):
        for count in (1, 2):
            run(pytester).assert_outcomes(passed=1)
            assert shop.sockets == count
    run(pytester).assert_outcomes(failed=1)  # the shop is closed


def test_mode_none_says_how_to_record_what_is_missing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BUYING.replace('"shop")', '"shop", mode="none")', 1))
    result = run(pytester)
    result.assert_outcomes(errors=1)
    said = (
        'cassettes/shop.jsonl does not exist, and the mode "none" records nothing: '
        "run the test once with --ws-cassettes=once"
    )
    assert f"\n{said}\n" in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


MODES = """
import pytest

@pytest.mark.ws_cassette("once")
def test_once(app):
    assert app.buy() == '{"bought": "tea"}'

@pytest.mark.ws_cassette("none", mode="none")
def test_none(app):
    assert app.buy() == '{"bought": "tea"}'

@pytest.mark.ws_cassette("all", mode="all")
def test_all(app):
    assert app.buy() == '{"bought": "tea"}'
"""


@pytest.mark.once("the modes are those of our own code")
def test_mode_of_the_command_line_is_that_of_all_cassettes(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(MODES)
    result = run(pytester, "--ws-cassettes=none")
    result.assert_outcomes(errors=3)
    assert result.stdout.str().count("run the test once with --ws-cassettes=once") >= 3
    with opened(shop, certificates, monkeypatch):
        run(pytester, "--ws-cassettes=once").assert_outcomes(passed=3)
        assert shop.sockets == 3
        run(pytester, "--ws-cassettes=once").assert_outcomes(passed=3)
        assert shop.sockets == 3
        run(pytester, "--ws-cassettes=all", "-n", "2").assert_outcomes(passed=3)
        assert shop.sockets == 6
    run(pytester, "--ws-cassettes=none").assert_outcomes(passed=3)
    run(pytester, "--ws-cassettes=new").stderr.fnmatch_lines("*invalid choice: 'new'*")


FAILING = """
import pytest

@pytest.fixture
def failing(app):
    app.buy()
    raise KeyError("in a fixture")

@pytest.mark.ws_cassette("a")
def test_fails(app):
    app.buy()
    assert False

@pytest.mark.ws_cassette("b")
def test_has_an_error(failing): ...

@pytest.mark.ws_cassette("c")
def test_is_skipped(app):
    app.buy()
    pytest.skip("it is tired")

@pytest.mark.xfail(strict=False)
@pytest.mark.ws_cassette("d")
def test_is_expected_to_fail(app):
    app.buy()
    assert False

@pytest.mark.ws_cassette("e")
def test_has_a_handler_that_raises(ws_proxy, app):
    def fail(socket):
        raise KeyError
    ws_proxy.on("websocket", fail)
    app.buy()
"""


def test_test_that_does_not_pass_leaves_no_cassette(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(FAILING)
    with opened(shop, certificates, monkeypatch):
        run(pytester).assert_outcomes(failed=2, errors=1, skipped=1, xfailed=1)
    assert shop.sockets == 5
    assert cassettes(pytester) == {}


def test_old_cassette_outlives_a_failed_recording(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(BUYING.replace('"shop")', '"shop", mode="all")', 1) + "    assert False\n")
    (pytester.path / "cassettes").mkdir()
    (pytester.path / "cassettes" / "shop.jsonl").write_text("the old one")
    with opened(shop, certificates, monkeypatch):
        run(pytester).assert_outcomes(failed=1)
    assert cassettes(pytester) == {"shop.jsonl": "the old one"}


def test_test_without_a_socket_writes_nothing_and_warns(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.ws_cassette("shop")\ndef test_it(ws_proxy): ...\n')
    result = run(pytester)
    result.assert_outcomes(passed=1, warnings=1)
    assert "the app opened no socket to record, so cassettes/shop.jsonl is not written" in result.stdout.str()
    assert cassettes(pytester) == {}


def recorded(pytester: pytest.Pytester, *lines: str, name: str = "shop") -> None:
    folder = pytester.path / "cassettes"
    folder.mkdir(exist_ok=True)
    text = ['{"wirewright": "cassette", "version": 1}', *lines]
    (folder / f"{name}.jsonl").write_text("\n".join(text) + "\n")


SHOP = (
    '{"socket": "ws://nowhere.invalid/shop"}',
    '{"at": 1, "received": "welcome"}',
    '{"at": 2, "sent": {"buy": "tea", "id": 1, "token": "REDACTED"}}',
    '{"at": 3, "received": {"bought": "tea"}}',
)
OTHERWISE = """
import pytest
from websockets.exceptions import ConnectionClosed

def buy_otherwise(app):
    with pytest.raises(ConnectionClosed):
        app.buy("coffee")

@pytest.mark.ws_cassette("shop")
def test_passes_otherwise(app):
    buy_otherwise(app)

@pytest.mark.ws_cassette("shop")
def test_fails_otherwise(app):
    buy_otherwise(app)
    assert False

@pytest.mark.ws_cassette("shop")
@pytest.mark.ws_allow_errors
def test_allows_errors_of_handlers_alone(app):
    buy_otherwise(app)

@pytest.mark.ws_cassette("shop")
def test_says_more(app):
    app.buy()
    client = app.open()
    client.recv()
    client.send('{"buy": "tea", "id": 1, "token": "other"}')
    client.recv()
    client.send("more")
    with pytest.raises(ConnectionClosed):
        client.recv()

@pytest.mark.ws_cassette("shop", compare=lambda recorded, live: True)
def test_compares_by_itself(app):
    assert app.buy("coffee") == '{"bought": "tea"}'
"""


def test_message_that_does_not_fit_fails_the_test_with_the_difference(pytester: pytest.Pytester) -> None:
    recorded(pytester, *SHOP)
    pytester.makepyfile(OTHERWISE)
    result = run(pytester, "--show-capture=no")  # the log has each difference, too
    result.assert_outcomes(failed=4, passed=1)
    said = result.stdout.str()
    assert said.count("the app does not fit cassettes/shop.jsonl, line 4:\n") == 3
    assert said.count("the app does not fit cassettes/shop.jsonl:\n") == 1
    assert said.count("message 1 is not the recorded one (of socket #1):") == 3
    assert said.count('\n-  "buy": "tea"') == 3
    assert said.count('\n+  "buy": "coffee"') == 3
    assert (
        said.count("To record it anew, delete the file, or run the test once with --ws-cassettes=all.") == 4
    )
    assert (
        "message 2 is not the recorded one (of socket #1):\n- (nothing)\n+ (text, 4 characters)\n+more\n"
        in said
    )
    assert "s3cr3t" not in said.replace('"token": "s3cr3t"', "")  # of the tests' own source
    assert len(re.findall(r"^-+ Cassette cassettes/shop\.jsonl -+$", said, re.MULTILINE)) >= 1


UNUSED = """
import pytest

@pytest.mark.ws_cassette("shop")
def test_uses_a_part(app):
    client = app.open()
    assert client.recv() == "welcome"
    assert False

@pytest.mark.ws_cassette("shop")
def test_uses_nothing(ws_proxy):
    assert False

@pytest.mark.ws_cassette("shop")
def test_that_passes_may(ws_proxy): ...
"""


def test_report_of_a_failed_test_names_what_was_not_used(pytester: pytest.Pytester) -> None:
    recorded(pytester, *SHOP, '{"socket": "ws://nowhere.invalid/other?token=s3cr3t"}')
    pytester.makepyfile(UNUSED)
    result = run(pytester)
    result.assert_outcomes(failed=2, passed=1)
    said = result.stdout.str()
    shop, other = (
        "socket #1 (ws://nowhere.invalid/shop)",
        "socket #2 (ws://nowhere.invalid/other?token=REDACTED)",
    )
    assert f"\n{shop}: 2 of its 3 messages were not reached\n{other} was not opened\n" in said
    assert f"\n{shop} was not opened\n{other} was not opened\n" in said


def test_socket_that_is_not_recorded_is_refused_and_fails_the_test(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(pytester, *SHOP)
    with opened(shop, certificates, monkeypatch):
        pytester.makepyfile(
            """
            import pytest
            from conftest import URL
            from websockets.exceptions import InvalidStatus

            @pytest.mark.ws_cassette("shop")
            def test_it(app):
                with pytest.raises(InvalidStatus, match="502"):
                    app.open(URL + "?key=1&token=s3cr3t")

            @pytest.mark.ws_cassette("shop", url="**/other")
            def test_cassette_is_for_another_url(app):
                assert app.open().recv() == "welcome"
            """
        )
        result = run(pytester)
    result.assert_outcomes(failed=1, passed=1)
    assert re.search(
        r"\nwss://127\.0\.0\.1:\d+/shop\?key=1&token=REDACTED is not in it: the socket was refused\n",
        result.stdout.str(),
    )
    assert shop.sockets == 1


def test_arguments_of_the_replay_pass_through(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(pytester, *SHOP)
    monkeypatch.setenv("SHOP", "ws://elsewhere.invalid/shop")
    pytester.makepyfile(
        """
        import math
        import pytest
        from wirewright.capture import ignoring_keys

        @pytest.mark.ws_cassette("shop", url="**/shop", compare=ignoring_keys("id"), speed=math.inf)
        def test_it(app):
            assert app.buy(number=7) == '{"bought": "tea"}'
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_names_of_secrets_may_be_given(
    pytester: pytest.Pytester, shop: Shop, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(BUYING.replace('"shop")', '"shop", redact=["buy"])', 1))
    with opened(shop, certificates, monkeypatch):
        run(pytester).assert_outcomes(passed=1)
    assert '{"buy": "REDACTED", "id": 1, "token": "s3cr3t"}' in cassettes(pytester)["shop.jsonl"]
    run(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "ws_cassette() missing 1 required positional argument: 'name'"),
        ("5", "ws_cassette takes a name, not int"),
        ('"../up"', """ws_cassette takes a name such as "chat" or "chat/login", not '../up'"""),
        ('"/etc"', "ws_cassette takes a name such as"),
        ('"a", mode="new"', """the mode of ws_cassette must be "once", "none" or "all", not 'new'"""),
        ('"a", ignore=["id"]', "ws_cassette has no argument 'ignore'"),
        ('"a", redact="id"', "ws_cassette: redact must be several names, such as ['id'], not a str"),
        ('"shop", speed=0', "ws_cassette: speed must be more than 0, not 0"),
        ('"shop", compare="fuzzy"', "ws_cassette: compare must be 'exact', 'json', a regex or a callable"),
        ('"damaged"', "ws_cassette: "),
    ],
)
def test_wrong_use_is_one_sentence(pytester: pytest.Pytester, arguments: str, said: str) -> None:
    recorded(pytester, *SHOP)
    recorded(pytester, "{", name="damaged")
    pytester.makepyfile(f"import pytest\n@pytest.mark.ws_cassette({arguments})\ndef test_it(ws_proxy): ...\n")
    result = run(pytester, "--tb=short")
    result.assert_outcomes(errors=1)
    assert re.search(rf"^{re.escape(said)}", result.stdout.str(), re.MULTILINE)
    assert "Traceback" not in result.stdout.str()
    assert "another exception" not in result.stdout.str()
    if "damaged" in arguments:
        assert "/cassettes/damaged.jsonl: line 2: it is not JSON" in result.stdout.str()


def test_cassette_with_a_mark_of_git_in_its_first_line_is_still_one(pytester: pytest.Pytester) -> None:
    recorded(pytester, *SHOP)
    path = pytester.path / "cassettes" / "shop.jsonl"
    path.write_text("<<<<<<< HEAD\n" + path.read_text())
    pytester.makepyfile('import pytest\n@pytest.mark.ws_cassette("shop")\ndef test_it(ws_proxy): ...\n')
    result = run(pytester)
    result.assert_outcomes(errors=1)
    assert "cassettes/shop.jsonl: line 1: it is not JSON" in result.stdout.str()


def test_marker_without_a_fixture_of_a_proxy_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.ws_cassette("a")\ndef test_it(): ...\n')
    result = run(pytester, "--strict-markers")
    result.assert_outcomes(errors=1)
    assert "\nws_cassette is for a test with the fixture ws_proxy or async_ws_proxy\n" in result.stdout.str()


def test_running_proxy_records_and_replays(
    pytester: pytest.Pytester,
    shop: Shop,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    confdir: Path,
) -> None:
    pytester.makepyfile(BUYING)
    options = {"ws_remote": "127.0.0.1:0", "ssl_insecure": True}
    with launch(port=0, confdir=confdir, options=options):
        with opened(shop, certificates, monkeypatch):
            run(pytester, "--ws-connect=auto", "--ws-capture=on").assert_outcomes(passed=1)
        assert shop.sockets == 1
        assert '"received": {"bought": "tea"}' in cassettes(pytester)["shop.jsonl"]
        run(pytester, "--ws-connect=auto").assert_outcomes(passed=1)


USING = """
import pytest

@pytest.mark.ws_cassette("used")
def test_one(ws_proxy): ...

@pytest.mark.ws_cassette("sub/used")
def test_two(ws_proxy): ...

def test_without(): ...
"""


@pytest.mark.once("the list is made by our own code")
@pytest.mark.parametrize("options", [(), ("-n", "2"), ("-k", "without"), ("--collect-only",)])
def test_unused_cassettes_are_listed(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    for name in ("used", "old", "sub/used", "sub/old"):
        (pytester.path / "cassettes" / name).parent.mkdir(exist_ok=True, parents=True)
        recorded(pytester, *SHOP, name=name)
    pytester.makepyfile(USING)
    result = run(pytester, "--ws-cassettes-unused", *options)
    section = (
        r"\n=+ cassettes that no collected test uses =+\ncassettes/old\.jsonl\ncassettes/sub/old\.jsonl\n="
    )
    assert re.search(section, result.stdout.str())
    if not options:
        assert "cassettes that no collected test uses" not in run(pytester).stdout.str()


def test_selection_by_path_is_said_to_be_partial(pytester: pytest.Pytester) -> None:
    recorded(pytester, *SHOP, name="used")
    pytester.makepyfile(test_used=USING, test_other="def test_it(): ...")
    result = run(pytester, "--ws-cassettes-unused", "test_other.py")
    said = "cassettes/used.jsonl\nNot all tests were collected: others may use these cassettes.\n"
    assert said in result.stdout.str()
    result = run(pytester, "--ws-cassettes-unused")
    assert re.search(r"cassettes that no collected test uses =+\nnone\n=", result.stdout.str())
