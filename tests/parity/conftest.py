"""What the tests with a real browser share."""

from collections.abc import AsyncIterator

import playwright.async_api as playwright
import pytest_asyncio

from support.browser import browsing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[playwright.Browser]:
    async with browsing() as launched:
        yield launched
