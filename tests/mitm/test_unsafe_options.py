"""Options of mitmproxy that sign with a leaked key."""

from pathlib import Path

import pytest
from mitmproxy.addons import default_addons
from mitmproxy.master import Master
from mitmproxy.options import Options

from support.forked_programs import WIREWRIGHT
from support.processes import running
from support.scripts import write_script
from wirewright import Error, launch
from wirewright.mitm.unsafe_options import LEAKED_KEY_OPTIONS
from wirewright.state import proxy

pytestmark = pytest.mark.slow


@pytest.fixture
async def options() -> Options:
    """mitmproxy's own, with their defaults."""
    master = Master(Options())
    master.addons.add(*default_addons())
    return master.options


@pytest.fixture
def signs_with_a_leaked_key(options: Options) -> None:
    if LEAKED_KEY_OPTIONS[0] not in options:
        pytest.skip("this mitmproxy has no such options")


async def test_options_that_sign_with_a_leaked_key_are_off(options: Options) -> None:
    found = {name for name, option in options.items() if "compromised" in option.help.lower()}
    assert found <= set(LEAKED_KEY_OPTIONS)
    assert not any(getattr(options, name) for name in LEAKED_KEY_OPTIONS if name in options)


@pytest.mark.usefixtures("signs_with_a_leaked_key")
@pytest.mark.parametrize("option", LEAKED_KEY_OPTIONS)
async def test_launch_refuses_to_sign_with_a_leaked_key(option: str, confdir: Path) -> None:
    with pytest.raises(Error, match=f"^{option}: Wirewright does not sign with the leaked key"):
        async with launch(port=0, confdir=confdir, options={option: True}):
            raise AssertionError
    async with launch(port=0, confdir=confdir, options={option: False}):
        assert proxy.port


@pytest.mark.usefixtures("signs_with_a_leaked_key")
@pytest.mark.parametrize("way", ["flag", "set", "file"])
@pytest.mark.parametrize("option", LEAKED_KEY_OPTIONS)
async def test_run_refuses_to_sign_with_a_leaked_key(way: str, option: str, tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text(f"{option}: true\n")
    arguments = {
        "flag": [f"--{option.replace('_', '-')}"],
        "set": ["--set", f"{option}=true"],
        "file": ["--config", str(tmp_path / "options.yaml")],
    }[way]
    command = [str(WIREWRIGHT), "run", "-p", "0", "--set", f"confdir={tmp_path}", *arguments]
    async with running(*command, COLUMNS="200") as run:
        said = await run.rest()
    assert f"{option}: Wirewright does not sign with the leaked key of a public authority" in said
    assert "Traceback" not in said
    assert run.process.returncode == 2


@pytest.mark.usefixtures("signs_with_a_leaked_key")
async def test_script_cannot_turn_it_on_later(confdir: Path, tmp_path: Path) -> None:
    script = write_script(
        tmp_path / "turn_on.py",
        """
from mitmproxy import ctx, exceptions

def running():
    try:
        ctx.options.emudhra = True
    except exceptions.OptionsError as error:
        print("REFUSED", error, "and it is", ctx.options.emudhra, flush=True)
""",
    )
    command: list[str | Path] = ["run", "-p", "0", "--listen-host", "127.0.0.1", "-s", script]
    command += ["--set", f"confdir={confdir}"]
    async with running(WIREWRIGHT, *command, COLUMNS="200") as run:
        await run.line("REFUSED emudhra: .* and it is False")
