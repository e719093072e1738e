"""Who may come in, and what ends a client."""

import asyncio
import socket
import ssl
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from support.servers import serving
from wirewright import Error, Proxy, launch
from wirewright.async_api import connect
from wirewright.remote import discovery, server
from wirewright.remote import transport as transport
from wirewright.remote.codec import JSON
from wirewright.remote.discovery import Endpoint

SUBSCRIBE = '{"type":"subscribe","url":{"type":"glob","glob":""}}'


@pytest.fixture
def remote(proxy: Proxy) -> Proxy:
    """The one that is served, to tell it from its clients."""
    return proxy


@pytest.fixture
def endpoint(remote: Proxy) -> Endpoint:
    return discovery.find(None, None)


def raw(endpoint: Endpoint, *, token: str | None = None, codec: str | None = JSON, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {endpoint.token if token is None else token}"}
    return websockets.connect(
        endpoint.address,
        additional_headers=headers | options.pop("headers", {}),
        subprotocols=None if codec is None else [Subprotocol(codec)],
        proxy=None,
        **options,
    )


async def test_host_must_be_ours_on_loopback_whatever_else_is_allowed(confdir: Path) -> None:
    options = {"ws_remote": "127.0.0.1:0", "ws_remote_insecure_bind": True}
    async with launch(port=0, confdir=confdir, options=options):
        with pytest.raises(InvalidStatus) as refused:
            await _with_only(discovery.find(None, None), {"Host": "evil.example"})
    assert refused.value.response.status_code == 421


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"Origin": "https://evil.example"}}, 403),
        ({"headers": {"Origin": "null"}}, 403),
        ({"headers": {"Host": "evil.example"}}, 421),
        ({"headers": {"Host": "127.0.0.1:1"}}, 421),
        ({"token": ""}, 401),
        ({"token": "0" * 64}, 401),
        ({"token": "é"}, 401),
        ({"headers": {"Authorization": "Basic abc"}}, 401),
    ],
)
async def test_stranger_is_refused(endpoint: Endpoint, options: dict[str, Any], status: int) -> None:
    headers = options.get("headers", {})
    if "Host" in headers or "Authorization" in headers:
        # The library adds its own, and two are one too many.
        with pytest.raises(InvalidStatus) as refused:
            await _with_only(endpoint, headers)
    else:
        with pytest.raises(InvalidStatus) as refused:
            await raw(endpoint, **options)
    assert refused.value.response.status_code == status


async def _with_only(endpoint: Endpoint, headers: dict[str, str]) -> None:
    host, port = endpoint.address.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = {
        "Host": f"{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": JSON,
        "Authorization": f"Bearer {endpoint.token}",
    } | headers
    request = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET / HTTP/1.1\r\n{request}\r\n".encode())
    status = int((await reader.readline()).split()[1])
    writer.close()
    raise InvalidStatus(websockets.Response(status, "", websockets.Headers()))


async def test_version_that_is_not_spoken_is_told(endpoint: Endpoint) -> None:
    for codec in (None, "wirewright.v99.json"):
        with pytest.raises(InvalidStatus) as refused:
            await raw(endpoint, codec=codec)
        assert refused.value.response.status_code == 400


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        (["{"], 1007, "Expecting"),
        ([b"\x00"], 1003, "is text"),
        (['{"type":"stopcapture","id":1}'], 1002, "the first message must be subscribe"),
        ([SUBSCRIBE, SUBSCRIBE], 1002, "subscribe comes once"),
        ([SUBSCRIBE, '{"type":"stopcapture","id":1,"x":1}'], 1007, "unknown field"),
        ([SUBSCRIBE, '{"type":"stopcapture","id":1,"attachments":1}', "x"], 1003, "an attachment is binary"),
        (['{"type":"subscribe","url":{"type":"regex","pattern":"("}}'], 1007, "url must be a regex"),
        (['{"type":"subscribe","url":{"type":"function"}}'], 1007, "Invalid value 'function'"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_client_that_errs_is_told_and_hurts_nobody(
    remote: Proxy, endpoint: Endpoint, messages: list[str | bytes], code: int, reason: str
) -> None:
    async with connect() as other, serving() as url:
        async with raw(endpoint, max_size=None) as client:
            for message in messages:
                await client.send(message)
            await client.wait_closed()
            assert client.close_code == code
            assert reason in client.close_reason
        async with other.expect_websocket(), websockets.connect(url, proxy=f"http://127.0.0.1:{other.port}"):
            pass


async def test_message_that_is_too_large_ends_its_client(
    confdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LARGEST_MESSAGE", 1_000)
    async with (
        launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}),
        raw(discovery.find(None, None)) as client,
    ):
        await client.send("x" * 1_001)
        await client.wait_closed()
        assert client.close_code == 1009


async def test_command_that_makes_no_sense_is_refused_and_the_client_goes_on(endpoint: Endpoint) -> None:
    commands = [
        ({"type": "send", "key": "x", "payload": "a", "direction": "received"}, ("Error", "Socket closed")),
        ({"type": "annotate", "text": "a"}, ("Error", "no capture runs that a remark could go into")),
        (
            {
                "type": "route",
                "rule": 1,
                "url": {"type": "glob", "glob": "{{"},
                "times": None,
                "timeout": 1,
                "fallback": "pass",
            },
            ("ValueError", "invalid glob"),
        ),
        ({"type": "unroute", "rule": 7}, None),
    ]
    async with raw(endpoint) as client:
        await client.send(SUBSCRIBE)
        assert msgspec.json.decode(await client.recv())["type"] == "welcome"
        for number, (command, refusal) in enumerate(commands):
            await client.send(msgspec.json.encode({**command, "id": number}).decode())  # type: ignore[dict-item]
            answer = msgspec.json.decode(await client.recv())
            assert answer["id"] == number
            if refusal is None:
                assert answer["type"] == "succeeded"
            else:
                assert answer["type"] == "refused"
                assert answer["kind"] == refusal[0]
                assert answer["message"].startswith(refusal[1])


async def test_there_are_so_many_clients_at_most(
    remote: Proxy, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CLIENTS", 2)
    async with connect(), connect():
        with pytest.raises(Error, match="there are 2 clients already"):
            await connect().__aenter__()
    async with connect() as proxy:
        assert proxy.port == remote.port


async def test_client_that_says_nothing_is_sent_away(
    remote: Proxy, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FIRST_SECONDS", 0.05)
    async with raw(endpoint) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1002, "the first message did not come")


async def test_nothing_is_served_unless_it_is_asked_for(confdir: Path, runtime: Path) -> None:
    async with launch(port=0, confdir=confdir):
        assert not runtime.exists()  # noqa: ASYNC240
        with pytest.raises(Error, match="no proxy with ws_remote runs here"):
            await connect().__aenter__()


async def test_nothing_is_left_when_the_proxy_has_ended(confdir: Path, runtime: Path, tmp_path: Path) -> None:
    path = tmp_path / "ww.sock"
    async with launch(port=0, confdir=confdir, options={"ws_remote": f"unix:{path}"}):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert discovery.find(None, None).address == f"unix://{path}"
        async with connect() as proxy:
            assert proxy.web_sockets == []
    assert not path.exists()
    assert list(runtime.iterdir()) == []  # noqa: ASYNC240


async def test_socket_of_another_program_is_not_taken(confdir: Path, tmp_path: Path) -> None:
    path = tmp_path / "ww.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(Error, match="another program listens there"):
            async with launch(port=0, confdir=confdir, options={"ws_remote": f"unix:{path}"}):
                raise AssertionError
    assert path.is_socket()
    options = {"ws_remote": f"unix:{path}"}  # nobody listens there any more
    async with launch(port=0, confdir=confdir, options=options), connect() as proxy:
        assert proxy.web_sockets == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ws_remote": "0.0.0.0:0"}, "other machines could reach it; ws_remote_insecure_bind"),
        ({"ws_remote": ":::0"}, "other machines could reach it"),
        ({"ws_remote": "9000"}, "ws_remote must be host:port or unix:path, not '9000'"),
        ({"ws_remote": "127.0.0.1:99999"}, "ws_remote must be host:port or unix:path"),
        ({"ws_remote": "unix:/nonexistent/x.sock"}, "ws_remote unix:/nonexistent/x.sock: "),
        ({"ws_remote": "0.0.0.0:0", "ws_remote_insecure_bind": True}, "it needs a certificate"),
        ({"ws_remote": "127.0.0.1:0", "ws_remote_cert": "/nonexistent"}, "ws_remote_cert /nonexistent: "),
    ],
)
async def test_bad_address_ends_the_start_with_a_sentence(
    confdir: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(Error, match=said):
        async with launch(port=0, confdir=confdir, options=options):
            raise AssertionError


async def test_far_address_is_served_with_a_certificate(
    confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = trustme.CA()
    ca.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "cert.pem")
    )
    options = {
        "ws_remote": "0.0.0.0:0",
        "ws_remote_insecure_bind": True,
        "ws_remote_cert": str(tmp_path / "cert.pem"),
    }
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        endpoint = discovery.find(None, None)
        assert endpoint.address.startswith("wss://127.0.0.1:")
        assert "PRIVATE" not in endpoint.certificate
        async with connect() as remote:  # by the certificate in the endpoint's file
            assert remote.port == proxy.port
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "another machine"))
        far = endpoint.address.replace("127.0.0.1", "localhost")
        with pytest.raises(Error, match=r"cannot be reached: .*certificate"):
            await connect(far, token=endpoint.token).__aenter__()
        tls = ssl.create_default_context()
        ca.configure_trust(tls)
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        for trusted in (tls, tmp_path / "ca.pem", str(tmp_path / "ca.pem")):
            async with connect(far, token=endpoint.token, tls=trusted) as remote:
                assert remote.port == proxy.port
        with pytest.raises(Error, match=r"^tls /nonexistent: No such file"):
            await connect(far, token=endpoint.token, tls="/nonexistent").__aenter__()
        other = replace(endpoint, certificate=_another_certificate())
        with pytest.raises(Error, match=r"cannot be reached: .*certificate"):
            await transport.reach(other)


def _another_certificate() -> str:
    """Of the same name."""
    return trustme.CA().issue_cert("127.0.0.1").cert_chain_pems[0].bytes().decode()


async def test_address_where_nobody_listens_is_one_sentence() -> None:
    with pytest.raises(Error, match=r"^ws://127\.0\.0\.1:1 cannot be reached: "):
        await connect("ws://127.0.0.1:1", token="x").__aenter__()
    with pytest.raises(Error, match=r"^unix:///nonexistent cannot be reached: "):
        await connect("unix:///nonexistent", token="x").__aenter__()
