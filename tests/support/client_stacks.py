"""Programs in many languages that hold the same conversation through the proxy: `end_to_end/clients`."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from support.clients import NODE_MODULES
from support.time_limits import STEP_SECONDS

CLIENTS = Path(__file__).parents[1] / "end_to_end" / "clients"
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
ARGUMENTS = ("{url}", "{proxy}", "{ca}")
WITH_TLS = (("wss", "pass"), ("wss", "hold"), ("wss", "mock"))
PLAIN = ("ws", "pass")
"""For stacks that proxy it in another way."""
SNIPPET = (("wss", "pass"),)
"""For stacks whose library other tests, or other stacks here, use as well."""


@dataclass(frozen=True)
class Stack:
    """A client library or browser, and how its program is built and run.

    Words of commands and values of `environment` may contain `{clients}`, `{built}` (a folder of the stack's
    own), `{url}`, `{page}` (the URL with http for ws), `{proxy}`, `{address}` (the proxy without its scheme),
    `{port}` and `{ca}`.
    """

    name: str
    needs: str
    """The programs that must be installed, for the reason of a skip."""
    probe: Sequence[str]
    """Ends with 0 if that is installed."""
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    builds: Sequence[Sequence[str]] = ()
    """Commands that are run once, before the first conversation."""
    conversations: Sequence[tuple[str, str]] = WITH_TLS
    """The scheme and the route of each: see `test_client_stacks.py`."""
    binary: bool = True
    """Whether it can send a binary message."""


@dataclass(frozen=True)
class Place:
    """Where a conversation takes place. `built` is the folder for what the stack builds."""

    url: str
    proxy_port: int
    ca: Path
    built: Path

    @property
    def output(self) -> Path:
        return self.built / "output.txt"

    def words(self, words: Sequence[str]) -> list[str]:
        values = {
            "clients": str(CLIENTS),
            "built": str(self.built),
            "url": self.url,
            "page": self.url.replace("ws", "http", 1),
            "address": f"127.0.0.1:{self.proxy_port}",
            "proxy": f"http://127.0.0.1:{self.proxy_port}",
            "port": str(self.proxy_port),
            "ca": str(self.ca),
        }
        return [word.format_map(values) for word in words]

    def environment(self, stack: Stack) -> dict[str, str]:
        own = zip(stack.environment, self.words(list(stack.environment.values())), strict=True)
        return {**_environment(), **dict(own)}


def _environment() -> dict[str, str]:
    """Our own, without a proxy that it may name, and with the npm packages of the tests."""
    ours = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    path = os.pathsep.join([str(NODE_MODULES / ".bin"), os.environ["PATH"]])
    return {**ours, "PATH": path, "NODE_PATH": str(NODE_MODULES), "PYTHONIOENCODING": "utf-8"}


def _node(
    program: str,
    *packages: str,
    options: Sequence[str] = (),
    conversations: Sequence[tuple[str, str]] = WITH_TLS,
    **environment: str,
) -> Stack:
    loads = "; ".join(f"require('{package}')" for package in packages)
    return Stack(
        program.removesuffix(".cjs"),
        f"node, and its packages {', '.join(packages)}",
        ("node", *options, "-e", loads),
        ("node", "--no-warnings", *options, f"{{clients}}/{program}", *ARGUMENTS),
        environment,
        conversations=conversations,
    )


def _python(name: str, module: str, *conversations: tuple[str, str]) -> Stack:
    return Stack(
        f"python_{name}",
        f"the Python package {name}",
        (sys.executable, "-c", f"import {module}"),
        (sys.executable, f"{{clients}}/python_{name}.py", *ARGUMENTS),
        conversations=conversations or WITH_TLS,
    )


def _system_python(name: str, package: str, statement: str) -> Stack:
    """A library that Debian has for its own Python alone."""
    return Stack(
        name,
        f"{package} for /usr/bin/python3",
        ("/usr/bin/python3", "-c", statement),
        ("/usr/bin/python3", f"{{clients}}/{name}.py", *ARGUMENTS),
    )


JAVA = Stack(
    "java",
    "a JDK, 17 or newer",
    ("javac", "--version"),
    ("java", "-cp", "{built}", "JavaNetHttp", *ARGUMENTS),
    builds=[("javac", "-d", "{built}", "{clients}/JavaNetHttp.java")],
)
JAVA_PROPERTIES = Stack(
    "java_properties",
    JAVA.needs,
    JAVA.probe,
    (
        *("java", "-cp", "{built}", "-Dhttp.nonProxyHosts="),
        *("-Dhttp.proxyHost=127.0.0.1", "-Dhttp.proxyPort={port}"),
        *("-Dhttps.proxyHost=127.0.0.1", "-Dhttps.proxyPort={port}"),
        *("-Djavax.net.ssl.trustStore={built}/mitmproxy.p12", "-Djavax.net.ssl.trustStorePassword=changeit"),
        *("JavaNetHttp", "{url}"),
    ),
    builds=[
        *JAVA.builds,
        (
            *("keytool", "-importcert", "-noprompt", "-alias", "mitmproxy", "-file", "{ca}"),
            *("-keystore", "{built}/mitmproxy.p12", "-storepass", "changeit"),
        ),
    ],
    conversations=(*SNIPPET, PLAIN),
)
STACKS = [
    _node("node_builtin.cjs", "undici", options=["--experimental-websocket"], NODE_EXTRA_CA_CERTS="{ca}"),
    _node("node_undici.cjs", "undici", conversations=(*SNIPPET, PLAIN)),
    _node("node_ws.cjs", "ws", "https-proxy-agent", conversations=(*SNIPPET, PLAIN)),
    _node("node_websocket.cjs", "websocket", "https-proxy-agent", NODE_EXTRA_CA_CERTS="{ca}"),
    Stack(
        "wscat",
        "node, and its package wscat",
        ("wscat", "--version"),
        (sys.executable, "{clients}/wscat.py", *ARGUMENTS),
        conversations=SNIPPET,
        binary=False,
    ),
    Stack(
        "deno",
        "deno",
        ("deno", "--version"),
        ("deno", "run", "--allow-net", "{clients}/deno.mjs", *ARGUMENTS),
        {"HTTP_PROXY": "{proxy}", "HTTPS_PROXY": "{proxy}", "DENO_CERT": "{ca}", "DENO_DIR": "{built}"},
        conversations=(*WITH_TLS, PLAIN),
    ),
    Stack("bun", "bun", ("bun", "--version"), ("bun", "{clients}/bun.mjs", *ARGUMENTS)),
    JAVA,
    JAVA_PROPERTIES,
    Stack(
        "go_gorilla",
        "Go, and Debian's golang-github-gorilla-websocket-dev",
        ("sh", "-c", "GO111MODULE=off GOPATH=/usr/share/gocode go list github.com/gorilla/websocket"),
        ("{built}/gorilla", *ARGUMENTS),
        GO,
        builds=[("go", "build", "-o", "{built}/gorilla", "{clients}/gorilla.go")],
    ),
    Stack(
        "libwebsockets",
        "gcc, pkg-config and libwebsockets' headers",
        ("sh", "-c", "gcc --version && pkg-config --exists libwebsockets"),
        ("{built}/libwebsockets", *ARGUMENTS),
        {"http_proxy": "{address}"},
        builds=[("gcc", "-Wall", "-o", "{built}/libwebsockets", "{clients}/libwebsockets.c", "-lwebsockets")],
    ),
    _system_python("qt", "PyQt6 with its WebSockets", "import PyQt6.QtWebSockets"),
    _system_python("libsoup", "PyGObject with libsoup 3", "import gi; gi.require_version('Soup', '3.0')"),
    Stack(
        "mojolicious",
        "Mojolicious and IO::Socket::SSL for perl",
        ("perl", "-MMojolicious", "-MIO::Socket::SSL", "-e", ""),
        ("perl", "{clients}/mojolicious.pl", *ARGUMENTS),
        conversations=(*WITH_TLS, PLAIN),
    ),
    Stack(
        "faye",
        "faye-websocket for ruby",
        ("ruby", "-rfaye/websocket", "-e", ""),
        ("ruby", "{clients}/faye.rb", *ARGUMENTS),
    ),
    _python("websockets", "websockets", *SNIPPET),
    _python("aiohttp", "aiohttp", *SNIPPET, PLAIN),
    _python("websocket_client", "websocket"),
    _python("picows", "picows"),
    _python("autobahn", "autobahn.twisted"),
    _python("curl_cffi", "curl_cffi", *WITH_TLS, PLAIN),
]
BROWSERS = [
    Stack(
        "chromium",
        "chromium, and certutil (Debian's libnss3-tools)",
        ("sh", "-c", "command -v certutil && chromium --version"),
        (
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--proxy-server={proxy}", "--proxy-bypass-list=<-loopback>"),
            *("--user-data-dir={built}/data", "{page}"),
        ),
        {"HOME": "{built}"},
        builds=[("sh", "{clients}/trust_nss.sh", "{built}/.pki/nssdb", "{ca}")],
    ),
    Stack(
        "firefox",
        "firefox, and certutil (Debian's libnss3-tools)",
        ("sh", "-c", "command -v certutil && firefox --version"),
        ("firefox", "--headless", "--no-remote", "--profile", "{built}/profile", "{page}"),
        {"HOME": "{built}"},
        builds=[
            ("sh", "{clients}/trust_nss.sh", "{built}/profile", "{ca}"),
            ("sh", "{clients}/firefox_profile.sh", "{built}/profile", "127.0.0.1", "{port}"),
        ],
    ),
]


@cache
def _succeeds(probe: Sequence[str]) -> bool:
    try:
        return _run(probe, _environment()).returncode == 0
    except FileNotFoundError:
        return False


def _run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_SECONDS,
    )


def prepare(stack: Stack, place: Place) -> None:
    """Build what a stack's program needs, the first time; skip the test if the stack is not installed."""
    if not _succeeds(stack.probe):
        pytest.skip(f"needs {stack.needs}")
    if place.built.exists():
        return
    place.built.mkdir()
    for command in stack.builds:
        done = _run(place.words(command), place.environment(stack))
        assert done.returncode == 0, done.stdout


@asynccontextmanager
async def started(stack: Stack, place: Place) -> AsyncIterator[asyncio.subprocess.Process]:
    """A stack's program, whose output goes to `place.output`. Its own children are ended with it."""
    with place.output.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *place.words(stack.command),
            env=place.environment(stack),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,  # not a pipe: the end of one would wait for all that have it
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
