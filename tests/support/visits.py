"""Pages in Chromium, as a reader sees them: what they say, ask for and show.

A page goes on drawing after it was opened, clicked or scrolled, so nothing in it is read once and then compared:
`until` and `says` read again until it is as it must be.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.browser import PATIENCE

SLOWED = float(os.environ.get("SLOWED_BROWSER", "1"))
"""How many times slower pages compute: `SLOWED_BROWSER=10 pytest tests/reports` finds what is read too soon."""
_PAUSE = 50
"""Milliseconds between two looks at a page."""
T = TypeVar("T")


def until(page: Any, read: Callable[[], T], holds: Callable[[T], object], tell: Callable[[T], str] = repr) -> T:
    """Read from a page again and again until what is read is as it must be; return it.

    Args:
        page: The page.
        read: Reads from it.
        holds: Whether it is as it must be.
        tell: What is said of the last that was read, if it never is.

    """
    from playwright.sync_api import Error

    end, seen = time.monotonic() + PATIENCE / 1000, "nothing"
    while time.monotonic() < end:
        try:
            found = read()
        except Error as error:  # the page may put another element in its place meanwhile
            seen = str(error)
        else:
            if holds(found):
                return found
            seen = tell(found)
        page.wait_for_timeout(_PAUSE)
    raise AssertionError(f"after {PATIENCE / 1000:.0f} s the page still has {seen}")


def says(element: Any, pattern: str) -> str:
    """Wait until the text of an element matches, and return the text."""
    return until(element.page, element.inner_text, lambda text: re.search(pattern, text, re.DOTALL))


def counts(elements: Any, number: int) -> None:
    """Wait until there are so many elements."""
    until(elements.page, elements.count, lambda found: found == number)


@dataclass
class Visit:
    """A page that is open."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, exceptions, dialogs, and requests that failed."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, without what lies in the page itself."""

    def __post_init__(self) -> None:
        """Listen to the page."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._on_dialog)
        self.page.on("requestfailed", self._on_failure)
        self.page.on("request", self._on_request)

    def hosts(self) -> set[str | None]:
        """Hosts that were asked for anything but files."""
        return {urlsplit(url).hostname for url in self.requests if not url.startswith("file:")}

    def says(self, selector: str, pattern: str) -> str:
        """Wait until the text of an element matches, and return the text."""
        return says(self.page.locator(selector), pattern)

    def until(self, expression: str, argument: Any = None) -> Any:
        """Wait until an expression in JavaScript holds, and return its value.

        Playwright's own waiting evaluates text in the page, which the policy of a page may refuse.
        """
        return until(self.page, lambda: self.page.evaluate(expression, argument), bool)

    def picture(self, selector: str) -> NDArray[np.uint8]:
        """An element as it is drawn, `(rows, columns, 3)`."""
        return np.asarray(Image.open(BytesIO(self.page.locator(selector).screenshot())).convert("RGB"))

    def comes_to(self, selector: str, color: tuple[int, int, int], least: float, most: float) -> NDArray[np.uint8]:
        """Wait until the share of an element's pixels that have nearly this color is in a range; return the picture."""

        def share(seen: NDArray[np.uint8]) -> float:
            return float(pixels_of(seen, color).mean())

        def tell(seen: NDArray[np.uint8]) -> str:
            return f"{share(seen):.4f} of {selector} in {color}, not {least} to {most}"

        return until(self.page, lambda: self.picture(selector), lambda seen: least <= share(seen) <= most, tell)

    def fits(self) -> bool:
        """Whether nothing reaches beyond the width of the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_failure(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # called off by the page itself
            self.complaints.append(f"failed: {request.url} {request.failure}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.requests.append(request.url)


@contextmanager
def visit(
    browser: Any, place: Path | str, width: int = 880, height: int = 520, slowed: float = SLOWED, **context: Any
) -> Iterator[Visit]:
    """Open a page from disk, or at an address; in the end, it must have asked its own host alone, and not complained.

    Args:
        browser: An open browser.
        place: A file, or an address.
        width: Pixels of the window; without a GPU, a large one takes long to draw.
        height: Likewise.
        slowed: How many times slower the page computes.
        context: What else Playwright takes for a context.

    """
    address = place.as_uri() if isinstance(place, Path) else place
    opened = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **context)
    opened.set_default_timeout(PATIENCE)
    visited = Visit(opened.new_page())
    if slowed != 1:
        opened.new_cdp_session(visited.page).send("Emulation.setCPUThrottlingRate", {"rate": slowed})
    try:
        visited.page.goto(address)
        yield visited
        assert visited.complaints == []
        assert visited.hosts() <= {urlsplit(address).hostname}
    finally:
        opened.close()


def pixels_of(picture: NDArray[np.uint8], color: tuple[int, int, int], within: int = 30) -> NDArray[np.bool_]:
    """Which pixels have nearly this color."""
    near: NDArray[np.bool_] = np.abs(picture.astype(int) - color).max(axis=2) <= within
    return near
