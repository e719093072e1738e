"""The proxies that are measured, how each is started, and the run without a proxy."""

import atexit
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from bench import process_figures
from bench.processes import ROOT, SERVER_NAME, Child

BIN = Path(sys.executable).parent
NODE_FOLDER = Path(sys.prefix) / "node"
"""Where `.ci/setup` puts what comes from npm."""
SCRIPTS = ROOT / "bench" / "scripts"
ADDON = ROOT / "addon" / "wirewright" / "addon.py"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Workplace:
    """A temporary folder with the certificates of one run."""

    folder: Path
    server_port: int = 0
    """Where the server listens with TLS."""

    @classmethod
    def prepare(cls, folder: Path) -> "Workplace":
        place = cls(folder)
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(place.server_ca))
        ca.issue_cert(SERVER_NAME).private_key_and_cert_chain_pem.write_to_path(str(place.server_certificate))
        place.confdir.mkdir()
        return place

    @property
    def server_ca(self) -> Path:
        return self.folder / "servers-ca.pem"

    @property
    def server_certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def confdir(self) -> Path:
        """mitmproxy's own folder, one for all of them."""
        return self.folder / "mitmproxy"


@dataclass
class Route:
    """How the client gets to the server through a carrier that runs."""

    ca: Path
    proxy: str | None = None
    process: Child | None = None
    capture: Path | None = None
    """The file in which all is recorded."""
    beside: Child | None = None
    """A client of the proxy's."""
    server: str | None = None
    """The URL that the client asks for, if it is not the server's own."""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def processor_seconds(self) -> float:
        """The processor time that the proxy has used until now; 0 without one."""
        known = self.process is not None and process_figures.KNOWN
        return process_figures.processor_seconds(self.pid) if known else 0.0

    async def stop(self) -> int | None:
        """End it. How many messages it has counted, if it counts."""
        if self.process is None:
            return None
        if self.beside is not None:
            await self.beside.stop()
        await self.process.stop()
        said = [line for line in self.process.lines if line.startswith("COUNTED ")]
        return int(said[-1].split()[1]) if said else None

    @property
    def complaints(self) -> list[str]:
        """What it said of itself: it runs quietly, so these are errors."""
        lines = self.process.lines if self.process else []
        return [line for line in lines if line and not line.startswith(("PORT ", "READY ", "COUNTED "))]


@dataclass(frozen=True)
class Carrier:
    """One column of the table. On its own: no proxy at all."""

    name: str
    title: str

    @property
    def is_proxy(self) -> bool:
        return False

    def missing(self) -> str:
        """Why it cannot take part here; nothing if it can."""
        return ""

    async def start(self, place: Workplace) -> Route:
        return Route(place.server_ca)


@dataclass(frozen=True)
class Mitmdump(Carrier):
    """mitmdump with these scripts, in this order."""

    scripts: tuple[Path, ...] = ()
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    captures: bool = False
    """Whether all is recorded in a file."""

    @property
    def is_proxy(self) -> bool:
        return True

    async def start(self, place: Workplace) -> Route:
        settings = [f"confdir={place.confdir}", f"ssl_verify_upstream_trusted_ca={place.server_ca}"]
        command: list[str | Path] = [BIN / "mitmdump", "-q", "--listen-host", HOST, "-p", "0"]
        capture = None
        if self.captures:
            capture = place.folder / f"capture-{time.time_ns()}.db"
            settings.append(f"ws_capture={capture}")
        for setting in (*settings, *self.options):
            command += ["--set", setting]
        for script in (*self.scripts, SCRIPTS / "say_port.py"):
            command += ["-s", script]
        process = await Child.start(*command, environment=self.environment)
        port = await first_word(process, "PORT ")
        return Route(place.confdir / "mitmproxy-ca-cert.pem", f"http://{HOST}:{port}", process, capture)


@dataclass(frozen=True)
class Subscribed(Mitmdump):
    """mitmdump with a client of the remote protocol beside it; `bench.subscriber` knows which there are."""

    subscriber: str = ""

    async def start(self, place: Workplace) -> Route:
        route = await super().start(place)
        runtime = {"XDG_RUNTIME_DIR": self.environment["XDG_RUNTIME_DIR"]}
        command = (sys.executable, "-m", "bench.subscriber", self.subscriber)
        route.beside = await Child.start(*command, environment=runtime)
        try:
            await first_word(route.beside, "READY ")
        except BaseException:
            await route.stop()
            raise
        return route


def subscribed(name: str, title: str) -> Subscribed:
    folder = Path(tempfile.gettempdir()) / f"wirewright-bench-{os.getpid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Subscribed(
        f"subscribed-{name}",
        title,
        (ADDON,),
        options=("ws_remote=127.0.0.1:0",),
        environment={"XDG_RUNTIME_DIR": str(folder)},
        subscriber=name,
    )


@dataclass(frozen=True)
class Launched(Carrier):
    """A proxy of `launch`, in a Python process of its own."""

    face: str = "async"
    """Or `sync`."""
    listens: bool = False

    @property
    def is_proxy(self) -> bool:
        return True

    async def start(self, place: Workplace) -> Route:
        listener = ("listener",) if self.listens else ()
        command = (sys.executable, "-m", "bench.launched_proxy", self.face, place.confdir, place.server_ca)
        process = await Child.start(*command, *listener)
        port = await first_word(process, "PORT ")
        return Route(place.confdir / "mitmproxy-ca-cert.pem", f"http://{HOST}:{port}", process)


@dataclass(frozen=True)
class Mockttp(Carrier):
    """The npm package mockttp, which passes everything through and emits an event for each message."""

    @property
    def is_proxy(self) -> bool:
        return True

    def missing(self) -> str:
        if shutil.which("node") is None:
            return "Node is not installed"
        if not (NODE_FOLDER / "node_modules" / "mockttp").is_dir():
            return "the npm package mockttp is not installed"
        return ""

    async def start(self, place: Workplace) -> Route:
        script = ROOT / "bench" / "mockttp.mjs"
        process = await Child.start("node", script, NODE_FOLDER, place.server_ca)
        ready = json.loads(await first_word(process, "READY "))
        ca = place.folder / f"mockttp-{process.pid}.pem"
        ca.write_text(ready["ca"])
        return Route(ca, f"http://{HOST}:{ready['port']}", process)


async def first_word(process: Child, start: str) -> str:
    try:
        return await process.line(start)
    except BaseException:  # an interrupt too
        await process.stop(limit=0.1)
        raise


def raise_file_limit() -> int:
    """Allow this process and its children as many open files as the system does; how many that is."""
    if os.name != "posix":
        return 1 << 20
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
