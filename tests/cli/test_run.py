"""`wirewright run` with real apps and servers: what it prints, and in which order."""

import asyncio
import re
import ssl
from pathlib import Path

import pytest
import trustme
import websockets

from support.certificates import Certificates, trusting
from support.forked_programs import WIREWRIGHT
from support.mitmproxy_scripts import print_port
from support.processes import Running, running
from support.scripts import write_script
from support.servers import serving

TOLD = r"connecting|open(?= +ws)|(→|←) +\S+ B +m\d+|(PRINTED|LOGGED) m\d+|close"
"""The lines of the timeline, and the actions of a script."""
SAYING = """
import logging, sys
from wirewright import proxy

@proxy.on("websocket")
def watch(ws):
    ws.on("framesent", lambda payload: print("PRINTED", payload))
    ws.on("framereceived", lambda payload: logging.warning("LOGGED %s", payload))
    ws.on("close", lambda ws: print("STDERR close", file=sys.stderr))
"""


def command(confdir: Path, *arguments: str | Path) -> tuple[str | Path, ...]:
    return (
        WIREWRIGHT,
        "run",
        "-p",
        "0",
        "--listen-host",
        "127.0.0.1",
        "--set",
        f"confdir={confdir}",
        *arguments,
    )


async def port_of(run: Running) -> str:
    port = (await run.line(r"listening on \S*:(\d+)"))[1]
    await run.line("Stop +Ctrl-C")
    return port


async def test_all_output_is_in_one_order(confdir: Path, tmp_path: Path) -> None:
    script = write_script(tmp_path / "say.py", SAYING)
    async with running(*command(confdir, "-s", script)) as run, serving() as url:
        port = await port_of(run)
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}") as client:
            for number in range(20):
                await client.send(f"m{number}")
                await client.recv()
        await run.line("STDERR close")
        await run.stop()
    seen = [
        found[0].split()
        for line in run.lines
        if (
            found := re.search(
                r"connecting|open(?= +ws)|(→|←) +\S+ B +m\d+|(PRINTED|LOGGED) m\d+|close", line
            )
        )
    ]
    exchanged = [
        row
        for number in range(20)
        for row in (
            ["→", f"{len(f'm{number}')}", "B", f"m{number}"],
            ["PRINTED", f"m{number}"],
            ["←", f"{len(f'm{number}')}", "B", f"m{number}"],
            ["LOGGED", f"m{number}"],
        )
    ]
    assert seen == [["connecting"], ["open"], *exchanged, ["close"], ["close"]]


async def test_the_traceback_of_a_listener_comes_after_its_frame(confdir: Path, tmp_path: Path) -> None:
    script = write_script(
        tmp_path / "fail.py",
        "from wirewright import proxy\n"
        "@proxy.on('websocket')\n"
        "def watch(ws):\n"
        "    ws.on('framesent', lambda payload: 1 / 0)\n",
    )
    async with running(*command(confdir, "-s", script)) as run, serving() as url:
        port = await port_of(run)
        async with websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client:
            await client.send("hello")
            await client.recv()
            await run.line("→ +5 B +hello")
            await run.line("ZeroDivisionError")


async def refuse(port: str, url: str, name: str) -> None:
    """An app that does not trust the proxy's CA, and hangs up without a word."""
    target = url.removeprefix("wss://")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    with pytest.raises(ssl.SSLCertVerificationError):
        await writer.start_tls(ssl.create_default_context(), server_hostname=name)


async def test_an_app_that_refuses_the_ca_is_a_line(confdir: Path, certificates: Certificates) -> None:
    async with running(*command(confdir)) as run, serving(tls=certificates.server_context) as url:
        await refuse(await port_of(run), url, "pins.example.com")
        line = (await run.line("pins.example.com.*TLS")).string
        assert "the app does not trust this CA, or pins its certificate" in line
        assert f"{confdir}/mitmproxy-ca-cert.pem" in line
        await run.stop()
        assert sum("pins.example.com" in line for line in run.lines) == 1


async def test_quiet_run_says_that_an_app_refuses_the_ca(confdir: Path, certificates: Certificates) -> None:
    script = print_port.__file__
    async with running(*command(confdir, "--quiet", "-s", script)) as run:
        port = (await run.line(r"PORT (\d+)"))[1]
        async with serving(tls=certificates.server_context) as url:
            await refuse(port, url, "pins.example.com")
            await run.line("Client TLS handshake failed.*disconnected during.*pins.example.com")


async def test_an_untrusted_server_is_a_line_with_what_to_do(confdir: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with running(*command(confdir)) as run, serving(tls=tls) as url:
        port = await port_of(run)
        with pytest.raises(websockets.WebSocketException):
            await websockets.connect(
                f"{url}/live",
                proxy=f"http://127.0.0.1:{port}",
                ssl=trusting(confdir / "mitmproxy-ca-cert.pem"),
            )
        line = (await run.line("#1 /live .* error .*ERR_CERT_AUTHORITY_INVALID")).string
        assert "ssl_insecure" in line
        assert "ssl_verify_upstream_trusted_ca" in line
        await run.stop()
    assert not any(f" {event} " in line for line in run.lines if "#1" in line for event in ("open", "close"))


async def test_a_capture_without_redaction_has_the_secrets(confdir: Path, tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    async with running(*command(confdir, "--capture", path, "--no-redact")) as run, serving() as url:
        port = await port_of(run)
        async with websockets.connect(f"{url}/?token=s3cret", proxy=f"http://127.0.0.1:{port}") as client:
            await client.send('{"password": "pa55"}')
            await client.recv()
    async with running(WIREWRIGHT, "export", path, "-") as exported:
        text = await exported.rest()
    assert "s3cret" in text
    assert "pa55" in text


async def test_no_redact_that_contradicts_itself(confdir: Path) -> None:
    arguments = ("--no-redact", "--redact", "a")
    async with running(WIREWRIGHT, "run", *arguments, cwd=confdir, COLUMNS="200") as run:
        assert "it does not go with --redact" in await run.rest()
    assert run.process.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], ["/?token=REDACTED", '{"password": "REDACTED", "mine": 1}']),
        (["--redact", "mine"], ["/?token=s3cret", '{"password": "pa55", "mine": "REDACTED"}']),
        (["--no-redact"], ["/?token=s3cret", '{"password": "pa55", "mine": 1}']),
    ],
    ids=["default", "names", "none"],
)
async def test_timeline_shows_no_secrets_unless_it_is_told_to(
    confdir: Path, arguments: list[str], shown: list[str]
) -> None:
    async with running(*command(confdir, *arguments)) as run, serving() as url:
        port = await port_of(run)
        async with websockets.connect(f"{url}/?token=s3cret", proxy=f"http://127.0.0.1:{port}") as client:
            await client.send('{"password": "pa55", "mine": 1}')
            await client.recv()
        for text in shown:
            await run.line(re.escape(text))


@pytest.mark.parametrize("port", ["65536", "80000", "-1"])
async def test_a_port_that_does_not_exist_is_refused(confdir: Path, port: str) -> None:
    async with running(*command(confdir), f"--listen-port={port}") as run:
        await run.line(rf"^wirewright: {port} is not a port: use 0 \(any free port\) to 65535$")
        assert await run.process.wait() == 2


async def test_an_option_that_does_not_exist_is_named(confdir: Path) -> None:
    async with running(*command(confdir, "--set", "ws_histroy=0", "--set=nothing")) as run:
        for name in ("ws_histroy", "nothing"):
            await run.line(f"--set {name}: no such option")


async def test_an_option_of_a_script_or_of_a_configuration_is_not_named(
    confdir: Path, tmp_path: Path
) -> None:
    script = "from mitmproxy import ctx\n\ndef load(loader):\n    loader.add_option('mine', str, '', '')\n"
    (confdir / "config.yaml").write_text("web_port: 1\n")  # mitmweb's
    options = ("-s", write_script(tmp_path / "script.py", script), "--set", "mine=x")
    async with running(*command(confdir, *options)) as run:
        await run.line("Stop +Ctrl-C")
        assert "no such option" not in "\n".join(run.lines)
