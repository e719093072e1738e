"""What methods return that have nothing to wait for, and may all the same be awaited, as Playwright's are."""

from collections.abc import Generator


class Done:
    """Nothing is left to wait for."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield
