"""The addon as users load it: `-s addon.py`, in each of mitmproxy's three programs."""

import asyncio
import shutil
import socket
import sys
from pathlib import Path

import pytest
import websockets

from support.processes import ADDON, BIN, INSTALLED_MITMDUMP, Running, mitmdump, running
from support.scripts import PRINTING, write_script
from support.servers import serving
from support.terminals import terminal

NOT_INSTALLED = """
import importlib.util, sys
from pathlib import Path

sys.path[:] = [entry for entry in sys.path if not (Path(entry) / "wirewright").is_dir()]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
assert importlib.util.find_spec("wirewright") is None, "still installed"
from mitmproxy.tools.main import mitmdump
mitmdump()
"""

WITHOUT_PACKAGES = """
import sys
from importlib.abc import MetaPathFinder

program, blocked = sys.argv[1], sys.argv[2].split(",")
del sys.argv[1:3]

class Blocking(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocking())
from mitmproxy.tools import main
getattr(main, program)()
"""


COUNTING_GARBAGE = """
import gc

class Count:
    def request(self, flow):
        print("FROZEN", gc.get_freeze_count())

addons = [Count()]
"""


@pytest.fixture
def watch(tmp_path: Path) -> Path:
    return write_script(tmp_path / "watch.py", PRINTING)


async def exchange(run: Running, port: int) -> None:
    """One app, one message there and back; all of it is printed by the user's script."""
    async with serving() as url:
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}") as client:
            assert (await run.line("^SOCKET (.*)"))[1] == f"{url}/live"
            await client.send("hello")
            await run.line("^SENT 'hello'$")
            await run.line("^RECEIVED 'hello'$")
            assert await client.recv() == "hello"
        await run.line("^CLOSED 1000 client$")


async def test_script_sees_frames_in_mitmdump(confdir: Path, watch: Path) -> None:
    async with mitmdump("-s", watch, confdir=confdir, program=INSTALLED_MITMDUMP) as (run, port):
        await exchange(run, port)
    assert run.process.returncode == 0
    assert "rror" not in "\n".join(run.lines)


async def test_plain_checkout_works_without_an_installation(
    confdir: Path, tmp_path: Path, watch: Path
) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ADDON.parent, checkout / "wirewright", ignore=shutil.ignore_patterns("__pycache__"))
    write_script(watch, PRINTING + "import wirewright\nprint('FROM', wirewright.__file__, flush=True)\n")
    command = (sys.executable, "-c", NOT_INSTALLED, "--set", f"confdir={confdir}", "-p", "0")
    scripts = ("--listen-host", "127.0.0.1", "-s", checkout / "wirewright" / "addon.py", "-s", watch)
    async with running(*command, *scripts, cwd=tmp_path, PYTHONPATH="") as run:
        assert (await run.line("^FROM (.*)"))[1] == str(checkout / "wirewright" / "__init__.py")
        await exchange(run, int((await run.line(r"listening at .*?:(\d+)"))[1]))


@pytest.mark.parametrize("program", ["mitmdump", "mitmweb"])
async def test_mitmproxy_without_the_packages_ends_with_one_sentence(
    confdir: Path, watch: Path, program: str
) -> None:
    packages = "pyee,greenlet,ijson,msgspec,rich,typer,websockets"
    command = (sys.executable, "-c", WITHOUT_PACKAGES, program, packages, "--set", f"confdir={confdir}")
    async with running(*command, "-p", "0", "-s", ADDON, "-s", watch) as run:
        await run.rest()
    assert run.process.returncode == 1
    lines = [line for line in run.lines if "Loading script" not in line]  # mitmproxy's own
    assert len(lines) == 1, run.lines
    assert "needs the packages pyee, greenlet, msgspec, websockets. Install with: " in lines[0]


async def test_remote_api_without_its_packages_ends_with_one_sentence(confdir: Path) -> None:
    options = ("--set", f"confdir={confdir}", "-p", "0", "-s", ADDON, "--set", "ws_remote=127.0.0.1:0")
    command = (sys.executable, "-c", WITHOUT_PACKAGES, "mitmdump", "msgspec,websockets")
    async with running(*command, *options) as run:
        text = await run.rest()
    assert run.process.returncode == 1
    assert "Wirewright needs the packages msgspec, websockets. Install with: " in text
    assert "Traceback" not in text


async def test_addon_that_cannot_be_loaded_later_does_not_end_a_running_proxy(
    confdir: Path, tmp_path: Path
) -> None:
    script = write_script(
        tmp_path / "later.py",
        "from mitmproxy import ctx\n"
        "def running():\n"
        "    print('PORT', ctx.master.addons.get('proxyserver').listen_addrs()[0][1], flush=True)\n"
        "def client_connected(client):\n"
        f"    ctx.options.update(scripts=[*ctx.options.scripts, {str(ADDON)!r}])\n",
    )
    options = ("--set", f"confdir={confdir}", "-p", "0", "-s", script)
    async with running(sys.executable, "-c", WITHOUT_PACKAGES, "mitmdump", "pyee", *options) as run:
        port = int((await run.line(r"PORT (\d+)"))[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await run.line("Wirewright needs the package pyee")
        writer.close()
        await run.stop()
    assert run.process.returncode == 0


async def test_open_sockets_go_on_when_the_addon_is_saved(confdir: Path, tmp_path: Path, watch: Path) -> None:
    addon = write_script(tmp_path / "addon.py", ADDON.read_text())
    options = ("--set", f"confdir={confdir}", "--listen-host", "127.0.0.1", "-p", "0")
    async with running(BIN / "mitmdump", *options, "-s", addon, "-s", watch) as run, serving() as url:
        port = int((await run.line(r"listening at .*?:(\d+)"))[1])
        async with websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client:
            await client.send("before")
            await run.line("^RECEIVED 'before'$")
            write_script(addon, ADDON.read_text())
            await run.line(r"Loading script .*addon\.py")
            await client.send("after")
            assert [await client.recv(), await client.recv()] == ["before", "after"]
        await run.line("^CLOSED 1000 client$")
    assert [line for line in run.lines if "after" in line] == ["SENT 'after'", "RECEIVED 'after'"]


async def test_script_sees_frames_in_mitmweb(confdir: Path, watch: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        web_port = unused.getsockname()[1]
    command = (BIN / "mitmweb", "--no-web-open-browser", "--web-port", str(web_port), "-p", "0")
    options = ("--listen-host", "127.0.0.1", "--set", f"confdir={confdir}", "-s", ADDON, "-s", watch)
    async with running(*command, *options) as run:
        port = int((await run.line(r"proxy listening at .*?:(\d+)"))[1])
        await exchange(run, port)


async def test_script_sees_frames_in_the_console(confdir: Path, watch: Path) -> None:
    # The screen is drawn on the same terminal that the script prints to.
    write_script(watch, PRINTING + "def running():\n    print('PORT', proxy.port, '.', flush=True)\n")
    options = ("--listen-host", "127.0.0.1", "-p", "0", "--set", f"confdir={confdir}")
    async with terminal(BIN / "mitmproxy", *options, "-s", ADDON, "-s", watch) as screen:
        port = int((await screen.shows(r"PORT (\d+) \."))[1])
        async with serving() as url:
            async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}") as client:
                await client.send("hello")
                await screen.shows("SENT 'hello'")
                await screen.shows("RECEIVED 'hello'")
            await screen.shows("CLOSED 1000 client")
        screen.type("Q")
        assert await screen.process.wait() == 0


async def test_objects_of_the_start_alone_are_left_out_of_garbage_collection(
    tmp_path: Path, confdir: Path
) -> None:
    addon = write_script(tmp_path / "addon.py", ADDON.read_text())
    script = write_script(tmp_path / "count.py", COUNTING_GARBAGE)
    options = ("--set", f"confdir={confdir}", "--listen-host", "127.0.0.1", "-p", "0")
    async with running(BIN / "mitmdump", *options, "-s", addon, "-s", script) as run, serving() as url:
        port = int((await run.line(r"listening at .*?:(\d+)"))[1])

        async def frozen_objects() -> int:
            async with websockets.connect(url, proxy=f"http://127.0.0.1:{port}"):
                return int((await run.line(r"^FROZEN (\d+)"))[1])

        at_start = await frozen_objects()
        write_script(addon, ADDON.read_text())
        await run.line(r"Loading script .*addon\.py")
        assert 50_000 < await frozen_objects() <= at_start
