import json

import pytest

from wirewright.capture.redaction import Redaction
from wirewright.model.handshake import Headers


def test_headers_are_redacted_by_name() -> None:
    headers = {"authorization": "Bearer a", "cookie": "a=b", "set-cookie": "c", "host": "h", "x-mine": "1"}
    assert Redaction().headers(headers) == {
        "authorization": "REDACTED",
        "cookie": "REDACTED",
        "set-cookie": "REDACTED",
        "host": "h",
        "x-mine": "1",
    }
    assert Redaction(["X-Mine"]).headers(headers)["x-mine"] == "REDACTED"
    assert Redaction([]).headers(headers) == headers


@pytest.mark.parametrize(
    ("protocols", "kept"),
    [
        ("chat.v2, chat.v1", "chat.v2, chat.v1"),
        ("chat, bearer abc", "chat, REDACTED"),
        ("bearer, 0123456789abcdef", "bearer, REDACTED"),
        ("access_token, x", "access_token, REDACTED"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.abc", "REDACTED"),
        (f"access, {'a1' * 20}", "access, REDACTED"),
    ],
)
def test_subprotocol_that_is_a_token_is_redacted(protocols: str, kept: str) -> None:
    assert Redaction().headers({"sec-websocket-protocol": protocols}) == {"sec-websocket-protocol": kept}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("ws://h/live", "ws://h/live"),
        ("ws://h/?a=1&Token=x%26y&token", "ws://h/?a=1&Token=REDACTED&token"),
        ("ws://h/?access%5Ftoken=x", "ws://h/?access%5Ftoken=REDACTED"),
        ("ws://h/token=1?", "ws://h/token=1?"),
    ],
)
def test_query_parameters_are_redacted_by_name(url: str, kept: str) -> None:
    assert Redaction().url(url) == kept


def test_json_in_json_and_in_binary_messages_is_redacted() -> None:
    inner = json.dumps({"token": "secret", "b": 1})
    redacted = json.loads(Redaction().text(json.dumps({"body": inner, "n": 1})))
    assert json.loads(redacted["body"]) == {"token": "REDACTED", "b": 1}
    assert json.loads(Redaction().binary(inner.encode())) == {"token": "REDACTED", "b": 1}
    for other in (b"\x00token", b'{"token": "\xff', b"[1]"):
        assert Redaction().binary(other) is other


def test_names_are_several() -> None:
    with pytest.raises(TypeError, match=r"redact must be several names, such as \['password'\], not a str"):
        Redaction("password")


@pytest.mark.parametrize(
    "message",
    [
        '{"a": 1, "user": {"name": "Ada"}}',
        "token: abc",
        '"token"',
        '{"tokens": "abc"}',
        "",
    ],
)
def test_other_messages_stay_as_they_are(message: str) -> None:
    assert Redaction().text(message) is message


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ('{"Password" : "secret"}', {"Password": "REDACTED"}),
        ('{"a": [{"token": {"b": "secret"}}]}', {"a": [{"token": "REDACTED"}]}),
        ('{"token": "secret \\" , \\ud83d", "b": "\\ud83d"}', {"token": "REDACTED", "b": "\ud83d"}),
        ('[{"client_secret": 5}]', [{"client_secret": "REDACTED"}]),
        (r'{"pass\u0077ord": "secret"}', {"password": "REDACTED"}),
        ('{"token": ["a", "secret"]}', {"token": "REDACTED"}),
    ],
)
def test_keys_of_json_messages_are_redacted_at_any_depth(message: str, kept: object) -> None:
    redacted = Redaction().text(message)
    assert json.loads(redacted) == kept
    redacted.encode()  # it can be written


@pytest.mark.parametrize(
    "message",
    ['42["login",{"token":["a","secret"]}]', '{"token": "secret"}\n{"token": "secret"}', '{"token": "secret'],
)
def test_message_that_has_json_in_it_loses_its_secrets_too(message: str) -> None:
    redacted = Redaction().text(message)
    assert "secret" not in redacted
    assert redacted.startswith(message[: message.index("token")])


def test_message_that_only_looks_like_json_costs_no_time() -> None:
    brackets = '"token": "secret" ' + "[" * 1_000_000
    assert Redaction().text(brackets) == '"token": "REDACTED" ' + "[" * 1_000_000


def test_message_that_is_nested_too_deep_loses_its_secrets_too() -> None:
    deep = '{"token":"secret","a":' * 3_000 + "1" + "}" * 3_000
    assert "secret" not in Redaction().text(deep)


def test_token_in_a_later_field_of_subprotocols_is_redacted() -> None:
    fields = [("Sec-WebSocket-Protocol", "chat,bearer"), ("sec-websocket-protocol", "abc, v2")]
    assert Redaction().headers(Headers(fields)).pairs == (
        ("Sec-WebSocket-Protocol", "chat,bearer"),
        ("sec-websocket-protocol", "REDACTED, v2"),
    )


def test_each_of_repeated_headers_is_redacted_in_its_place() -> None:
    fields = [("Set-Cookie", "a"), ("X", "1"), ("SET-COOKIE", "b"), ("x", "caf\udce9")]
    assert Redaction().headers(Headers(fields)).pairs == (
        *(("Set-Cookie", "REDACTED"), ("X", "1"), ("SET-COOKIE", "REDACTED"), ("x", "caf\udce9")),
    )


def test_parameters_of_urls_in_headers_are_redacted() -> None:
    fields = {"Location": "/in?token=a&b=1", "Referer": "https://h/?api_key=a", "X": "/?token=a"}
    assert Redaction().headers(fields).as_dict() == {
        "location": "/in?token=REDACTED&b=1",
        "referer": "https://h/?api_key=REDACTED",
        "x": "/?token=a",
    }
