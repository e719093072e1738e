"""The pytest plugin: fixtures with a proxy, reports of failed tests, and a capture of each test.

    def test_order(ws_proxy, app):
        with ws_proxy.expect_websocket("**/live") as opened:
            app.open()
        app.buy()
        opened.value.next_frame(json={"type": "filled"})

It imports no mitmproxy until a test asks for a proxy.
"""

import sys
from collections.abc import Generator

import pytest
from _pytest._code.code import ExceptionRepr

from wirewright.pytest_plugin import async_fixtures, cassettes, fixtures, unused_cassettes
from wirewright.pytest_plugin.tested_proxies import ALLOWING, RUN, TestRun, capture_folder

DEPRECATING = ("ldap3", "mitmproxy", "passlib", "pyasn1", "pyparsing")
"""Packages that use deprecated functions: mitmproxy and its dependencies. Users cannot mend that."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wirewright", "WebSockets of apps behind a proxy")
    group.addoption(
        "--ws-connect",
        metavar="ENDPOINT",
        help="Use the proxy that runs at this endpoint (`auto`: the one that runs here), and launch none.",
    )
    group.addoption(
        "--ws-allow-cleartext",
        action="store_true",
        help="Send the token of --ws-connect to another machine without encryption (ws://).",
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
        help="The port of that proxy; 0 (if not given): any free one. With xdist each worker takes the next.",
    )
    group.addoption(
        "--ws-capture",
        choices=["on", "off", "retain-on-failure"],
        default="off",
        help="Record each test that uses a proxy in a capture of its own.",
    )
    group.addoption(
        "--ws-capture-dir", metavar="DIR", default="test-results", help="The folder of the captures."
    )
    group.addoption(
        "--ws-cassettes",
        choices=["once", "none", "all"],
        help="The mode of all cassettes of this run, whatever their markers say: `none` records nothing, "
        "`all` records them anew.",
    )
    group.addoption(
        "--ws-cassettes-unused",
        action="store_true",
        help="At the end, list the cassettes beside the collected tests that none of these tests names.",
    )


def pytest_configure(config: pytest.Config) -> None:
    for package in DEPRECATING:
        config.addinivalue_line("filterwarnings", f"ignore::DeprecationWarning:{package}.*")
    config.addinivalue_line(
        "markers",
        f"{ALLOWING}: log what listeners, handlers and rules of WebSockets raise, and do not fail the test",
    )
    _register_fixtures(config.pluginmanager)
    config.addinivalue_line(
        "markers",
        f'{cassettes.MARKER}(name, mode="once"|"none"|"all", redact=None, …): record the server of the test '
        "in cassettes/NAME.jsonl beside it, and replay it in later runs; further arguments are those of "
        "route_from_capture",
    )
    options = config.option
    if options.ws_cassettes_unused:
        config.pluginmanager.register(unused_cassettes.UnusedCassettes(config), "wirewright-unused-cassettes")
    if not options.ws_connect:
        return
    if options.ws_proxy_port is not None or options.ws_proxy_mode is not None:
        raise pytest.UsageError(
            "--ws-connect does not go with --ws-proxy-port and --ws-proxy-mode: they are of a proxy to launch"
        )


def _register_fixtures(plugins: pytest.PytestPluginManager) -> None:
    plugins.register(fixtures, "wirewright-fixtures")
    plugins.register(async_fixtures, "wirewright-async-fixtures")
    plugins.register(cassettes, "wirewright-cassettes")
    pytest_asyncio = sys.modules.get("pytest_asyncio.plugin")
    if pytest_asyncio is not None and plugins.is_registered(pytest_asyncio):
        from wirewright.pytest_plugin import asyncio_fixtures

        plugins.register(asyncio_fixtures, async_fixtures.ASYNCIO_FIXTURES)


def pytest_sessionstart(session: pytest.Session) -> None:
    options = session.config.option
    if options.ws_capture == "off":
        return
    try:
        capture_folder(session.config).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--ws-capture-dir={options.ws_capture_dir}: {error.strerror}") from None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    run = item.stash[RUN] = TestRun(item)
    run.begin()
    yield
    cassettes.check_fixtures(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test if one of its listeners, handlers or rules has raised, or a call of it had no effect."""
    __tracebackhide__ = True
    run = item.stash[RUN]
    try:
        yield
    except pytest.skip.Exception:
        run.settle()
        run.raise_errors()
        raise
    except BaseException:
        run.settle()  # the report of its failure has their exceptions
        raise
    run.settle()
    # The failures and skips of a test of a `unittest.TestCase`: pytest keeps them until the report.
    outcomes: list[pytest.ExceptionInfo[BaseException]] = getattr(item, "_excinfo", None) or []
    if all(isinstance(each.value, pytest.skip.Exception) for each in outcomes):
        try:
            run.raise_errors()
        except BaseException:
            outcomes.clear()  # they would be reported instead
            raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail the teardown if one of them has raised after the test's end."""
    __tracebackhide__ = True
    run = item.stash[RUN]
    run.is_over = True
    yield
    run.settle()
    run.warn()
    run.raise_errors()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    run = item.stash.get(RUN, None)
    if run is None:
        return report
    run.is_cut_short |= call.excinfo is not None
    if report.failed:
        run.has_failed = True
        for title, text in run.sections(call.excinfo and call.excinfo.value):
            if isinstance(report.longrepr, ExceptionRepr):  # then JUnit's XML has it, too
                report.longrepr.addsection(title, text)
            else:
                report.sections.append((title, text))
        report.user_properties.extend(run.properties())
    if report.when == "call":
        run.has_passed = report.passed and not hasattr(report, "wasxfail")
    if report.when == "teardown":
        run.end()
        report.user_properties.extend(run.properties())
        del item.stash[RUN]  # items live as long as the session, and what sockets remember is large
    return report
