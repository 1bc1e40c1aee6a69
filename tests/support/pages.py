"""Small masks with everything beside them, and what a page made of them holds."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from pipeline.classes import LabelClass
from pipeline.engine import STEPS
from pipeline.geometry import Grid
from pipeline.io.mask import Mask
from pipeline.io.mask_files import publish
from tests.support.fakes import ArraySource
from tests.support.inputs import put_scene

EVIL = "a</script><script>alert(1)</script>\"'\n<img src=x onerror=alert(2)>&amp;\u202e{{7777777*7}}"
"""A name that ends elements, attributes, texts and scripts, and turns the direction of what follows."""
EVALUATED = str(7777777 * 7)
"""What a template engine makes of its end: too long to be in a page by chance, as a time or a figure."""
CLASSES = (LabelClass(0, "water", (0, 0, 200)), LabelClass(1, EVIL, (0, 200, 0)), LabelClass(2, "ice", (250, 250, 255)))
AFFINE = ((0.0, 10.0, 500_005.0), (-10.0, 0.0, 5_599_995.0), (0.0, 0.0, 1.0))
RECORD = {
    "input": {"name": "scene.tif"},
    "model": "landcover",
    "weights_sha256": "9a8f" * 16,
    "patch": [256, 256],
    "overlap": [64, 64],
    "window": "hann",
    "tta": ["flips"],
    "also": ["confidence"],
    "failed_patches": 3,
    "note": EVIL,
}


def labels(shape: tuple[int, int] = (90, 120)) -> NDArray[np.uint8]:
    """Three stripes of classes, and a corner of nodata."""
    drawn = np.repeat(np.arange(shape[1]) * 3 // shape[1], shape[0]).reshape(shape[1], shape[0]).T.astype(np.uint8)
    drawn[:20, :30] = 255
    return drawn


def put_mask(path: Path, values: NDArray[Any], *, crs: str | None = "EPSG:32632", **other: Any) -> Path:
    """Write labels `(rows, columns)` as a mask."""
    grid = other.pop("grid", None) or Grid(values.shape, AFFINE, ("y", "x"), crs)
    source = ArraySource(values[None])
    publish(Mask(source, grid, **{"nodata": 255, "classes": CLASSES, "provenance": RECORD, **other}), path)
    return path


def put_layer(path: Path, shares: NDArray[np.float64]) -> Path:
    """Write a layer of shares beside a mask; NaN is not observed."""
    stored = np.nan_to_num(np.rint(shares * STEPS) + 1).astype(np.uint8)
    return put_scene(path, stored[None], nodata=0, **_place())


def put_image(path: Path, values: NDArray[Any]) -> Path:
    """Write an image `(channels, rows, columns)` at the place of the masks here."""
    return put_scene(path, values, **_place())


def _place() -> dict[str, Any]:
    return {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000)}


def data_of(page: Path) -> dict[str, Any]:
    """What the script of a page shows."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found
    shown: dict[str, Any] = json.loads(found[1])
    return shown


def picture_of(tile: str) -> NDArray[np.uint8]:
    """A tile as an array, by GDAL."""
    with MemoryFile(base64.b64decode(tile)) as memory, memory.open() as dataset:
        found: NDArray[np.uint8] = dataset.read()
        return found


def picture_in(pdf: bytes) -> NDArray[np.uint8]:
    """The bytes of the first picture in a PDF."""
    start = pdf.index(b"stream", pdf.index(b"/Subtype /Image")) + len(b"stream\n")
    return np.frombuffer(zlib.decompress(pdf[start : pdf.index(b"endstream", start)]), np.uint8)
