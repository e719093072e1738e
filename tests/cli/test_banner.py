"""The lines of `wirewright run` at its start, in each mode."""

from pathlib import Path

import pytest
from mitmproxy.net import local_ip

from support.forked_programs import WIREWRIGHT
from support.processes import running
from wirewright.mitm import network_addresses
from wirewright.mitm.network_addresses import network_addresses as found_addresses


async def banner(confdir: Path, *arguments: str) -> str:
    """All that is printed up to the last line of it."""
    options = ("-p", "0", "--set", f"confdir={confdir}", *arguments)
    async with running(WIREWRIGHT, "run", *options) as run:
        await run.line("Stop +Ctrl-C")
        if "wireguard" in arguments:
            await run.line("Endpoint = ")
        return "\n".join(run.lines)


async def test_regular_proxy_names_the_addresses_of_this_machine(confdir: Path) -> None:
    text = await banner(confdir)
    port = text.partition("listening on *:")[2].partition(".")[0]
    assert f"set 127.0.0.1:{port} as the HTTP and HTTPS proxy of a program on this machine" in text
    for address in found_addresses():
        assert f"{address}:{port}" in text
    assert "http://mitm.it" in text
    assert "Recorded in" not in text


async def test_proxy_of_one_address_names_no_other(confdir: Path) -> None:
    text = await banner(confdir, "--listen-host", "127.0.0.1")
    assert "listening on 127.0.0.1:" in text
    assert "another machine" not in text


@pytest.mark.parametrize(
    ("mode", "leads_to", "schemes"),
    [
        ("reverse:https://api.example.com", "wss://api.example.com", "ws://127.0.0.1:"),
        ("reverse:http://api.example.com:8000", "ws://api.example.com:8000", "ws://127.0.0.1:"),
        ("reverse:tcp://api.example.com:99", "tcp://api.example.com:99", "the app to 127.0.0.1:"),
    ],
)
async def test_reverse_proxy_says_where_it_leads(
    confdir: Path, mode: str, leads_to: str, schemes: str
) -> None:
    text = await banner(confdir, "--mode", mode)
    assert "Use the proxy" not in text
    assert "mitm.it" not in text
    assert schemes in text
    assert f"Leads to        {leads_to}\n" in text


async def test_upstream_proxy_is_named(confdir: Path) -> None:
    text = await banner(confdir, "--mode", "upstream:http://proxy.example.com:3128")
    assert "HTTP and HTTPS proxy" in text
    assert "Leads to        the proxy http://proxy.example.com:3128\n" in text


async def test_socks_proxy_is_called_so(confdir: Path) -> None:
    assert "as the SOCKS5 proxy of a program on this machine" in await banner(confdir, "--mode", "socks5")


async def test_transparent_mode_names_the_guide(confdir: Path) -> None:
    text = await banner(confdir, "--mode", "transparent")
    assert "Use the proxy" not in text
    assert "Redirect        the traffic of a router or a virtual machine to port " in text
    assert "howto/transparent" in text


async def test_wireguard_mode_shows_the_configuration_of_the_device(confdir: Path) -> None:
    text = await banner(confdir, "--mode", "wireguard")
    port = text.partition("listening on *:")[2].partition(".")[0]
    assert "Use the proxy" not in text
    assert "\n[Interface]\nPrivateKey = " in text
    assert text.rpartition("\nEndpoint = ")[2].endswith(f":{port}")


async def test_several_modes_are_told_apart(confdir: Path) -> None:
    text = await banner(confdir, "--mode", "regular", "--mode", "reverse:http://a.example@127.0.0.1:0")
    assert "Use the proxy" in text
    assert "Leads to        ws://a.example\n" in text


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ((), "secrets such as tokens and cookies are redacted; --no-redact records them"),
        (("--redact", "password"), "secrets such as tokens and cookies are redacted"),
        (("--no-redact",), "with all secrets"),
    ],
)
async def test_capture_says_whether_it_has_secrets(
    confdir: Path, tmp_path: Path, option: tuple[str, ...], said: str
) -> None:
    text = await banner(confdir, "--capture", str(tmp_path / "a.db"), *option)
    assert f"Recorded in     {tmp_path / 'a.db'}\n" in text
    assert said in text


def test_addresses_that_lead_to_no_other_machine_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["127.0.0.1", "169.254.7.7", "0.0.0.0", "10.1.2.3", "192.0.2.5"]
    monkeypatch.setattr(network_addresses, "_of_interfaces", lambda: found)
    monkeypatch.setattr(local_ip, "get_local_ip", lambda: "192.0.2.5")
    assert found_addresses() == ["192.0.2.5", "10.1.2.3"]


def test_machine_without_ipv4_has_its_ipv6_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_addresses, "_of_interfaces", list)
    monkeypatch.setattr(local_ip, "get_local_ip", lambda: None)
    monkeypatch.setattr(local_ip, "get_local_ip6", lambda: "2001:db8::5")
    assert found_addresses() == ["2001:db8::5"]
    monkeypatch.setattr(local_ip, "get_local_ip6", lambda: None)
    assert found_addresses() == []
