import json
import tracemalloc

import pytest

from wirewright.capture import scanned_text, secret_spans
from wirewright.capture.redaction import Redaction
from wirewright.capture.secret_names import OVERLAP, SEARCH_STEP, SecretNames
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
        ("ws://h/token?", "ws://h/token?"),
        ("ws://token:80/live", "ws://token:80/live"),
        ("ws://me:a@h/", "ws://me:REDACTED@h/"),
        ("ws://h/?%74oken=a&b=1", "ws://h/?%74oken=REDACTED&b=1"),
        (
            "ws://h/?to=https%3A%2F%2Fh%2F%3Ftoken%3Da%26b&c=1",
            "ws://h/?to=https%3A%2F%2Fh%2F%3Ftoken%3DREDACTED&c=1",
        ),
        ("ws://h/#access_token=a&b=1", "ws://h/#access_token=REDACTED&b=1"),
    ],
)
def test_query_parameters_are_redacted_by_name(url: str, kept: str) -> None:
    assert Redaction().url(url) == kept


def test_json_in_json_and_in_binary_messages_is_redacted() -> None:
    inner = json.dumps({"token": "secret", "b": 1})
    redacted = json.loads(Redaction().text(json.dumps({"body": inner, "n": 1})))
    assert json.loads(redacted["body"]) == {"token": "REDACTED", "b": 1}
    assert json.loads(Redaction().binary(inner.encode())) == {"token": "REDACTED", "b": 1}
    for other in (b"\x00token", b"token\xff", b"[1]"):
        assert Redaction().binary(other) is other


def test_names_are_several() -> None:
    with pytest.raises(TypeError, match=r"redact must be several names, such as \['password'\], not a str"):
        Redaction("password")


@pytest.mark.parametrize(
    "message",
    [
        '{"a": 1, "user": {"name": "Ada"}}',
        '"token"',
        '{"type": "token", "label": "Enter token:", "fields": "token, password"}',
        "https://host:443/live?user@example.org",
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


def test_rest_of_a_message_is_redacted_if_nothing_tells_where_the_secret_ends() -> None:
    brackets = '{"a": 1, "token": "secret" ' + "[" * 1_000_000
    assert Redaction().text(brackets) == '{"a": 1, "token": "REDACTED'
    assert Redaction().text('{"token": "sec"ret", "b": 1}') == '{"token": "REDACTED'
    assert Redaction().text('{"token": Bearer secret') == '{"token": "REDACTED"'


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
    fields = {
        "Location": "/in?token=a&b=1",
        "Referer": "https://user:a@h/?api_key=a",
        "Link": '<https://h/?token=a>; rel="next"',
        "X": "/?token=a",
    }
    assert Redaction().headers(fields).as_dict() == {
        "location": "/in?token=REDACTED&b=1",
        "referer": "https://user:REDACTED@h/?api_key=REDACTED",
        "link": '<https://h/?token=REDACTED>; rel="next"',
        "x": "/?token=REDACTED",
    }


@pytest.mark.parametrize(
    "name",
    [
        *("accessToken", "authToken", "jwt", "secret", "passwd", "X-Auth-Token", "X-Access-Token"),
        *("X-Amz-Security-Token", "ACCESS-TOKEN", "xApiKey", "sessionToken", "clientSecret"),
    ],
)
def test_names_are_compared_without_case_hyphens_and_underscores(name: str) -> None:
    redaction = Redaction()
    assert redaction.text(json.dumps({name: "secret", "b": 1})) == json.dumps({name: "REDACTED", "b": 1})
    assert redaction.headers({name: "secret"})[name] == "REDACTED"
    assert redaction.url(f"ws://h/?{name}=secret&b=1") == f"ws://h/?{name}=REDACTED&b=1"
    assert Redaction(["my-name"]).text('{"MY_NAME":1}') == '{"MY_NAME":"REDACTED"}'


def json_in_json(secret: str) -> str:
    return json.dumps({"a": json.dumps({"b": json.dumps({"token": secret, "c": [1]})}), "d": 1})


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        # JSON: the rest stays as it is written
        ('{ "token" : "s" , "b":1}', '{ "token" : "REDACTED" , "b":1}'),
        ('[[[ {"pass\\u0077ord":["s","s"],"b":1}', '[[[ {"pass\\u0077ord":"REDACTED","b":1}'),
        ('{"token":"s","token":"s"}', '{"token":"REDACTED","token":"REDACTED"}'),
        ('{"token":["s', '{"token":"REDACTED"'),
        ('{"pass\\u0077ord":{"a":"s', '{"pass\\u0077ord":"REDACTED"'),
        ('{"token":[1,{"x":"]s"}],"b":1}', '{"token":"REDACTED","b":1}'),
        ('{"token":"s\\\\","b":"c"}', '{"token":"REDACTED","b":"c"}'),
        ("\ufeff{'token': 's', 'b': 1}", "\ufeff{'token': 'REDACTED', 'b': 1}"),
        # JSON in strings of JSON
        (json_in_json('s"\\'), json_in_json("REDACTED")),
        (
            '42["m","{\\"token\\":\\"s\\",\\"b\\":1}",{"password":"s"}]',
            '42["m","{\\"token\\":\\"REDACTED\\",\\"b\\":1}",{"password":"REDACTED"}]',
        ),
        ('{"a":"{\\"token\\":\\"s","b":1}', '{"a":"{\\"token\\":\\"REDACTED","b":1}'),
        ('{"a":"{\\"token\\":[\\"s\\"],\\"b\\":1}"}', '{"a":"{\\"token\\":\\"REDACTED\\",\\"b\\":1}"}'),
        # Names in the place of values
        ('{"name":"Authorization","value":"s"}', '{"name":"Authorization","value":"REDACTED"}'),
        ('{"value":"s","on":true,"key":"Cookie"}', '{"value":"REDACTED","on":true,"key":"Cookie"}'),
        (
            '[{"name":"a","value":"b"},{"name":"jwt","x":{"value":1},"value":"s"},{"value":"c"}]',
            '[{"name":"a","value":"b"},{"name":"jwt","x":{"value":1},"value":"REDACTED"},{"value":"c"}]',
        ),
        ('{"value":"a {\\"name\\":\\"jwt\\"} b"}', '{"value":"a {\\"name\\":\\"jwt\\"} b"}'),
        ('[["Cookie","s"],["b","c"]]', '[["Cookie","REDACTED"],["b","c"]]'),
        # Forms and URLs
        ("a=1&password=it's&b=2", "a=1&password=REDACTED&b=2"),
        ("user[password]=s&b=2", "user[password]=REDACTED&b=2"),
        ("user%5Bpassword%5D=s&b=2", "user%5Bpassword%5D=REDACTED&b=2"),
        ('{"u":"https://h/?jwt=s&b=2","x":1}', '{"u":"https://h/?jwt=REDACTED&b=2","x":1}'),
        ('{"u":"https://me:s@h/p?b=2","x":1}', '{"u":"https://me:REDACTED@h/p?b=2","x":1}'),
        ("https:\\/\\/me:s@h\\/p", "https:\\/\\/me:REDACTED@h\\/p"),
        ('{"u":"?b=1\\u0026jwt\\u003ds\\u0026c=2"}', '{"u":"?b=1\\u0026jwt\\u003dREDACTED\\u0026c=2"}'),
        ("d=%7B%22token%22%3A%22s%22%7D&b=1", "d=%7B%22token%22REDACTED&b=1"),
        # Headers, as of STOMP, also in JSON
        ('CONNECT\nlogin:me\npasscode:s, "s"\n\n\0', "CONNECT\nlogin:me\npasscode:REDACTED\n\n\0"),
        (
            '["CONNECT\\npasscode:s\\nAuthorization:Bearer s\\nx:1\\n\\n\\u0000"]',
            '["CONNECT\\npasscode:REDACTED\\nAuthorization:REDACTED\\nx:1\\n\\n\\u0000"]',
        ),
        ("token: s", "token: REDACTED"),
        (
            "GET / HTTP/1.1\r\nCookie: a=s; b=s\r\nHost: h\r\n",
            "GET / HTTP/1.1\r\nCookie: REDACTED\r\nHost: h\r\n",
        ),
        # Others
        ("<a><password>s</password><b/></a>", "<a><password>REDACTED</password><b/></a>"),
        ('{token: "s", b: 1}', '{token: "REDACTED", b: 1}'),
    ],
)
def test_secrets_are_replaced_in_their_place(message: str, kept: str) -> None:
    assert Redaction().text(message) == kept
    assert Redaction().binary(message.encode()) == kept.encode()


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (b' \n {"token":"s","b":1}', b' \n {"token":"REDACTED","b":1}'),
        (b'\xef\xbb\xbf{"token":"s"}', b'\xef\xbb\xbf{"token":"REDACTED"}'),
        (b'\x00\x00\x01\xff{"token":"s"}', b'\x00\x00\x01\xff{"token":"REDACTED"}'),
        (b'{"a":"\xff","token":"s\xff","c":1}', b'{"a":"\xff","token":"REDACTED","c":1}'),
        (b"\x82\xa5token\xa1s\xa1b\x01", b"\x82\xa5tokenREDACTED"),
    ],
    ids=["white space", "byte order mark", "prefix", "bytes that are not UTF-8", "MessagePack"],
)
def test_text_in_binary_messages_is_redacted(message: bytes, kept: bytes) -> None:
    assert Redaction().binary(message) == kept


def test_names_that_are_not_ascii_are_redacted() -> None:
    redaction = Redaction(["contraseña"])
    for message in ('{"Contraseña":"s","b":1}', '{"contrase\\u00f1a":"s","b":1}'):
        assert redaction.text(message) == message.replace('"s"', '"REDACTED"')
        assert redaction.binary(message.encode()) == message.replace('"s"', '"REDACTED"').encode()


def test_close_frames_keep_their_code_and_close_reasons_their_length() -> None:
    redaction = Redaction()
    assert redaction.close(b"\x03\xe8token=s") == b"\x03\xe8token=REDACTED"
    assert redaction.close_reason("bye") == "bye"
    assert redaction.close_reason("x" * 112 + "&token=s") == "x" * 112 + "&token=REDA"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        # JSON in a string, as .NET and others escape it
        (
            r'{"d":"{\u0022token\u0022:\u0022s\u0022,\u0022b\u0022:1}"}',
            r'{"d":"{\u0022token\u0022:\u0022REDACTED\u0022,\u0022b\u0022:1}"}',
        ),
        (
            r'{"d":"{\u0022token\u0022 : [\u0022s]\u0022],\u0022b\u0022:1}"}',
            r'{"d":"{\u0022token\u0022 : \u0022REDACTED\u0022,\u0022b\u0022:1}"}',
        ),
        (
            r'{"d":"{\u0022jwt\u0022:\u0022s\\u0022s\u0022,\u0022b\u0022:1}"}',
            r'{"d":"{\u0022jwt\u0022:\u0022REDACTED\u0022,\u0022b\u0022:1}"}',
        ),
        (
            r'{"d":"{\\u0022jwt\\u0022:\\u0022s\\u0022}\u0022,1"}',
            r'{"d":"{\\u0022jwt\\u0022:\\u0022REDACTED\\u0022}\u0022,1"}',
        ),
        (r'{"d":"{\u0022token\u0022:\u0022s","b":1}', r'{"d":"{\u0022token\u0022:\u0022REDACTED","b":1}'),
        (r'{"d":"{\u0022token\u0022:5}","b":1}', r'{"d":"{\u0022token\u0022:\u0022REDACTED\u0022}","b":1}'),
        (
            r'{"d":"[{\u0022name\u0022:\u0022Cookie\u0022,\u0022value\u0022:\u0022s\u0022}]"}',
            r'{"d":"[{\u0022name\u0022:\u0022Cookie\u0022,\u0022value\u0022:\u0022REDACTED\u0022}]"}',
        ),
        (r"{\x22token\x22:\x22s\x22}", r"{\x22token\x22:\x22REDACTED\x22}"),
        ("&quot;token&quot;:&quot;s&quot;,", "&quot;token&quot;:&quot;REDACTED&quot;,"),
        # Keys that end with a name
        ('{"auth.token":"s","$jwt":"s"}', '{"auth.token":"REDACTED","$jwt":"REDACTED"}'),
        ("{'token': b's', 'b': 1}", "{'token': b'REDACTED', 'b': 1}"),
        ('login(password:"""s "s" """)', 'login(password:"""REDACTED""")'),
        # Lists: a string after a name, but not the data of an event
        ('42["token",{"a":"b"}]', '42["token",{"a":"b"}]'),
        ('["secret",[1,2]]', '["secret",[1,2]]'),
        # XML
        ('<w:Password Type="a">s</w:Password><b/>', '<w:Password Type="a">REDACTED</w:Password><b/>'),
        ("<password><![CDATA[s]]></password><b/>", "<password>REDACTED</password><b/>"),
        ("<password><value>s</value></password>", "<password>REDACTED</password>"),
        ('<password/><b c="d">e</b>', '<password/><b c="d">e</b>'),
        (r'{"x":"\u003cjwt\u003es\u003c/jwt\u003e"}', r'{"x":"\u003cjwt\u003eREDACTED\u003c/jwt\u003e"}'),
        ("&lt;jwt&gt;s&lt;/jwt&gt;", "&lt;jwt&gt;REDACTED&lt;/jwt&gt;"),
        ("<a><password><b>s", "<a><password>REDACTED"),
        ("List<Token> a, b < c", "List<Token>REDACTED< c"),
        # URLs
        ("https://h/#/access_token=s&b=1", "https://h/#/access_token=REDACTED&b=1"),
        ("https://h/?/token=s&b=1", "https://h/?/token=REDACTED&b=1"),
        ("https://h/#!/a/token=s&b=1", "https://h/#!/a/token=REDACTED&b=1"),
        ("token[]=s&token[0]=s&b[jwt][]=s&c=1", "token[]=REDACTED&token[0]=REDACTED&b[jwt][]=REDACTED&c=1"),
        ("see https://h/?tok%65n=s&b=1", "see https://h/?tok%65n=REDACTED&b=1"),
        ("u=https%253A%252F%252Fh%253Ftoken%253Ds&b=1", "u=https%253A%252F%252Fh%253Ftoken%253DREDACTED&b=1"),
        (
            "u=https%3A%2F%2Fme%3As%2Es%40h%2F%3Fjwt%3Ds&b=1",
            "u=https%3A%2F%2Fme%3AREDACTED%40h%2F%3Fjwt%3DREDACTED&b=1",
        ),
        ("u=https%253A%252F%252Fme%253As%2540h&b=1", "u=https%253A%252F%252Fme%253AREDACTED%2540h&b=1"),
        (r'{"d":"{\"u\":\"https:\\\/\\\/me:s@h\"}"}', r'{"d":"{\"u\":\"https:\\\/\\\/me:REDACTED@h\"}"}'),
        (r'{"u":"https:\u002F\u002Fme:s@h"}', r'{"u":"https:\u002F\u002Fme:REDACTED@h"}'),
        # Values with blanks and in several lines
        ("Authorization=Bearer s\nb=1", "Authorization=REDACTED\nb=1"),
        ("token=s s s", "token=REDACTED"),
        ('{"a":"token=s s","b":1}', '{"a":"token=REDACTED","b":1}'),
        ("A: b\r\nAuthorization: Bearer\r\n s\r\n\ts\r\nB: c", "A: b\r\nAuthorization: REDACTED\r\nB: c"),
        (
            r'"A: b\r\nAuthorization: Bearer\r\n s\r\n\ts\r\nB: c"',
            r'"A: b\r\nAuthorization: REDACTED\r\nB: c"',
        ),
        ("a:\n  token: |\n    s\n\n    s\n  b: 1", "a:\n  token: REDACTED\n  b: 1"),
        ("token:\n  s\nb: 1", "token:REDACTED\nb: 1"),
        ("token:\n- s\n- s\nb: 1", "token:REDACTED\nb: 1"),
        (r'"passcode:caf\u00e9s\nb:1"', r'"passcode:REDACTED\nb:1"'),
    ],
)
def test_secrets_that_are_written_in_other_ways_are_replaced(message: str, kept: str) -> None:
    assert Redaction().text(message) == kept
    assert Redaction().binary(message.encode()) == kept.encode()
    assert kept == message or Redaction().concerns([message])


@pytest.mark.parametrize("size", [300, 1_024, 1_100, 2_000, 70_000])
@pytest.mark.parametrize("before", ["", "x " * 480, "x " * 32_700], ids=len)
def test_secret_of_any_length_is_redacted_in_any_place(size: int, before: str) -> None:
    redaction = Redaction()
    long = "s" * size
    for message, kept in (
        ("https://me:%s@h/", "https://me:REDACTED@h/"),
        ("https%%3A%%2F%%2Fme%%3A%s%%40h", "https%3A%2F%2Fme%3AREDACTED%40h"),
        ('{"value":"%s","name":"Authorization"}', '{"value":"REDACTED","name":"Authorization"}'),
        (r'{"d":"{\u0022token\u0022:\u0022%s\u0022}"}', r'{"d":"{\u0022token\u0022:\u0022REDACTED\u0022}"}'),
    ):
        assert redaction.text(before + message % long) == before + kept
    between = f'{{"name":"jwt","a":"{long}","b":[1,{{"value":2}}],"value":"%s"}}'
    assert redaction.text(before + between % "s") == before + between % "REDACTED"
    user = f"https://{long}:%s@h/"
    assert redaction.text(before + user % "s") == before + user % "REDACTED"
    assert redaction.url(f"ws://me:{long}@h/") == "ws://me:REDACTED@h/"
    assert redaction.url(f"ws://h/?u=https%3A%2F%2Fh%2F{long}%3Ftoken%3Dsecret").endswith("token%3DREDACTED")


def test_value_of_a_pair_is_redacted_beside_other_secrets() -> None:
    assert (
        Redaction().text('{"value":"s","password":"s","name":"Cookie"}')
        == '{"value":"REDACTED","password":"REDACTED","name":"Cookie"}'
    )
    assert (
        Redaction().text('{"value":{"token":"s"},"name":"Cookie"}') == '{"value":"REDACTED","name":"Cookie"}'
    )


@pytest.mark.parametrize(
    "name",
    [
        *("X-Session-Token", "X-Secret", "X-JWT", "Api-Token", "newPassword", "db_password", "DBPassword"),
        *("user_passwd", "pageToken", "x-my-secret"),
    ],
)
def test_name_whose_last_word_is_a_secret_name_is_one(name: str) -> None:
    redaction = Redaction()
    assert redaction.headers({name: "secret"})[name] == "REDACTED"
    assert redaction.text(json.dumps({name: "secret"})) == json.dumps({name: "REDACTED"})
    assert redaction.url(f"ws://h/?{name}=secret&b=1") == f"ws://h/?{name}=REDACTED&b=1"


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "token_count", "tokenCount", "passwordHint", "secretary", "is_secret_question"),
        *("mytoken", "password_reset_at", "xjwt", "completionTokens", "TOKENS"),
    ],
)
def test_name_that_only_contains_a_secret_name_is_none(name: str) -> None:
    message = json.dumps({name: "1"})
    assert Redaction().text(message) == message
    assert Redaction().headers({name: "1"})[name] == "1"


def test_last_word_counts_only_if_it_is_among_the_names() -> None:
    message = '{"db_password":"a","X-Mine":"b"}'
    assert Redaction(["mine"]).text(message) == message
    assert Redaction(["password"]).text(message) == '{"db_password":"REDACTED","X-Mine":"b"}'


def test_secrets_in_fragments_of_locations_are_redacted() -> None:
    fields = {"Location": "https://h/#/access_token=s&b=1"}
    assert Redaction().headers(fields).as_dict() == {"location": "https://h/#/access_token=REDACTED&b=1"}


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (b"\x81\xd9\x08password\xa1s", b"\x81\xd9\x08passwordREDACTED"),
        (b"\x81\xda\x00\x08password\xa1s", b"\x81\xda\x00\x08passwordREDACTED"),
        (b"\x00\x00\x00\x02password\x00\x02\x00\x00\x00s\x00\x00", b"\x00\x00\x00\x02passwordREDACTED"),
        (b"\x26\x00\x08password\x00\x01s", b"\x26\x00\x08passwordREDACTED"),
        *(
            ('{"é":"token","token":"s"}'.encode(each), '{"é":"token","token":"REDACTED"}'.encode(each))
            for each in ("utf-16-le", "utf-16-be", "utf-16")
        ),
        ('{"token":"s"}'.encode("utf-16-le") + b"\n", '{"token":"REDACTED"}'.encode("utf-16-le") + b"\n"),
        (
            b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\ns\r\n--b--',
            b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nREDACTED\r\n--b--',
        ),
    ],
    ids=["MessagePack 8", "MessagePack 16", "BSON", "MQTT", "UTF-16 LE", "UTF-16 BE", "BOM", "odd", "form"],
)
def test_secrets_of_binary_formats_are_redacted(message: bytes, kept: bytes) -> None:
    redaction = Redaction()
    assert redaction.binary(message) == kept
    assert redaction.concerns([message])
    assert redaction.concerns([b"a", message])


@pytest.mark.parametrize("key", [b"\x03jwt", b"\xa3jwt", b"\x02jwt\0", b"!jwt=", b"~jwt:"])
def test_short_name_that_is_among_many_random_bytes_by_chance_is_none(key: bytes) -> None:
    """Each of these is in 40 MB of random bytes in one case out of twenty."""
    message = b"\xfe" * 10_000 + key + b"\xda\x01\xff" * 10_000
    assert Redaction().binary(message) == message


@pytest.mark.parametrize("key", [b"\xa3jwt\xd9\x20", b"\x02jwt\0\x21\0\0\0", b"?jwt="])
def test_short_name_before_a_text_counts_in_a_large_message(key: bytes) -> None:
    message = b"\xfe" * 10_000 + key + b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpX" + b"\0" * 10
    assert b"eyJ" not in Redaction().binary(message)


def test_utf_16_without_secrets_stays_as_it_is() -> None:
    message = '{"a":"\ud800"}'.encode("utf-16-le", "surrogatepass") + b"x"
    assert Redaction().binary(message) is message


@pytest.mark.parametrize(
    "message",
    [
        '{"value":"Bearer %s","name":"Authorization"}',
        "https://me:%s@h/",
        '[{"a":"https:\\/\\/me:%s@h"}]',
        r"{\u0022value\u0022:\u0022%s\u0022,\u0022name\u0022:\u0022Cookie\u0022}",
    ],
)
@pytest.mark.parametrize("size", [900, 1_100, 5_000, SEARCH_STEP + 5_000])
def test_preview_of_a_message_shows_no_secret_whose_name_or_end_is_far_behind(
    message: str, size: int
) -> None:
    payload = message % ("s" * size) + " " * size
    for each in (payload, payload.encode()):
        shown = Redaction().preview(each, 60)[:60]
        said = shown if isinstance(shown, str) else shown.decode()
        assert "ss" not in said
        assert "REDACTED" in said
    assert Redaction([]).preview(payload, 60)[:60] == payload[:60]


@pytest.mark.parametrize("payload", ["a" * 2_000, b"a" * 2_000, '{"token": "' + "s" * 90_000 + '"}'])
def test_beginning_of_a_message_says_if_it_is_the_whole_of_it(payload: str | bytes) -> None:
    redaction = Redaction()
    assert redaction.beginning(payload, 60)[1] is False
    assert redaction.beginning(payload, len(payload)) == (redaction.payload(payload), True)


SIZE = 320 * 1024
HOSTILE = {
    "string without an end": '{"token":"' + "a" * SIZE,
    "list beside a name": '"token"' + "[]" * (SIZE // 2),
    "list as a value": '{"token":' + "[]" * (SIZE // 2),
    "nested": '{"token":1,"a":' * (SIZE // 15),
    "nested value": '{"token":' + '{"a":' * (SIZE // 5),
    "secrets": '"token":1,' * (SIZE // 10),
    "quotes in a secret": '{"token":"' + '\\"' * (SIZE // 2),
    "backslashes": '{"token":"' + "\\" * SIZE,
    "backslashes after a name": "token" + "\\" * SIZE,
    "words": "token " * (SIZE // 6),
    "one word": "token" * (SIZE // 5),
    "escapes": "\\u0041" * (SIZE // 6),
    "white space": '"token"' + " " * SIZE,
    "white space before a value": '"token":' + " " * SIZE + "1",
    "URLs": "@" + "://a:b" * (SIZE // 6),
    "passwords": "://a:b@" * (SIZE // 7),
    "pairs without values": '{"name":"token","b":1},' * (SIZE // 23),
    "pairs with lists": '"value":[' * 20 + '{"name":"token","b":1},' * 20 + "a" * SIZE,
    "pairs with many values": ('{"name":"token",[' + '"value":' * 100) * (SIZE // 817),
    "percent-encoding": "token" + "%41" * (SIZE // 3),
    "escaped quotes": "{\\u0022token\\u0022:\\u0022" + "u0022" * (SIZE // 5),
    "escaped objects": "\\u0022token\\u0022:{" * (SIZE // 18),
    "tags": "<token>" * (SIZE // 7),
    "tags without an end": "<token " * (SIZE // 7),
    "types": "a<token>" * (SIZE // 8),
    "tags of others": "<token>" + "</x>" * (SIZE // 4),
    "pair with a long object": '{"value":1,' + '"name":"token",' * (SIZE // 15),
    "authorities": "@" + "%3A%2F%2Fa%3Ab" * (SIZE // 14),
    "hosts": "https%3A%2F%2Fa%3A" + "%40" * (SIZE // 3),
    "authority": "://a:" + "@" * SIZE,
    "deep percent-encoding": "token%" + "25" * (SIZE // 2),
    "indented lines": "token:\n" + " a\n" * (SIZE // 3),
    "empty lines": "token: |\n" + "\n" * SIZE,
    "subscripts": "token" + "[]" * (SIZE // 2),
    "values in a string": '{"value":"' + '\\"' * (SIZE // 4) + '","name":"token"}' * (SIZE // 32),
}


@pytest.mark.once("no dependency has a part in it")
@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_hostile_message_takes_little_memory_and_few_steps(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanned_text, "MOST_STEPS", 20_000)
    monkeypatch.setattr(secret_spans, "MOST_SECRETS", 2_000)
    sizes: list[int] = []
    may_be_in = SecretNames.may_be_in

    def noted(names: SecretNames, part: str | bytes) -> bool:
        sizes.append(len(part))
        return may_be_in(names, part)

    monkeypatch.setattr(SecretNames, "may_be_in", noted)
    tracemalloc.start()
    redacted = Redaction().text(message)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(message)
    assert len(redacted) < 2 * len(message)
    assert max(sizes) <= SEARCH_STEP + OVERLAP
    assert sum(sizes) < 4 * len(message)


def test_rest_of_a_message_with_many_pieces_is_redacted_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_spans, "MOST_SECRETS", 2)
    message = '"token":1,' * 4
    assert Redaction().text(message) == '"token":"REDACTED","token":"REDACTED"REDACTED'
    monkeypatch.setattr(scanned_text, "MOST_STEPS", 10)
    assert Redaction().text('{"a":1,"token":' + "[" * 20) == "REDACTED"


def test_value_with_more_levels_of_json_than_a_bound_is_redacted() -> None:
    quote = "\\" * (scanned_text.MOST_BACKSLASHES + 2) + '"'
    assert "secret" not in Redaction().text(f"{quote}token{quote}:{quote}secret{quote}")


def test_thousands_of_names_cost_as_much_as_one() -> None:
    names = [f"name{number}" for number in range(5_000)]
    message = json.dumps(dict.fromkeys(names, "secret"))
    assert Redaction(names).text(message) == message.replace("secret", "REDACTED")
