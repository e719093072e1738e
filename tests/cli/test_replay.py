"""`wirewright replay`, as a user types it."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from support.certificates import Certificates
from support.forked_programs import WIREWRIGHT
from support.model_sockets import begin_socket
from support.processes import running
from support.servers import echo, serving
from wirewright.capture.recorder import Recorder
from wirewright.model.handshake import Headers
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Direction, Payload

Talk = list[tuple[bool, Payload]]
"""Whether a message is the app's, and what it says."""

TALK: Talk = [
    (False, "welcome"),
    (True, '{"id":1,"buy":2}'),
    (False, '{"id":1,"done":true}'),
    (True, b"\xff"),
]
HEADERS = {
    "host": "h",
    "origin": "https://h",
    "user-agent": "an app",
    "x-api-key": "secret",
    "sec-websocket-protocol": "chat",
}

WITHHELD = "\n  x-api-key: redacted in the recording, and not sent; --header NAME:VALUE sends a value"
"""The last line of what a replay of HEADERS says."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


def record(path: Path, *talks: Talk, by: Any = "client", code: int = 3000) -> None:
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    for number, talk in enumerate(talks):
        feed = begin_socket(control.proxy, f"wss://h/talk/{number}?a=1", key=str(number), headers=HEADERS)
        feed.answered(101, {"sec-websocket-protocol": "chat"})
        feed.opened(("10.0.0.1", 443))
        assert feed.tape is not None
        for from_client, payload in talk:
            feed.tape.messages(
                [payload], len(payload), direction=Direction.SENT if from_client else Direction.RECEIVED
            )
        control.close(str(number), code, "bye", by)
    recorder.stop()


class Server:
    """Says what it was told to, each answer after its question, and knows what came."""

    def __init__(self, talk: Talk, code: int | None = None) -> None:
        self.talk = talk
        self.code = code
        self.came: list[Payload] = []
        self.requests: list[websockets.Request] = []

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.requests.append(connection.request)
        for is_apps, payload in self.talk:
            if is_apps:
                self.came.append(await connection.recv())
            else:
                await connection.send(payload)
        if self.code is not None:
            await connection.close(self.code)
        async for message in connection:
            self.came.append(message)


async def replay(*arguments: str | Path) -> tuple[int | None, str]:
    async with running(WIREWRIGHT, "replay", *arguments) as run:
        said = await run.rest()
        return run.process.returncode, said


async def test_app_is_played_to_a_live_server(path: Path) -> None:
    record(path, TALK)
    server = Server(TALK)
    async with serving(server, subprotocols=[websockets.Subprotocol("chat")]) as url:
        code, said = await replay(path, "--as-client", url, "--header", "X-Api-Key: fresh", "--speed", "inf")
    assert (code, said) == (0, f"#1 {url}/talk/0?a=1: 2 messages sent, 2 answers, all as recorded")
    assert server.came == ['{"id":1,"buy":2}', b"\xff"]
    (request,) = server.requests
    assert request.path == "/talk/0?a=1"
    names = ("Origin", "User-Agent", "X-Api-Key", "Sec-WebSocket-Protocol")
    assert [request.headers[name] for name in names] == ["https://h", "an app", "fresh", "chat"]
    assert request.headers["Host"] in url


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_of_the_live_server_is_not_followed(path: Path, status: int) -> None:
    other = Server(TALK)
    record(path, TALK)
    async with serving(other) as elsewhere:

        def redirect(connection: ServerConnection, request: websockets.Request) -> websockets.Response:
            headers = websockets.Headers({"Location": f"{elsewhere}/there"})
            return websockets.Response(status, "Moved", headers, b"")

        async with websockets.serve(echo, "127.0.0.1", 0, process_request=redirect) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/here"
            code, said = await replay(path, "--as-client", url, "--header", "Authorization: secret")
    assert other.requests == []
    assert code == 1
    assert f"HTTP {status} (the redirect to {elsewhere}/there is not followed)" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-One", "a\r\nEvil: 1"),
        ("X-One", "a\n"),
        ("X-One", "a\0"),
        ("X-One\r\nEvil", "1"),
        ("Sec-WebSocket-Protocol", "a\r\nEvil: 1"),
    ],
)
async def test_recorded_header_that_would_begin_another_request_is_not_sent(
    path: Path, name: str, value: str
) -> None:
    record(path, TALK)
    change(path, "request_headers", json.dumps([["Cookie", "a=1"], [name, value]]))
    server = Server(TALK)
    async with serving(server) as url:
        code, said = await replay(path, "--as-client", url)
    assert server.requests == []
    assert code == 1
    assert "not played, as a recorded header cannot be sent" in said


async def test_subprotocol_that_is_not_a_token_fails_its_socket_alone(path: Path) -> None:
    record(path, TALK, TALK)
    change(path, "request_headers", json.dumps([["Sec-WebSocket-Protocol", "a b"]]), "WHERE id = 1")
    server = Server(TALK)
    async with serving(server, subprotocols=[websockets.Subprotocol("chat")]) as url:
        code, said = await replay(path, "--as-client", url, "--speed", "inf")
    assert code == 1
    assert "not played, as its recorded handshake cannot be sent: invalid subprotocol: a b" in said
    assert f"#2 {url}/talk/1?a=1: 2 messages sent, 2 answers, all as recorded" in said
    assert len(server.requests) == 1


async def test_recorded_path_is_one_path_of_a_request(path: Path) -> None:
    record(path, TALK)
    change(path, "url", "wss://h/a b\x01?c=d é%20")
    server = Server(TALK)
    async with serving(server) as url:
        await replay(path, "--as-client", url, "--speed", "inf")
    (request,) = server.requests
    assert request.path == "/a%20b%01?c=d%20%C3%A9%20"


@pytest.mark.parametrize("header", ["X: a\r\nEvil: 1", "X y: 1"])
async def test_header_of_the_user_that_cannot_be_sent_is_refused(path: Path, header: str) -> None:
    record(path, TALK)
    code, said = await replay(path, "--as-client", "ws://127.0.0.1:1", "--header", header)
    assert code == 2
    assert "must" in said
    assert "Traceback" not in said


def change(path: Path, column: str, value: str, where: str = "") -> None:
    """Put a value into a capture that no recorder writes."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE sockets SET {column} = ? {where}", (value,))


async def test_answers_that_differ_are_shown(path: Path) -> None:
    record(path, TALK, TALK)
    server = Server([TALK[0], TALK[1], (False, '{"id":7,"done":false}'), TALK[3]])
    async with serving(server) as url:
        code, said = await replay(path, "--as-client", f"{url}/here", "--socket", "2")
        assert code == 1
        assert f"{url}/here: message 2 is not the recorded one (of socket #2):" in said
        assert '  -  "id": 1,\n  -  "done": true\n  +  "id": 7,\n  +  "done": false' in said
        assert said.endswith(f"#2 {url}/here: 2 messages sent, 2 answers; 1 differ{WITHHELD}")
        code, said = await replay(path, "--as-client", url, "--ignore-key", "id", "--ignore-key", "done")
        assert (code, said.count("all as recorded")) == (0, 2)
        code, said = await replay(path, "--as-client", url, "--ignore", r'"\w+":\w+')
        assert (code, said.count("all as recorded")) == (0, 2)


async def test_report_has_no_secrets(path: Path) -> None:
    record(path, [(True, "in"), (False, '{"token":"REDACTED","a":1}')])
    async with serving(Server([(True, "in"), (False, '{"token":"secret","a":2}')])) as url:
        code, said = await replay(path, "--as-client", f"{url}/x?jwt=secret")
    assert code == 1
    assert "secret" not in said
    assert said.count(f"{url}/x?jwt=REDACTED") == 2
    assert '"token": "REDACTED"' in said


async def test_secrets_that_were_redacted_are_told_of(path: Path) -> None:
    record(path, [(True, '{"password":"REDACTED"}'), (False, "in")])
    async with serving(Server([(True, ""), (False, "in")])) as url:
        code, said = await replay(path, "--as-client", url)
        assert (code, said.endswith("1 messages had REDACTED where the app had sent a secret")) == (0, True)
        code, said = await replay(path, "--as-client", f"{url}/x?token=REDACTED")
        assert said.endswith("1 messages and the URL had REDACTED where the app had sent a secret")


async def test_repeated_headers_are_sent_again_as_they_were(path: Path) -> None:
    recorder, control = Recorder(path, "test", redact=["authorization"]), Control(Proxy())
    control.start_recording(recorder)
    headers = [
        *(("Host", "h"), ("Cookie", "a=1"), ("X-One", "1"), ("cookie", "b=2"), ("X-Odd", "caf\udce9")),
        *(("Connection", "Upgrade, X-Hop"), ("X-Hop", "1"), ("Sec-WebSocket-Key", "k")),
        *(("Authorization", "secret"), ("authorization", "secret"), ("X-Text", "é")),
    ]
    feed = begin_socket(control.proxy, "wss://h/", headers=Headers(headers))
    feed.answered(200, {})  # over HTTP/2; the recorder did not see it open
    assert feed.tape is not None
    feed.tape.messages(["a"], 1, direction=Direction.SENT)
    recorder.stop()
    server = Server([(True, "a")])
    async with serving(server) as url:
        code, said = await replay(
            path, "--as-client", url, "--header", "x-one: 2", "--header", "X-One: 3", "--timeout", "20"
        )
    assert (code, server.came) == (0, ["a"])
    assert said.endswith(
        "  Authorization: redacted in the recording, and not sent; --header NAME:VALUE sends a value"
    )
    got = server.requests[0].headers
    assert [got.get_all(name) for name in ("Cookie", "X-One", "X-Odd", "X-Hop", "X-Text")] == [
        *(["a=1", "b=2"], ["2", "3"], ["caf\xe9"], [], ["\xc3\xa9"]),
    ]


async def test_answers_that_were_not_recorded_are_told(path: Path) -> None:
    record(path, [(True, "a"), (True, "b"), (False, "done")])

    async def talkative(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.recv()
        for message in ("done", "and", "more"):
            await connection.send(message)
        async for _ in connection:
            pass

    async with serving(talkative) as url:
        code, said = await replay(path, "--as-client", url, "--speed", "inf")
    assert (code, said.count("- (nothing)")) == (1, 2)
    assert said.endswith(f"2 messages sent, 3 answers; 2 differ{WITHHELD}")


@pytest.mark.once("many messages try our own comparison")
async def test_server_that_answers_what_was_not_answered_holds_up_nothing(path: Path) -> None:
    record(path, [(True, "x" * 10_000)] * 2_000)  # more than the buffers between both ends take
    async with serving(echo) as url:
        code, said = await replay(path, "--as-client", url, "--speed", "inf")
    assert code == 1
    assert "2,000 messages sent" in said


async def test_message_that_was_recorded_in_part_is_not_sent(path: Path) -> None:
    recorder, control = Recorder(path, "test", max_payload=2), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "wss://h/")
    feed.opened()
    assert feed.tape is not None
    feed.tape.messages(["123"], 3, direction=Direction.SENT)
    recorder.stop()
    server = Server([])
    async with serving(server) as url:
        code, said = await replay(path, "--as-client", url)
    assert (code, server.came) == (1, [])
    assert said.endswith(
        "the client's message 1 of socket #1 was recorded only in part (max_payload), and cannot be played"
    )


async def test_answer_that_does_not_come_is_told(path: Path) -> None:
    question = (True, "what is not answered")
    record(path, [question, (False, "its answer")])
    async with serving(Server([question])) as url:  # which says nothing: no answer of it can come too late
        code, said = await replay(path, "--as-client", url, "--timeout", "0.2")
    assert code == 1
    assert "+ (nothing)" in said
    assert said.endswith(f"1 messages sent, 0 answers; 1 differ; no answer came for 0.2 s{WITHHELD}")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(4000, "all as recorded"), (4001, "the server has closed the socket: 4001, and not 4000")],
)
async def test_end_of_the_server_is_compared(path: Path, code: int, outcome: str) -> None:
    record(path, TALK, by="server", code=4000)
    async with serving(Server(TALK, code)) as url:
        _, said = await replay(path, "--as-client", url)
    assert said.endswith(outcome + WITHHELD)


async def test_server_that_leaves_early_or_refuses_is_told(path: Path) -> None:
    record(path, TALK)
    async with serving(Server([TALK[0]], 1011)) as url:
        code, said = await replay(path, "--as-client", url)
        assert (code, said.endswith(f"the server has closed the socket: 1011{WITHHELD}")) == (1, True)
    code, said = await replay(path, "--as-client", url)
    assert code == 1
    assert "no connection: " in said


async def test_certificate_may_be_any(path: Path, certificates: Certificates) -> None:
    record(path, TALK)
    async with serving(Server(TALK), tls=certificates.server_context) as url:
        code, said = await replay(path, "--as-client", url)
        assert (code, "no connection: " in said) == (1, True)
        code, said = await replay(path, "--as-client", url, "--insecure")
        assert (code, "all as recorded" in said) == (0, True)


async def test_server_is_played_to_a_live_app(path: Path, confdir: Path) -> None:
    record(path, TALK)
    command = (WIREWRIGHT, "replay", path, "-p", "0", "--set", f"confdir={confdir}", "--speed", "inf")
    async with running(*command) as run:
        port = (await run.line(r"listening on \S*:(\d+)"))[1]
        proxy = f"http://127.0.0.1:{port}"
        async with websockets.connect("ws://h/talk/0?a=1", proxy=proxy) as app:
            assert await app.recv() == "welcome"
            await app.send('{"id":1,"buy":3}')
            with pytest.raises(websockets.ConnectionClosed):
                await app.recv()
        await run.line(r"message 1 is not the recorded one \(of socket #1\)")
        await run.line(r'\+  "buy": 3')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--match", "fast"], "match must be 'lockstep' or 'timed', not 'fast'"),
        (["--on-mismatch", "cry"], "on_mismatch must be 'abort', 'wait' or 'passthrough', not 'cry'"),
        (["--speed", "0"], "speed must be more than 0"),
        (["--ignore", "("], "--ignore must be a regex, and '(' is none"),
        (["--ignore", "x", "--json"], "--ignore goes with neither --json nor --ignore-key"),
        (["--as-client", "h:1"], "--as-client must be ws://host/path or wss://host/path, not 'h:1'"),
        (["--as-client", "ws://h", "--speed", "-1"], "--speed must be more than 0"),
        (["--as-client", "ws://h", "--header", "x"], "--header must be NAME:VALUE, not 'x'"),
        (["--as-client", "ws://h", "--header", "Host: x"], "--header cannot set Host"),
        (
            ["--as-client", "ws://h", "--match", "timed"],
            "--match and --on-mismatch do not go with --as-client",
        ),
        (["--as-client", "ws://h", "--wrong"], "there is no option --wrong"),
        (["--socket", "1"], "--socket goes with --as-client only"),
        (["--header", "a:b"], "--header goes with --as-client only"),
        (["--insecure"], "--insecure goes with --as-client only"),
    ],
)
async def test_mistakes_are_one_sentence(path: Path, arguments: list[str], said: str) -> None:
    record(path, TALK)
    code, told = await replay(path, *arguments)
    assert code == 2
    assert said in told
    assert told.count("\n") == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--socket", "9"), "No socket has such a number. Sockets: #1"),
        (("--url", "**/other"), "No URL matches: there are wss://h/talk/0?a=1."),
    ],
)
async def test_replay_tells_why_no_socket_is_chosen(path: Path, options: tuple[str, ...], why: str) -> None:
    record(path, TALK)
    code, told = await replay(path, "--as-client", "ws://h", *options)
    assert code == 1
    assert f"no such socket was ever open: {why}" in told
    assert told.count("\n") == 0
