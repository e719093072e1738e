"""Which URLs a rule means, by Playwright's rules.

https://playwright.dev/python/docs/network#glob-url-patterns
"""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection

from wirewright.model.arguments import fit
from wirewright.model.urls import normalize_glob

UrlPattern = str | re.Pattern[str]
"""A glob, or a compiled regex (found by `search`)."""
UrlMatch = UrlPattern | Callable[[str], object] | Callable[[], object]
"""A glob, a compiled regex (found by `search`), or a callable that is given the URL."""


class LateMatch(ABC):
    """A rule that is asked elsewhere, as in another thread, and answers later. For routes only."""

    @abstractmethod
    def __call__(self, url: str) -> Awaitable[object]:
        """Whether it means a URL."""


_REGEX_SPECIAL = frozenset("$^+.*()|\\?{}[]")


def compile_match(url: UrlMatch | None) -> Callable[[str], bool]:
    """The predicate on URLs that a rule stands for. None and "" match every URL.

    Raises ValueError for a glob that cannot be read and TypeError for anything that is no rule.
    """
    if url is None or url == "":
        return lambda _: True
    if isinstance(url, str):
        pattern = re.compile(glob_to_regex(normalize_glob(url)))
        return lambda candidate: pattern.search(candidate) is not None
    if isinstance(url, re.Pattern):
        if not isinstance(url.pattern, str):
            raise TypeError(f"url must be a regex of str, not of bytes: {url.pattern!r}")
        regex = url
        return lambda candidate: regex.search(candidate) is not None
    if not callable(url):
        raise TypeError(f"url must be a glob, a compiled regex or a callable, not {type(url).__name__}")
    if inspect.iscoroutinefunction(url):
        raise TypeError("url must be a plain callable: an async one cannot be asked before the socket opens")
    matches = fit(url, 1)
    return lambda candidate: bool(matches(candidate))


def any_of_globs(globs: Collection[str]) -> re.Pattern[str] | None:
    """The regex of URLs that match one of these globs, whole or up to their query; None for every URL.

    For people at a command line, to whom `**/live` means `wss://host/live?token=1` too. Raises ValueError for
    a glob that cannot be read.
    """
    if "" in globs:
        return None
    bodies = [glob_to_regex(normalize_glob(glob)).removesuffix("$") for glob in globs]
    return re.compile("|".join(rf"(?:{body}(?:\?.*)?$)" for body in bodies)) if bodies else None


def glob_to_regex(glob: str) -> str:
    r"""The regex of a glob: `*` stops at `/`, `**` crosses it, `{a,b}` is a choice, `\` escapes.

    `?` and `[` stand for themselves. Raises ValueError for braces that are nested or do not pair.
    """
    out = ["^"]
    in_group = False
    position = 0
    while position < len(glob):
        char = glob[position]
        if char == "\\" and position + 1 < len(glob):
            position += 1
            out.append(_literal(glob[position]))
        elif char == "*":
            stars = len(glob) - position - len(glob[position:].lstrip("*"))
            after = position + stars
            if stars == 1:
                out.append("[^/]*")
            elif after < len(glob) and glob[after] == "/":
                # "a/**/b" also means "a/b": the slash belongs to the stars.
                out.append("(.+/|)" if position and glob[position - 1] == "/" else "(.*/)")
                after += 1
            else:
                out.append(".*")
            position = after - 1
        elif char == "{":
            if in_group:
                raise ValueError(f"invalid glob {glob!r}: '{{' inside '{{' is not supported")
            in_group = True
            out.append("(")
        elif char == "}":
            if not in_group:
                raise ValueError(f"invalid glob {glob!r}: '}}' has no '{{' before it")
            in_group = False
            out.append(")")
        elif char == "," and in_group:
            out.append("|")
        else:
            out.append(_literal(char))
        position += 1
    if in_group:
        raise ValueError(f"invalid glob {glob!r}: '{{' has no '}}' after it")
    return "".join([*out, "$"])


def _literal(char: str) -> str:
    return "\\" + char if char in _REGEX_SPECIAL else char
