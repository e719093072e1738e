"""docker-compose.yml, without Docker: the file against the schema, and each command as a process."""

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.ports import free_port
from support.processes import BIN, ROOT, Running, running

pytestmark = pytest.mark.slow

COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


@pytest.mark.skipif(
    not (BIN / "check-jsonschema").exists(), reason="what has the schema does not install beside mitmproxy 11"
)
def test_the_file_is_a_compose_file() -> None:
    check = (BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_no_service_runs_as_root(services: dict[str, Any]) -> None:
    assert {name: service["user"] for name, service in services.items()} == dict.fromkeys(
        services, "1000:1000"
    )


def test_every_service_tells_its_health_and_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    assert all(service["healthcheck"]["test"][0] == "CMD" for service in services.values())
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}
    healthy = {"condition": "service_healthy"}
    assert waits == {"service": {}, "proxy": {"service": healthy}, "app": {"proxy": healthy}}


def test_ports_are_open_to_this_machine_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def volumes_of(service: dict[str, Any]) -> set[str]:
    return {volume.partition(":")[0] for volume in service.get("volumes", [])}


def test_only_the_proxy_has_the_private_key_of_its_ca(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "ca" in volumes_of(service)} == {"proxy"}
    assert volumes_of(services["app"]) == {"ca-certificate"}


def test_image_without_a_digest_has_a_reason() -> None:
    image = next(line for line in COMPOSE.read_text().splitlines() if line.strip().startswith("FROM "))
    assert "@sha256:" in image or "# Not pinned by digest: " in COMPOSE.read_text()


class Machine:
    """This machine in the place of the containers: their paths, names and ports, and what stands for them."""

    def __init__(self, folder: Path) -> None:
        paths = {
            path: str(folder / path.strip("/"))
            for path in ("/ca", "/ca-certificate", "/certificates", "/tmp")
        }
        for path in paths.values():
            Path(path).mkdir()
        service, proxy, web = free_port(), free_port(), free_port()
        self._words = {
            "service:8765": f"localhost:{service}",
            "proxy:8080": f"127.0.0.1:{proxy}",
            "8765": str(service),
            "8080": str(proxy),
            "8081": str(web),
            "0.0.0.0": "127.0.0.1",
            "=/": "=" + str(folder) + "/",
            "'/tmp": "'" + paths["/tmp"],
        }

    def command(self, words: list[str]) -> list[str]:
        program = {"python": sys.executable, "mitmweb": str(BIN / "mitmweb")}[words[0]]
        return [program, *(self._translate(word) for word in words[1:])]

    def _translate(self, word: str) -> str:
        for container, here in self._words.items():
            word = word.replace(container, here)
        return word


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_the_commands_of_the_services_work_together(
    services: dict[str, Any], machine: Machine, tmp_path: Path
) -> None:
    processes: dict[str, Running] = {}
    ready = {"service": "service listening on", "proxy": "Web server listening|HTTP.* listening", "app": ""}
    async with AsyncExitStack() as stack:
        for name in ("service", "proxy", "app"):
            command = machine.command(services[name]["command"])
            processes[name] = await stack.enter_async_context(running(*command))
            if ready[name]:
                await processes[name].line(ready[name])
        # mitmweb prints what examples/watch.py sees.
        await processes["proxy"].line('^< {"symbol": "WIRE"')
        await processes["proxy"].line("^> hello")
        shared = list((tmp_path / "ca-certificate").iterdir())
        assert [path.name for path in shared] == ["ca.pem"]
        assert "PRIVATE KEY" not in shared[0].read_text()
        for name, service in services.items():
            check = service["healthcheck"]
            for _ in range(check["retries"]):
                errors = await _errors(machine.command(check["test"][1:]))
                if not errors:
                    break
                await processes["proxy"].line('^< {"symbol": "WIRE"')
            assert not errors, f"{name} is not healthy: {errors}"


async def _errors(command: list[str]) -> str:
    """What a health check complains of; nothing if it passes."""
    check = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await check.communicate()
    return "" if check.returncode == 0 else errors.decode() or f"exit code {check.returncode}"
