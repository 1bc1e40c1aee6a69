"""How Sphinx makes the site of these pages. The root of the project is its source, so that all links stay as they are.

`make docs` runs `build.py`, which runs this.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.ext.napoleon import GoogleDocstring

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.site import navigation  # noqa: E402  (found only now)
from pipeline.decoding import Key, keys_of  # noqa: E402

project = "pipeline"
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
copyright = "Apache-2.0"  # noqa: A001  (Sphinx's word)
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
root_doc = navigation.FRONT.removesuffix(".md")
include_patterns = navigation.pages()
exclude_patterns = [".*", "build", "demo", "runs", "pipeline", "tests", "flows", "configs"]
"""Folders without pages, which need not be searched."""
default_role = "literal"
smartquotes = False  # which would make dashes of options
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"pipeline {release}"
html_theme_options = {"top_of_page_buttons": []}
html_copy_source = False
html_show_search_summary = False  # which asks for the pages found: a browser refuses that from disk
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "versions.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88


def setup(app: Any) -> None:  # noqa: ANN401  (of Sphinx, which a check of types may lack)
    """Add what Sphinx cannot know."""
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-signature", without_fields)
    app.connect("autodoc-process-docstring", with_sections)
    app.connect("doctree-read", with_dashes)


def add_navigation(app: object, page: str, source: list[str]) -> None:
    """Put the navigation at the end of the front page."""
    if page == root_doc:
        source[0] += navigation.toctrees()


def without_fields(app: object, what: str, name: str, found: object, *_: object) -> tuple[str, str] | None:
    """Show no signature of a dataclass, whose fields are listed below, and none of a protocol, which is not called."""
    bare = what == "class" and (is_dataclass(found) or getattr(found, "_is_protocol", False))
    return ("", "") if bare else None


def with_sections(app: object, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """Read Google's sections (Args, Raises), and add the fields of a dataclass that say in their type what they mean.

    Attributes have no sections: napoleon would take what stands before a colon for their type.
    """
    if what not in ("attribute", "property"):
        lines[:] = GoogleDocstring(lines, what=what, name=name, obj=found).lines()
    lines += [f":param {key.field.name}: {escaped(key.meaning.sentence)}" for key in meanings(found)]


def with_dashes(app: object, page: nodes.document) -> None:
    """Put dashes where Sphinx has two hyphens, between a parameter and its meaning."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \u2013 "))


def meanings(kind: object) -> list[Key]:
    """Return the fields of a dataclass that say in their type what they mean."""
    known = keys_of(kind) if isinstance(kind, type) and is_dataclass(kind) else ()
    return [key for key in known if key.meaning.help]


def escaped(text: str) -> str:
    """Return a text without what reStructuredText would take for a mark, except for backticks."""
    return re.sub(r"([*|_\\])", r"\\\1", text)
