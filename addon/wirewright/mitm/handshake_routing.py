"""Routes at the handshake: what a route's handler decides, as mitmproxy carries it out."""

import inspect
import sys
from collections.abc import Iterable
from itertools import chain
from urllib.parse import urlsplit

from mitmproxy import http

from wirewright.mitm import end_reasons
from wirewright.mitm.connection_resets import reset_when_closed
from wirewright.mitm.flow_socket import FlowSocket, proxyserver
from wirewright.model import user_errors
from wirewright.model.awaitables import is_being_cancelled
from wirewright.model.errors import ENDS_THE_PROGRAM
from wirewright.model.feed import Feed
from wirewright.model.handshake import Headers, accept_key
from wirewright.model.route import Abort, Connect, Reject
from wirewright.model.route_control import RouteControl
from wirewright.model.route_table import Rule


async def route_handshake(flow: http.HTTPFlow, feed: Feed, carrier: FlowSocket, rule: Rule) -> None:
    """Have a rule's handler decide on a handshake. One that raises has it refused with 502."""
    try:
        route = carrier.begin_route(feed)
        result = rule.call(route.side)
        if inspect.isawaitable(result):
            await result
        _carry_out(route, carrier, flow)
    except ENDS_THE_PROGRAM:
        raise
    except BaseException:
        if is_being_cancelled():
            raise  # the proxy is shut down
        # First, as the lines after it may raise, too.
        flow.response = _refusal(502, Headers(), b"The handler of this WebSocket's route failed.\n")
        end_reasons.note(flow, "the route's handler raised")
        feed.socket._state.route_errors += 1
        if carrier.route is not None:
            carrier.route.decide()
        user_errors.report(feed.socket, "a route's handler", sys.exception())


def _carry_out(route: RouteControl, carrier: FlowSocket, flow: http.HTTPFlow) -> None:
    answer = route.decide()
    if isinstance(answer, Connect):
        if answer.url is not None:
            flow.request.url = answer.url
            flow.request.host_header = urlsplit(answer.url).netloc
        _replace(flow.request.headers, answer.headers)
    elif isinstance(answer, Reject):
        end_reasons.note(flow, "rejected by a route")
        flow.response = _refusal(answer.status, answer.headers, answer.body)
    elif isinstance(answer, Abort):
        end_reasons.note(flow, "aborted by a route")
        handler = proxyserver().connections.get(flow.client_conn.id)
        if answer.how == "rst" and handler is not None:
            reset_when_closed(handler, flow)
        flow.kill()
    else:
        carrier.check_can("a mocked server")
        flow.response = _acceptance(flow.request, answer.protocol, answer.headers)


def _refusal(status: int, headers: Headers, body: bytes) -> http.Response:
    response = http.Response.make(status, body)
    if body:
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
    _replace(response.headers, headers.pairs)
    return response


def _acceptance(request: http.Request, protocol: str | None, headers: Headers) -> http.Response:
    """A 101 in the stead of the server, with no extension."""
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(request.headers.get("Sec-WebSocket-Key", "")),
    }
    if protocol is not None:
        fields["Sec-WebSocket-Protocol"] = protocol
    response = http.Response.make(101, b"", fields)
    del response.headers["Content-Length"]  # a 101 must have none (RFC 9110, 8.6)
    _replace(response.headers, headers.pairs)
    return response


def _replace(headers: http.Headers, fields: Iterable[tuple[str, str | None]]) -> None:
    """Put fields in the place of those with the same names. None puts nothing there."""
    given: dict[str, list[tuple[str, str]]] = {}
    for name, value in fields:
        of_name = given.setdefault(name.lower(), [])
        if value is not None:
            of_name.append((name, value))
    result: list[tuple[str, str]] = []
    for name, value in headers.items(multi=True):
        if name.lower() in given:
            result += given[name.lower()]
            given[name.lower()] = []
        else:
            result.append((name, value))
    result += chain.from_iterable(given.values())
    # All at once: `Headers.add` copies all fields for each.
    headers.fields = http.Headers((_bytes(name), _bytes(value)) for name, value in result).fields


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
