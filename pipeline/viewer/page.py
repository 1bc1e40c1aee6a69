"""The files of the pages: a fixed list, by the name under which a browser asks for them."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from pipeline.web.parts import part

_BROWSER = files("pipeline.viewer") / "browser"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
PARTS: dict[str, Traversable] = {
    **{name: _BROWSER / name for name in ("view.css", "common.js", "scene.js", "volume.js")},
    "ol.js": part("ol", "ol.js"),
    "ol.css": part("ol", "ol.css"),
    "niivue.js": part("niivue", "niivue.umd.js"),
}
PAGES = {kind: _BROWSER / f"{kind}.html" for kind in ("scene", "volume")}


def type_of(file: Traversable) -> str:
    """Return the media type of a part or page."""
    return f"{_TYPES[PurePath(file.name).suffix]}; charset=utf-8"
