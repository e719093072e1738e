"""`wirewright`, `mitmdump` and `pytest`, forked from a process that has imported everything.

They start 20 times faster. Tests run `WIREWRIGHT`, `MITMDUMP` and `PYTEST` as they run any program. Each is
a small script that gives its arguments, its folder, its environment and its three streams to a server, hands
its signals on, and ends as the forked process does.
"""

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn

from support.private_keys import check_each_private_key_once, make_ca

TESTS = Path(__file__).parents[1]
_FOLDER = Path(tempfile.gettempdir()) / f"wirewright-tests-{os.getpid()}"
_CAN_FORK = hasattr(os, "pidfd_open")
_PROGRAMS_FOLDER = _FOLDER if _CAN_FORK else Path(sys.executable).parent
WIREWRIGHT = _PROGRAMS_FOLDER / "wirewright"
MITMDUMP = _PROGRAMS_FOLDER / "mitmdump"
PYTEST = _PROGRAMS_FOLDER / "pytest"
"""The programs. They are there within `forked_programs`."""
_NOT_IMPORTED = ("wirewright.addon", "wirewright.capture.formats.parquet", "wirewright.pytest_plugin")
"""Modules with effects of their own: pyarrow starts a thread, after which a process must not fork."""
_IMPORTED_FOR_TESTS = ("websockets.asyncio.client", "websockets.sync.client", "websockets.sync.server")
"""Modules that tests of a forked `pytest` import."""
_COMMANDS_WITH_LATE_IMPORTS = (("show", "--help"), ("show", "missing.db"), ("run", "--mode", "unknown"))
"""typer and rich import much only when a command runs."""
_CLIENT = Path(__file__).with_name("forked_program_client.py")


@contextmanager
def forked_programs(confdir: Path) -> Iterator[None]:
    """Serve the programs. They need not check the private key of the CA in `confdir`."""
    if not _CAN_FORK:
        yield
        return
    shutil.rmtree(_FOLDER, ignore_errors=True)  # of a killed process with this number
    _FOLDER.mkdir(mode=0o700)
    try:
        for program in (WIREWRIGHT, MITMDUMP, PYTEST):
            program.write_text(f"#!{sys.executable} -IS\n{_CLIENT.read_text()}")
            program.chmod(0o700)
        # Not with -m: click would name the module in a command's usage.
        code = "import sys; from support.forked_programs import serve; serve(*sys.argv[1:])"
        command = [sys.executable, "-c", code, str(_FOLDER / "server"), str(confdir)]
        # The package of this checkout, even if another one is installed.
        paths = [str(TESTS.parent / "addon"), str(TESTS)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        with server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield
            server.communicate()  # it ends with its stdin
    finally:
        shutil.rmtree(_FOLDER)


def become(
    program: str,
    arguments: Sequence[str],
    folder: str | Path,
    environment: Mapping[str, str],
    streams: Sequence[int],
) -> int:
    """Be a program, in a forked process. Returns its exit code. `streams` are three file descriptors."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it was chosen by another environment
    sys.path[:] = [path for path in sys.path if path not in ("", str(TESTS))]
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    is_unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            open(number, "wb", buffering=0 if is_unbuffered else -1, closefd=False),  # noqa: SIM115
            errors=errors,
            line_buffering=number == 2 or os.isatty(number),
            write_through=is_unbuffered,
        )
        for number, errors in ((1, "strict"), (2, "backslashreplace"))
    )
    sys.argv = [program, *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _main(program)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _main(program: str) -> int:
    """Run a program with the arguments of `sys.argv`."""
    if program == "pytest":
        import pytest

        sys.path.insert(0, os.getcwd())  # as `python -m pytest` does
        return pytest.main()
    if program == "mitmdump":
        from mitmproxy.tools.main import mitmdump

        mitmdump()
    else:
        from wirewright.cli.main import main

        main()
    return 0


def import_everything() -> None:
    """Import all modules that a command may need, once, for all forked processes."""
    import wirewright

    for module in pkgutil.walk_packages(wirewright.__path__, "wirewright."):
        if module.name not in _NOT_IMPORTED:
            importlib.import_module(module.name)
    importlib.import_module("mitmproxy.tools.main")


def _end(code: int) -> NoReturn:
    """End as the interpreter does, but leave all objects as they are.

    To free them takes 0.14 s, as the forked process first copies the memory of each.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        code = 120  # as the interpreter does
    os._exit(code)


def _import_what_commands_import() -> None:
    """Import the modules that a forked process has imported after it has run some commands."""
    reading, writing = os.pipe()
    if not os.fork():
        silent = os.open(os.devnull, os.O_RDWR)
        report = os.fdopen(writing, "w")
        for arguments in _COMMANDS_WITH_LATE_IMPORTS:
            become("wirewright", arguments, tempfile.gettempdir(), dict(os.environ), [silent] * 3)
        report.write("\n".join(list(sys.modules)))
        report.close()
        os._exit(0)
    os.close(writing)
    with open(reading) as report:
        names = report.read().splitlines()
    os.wait()
    for name in names:
        with suppress(ImportError):  # of a module that was made, and not imported
            importlib.import_module(name)


def _import_plugins_of_pytest() -> None:
    """Run pytest without tests: it warns of plugins that are imported by another loader than its own."""
    import pytest

    with tempfile.TemporaryDirectory() as empty, redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "--rootdir", empty, "-c", os.devnull, "-p", "no:cacheprovider", empty])


def serve(path: str, confdir: str) -> None:
    """Fork a process for each client, until stdin ends."""
    _import_plugins_of_pytest()
    import_everything()
    _import_what_commands_import()
    for name in _IMPORTED_FOR_TESTS:
        importlib.import_module(name)
    check_each_private_key_once()
    make_ca(Path(confdir))
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy all of them
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are forked here
        while True:
            if listening.fileno() not in select.select([listening.fileno(), 0], [], [])[0]:
                return
            client, _ = listening.accept()
            if not os.fork():
                break
            client.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _supervise(client)


def _supervise(client: socket.socket) -> NoReturn:
    """Start the program that a client asks for, and tell the client how it ended."""
    request, streams = _receive(client)
    if not (program := os.fork()):
        client.close()
        _end(
            become(
                request["program"], request["arguments"], request["folder"], request["environment"], streams
            )
        )
    for each in (*streams, 0, 1, 2):
        os.close(each)
    client.sendall(b"%d\n" % program)
    ended = os.pidfd_open(program)
    if ended not in select.select([client.fileno(), ended], [], [])[0]:
        os.kill(program, signal.SIGKILL)  # as the client was
    _, status = os.waitpid(program, 0)
    client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _receive(client: socket.socket) -> tuple[Any, list[int]]:
    data, streams, _, _ = socket.recv_fds(client, 65_536, 3)
    while not data.endswith(b"\n"):
        more = client.recv(65_536)
        if not more:
            raise EOFError("the client has gone")
        data += more
    return json.loads(data), streams
