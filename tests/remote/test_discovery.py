"""Where a client finds a proxy."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from wirewright import Error
from wirewright.remote import discovery
from wirewright.remote.discovery import Endpoint

ADDRESS = "ws://127.0.0.1:9000"


def published(pid: int = 0, address: str = ADDRESS) -> Endpoint:
    endpoint = Endpoint(address, discovery.new_token(), pid or os.getpid())
    discovery.publish(endpoint)
    return endpoint


def test_the_one_proxy_that_runs_is_found(runtime: Path) -> None:
    endpoint = published()
    assert discovery.find(None, None) == endpoint
    assert len(endpoint.token) == 64
    (path,) = runtime.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700


def test_one_of_several_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = published(), published(os.getppid(), "unix:///run/other.sock")
    monkeypatch.setattr(discovery, "_listens", lambda address: True)
    with pytest.raises(Error, match=r"several proxies run here: say which one, or set ") as raised:
        discovery.find(None, None)
    assert one.address in raised.value.message
    assert other.address in raised.value.message
    assert discovery.find(other.address, None) == other
    monkeypatch.setenv(discovery.VARIABLE, one.address)
    assert discovery.find(None, None) == one


def test_endpoint_may_be_a_file_or_an_address_with_its_token(runtime: Path, tmp_path: Path) -> None:
    endpoint = published()
    (path,) = runtime.iterdir()
    assert discovery.find(path, None) == endpoint
    assert discovery.find(path, "other").token == "other"
    assert discovery.find("wss://far:1", "token") == Endpoint("wss://far:1", "token")


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        ("auto", ADDRESS),
        ("127.0.0.1:9000", ADDRESS),
        ("localhost:9000", ADDRESS),
        ("ws://localhost:9000/", ADDRESS),
        ("unix:ww.sock", "unix:///here/ww.sock"),
        ("unix:/here/ww.sock", "unix:///here/ww.sock"),
        ("unix:///here/ww.sock", "unix:///here/ww.sock"),
    ],
)
def test_address_may_be_written_as_ws_remote_is(
    asked: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "absolute", lambda path: Path("/here") / path)
    published(address=address)
    assert discovery.find(asked, None).address == address


def test_killed_proxy_s_number_may_be_another_program_s(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = published(address=f"ws://127.0.0.1:{listening.getsockname()[1]}")
        published(os.getppid(), "ws://127.0.0.1:1")
        published(1, "unix:///nonexistent")
        assert discovery.find(None, None) == running


def test_proxy_that_is_gone_is_none_and_its_file_goes(runtime: Path) -> None:
    published(2**22 + 1)  # beyond Linux's largest
    with pytest.raises(Error, match="no proxy with ws_remote runs here: start one with"):
        discovery.find(None, None)
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://h:1", "an endpoint is ws://host:port, wss://host:port, unix:/path or a file"),
        ("ws://h:1", "ws://h:1 wants a token"),
        ("gone.json", "gone.json: No such file"),
    ],
)
def test_bad_endpoint_is_refused(endpoint: str, said: str) -> None:
    with pytest.raises(Error, match=said):
        discovery.find(endpoint, None)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text in ("", "[]", "{}", json.dumps({"address": 1})):
        path.write_text(text)
        with pytest.raises(Error, match="the file does not describe the API of a proxy"):
            discovery.find(path, None)


def test_folder_that_others_can_read_is_not_used(runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    with pytest.raises(Error, match="it must be a folder of your own that nobody else can read"):
        published()
    runtime.rmdir()
    elsewhere = runtime.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    runtime.symlink_to(elsewhere)
    with pytest.raises(Error, match="it must be a folder of your own"):
        published()
