"""Pages from disk in Chromium, as a reader sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.browser import PATIENCE


@dataclass
class Visit:
    """A page that is open."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and exceptions."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, without what lies in the page itself."""

    def picture(self, selector: str) -> NDArray[np.uint8]:
        """An element as it is drawn, `(rows, columns, 3)`."""
        return np.asarray(Image.open(BytesIO(self.page.locator(selector).screenshot())).convert("RGB"))

    def comes_to(self, selector: str, color: tuple[int, int, int], least: float, most: float) -> None:
        """Wait until the share of an element's pixels that have nearly this color is in a range."""
        from playwright.sync_api import Error

        share = 0.0
        for _ in range(PATIENCE // 100):
            with suppress(Error):  # the page may put another element in its place meanwhile
                share = float(pixels_of(self.picture(selector), color).mean())
            if least <= share <= most:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{selector}: {share:.4f} of it is {color}, expected {least} to {most}")

    def fits(self) -> bool:
        """Whether nothing reaches beyond the width of the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@contextmanager
def visit(browser: Any, path: Path, width: int = 1100, height: int = 800, **context: Any) -> Iterator[Visit]:
    """Open a page from disk; at the end, it must have asked for files alone and not complained."""
    opened = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **context)
    opened.set_default_timeout(PATIENCE)
    visited = Visit(opened.new_page())
    visited.page.on("console", lambda said: _note(visited.complaints, said))
    visited.page.on("pageerror", lambda error: visited.complaints.append(str(error)))
    visited.page.on("request", lambda asked: visited.requests.append(asked.url))
    try:
        visited.page.goto(path.as_uri())
        yield visited
        assert visited.complaints == []
        assert [url for url in visited.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    finally:
        opened.close()


def _note(complaints: list[str], said: Any) -> None:
    if said.type in ("error", "warning"):
        complaints.append(said.text)


def pixels_of(picture: NDArray[np.uint8], color: tuple[int, int, int], within: int = 30) -> NDArray[np.bool_]:
    """Which pixels have nearly this color."""
    near: NDArray[np.bool_] = np.abs(picture.astype(int) - color).max(axis=2) <= within
    return near
