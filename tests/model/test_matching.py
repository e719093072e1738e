"""The reference is Playwright's own function, wherever it can be asked."""

import re
from collections.abc import Callable

import pytest
from playwright._impl.isomorphic.url_match import url_matches

from wirewright.model.matching import UrlMatch, any_of_globs, compile_match

URLS = [
    "ws://a.com/",
    "ws://a.com/?x=1",
    "ws://a.com/live",
    "ws://a.com/LIVE",
    "ws://a.com/live/",
    "ws://a.com//live",
    "ws://a.com/live?x=1",
    "ws://a.com/live\\",
    "ws://a.com/x",
    "ws://a.com/x/live",
    "ws://a.com/x/y",
    "ws://a.com/x/y/live",
    "ws://a.com/x/y/z/y",
    "ws://a.com/x,y",
    "ws://a.com/,x",
    "ws://a.com/z",
    "ws://a.com/a[1]",
    "ws://a.com/a1",
    "ws://a.com/a*",
    "ws://a.com/ab",
    "ws://a.com/{x}",
    "ws://a.com/b/c.js",
    "ws://a.com/(x)|$+.",
    "ws://a.com/%C3%A9",
    "ws://a.com/a%20b",
    "ws://a.com/a%5Eb",
    "ws://a.com/~live",
    "ws://a.com/%7Elive",
    "ws://a.com:8080/live",
    "ws://a.com:443/live",
    "ws://a.com.b.com/",
    "ws://x.a.com/live",
    "ws://b.com/live",
    "ws://xn--bcher-kva.de/",
    "ws://127.0.0.1/live",
    "ws://[::1]/live",
    "ws://User@a.com/live",
    "wss://a.com/",
    "wss://a.com/live",
    "wss://a.com:80/live",
]

GLOBS = [
    *("", "*", "**", "**/*", "**/live", "**live", "*/live", "***/live", "**/live/", "**.com/**", "wss://**"),
    # the origin: letter case, ports, a missing path
    *("ws://a.com/live", "ws://A.COM/live", "WS://a.com/live", "WSS://A.com/live", "ws://a.com/Live"),
    *("ws://a.com", "ws://a.com:80", "wss://a.com", "wss://a.com:443", "ws://A.COM?x=1", "ws://a.com/"),
    *("ws://a.com:80/live", "wss://a.com:443/live", "ws://a.com:443/live", "wss://a.com:80/live"),
    *("ws://a.com:8080/*", "ws://a.com:*/live", "ws://a.com:/live", "ws://[::1]/live", "ws://[::1]:80/live"),
    *("http://a.com/live", "https://a.com/live", "/live", "live", "a.com/live", "//a.com/live"),
    # stars
    *("ws://a.com/*", "ws://a.com/**", "ws://a.com/***", "ws://a.com*", "ws://a.com**", "ws://a.com/l*e"),
    *("ws://*/live", "ws://*.com/live", "ws://*.COM/live", "ws://*.com", "ws://**/live", "wss://*"),
    *("ws://a.com/**/live", "**/x/**/y", "**/x/**", "**/x**/y", "ws://a.com/x/*/live", "**/**/live"),
    *("ws*://a.com/live", "*://a.com/live", "ws*://A.com/live", "ws*://a.com", "ws://*.com:80/live"),
    # choices
    *("ws://a.com/{live,x}", "ws://{a,b}.com/live", "{ws,wss}://a.com/live", "**/{x,x/y}/*", "**/{a,b}/*.js"),
    *("ws://a.com/{x/y,z}", "**/{live,*.js}", "**/{,x/}live", "**/x,y", "ws://a.com/,x", "{ws,wss}://A.com"),
    # what stands for itself, and escapes
    *("**/live?x=1", "ws://a.com/live?x=1", "ws://a.com?x=1", "**/*?x=*", "**/liv?", "ws://a.com:80?x=1"),
    *("**/a[1]", "ws://a.com/a[1]", "**/(x)|$+.", "ws://a.com/(x)|$+.", "**/a.com", "ws://a.com/live$"),
    *(r"**/a\*", r"ws://a.com/a\*", r"ws://a.com/\{x\}", r"**/\{x\}", r"ws://a.com/live\?x=1", r"**/\live"),
    *("**/live\\", "ws://a.com/live\\", r"**/x\,y", r"**/{x\,y,z}", r"ws://a.com/live\\?x=1"),
    # what a browser writes in another way
    *("ws://a.com/é", "ws://a.com/a b", "ws://a.com/a^b", "ws://a.com/~live", "ws://a.com/%7Elive"),
    *(
        "ws://a.com/x/../live",
        "ws://a.com/./live",
        "ws://bücher.de/",
        "ws://127.1/live",
        "ws://User@a.com/live",
    ),
]


@pytest.mark.parametrize("glob", GLOBS)
def test_glob_matches_what_playwright_matches(glob: str) -> None:
    matches = compile_match(glob)
    assert [url for url in URLS if matches(url)] == [
        url for url in URLS if url_matches(None, url, glob, websocket_url=True)
    ]


@pytest.mark.parametrize(
    ("glob", "url", "expected"),
    [
        ("**/live", "wss://a.com/x/live", True),
        ("**/live", "wss://a.com/live?x=1", False),
        ("ws://a.com/*", "ws://a.com/x/y", False),
        ("ws://a.com/**", "ws://a.com/x/y", True),
        ("ws://a.com/**/y", "ws://a.com/y", True),
        ("**/{a,b}", "ws://a.com/b", True),
        ("**/{a,b}", "ws://a.com/a,b", False),
        ("**/liv?", "ws://a.com/live", False),
        ("**/a[1]", "ws://a.com/a1", False),
        ("WS://A.com:80", "ws://a.com/", True),
    ],
)
def test_glob_by_the_documented_rules(glob: str, url: str, expected: bool) -> None:
    assert compile_match(glob)(url) is expected
    assert url_matches(None, url, glob, websocket_url=True) is expected


@pytest.mark.parametrize("url", URLS)
def test_no_rule_matches_every_url(url: str) -> None:
    assert compile_match(None)(url)
    assert compile_match("")(url)


@pytest.mark.parametrize(
    ("regex", "urls"),
    [
        (re.compile(r"b\.com"), ["ws://a.com.b.com/", "ws://b.com/live"]),
        (re.compile(r"LIVE"), ["ws://a.com/LIVE"]),
        (re.compile(r"^ws:.*/x/Y/live", re.I), ["ws://a.com/x/y/live"]),
        (re.compile(r"8080/live$"), ["ws://a.com:8080/live"]),
        (re.compile(r"^live"), []),
    ],
)
def test_regex_is_searched_for(regex: re.Pattern[str], urls: list[str]) -> None:
    matches = compile_match(regex)
    assert [url for url in URLS if matches(url)] == urls


def test_callable_decides_by_the_truth_of_its_answer() -> None:
    matches = compile_match(lambda url: re.findall("b", url))
    assert matches("ws://b.com/") is True
    assert matches("ws://a.com/") is False


def test_callable_without_parameters_is_called_without_the_url() -> None:
    assert compile_match(lambda: True)("ws://a.test/")


def test_callable_s_exception_is_not_swallowed() -> None:
    def picky(url: str) -> bool:
        raise LookupError(url)

    with pytest.raises(LookupError, match=r"^ws://a\.com/$"):
        compile_match(picky)("ws://a.com/")


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("**/{a,{b,c}}", r"invalid glob '\*\*/\{a,\{b,c\}\}': '\{' inside '\{' is not supported"),
        ("**/a}", r"invalid glob '\*\*/a\}': '\}' has no '\{' before it"),
        ("ws://a.com/{a,b", r"invalid glob 'ws://a\.com/\{a,b': '\{' has no '\}' after it"),
    ],
)
def test_glob_that_cannot_be_read_is_a_value_error(glob: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        compile_match(glob)


async def asked_later(url: str) -> bool:
    return bool(url)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (5, "^url must be a glob, a compiled regex or a callable, not int$"),
        (b"**/live", "^url must be a glob, a compiled regex or a callable, not bytes$"),
        (re.compile(b"live"), "^url must be a regex of str, not of bytes: b'live'$"),
        (asked_later, "^url must be a plain callable"),
    ],
    ids=["number", "bytes", "regex of bytes", "async callable"],
)
def test_what_is_no_rule_is_a_type_error(rule: UrlMatch, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        compile_match(rule)


@pytest.mark.parametrize("make", [str, re.compile, lambda text: lambda url: url == text])
def test_answer_is_a_bool_for_every_kind_of_rule(make: Callable[[str], UrlMatch]) -> None:
    matches = compile_match(make("ws://a.com/live"))
    assert matches("ws://a.com/live") is True
    assert matches("ws://a.com/other") is False


def test_path_alone_is_no_url() -> None:
    assert not compile_match("/ws")("ws://example.test/ws")


@pytest.mark.parametrize(
    ("globs", "matching"),
    [
        (["**/live"], ["ws://h/live", "ws://h/live?x=1", "ws://h/live?x=/live", "ws://h/a/live?"]),
        (["**/live?x=1"], ["ws://h/live?x=1"]),
        (["ws://h"], ["ws://h/", "ws://h/?x=1"]),
        (["**/live", "**/chat"], ["ws://h/live", "ws://h/chat?x=1"]),
        (["**/{live,chat}"], ["ws://h/live?x=1", "ws://h/chat"]),
    ],
)
def test_globs_of_a_command_line_match_with_or_without_the_query(
    globs: list[str], matching: list[str]
) -> None:
    matches = compile_match(any_of_globs(globs))
    for url in matching:
        assert matches(url), url
    for url in ("ws://h/lives", "ws://h/live/x?y=live", "ws://h/other?x=/", "ws://h2/a"):
        assert not matches(url), url


def test_no_glob_and_an_empty_one_match_every_url() -> None:
    assert any_of_globs([]) is None
    assert any_of_globs(["**/live", ""]) is None


def test_bad_glob_of_several_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid glob"):
        any_of_globs(["**/live", "{a"])
