"""Header fields that occur again, their order, case and bytes: on the wire, and in the API."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from support.event_log import Recordings, eventually
from support.raw_handshakes import SWITCHING, answering, asking, fields_of, values
from support.routes import NOWHERE
from support.time_limits import STEP_SECONDS
from wirewright import Proxy, WebSocketRoute
from wirewright.capture import open as open_capture

pytestmark = pytest.mark.remote

COOKIES = ("a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2; Path=/")


async def test_repeated_fields_are_whole_in_order_and_case(proxy: Proxy, recordings: Recordings) -> None:
    answer = SWITCHING + b"".join(b"Set-Cookie: %s\r\n" % cookie.encode() for cookie in COOKIES)
    answer += b"X-Odd: caf\xe9\r\nvary: A\r\nVary: B\r\n\r\n"
    async with answering(answer) as (url, heads):
        asked = asking(proxy.port, f"{url}/live", b"Cookie: c=3", b"X-Odd: \xff\xc3\xa9", b"cookie: d=4")
        async with asked as (head, _):
            ws = (await recordings.first()).ws
            await eventually(lambda: ws.opened_at is not None)
            request, response = ws.request_headers, ws.response_headers
            assert response is not None
            assert (request["cookie"], request["x-odd"]) == ("c=3; d=4", "\udcff\xe9")
            assert (response["set-cookie"], response["vary"]) == ("\n".join(COOKIES), "A, B")
            assert response["x-odd"] == "caf\udce9"
            for array, seen in (
                (ws.request_headers_array(), heads[0]),
                (ws.response_headers_array() or [], head),
            ):
                assert [(field["name"], field["value"]) for field in array] == fields_of(seen)
            assert values(fields_of(head), "set-cookie") == list(COOKIES)
            assert values(fields_of(heads[0]), "cookie") == ["c=3", "d=4"]


async def test_arrays_are_the_reader_s_own(proxy: Proxy, recordings: Recordings) -> None:
    async with answering(SWITCHING + b"\r\n") as (url, _), asking(proxy.port, f"{url}/live"):
        ws = (await recordings.first()).ws
        ws.request_headers.clear()
        ws.request_headers_array().clear()
        assert ws.request_headers["host"] == ws.request_headers_array()[0]["value"] == url.split("/")[2]


@pytest.mark.wire("a mock needs our layer")
async def test_mock_answers_with_headers(proxy: Proxy) -> None:
    fields = [("Set-Cookie", COOKIES[0]), ("Set-Cookie", COOKIES[1]), ("X-Odd", "caf\udce9")]
    proxy.route_web_socket("**", lambda ws: ws.accept(None, fields))
    async with asking(proxy.port, f"ws://{NOWHERE}/live") as (head, _):
        assert head.startswith(b"HTTP/1.1 101 ")
        assert fields_of(head)[-3:] == fields
        assert values(fields_of(head), "content-length") == []


@pytest.mark.parametrize("name", ["Sec-WebSocket-Accept", "Upgrade", "content-length", "X-Named"])
@pytest.mark.wire("a mock needs our layer")
async def test_mock_sets_the_handshake_s_own_headers_itself(proxy: Proxy, name: str) -> None:
    said: list[str] = []

    def handler(ws: WebSocketRoute) -> None:
        try:
            ws.accept(None, {name: "x"} if name != "X-Named" else {"Connection": name, name: "x"})
        except ValueError as error:
            said.append(str(error))

    proxy.route_web_socket("**", handler)
    async with asking(proxy.port, f"ws://{NOWHERE}/live") as (head, _):
        assert head.startswith(b"HTTP/1.1 101 ")
    (sentence,) = said
    assert sentence.startswith("accept() sets ")
    assert name.lower() in sentence


@pytest.mark.wire("a route needs our layer")
async def test_refusal_has_repeated_headers(proxy: Proxy) -> None:
    array = [{"name": "WWW-Authenticate", "value": "Basic"}, {"name": "www-authenticate", "value": "Bearer"}]
    givens: list[Any] = [array, [("WWW-Authenticate", "Basic"), ("www-authenticate", "Bearer")]]
    proxy.route_web_socket("**", lambda ws: ws.reject(401, givens.pop(), "no"))
    for _ in range(2):
        async with asking(proxy.port, f"ws://{NOWHERE}/live") as (head, body):
            assert head.startswith(b"HTTP/1.1 401 ")
            assert fields_of(head)[-2:] == [("WWW-Authenticate", "Basic"), ("www-authenticate", "Bearer")]
            assert values(fields_of(head), "content-type") == ["text/plain; charset=utf-8"]
            assert body == b"no"


@pytest.mark.wire("a route needs our layer")
async def test_refusal_takes_the_joined_headers_of_another_answer(proxy: Proxy) -> None:
    joined = {"set-cookie": "\n".join(COOKIES), "content-type": "text/html"}
    proxy.route_web_socket("**", lambda ws: ws.reject(503, joined))
    async with asking(proxy.port, f"ws://{NOWHERE}/live") as (head, _):
        assert values(fields_of(head), "set-cookie") == list(COOKIES)
        assert values(fields_of(head), "content-type") == ["text/html"]


@pytest.mark.wire("a route needs our layer")
async def test_repeated_headers_go_up_to_the_server(proxy: Proxy, recordings: Recordings) -> None:
    def handler(ws: WebSocketRoute) -> None:
        assert ws.request_headers_array()[-1] == {"name": "X-Odd", "value": "\udce9"}
        ws.connect_to_server([("X-New", "1"), ("Cookie", "c=3"), ("Cookie", "d=4"), ("X-OUT", None)])

    proxy.route_web_socket("**", handler)
    async with answering(SWITCHING + b"\r\n") as (url, heads):
        lines = (b"cookie: old", b"X-Out: 1", b"cookie: older", b"x-out: 2", b"X-Odd: \xe9")
        async with asking(proxy.port, f"{url}/live", *lines):
            ws = (await recordings.first()).ws
            await eventually(lambda: ws.opened_at is not None)
            assert ws.request_headers["cookie"] == "c=3; d=4"
            assert ws.route_errors == 0
    fields = fields_of(heads[0])
    assert values(fields, "cookie") == ["c=3", "d=4"]
    assert values(fields, "x-out") == []
    assert fields[-2:] == [("X-Odd", "\udce9"), ("X-New", "1")]


@pytest.mark.in_process("a capture is the proxy's")
async def test_fields_get_into_a_capture_as_they_were(
    proxy: Proxy, recordings: Recordings, tmp_path: Path
) -> None:
    path = tmp_path / "session.db"
    await proxy.start_capture(path, redact=())
    answer = SWITCHING + b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-Odd: caf\xe9\r\n\r\n"
    async with answering(answer) as (url, heads):
        async with asking(proxy.port, f"{url}/live", b"Cookie: c=3", b"cookie: d=4") as (head, _):
            pass
        await asyncio.wait_for((await recordings.first()).closed.wait(), STEP_SECONDS)
    await proxy.stop_capture()
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert list(socket.request_headers.pairs) == fields_of(heads[0])
    assert list((socket.response_headers or socket.request_headers).pairs) == fields_of(head)
    assert socket.request_headers["cookie"] == "c=3; d=4"


async def test_line_ends_and_nuls_in_values_are_spaces_for_the_user(
    proxy: Proxy, recordings: Recordings
) -> None:
    answer = SWITCHING + b"X-Folded: a\r\n b\r\nX-Nul: a\0b\r\n\r\n"
    async with answering(answer) as (url, heads):
        asked = asking(proxy.port, f"{url}/live", b"X-Return: a\rEvil: 1", b"X-Nul: a\0b")
        async with asked as (head, _):
            ws = (await recordings.first()).ws
            await eventually(lambda: ws.opened_at is not None)
            request, response = ws.request_headers, ws.response_headers
            assert response is not None
            assert (request["x-return"], request["x-nul"]) == ("a Evil: 1", "a b")
            assert response["x-nul"] == "a b"
            assert response["x-folded"].split() == ["a", "b"]
            assert "\r" not in response["x-folded"]
            assert "\n" not in response["x-folded"]
            assert b"X-Nul: a\0b\r\n" in heads[0]
            assert b"X-Nul: a\0b\r\n" in head
