"""Matches URLs, by Playwright's rules.

https://playwright.dev/python/docs/network#glob-url-patterns
"""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from wirewright.model.arguments import fit
from wirewright.model.globs import GlobMatcher
from wirewright.model.urls import normalize_glob

__tracebackhide__ = True  # pytest shows the line that calls

UrlPattern = str | re.Pattern[str]
"""A glob, or a compiled regex (found by `search`)."""
UrlMatch = UrlPattern | Callable[[str], object] | Callable[[], object]
"""A glob, a compiled regex (found by `search`), or a callable that is given the URL."""


class LateMatch(ABC):
    """A rule of a route that is asked in another thread or process, and answers later."""

    @abstractmethod
    def __call__(self, url: str) -> Awaitable[object]:
        """True if the rule matches a URL."""


def compile_match(url: UrlMatch | None) -> Callable[[str], bool]:
    """The predicate on URLs that a rule stands for. None and "" match every URL.

    A glob takes time that is linear in the URL. A regex takes as long as its user has written it to.

    Raises ValueError for a glob that cannot be read and TypeError for anything that is no rule.
    """
    if url is None or url == "":
        return lambda _: True
    if isinstance(url, str):
        return GlobMatcher([normalize_glob(url)]).matches
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


@dataclass(frozen=True)
class Globs:
    """Globs of a command line: one has to match a URL, whole or up to its query.

    For people to whom `**/live` means `wss://host/live?token=1` too. A callable, and so a rule (`UrlMatch`).
    """

    globs: tuple[str, ...]
    matcher: GlobMatcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ValueError for a glob that cannot be read."""
        matcher = GlobMatcher(map(normalize_glob, self.globs), any_query=True)
        object.__setattr__(self, "matcher", matcher)

    def __call__(self, url: str) -> bool:
        """True if a URL matches."""
        return self.matcher.matches(url)


def any_of_globs(globs: Collection[str]) -> Globs | None:
    """The rule for URLs that match one of these globs of a command line; None for every URL.

    Raises ValueError for a glob that cannot be read.
    """
    return None if not globs or "" in globs else Globs(tuple(globs))
