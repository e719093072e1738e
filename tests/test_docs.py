"""What the documents say, held against the code."""

import inspect
import re
from io import BytesIO
from pathlib import Path

import pytest

import wirewright
from support.client_stacks import CLIENTS
from support.processes import ROOT
from support.public_members import members
from wirewright import Proxy, WebSocket, WebSocketRoute, launch
from wirewright.capture.cassettes.cassette_file import read_lines, write_cassette
from wirewright.capture.cassettes.line_format import BEGINNING
from wirewright.capture.redaction import Redaction

README = (ROOT / "README.md").read_text()
CASSETTES = (ROOT / "docs" / "pytest.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def table(title: str) -> str:
    """The rows of the README's table whose first heading is `title`."""
    found = re.search(rf"^\| {re.escape(title)}.*\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert found, title
    return found[1]


@pytest.mark.parametrize(
    ("title", "kind"),
    [("`WebSocket`", WebSocket), ("`Proxy`", Proxy), ("`WebSocketRoute`", WebSocketRoute)],
)
def test_the_readme_lists_every_member(title: str, kind: type) -> None:
    first_cells = [row.split("|")[1] for row in table(title).splitlines()[1:]]
    listed = {name for cell in first_cells for name in re.findall(r"`(\w+)", cell)}
    inherited = {"on", "once", "remove_listener", "remove_all_listeners", "add_listener"}
    assert listed - inherited == members(kind) - inherited


def test_the_readme_gives_the_defaults_of_launch() -> None:
    parameters = list(inspect.signature(launch).parameters)
    said = re.search(r"`launch\((.*?)\)`", README)
    assert said
    assert re.findall(r"(\w+)=", said[1]) == parameters
    assert inspect.signature(launch).parameters["port"].default == 8080
    assert inspect.signature(launch).parameters["host"].default == "127.0.0.1"


def test_what_is_exported_is_sorted_and_there() -> None:
    assert wirewright.__all__ == sorted(wirewright.__all__)
    assert all(hasattr(wirewright, name) for name in wirewright.__all__)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link


PACKAGE = ROOT / "addon" / "wirewright"
NAMED_FILE = re.compile(r"`((?:\w+/)+\w+\.py)`")
CLASS = re.compile(r"^ *class (\w+)", re.MULTILINE)
CAMEL_CASE = re.compile(r"\b(?:[A-Z][a-z]+){2,}\b")


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each.name != "CHANGELOG.md"])
def test_named_modules_exist(document: Path) -> None:
    """A path begins in the package or in the repository."""
    for name in NAMED_FILE.findall(document.read_text()):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


@pytest.mark.parametrize("name", ["architecture.md", "how-it-works.md"])
def test_named_classes_exist(name: str) -> None:
    classes = set(CLASS.findall("".join(path.read_text() for path in PACKAGE.rglob("*.py"))))
    named = set(CAMEL_CASE.findall((ROOT / "docs" / name).read_text()))
    assert named - classes == named & {"MessagePack", "StreamReader"}


NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def exists(path: str, function: str) -> bool:
    return not function or f"def {function}(" in (ROOT / path).read_text()


def test_parity_names_tests_that_exist() -> None:
    named = set(NAMED_TEST.findall((ROOT / "docs" / "parity.md").read_text()))
    assert named
    for path, function in named:
        assert exists(path, function), (path, function)


def test_each_promise_about_security_names_the_tests_that_hold_it() -> None:
    for row in (ROOT / "docs" / "security.md").read_text().splitlines():
        cells = row.split("|")[1:-1]
        if len(cells) == 3 and cells[2].strip() not in ("test", "---"):
            named = NAMED_TEST.findall(cells[2])
            assert named, row
            for path, function in named:
                assert function, row
                assert exists(path, function), (path, function)


def test_cassette_in_the_docs_is_one_as_it_is_written(tmp_path: Path) -> None:
    found = re.search(rf"^{re.escape(BEGINNING)}\n(.*\n)+?(?=```)", CASSETTES, re.MULTILINE)
    assert found
    cassette = read_lines(BytesIO(found[0].encode()), Path("testing.md"))
    ((number, (first, last)),) = cassette.spans().items()
    frames = cassette.frames(after=first - 1, until=last, socket=number, page=50)
    path = tmp_path / "shop.jsonl"
    write_cassette(path, zip(cassette.sockets(), [frames], strict=True), Redaction())
    assert path.read_text() == found[0]


def test_the_two_commands_are_in_the_readme_and_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in README
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_each_program_of_a_client_has_the_lines_that_the_docs_give() -> None:
    sections = re.split(r"^#{2,3} ", (ROOT / "docs" / "clients.md").read_text(), flags=re.MULTILINE)
    programs = set()
    for section in sections:
        if found := re.search(r"\[[Pp]rogram\]\(\.\./(.*?)\)", section):
            program = ROOT / found[1]
            programs.add(program)
            lines = {line.strip() for line in program.read_text().splitlines()}
            code = re.findall(r"^```(?!sh|text)\w+\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
            given = {line.strip() for block in code for line in block.splitlines()}
            assert given - lines == set(), program
    helpers = {"page.html", "talk.cjs", "trust_nss.sh"}
    assert {path for path in CLIENTS.iterdir() if path.is_file() and path.name not in helpers} == programs


def test_links_to_headings_lead_to_one() -> None:
    headings = re.findall(r"^#+ (.*)", (ROOT / "docs" / "clients.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = set(re.findall(r"docs/clients\.md#([\w-]+)", README))
    assert linked
    assert linked <= anchors


def test_each_limit_of_a_browser_is_held_by_a_test() -> None:
    text = (ROOT / "docs" / "browser.md").read_text()
    tests = (ROOT / "tests" / "parity" / "test_browser_limits.py").read_text()
    named, written = (set(re.findall(r"\btest_\w+(?!\w*\.py)", each)) for each in (text, tests))
    assert named - {"test_browser_limits"} == written
