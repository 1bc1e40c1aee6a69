"""Text and tables in HTML, for notebooks: names of files, tags and classes are written by others.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from pipeline.files.visible import visible


def escaped(text: object) -> str:
    r"""Return text that stands in an element or an attribute as it is, with nothing that a browser obeys or hides.

    >>> escaped("<b title='x'>\n")
    '&lt;b title=&#x27;x&#x27;&gt;\\n'
    """
    return escape(visible(text))


def element(name: str, content: str, **attributes: str) -> str:
    """Return an element with HTML in it.

    >>> element("td", escaped("a & b"), style="color:red")
    '<td style="color:red">a &amp; b</td>'
    """
    said = "".join(f' {key}="{escaped(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>{content}</{name}>"


def table(rows: Iterable[Iterable[str]], head: Iterable[str] = ()) -> str:
    """Return a table of cells that are HTML already."""
    top = "".join(element("th", cell, style="text-align:left") for cell in head)
    body = "".join(element("tr", "".join(element("td", cell, style="text-align:left") for cell in row)) for row in rows)
    return element("table", (element("tr", top) if top else "") + body)
