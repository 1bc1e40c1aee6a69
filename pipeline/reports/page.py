"""Write a page: a template filled with values, its styles and scripts inside, and nothing loaded from elsewhere."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.errors import OutputError
from pipeline.files.atomic import atomic_write
from pipeline.files.visible import visible
from pipeline.web.parts import part

MARK = "<!-- made by pipeline report -->"
"""In the first lines of each page: what it is in may be replaced by a new report."""
_TEMPLATES = "pipeline.reports"
_SCRIPT_SIGNS = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""Signs that could end the element in which JSON stands, as JSON may write them."""


@dataclass(frozen=True)
class Page:
    """What makes a page."""

    template: str
    """Name of the template and of its script, such as "scene"."""
    values: Any
    """What the template shows, as its `page`."""
    data: Any
    """What the script shows: JSON values; None: the page has no script."""
    parts: Sequence[tuple[str, str]] = ()
    """Browser libraries, each with the name of its script."""
    styles: Sequence[tuple[str, str]] = ()
    """Browser libraries, each with the name of its styles."""


def write_page(path: Path, page: Page, *, overwrite: bool = False) -> None:
    """Write a page; it appears under its name when it is whole.

    Raises:
        OutputError: If there is a file that is not a report, and may not be replaced, or the page cannot be written.

    """
    check_free(path, overwrite=overwrite)
    scripts = [_script(part(library, name).read_text("utf-8")) for library, name in page.parts]
    if page.data is not None:
        scripts.append(_script(_template("shared.js") + _template(f"{page.template}.js")))
    style = "".join(part(library, name).read_text("utf-8") for library, name in page.styles) + _template("style.css")
    filled = (
        _environment()
        .get_template(f"{page.template}.html")
        .stream(
            page=page.values,
            mark=Markup(MARK),
            policy=_policy(scripts),
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            data=Markup(json_text(page.data)),
        )
    )
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(filled)


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a page would replace a file that is not a report, and may not."""
    if path.exists() and not overwrite and not is_report(path):
        raise OutputError(f"{path}: already exists and is not a report; use --overwrite, or give another --output")


def is_report(path: Path) -> bool:
    """Return whether a file is a page that this module wrote."""
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(200)
    except OSError:
        return False


def json_text(values: Any) -> str:  # noqa: ANN401  (JSON values)
    r"""Return JSON that can stand inside a script element, whatever its texts are.

    >>> json_text({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    return json.dumps(values, separators=(",", ":"), allow_nan=False).translate(_SCRIPT_SIGNS)


def _policy(scripts: Sequence[str]) -> str:
    """Return a content security policy: these scripts run, and nothing is loaded but pictures beside the page."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src 'self' file: data: blob:; font-src data:; connect-src data: blob:; worker-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script(text: str) -> str:
    return f"\n{text.strip()}\n"


def _template(name: str) -> str:
    return (files(_TEMPLATES) / "templates" / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["number"] = number
    return environment


def _shown(value: Any) -> Any:  # noqa: ANN401  (of a template)
    """Return a value of a template; of text, what a browser would hide or reorder is spelled out."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def number(value: float, digits: int = 4) -> str:
    """Return a number for a person, with at least `digits` digits that count and groups of three.

    >>> number(1234567.891), number(0.000123456), number(3.0)
    ('1,234,568', '0.0001235', '3')
    """
    if abs(value) >= 10 ** (digits - 1) or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
