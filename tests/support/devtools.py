"""A HAR as the Network panel of Chromium's own developer tools shows it, once it is imported there."""

import asyncio
import base64
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import playwright.async_api as playwright
from playwright.async_api import expect

from support.time_limits import STEP_MILLISECONDS

FRONT_END = "devtools://devtools/bundled/devtools_app.html?panel=network"
"""The tools that are part of the browser, by themselves: with no page to look at, they show imports alone."""

ROW = 24
BESIDES_ROWS = 1200
"""Heights in pixels, generous ones: the panel's grids hold no more rows than are in sight."""

BINARY = "Binary message"
DIRECTIONS = {"send": "sent", "receive": "received", "error": "error"}

READ_ROWS = """
rows => rows.map(row => {
    const text = name => row.querySelector(`.${name}-column`).textContent;
    const arrow = getComputedStyle(row.firstElementChild, "::before").content;
    const kind = row.className.match(/resource-chunk-view-row-(\\w+)/)[1];
    const length = text("length").replace("\\u00a0", " ");
    return [kind, arrow === "none" ? "" : JSON.parse(arrow), text("data"), length, text("time")];
})
"""


@dataclass(frozen=True)
class ShownMessage:
    """A row of a socket's "Messages" tab."""

    direction: str
    """What the row is marked as: "sent", "received", or "error"."""
    arrow: str
    """What is drawn before the data: "⬆" in green, "⬇" in red; none before an error."""
    data: str | bytes
    """Text is the row's own; bytes are those of the Base64 viewer below the rows. Some kB are its most."""
    length: str
    """Of text in UTF-16 units, such as "4"; of bytes with their unit, such as "4 B"."""
    time: str
    """Such as "20:49:07.322", in UTC."""


@dataclass(frozen=True)
class ShownSocket:
    """A row of the panel, and what opens when it is clicked."""

    url: str
    status: str
    """Such as "101 Switching Protocols"; "Finished" for one that had no answer."""
    type: str
    remote_address: str
    """The one of the "Headers" tab."""
    messages: tuple[ShownMessage, ...]


async def import_har(browser: playwright.Browser, har: Path) -> list[ShownSocket]:
    """Import an archive, one of sockets alone, and read what the panel shows of it, by when they began."""
    entries = json.loads(await asyncio.to_thread(har.read_bytes))["log"]["entries"]
    # As the import itself does, to the millisecond: it numbers what it imports.
    entries.sort(key=lambda entry: datetime.fromisoformat(entry["startedDateTime"]).timestamp() * 1000 // 1)
    counts = [len(entry.get("_webSocketMessages", ())) for entry in entries]
    height = BESIDES_ROWS + ROW * max([len(entries), *counts])
    page = await browser.new_page(viewport={"width": 1600, "height": height}, timezone_id="UTC")
    page.set_default_timeout(STEP_MILLISECONDS)
    expect.set_options(timeout=STEP_MILLISECONDS)
    try:
        await page.goto(FRONT_END)
        async with page.expect_file_chooser() as choosing:
            await page.get_by_role("button", name="Import HAR file").click()
        await (await choosing.value).set_files(har)
        panel = _Panel(page)
        await expect(panel.sockets).to_have_count(len(entries))
        return [await panel.read(index, count) for index, count in enumerate(counts)]
    finally:
        await page.close()


class _Panel:
    def __init__(self, page: playwright.Page) -> None:
        self._log = page.locator(".network-log-grid")
        self.sockets = self._log.locator("tr[data-network-request-id]")
        self._details = page.locator(".network-item-view")
        # A view that is no longer in sight may remain in the document.
        self._messages = self._details.locator(".resource-chunk-view").filter(visible=True)
        self._rows = self._messages.locator("tr[class*=resource-chunk-view-row]")

    async def read(self, index: int, count: int) -> ShownSocket:
        """Read a socket, when this many messages are shown."""
        socket = self._log.locator(f"tr[data-network-request-id=har-{index}]")
        name = socket.locator(".name-column")
        url = await name.get_attribute("title")
        status = await socket.locator(".status-column").get_attribute("title")
        type_ = await socket.locator(".type-column").inner_text()
        await name.click()
        await self._details.get_by_role("tab", name="Headers").click()
        address = await self._details.locator("#remote-address").inner_text()
        await self._details.get_by_role("tab", name="Messages").click()
        await expect(self._messages).to_have_count(1)
        await expect(self._rows).to_have_count(count)
        messages = []
        for row, (kind, arrow, text, length, time) in enumerate(await self._rows.evaluate_all(READ_ROWS)):
            data = await self._read_bytes(row, length) if text == BINARY and "B" in length else text
            messages.append(ShownMessage(DIRECTIONS[kind], arrow, data, length, time))
        # What is shown of the next socket can then be none of this one's.
        await self._details.get_by_role("button", name="Close").click()
        await expect(self._details).to_have_count(0)
        return ShownSocket(url or "", status or "", type_, address, tuple(messages))

    async def _read_bytes(self, row: int, length: str) -> bytes:
        if length.startswith("0"):
            return b""  # No viewer is shown then.
        cell = self._rows.nth(row).locator(".data-column")
        await cell.click()
        await self._messages.get_by_label("Binary view type").select_option("base64")
        viewer = self._messages.locator(".cm-content")
        await expect(viewer).not_to_be_empty()
        data = base64.b64decode(await viewer.inner_text(), validate=True)
        # Unselects the row: what the viewer has next can then be none of this one's.
        await cell.click(modifiers=["Control"])
        await expect(viewer).to_have_count(0)
        return data
