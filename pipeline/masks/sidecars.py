"""Write sidecars of a mask: names and colors for other programs, and a STAC Item."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from pipeline.classes import LabelClass, hex_color
from pipeline.errors import RequestError
from pipeline.files.atomic import atomic_write
from pipeline.files.visible import visible
from pipeline.io.mask import Mask
from pipeline.io.suffixes import PICTURES, suffix_of
from pipeline.masks.stac_item import build_item


def write_sidecar(mask: Mask, at: Path, path: Path) -> None:
    """Write the sidecar that the suffix of `path` stands for.

    `.qml` or `.json` for a scene, `.ctbl` or `.label` for a volume.

    Args:
        mask: The mask.
        at: Its path.
        path: File to write.

    Raises:
        PipelineError: If there is no such sidecar, or it cannot be written.

    """
    writers, kind = (_OF_SCENES, "scene") if mask.grid.is_scene else (_OF_VOLUMES, "volume")
    suffix = suffix_of(path)
    if suffix not in writers:
        known = ", ".join((*PICTURES, *writers))
        raise RequestError(f"{path}: a sidecar of a {kind} is one of {known}, not {suffix}")
    writers[suffix](mask, at, path)


def _write_style(mask: Mask, at: Path, path: Path) -> None:
    """Write a style that QGIS applies by itself if it is beside the mask, with the same name."""
    root = ElementTree.Element("qgis", version="3.34.0", styleCategories="Symbology")
    words = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = ElementTree.SubElement(ElementTree.SubElement(root, "pipe"), "rasterrenderer", words)
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for entry in mask.classes:
        words = {
            "value": str(entry.value),
            "color": hex_color(entry.color),
            "label": visible(entry.name),
            "alpha": "255",
        }
        ElementTree.SubElement(palette, "paletteEntry", words)
    ElementTree.indent(root)
    text = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, "unicode") + "\n"
    _write_text(path, text)


def _write_item(mask: Mask, at: Path, path: Path) -> None:
    _write_text(path, json.dumps(build_item(mask, at, path), indent=1) + "\n")


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _write_slicer(mask: Mask, at: Path, path: Path) -> None:
    """A color table of 3D Slicer: number, name, and color with its alpha, a line for each class."""
    rows = [
        f"{c.value} {visible(c.name).replace(' ', '_')} {' '.join(map(str, c.color))} {_alpha(c)}" for c in mask.classes
    ]
    _write_text(path, "\n".join(["# Color", *rows]) + "\n")


def _write_snap(mask: Mask, at: Path, path: Path) -> None:
    """Label descriptions of ITK-SNAP: number, color, alpha, whether it is visible and meshed, name."""
    head = ("# ITK-SnAP Label Description File", "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL")
    rows = []
    for c in mask.classes:
        (red, green, blue), seen = c.color, int(_alpha(c) > 0)
        name = visible(c.name).replace('"', "'")
        rows.append(f'{c.value:5d} {red:5d} {green:4d} {blue:4d} {seen:8d} {seen:2d} {seen:2d}    "{name}"')
    _write_text(path, "\n".join([*head, *rows]) + "\n")


def _alpha(entry: LabelClass) -> int:
    return 0 if entry.is_background else 255


_OF_SCENES: dict[str, Callable[[Mask, Path, Path], None]] = {
    ".qml": _write_style,
    ".json": _write_item,
}
_OF_VOLUMES: dict[str, Callable[[Mask, Path, Path], None]] = {".ctbl": _write_slicer, ".label": _write_snap}
