"""The names that users of the async API import: classes, and the types of what methods take and return."""

from wirewright.model.assertions import SocketAssertions
from wirewright.model.async_wait import EventContextManager, EventInfo
from wirewright.model.awaitables import Completion
from wirewright.model.cursor import Cursor
from wirewright.model.errors import EndedError, EndpointError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_wait import Predicate, Timeout
from wirewright.model.frame import Frame
from wirewright.model.frame_list import FrameList
from wirewright.model.frame_match import Match
from wirewright.model.handshake import HeaderChanges, HeaderFields
from wirewright.model.history import Message
from wirewright.model.json_match import ANY
from wirewright.model.matching import UrlMatch, UrlPattern
from wirewright.model.network_plan import Directions, Milliseconds, Plan, Preset
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_context import ProxyContext
from wirewright.model.proxy_host import ReplayHandler
from wirewright.model.reconnection import ProxyAssertions
from wirewright.model.route import CloseHandler, MessageHandler, WebSocketRoute
from wirewright.model.route_table import RouteHandler
from wirewright.model.web_socket_mock import MockRule, Reply, WebSocketMock
from wirewright.model.websocket import WebSocket
from wirewright.values import ClosedBy, Conditions, Direction, Payload

__all__ = [
    "ANY",
    "CloseHandler",
    "ClosedBy",
    "Completion",
    "Conditions",
    "Cursor",
    "Direction",
    "Directions",
    "EndedError",
    "EndpointError",
    "Error",
    "EventContextManager",
    "EventInfo",
    "Frame",
    "FrameList",
    "HeaderChanges",
    "HeaderFields",
    "Match",
    "Message",
    "MessageHandler",
    "Milliseconds",
    "MockRule",
    "Payload",
    "Plan",
    "Predicate",
    "Preset",
    "Proxy",
    "ProxyAssertions",
    "ProxyContext",
    "ReplayHandler",
    "Reply",
    "RouteHandler",
    "SocketAssertions",
    "Timeout",
    "TimeoutError",
    "UrlMatch",
    "UrlPattern",
    "WebSocket",
    "WebSocketMock",
    "WebSocketRoute",
]
