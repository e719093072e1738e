"""The mistakes of users of the sync API, over a real proxy, and the page that lists them."""

import gc
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import wirewright
from support import mistakes
from support.mistakes import (
    FAILURES,
    FRAMES,
    MISTAKES,
    NO_SOCKET,
    NO_SOCKET_OF_THE_CONTEXT,
    PATHS,
    URL,
    Mistake,
    said,
)
from support.processes import ROOT
from support.threaded_peers import app, let_waits_time_out, reached
from wirewright import sync_api
from wirewright.capture import CaptureError
from wirewright.sync_api import Error, Proxy, TimeoutError  # noqa: A004

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "errors.md").read_text()


@pytest.fixture(scope="module", params=["launch", "connect"])
def names(
    request: pytest.FixtureRequest, confdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The variables of a user: a proxy and a socket on which frames have passed."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        proxy = stack.enter_context(reached(request.param, confdir))
        proxy.mock_web_socket("**").on("go").reply(*FRAMES)
        with proxy.expect_websocket(opened=True) as info:
            client = stack.enter_context(app(proxy, URL))
        ws = info.value
        client.send("go")
        ws.next_frame(FRAMES[-1])
        yield {
            "async_expect": wirewright.expect,
            "connect": sync_api.connect,
            "expect": sync_api.expect,
            "info": info,
            "launch": sync_api.launch,
            "proxy": proxy,
            "ws": ws,
        }


@pytest.mark.parametrize(
    "mistake", [each for each in MISTAKES if each.api != "async"], ids=lambda mistake: mistake.id
)
def test_mistake_says_what_to_do(names: dict[str, Any], mistake: Mistake) -> None:
    kind, _, sentence = mistake.says.partition(": ")
    if kind == "RuntimeWarning":
        with mistakes.as_in_a_program(), pytest.warns(RuntimeWarning, match=f"^{re.escape(sentence)}$"):
            mistakes.run(mistake, names.copy())
        return
    with mistakes.as_in_a_program(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines: they are not awaited, either
        with pytest.raises((AttributeError, Error, TypeError, ValueError)) as caught:
            mistakes.run(mistake, names.copy())
        told = said(caught.value)
        del caught
        gc.collect()
    assert told == mistake.says


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.id)
def test_failure_of_a_wait_says_what_came(names: dict[str, Any], failure: Mistake) -> None:
    with pytest.raises((AssertionError, TimeoutError, ValueError)) as caught:
        mistakes.run(failure, names.copy())
    assert said(caught.value) == failure.says


def test_wait_for_a_socket_says_which_ones_came_by(names: dict[str, Any]) -> None:
    proxy: Proxy = names["proxy"]
    with (  # noqa: PT012
        ExitStack() as stack,
        pytest.raises(TimeoutError) as caught,
        proxy.expect_websocket("**/chat", timeout=30_000),
    ):
        for path in PATHS:
            with proxy.expect_websocket():
                stack.enter_context(app(proxy, f"ws://shop.example{path}"))
        let_waits_time_out(proxy)
    assert said(caught.value) == NO_SOCKET


def test_wait_of_a_context_says_which_sockets_came_by_outside_of_it(names: dict[str, Any]) -> None:
    proxy: Proxy = names["proxy"]
    with (  # noqa: PT012
        ExitStack() as stack,
        proxy.context(client="192.168.1.7") as phone,
        pytest.raises(TimeoutError) as caught,
        phone.expect_websocket("**/chat?**", timeout=30_000),
    ):
        for path in PATHS:
            with proxy.expect_websocket():
                stack.enter_context(app(proxy, f"ws://shop.example{path}"))
        let_waits_time_out(proxy)
    assert said(caught.value) == NO_SOCKET_OF_THE_CONTEXT


def test_users_meet_only_class_names_that_are_documented(names: dict[str, Any]) -> None:
    proxy, ws = names["proxy"], names["ws"]
    manager = ws.expect_event("framereceived")
    with manager as info:
        ws.send_to_client("go on")
    mock = proxy.mock_web_socket("**/nowhere")
    met = [
        proxy,
        ws,
        manager,
        info,
        ws.cursor(),
        ws.frames,
        ws.frames.last,
        sync_api.expect(ws),
        mock,
        mock.on(),
    ]
    blocks: list[Any] = [sync_api.launch(port=0), sync_api.connect("ws://127.0.0.1:1")]
    for block in blocks:
        block._entered()  # else the test fails
    for each in [*met, *blocks]:
        assert type(each).__name__ in sync_api.__all__
        assert not re.search(r"_\w+ object|wirewright\.\w+\.|Remote|Wrapper", repr(each))
    with pytest.raises(AttributeError, match=r"^'WebSocket' object has no attribute 'nothing'$"):
        _ = ws.nothing


def test_second_launch_is_told_where_the_first_one_is(names: dict[str, Any]) -> None:
    with pytest.raises(Error) as caught, names["launch"](port=0):
        pytest.fail("it runs")
    place = r"launched at tests/support/threaded_peers\.py:\d+, in reached:"
    told = re.sub(place, "launched at conftest.py:12, in my_proxy:", said(caught.value))
    assert told.startswith("Error: a proxy runs in this process already, launched at conftest.py:12")
    assert told in PAGE
    assert told.replace("at conftest.py:12, in my_proxy", "by the pytest fixture ws_session_proxy") in PAGE


# The page


def test_page_lists_the_mistakes() -> None:
    for api in ("both", "sync", "async", "sync in a loop"):
        rows = [f"| `{each.code}` | `{each.says}` |" for each in MISTAKES if each.api == api]
        assert "\n".join(["| | |", "|---|---|", *rows]) + "\n\n" in PAGE + "\n", api


def test_page_lists_the_classes_of_errors() -> None:
    errors = [name for name in sync_api.__all__ if name.endswith("Error")]
    for name in [*errors, CaptureError.__name__]:
        assert f"| `{name}` | " in PAGE


def test_page_shows_the_failures() -> None:
    for failure in FAILURES:
        assert f"```python\n{failure.code}\n```\n\n```text\n{failure.says}\n```" in PAGE
    for failure_of_wait in (NO_SOCKET, NO_SOCKET_OF_THE_CONTEXT):
        assert f"```text\n{failure_of_wait}\n```" in PAGE
