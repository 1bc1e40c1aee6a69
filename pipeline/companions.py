"""What goes beside a mask: names and colours for other programs, a picture to look at, and a STAC Item."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from pipeline import __version__
from pipeline.classes import LabelClass
from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.io.formats import Mask, stem_of, suffix_of
from pipeline.io.raster import write_png
from pipeline.io.raster.outlines import LONGITUDE_LATITUDE, moved
from pipeline.io.safely import replacing
from pipeline.io.slabs import slabs

_LONGEST, _ROWS = 2048, 1024
"""Pixels of the longer side of a picture, at most; rows read at a time."""
_EMPTY = (255, 255, 255)
"""Colour of nodata in a picture."""
_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".zarr": "application/vnd.zarr; version=3",
}
_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
_EDGE = 16
"""Points of each side of a footprint."""


def write_companion(mask: Mask, at: Path, path: Path) -> None:
    """Write what the suffix of `path` stands for, of the mask that lies `at`.

    `.qml`, `.png` or `.json` of a scene, `.ctbl` or `.label` of a volume, whose `.png` is a sheet of its own. Raises
    PipelineError.
    """
    writers, kind = (_OF_SCENES, "scene") if mask.grid.is_scene else (_OF_VOLUMES, "volume")
    if suffix_of(path) not in writers:
        raise RequestError(
            f"{path}: beside the mask of a {kind} go {', '.join({'.png': 0, **writers})}; {suffix_of(path)} does not"
        )
    writers[suffix_of(path)](mask, at, path)


def _write_style(mask: Mask, at: Path, path: Path) -> None:
    """A style that QGIS takes by itself where it lies beside the mask under its name."""
    root = ElementTree.Element("qgis", version="3.34.0", styleCategories="Symbology")
    words = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = ElementTree.SubElement(ElementTree.SubElement(root, "pipe"), "rasterrenderer", words)
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for entry in mask.classes:
        words = {"value": str(entry.value), "color": _hex(entry.colour), "label": entry.name, "alpha": "255"}
        ElementTree.SubElement(palette, "paletteEntry", words)
    ElementTree.indent(root)
    text = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, "unicode") + "\n"
    _write_text(path, text)


def _write_picture(mask: Mask, at: Path, path: Path) -> None:
    """Every so many-th cell in the colour of its class."""
    step = max(1, -(-max(mask.grid.shape) // _LONGEST))
    colours = np.full((1 << 8 * mask.labels.dtype.itemsize, 3), 128, np.uint8)
    for entry in mask.classes:
        colours[entry.value] = entry.colour
    colours[mask.nodata] = _EMPTY
    rows = [
        colours[pixels.values[0][(step // 2 - box.start[0]) % step :: step, step // 2 :: step]]
        for box, pixels in slabs(mask.labels, _ROWS)
    ]
    write_png(path, np.ascontiguousarray(np.concatenate(rows).transpose(2, 0, 1)))


def _write_item(mask: Mask, at: Path, path: Path) -> None:
    _write_text(path, json.dumps(item_of(mask, at, path), indent=1) + "\n")


def item_of(mask: Mask, at: Path, path: Path) -> dict[str, Any]:
    """The mask that lies `at`, as a STAC 1.1 Item for a file at `path`; without a known place its geometry is null."""
    grid = mask.grid
    footprint = _footprint(grid)
    asset: dict[str, Any] = {
        "href": _href(at, path),
        "type": _TYPES.get(suffix_of(at), "application/octet-stream"),
        "roles": ["data"],
        "title": "classes",
        "bands": [{"name": "class", "nodata": mask.nodata, "data_type": mask.labels.dtype.name}],
        "classification:classes": [
            {"value": c.value, "name": _word(c.name), "title": c.name, "color_hint": _hex(c.colour)[1:].upper()}
            for c in mask.classes
        ],
    }
    if at.is_file():
        asset["file:size"] = at.stat().st_size
    properties: dict[str, Any] = {
        "datetime": _when(mask.made),
        "proj:shape": list(grid.shape),
        "proj:wkt2": grid.crs,
        "processing:software": {"pipeline": __version__},
        "processing:lineage": "Semantic segmentation with PSPNet of "
        + str(mask.made.get("input", {}).get("name", "?")),
        **{f"pipeline:{name}": mask.made[name] for name in ("model", "weights_sha256") if name in mask.made},
    }
    words = grid.reference.get("gdal", {}).get("transform")
    if words is not None:
        properties["proj:transform"] = words
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": stem_of(at),
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {"classes": asset},
    }
    if footprint is not None:
        low, high = footprint.min(0).tolist(), footprint.max(0).tolist()
        item["geometry"] = {"type": "Polygon", "coordinates": [footprint.tolist()]}
        item["bbox"] = [*low, *high]
    return item


def _footprint(grid: Grid) -> NDArray[np.float64] | None:
    """The outline of a grid in longitude and latitude, to the left around it."""
    if grid.crs is None or grid.reference.get("gdal", {}).get("transform", True) is None:
        return None
    rows, columns = (np.linspace(-0.5, size - 0.5, _EDGE + 1) for size in grid.shape)
    top, bottom = np.full(_EDGE + 1, rows[0]), np.full(_EDGE + 1, rows[-1])
    left, right = np.full(_EDGE + 1, columns[0]), np.full(_EDGE + 1, columns[-1])
    sides = [(rows, left), (bottom, columns), (rows[::-1], right), (top, columns[::-1])]
    at = np.concatenate([np.column_stack(side)[:-1] for side in sides])
    (a, b, c), (d, e, f), _ = grid.affine
    world = np.column_stack([a * at[:, 0] + b * at[:, 1] + c, d * at[:, 0] + e * at[:, 1] + f])
    points = moved(world, grid.crs, LONGITUDE_LATITUDE).round(9)
    if not np.isfinite(points).all():
        return None
    x, y = points.T
    if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:
        points = points[::-1]
    return np.concatenate([points, points[:1]])


def _when(made: Mapping[str, Any]) -> str:
    """When the input was last changed, by the mask's record: that is the same whenever the Item is written."""
    changed = made.get("input", {}).get("changed_ns", 0)
    return datetime.fromtimestamp(changed / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _href(mask: Path, item: Path) -> str:
    near = mask.absolute().parent == item.absolute().parent
    return f"./{mask.name}" if near else str(mask.absolute())


def _word(name: str) -> str:
    """A name as the classification extension wants it."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _write_slicer(mask: Mask, at: Path, path: Path) -> None:
    """A colour table of 3D Slicer: number, name, and colour with its alpha, a line for each class."""
    rows = [f"{c.value} {c.name.replace(' ', '_')} {' '.join(map(str, c.colour))} {_alpha(c)}" for c in mask.classes]
    _write_text(path, "\n".join(["# Color", *rows]) + "\n")


def _write_snap(mask: Mask, at: Path, path: Path) -> None:
    """Label descriptions of ITK-SNAP: number, colour, alpha, whether it is visible and meshed, name."""
    head = ("# ITK-SnAP Label Description File", "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL")
    rows = []
    for c in mask.classes:
        (red, green, blue), seen = c.colour, int(_alpha(c) > 0)
        rows.append(f'{c.value:5d} {red:5d} {green:4d} {blue:4d} {seen:8d} {seen:2d} {seen:2d}    "{c.name}"')
    _write_text(path, "\n".join([*head, *rows]) + "\n")


def _alpha(entry: LabelClass) -> int:
    return 0 if entry.name.lower() == "background" else 255


_OF_SCENES: dict[str, Callable[[Mask, Path, Path], None]] = {
    ".qml": _write_style,
    ".png": _write_picture,
    ".json": _write_item,
}
_OF_VOLUMES: dict[str, Callable[[Mask, Path, Path], None]] = {".ctbl": _write_slicer, ".label": _write_snap}
