"""Text as it may be shown on a screen: names of files, tags and classes are written by others.

Standard library only.
"""

from __future__ import annotations

import logging
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories that a screen obeys or hides: controls, formats such as bidirectional overrides, surrogates, line ends."""


def visible(text: object) -> str:
    r"""Return text with what a screen would obey or hide in the notation of Python.

    >>> visible("a\x1b[2J\n\u202egpj.tif")
    'a\\x1b[2J\\n\\u202egpj.tif'
    """
    words = str(text)
    return words if words.isprintable() else "".join(map(_shown, words))


def visible_lines(text: str) -> str:
    """Return text of several lines, each as `visible` has it."""
    return "\n".join(map(visible, text.split("\n")))


def _shown(letter: str) -> str:
    return letter.encode("unicode_escape").decode() if unicodedata.category(letter) in _HIDDEN else letter


class VisibleFormatter(logging.Formatter):
    """Formats records of a log for a screen."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, as it may be shown."""
        return visible_lines(super().format(record)) if record.exc_info else visible(super().format(record))
