"""Odd, hostile and broken rasters from the wild, where they are at hand: read as rasterio reads them, or refused."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.raster import RasterSource, write_cog
from tests.support.real import DATA

ZOO = DATA / "tiff_zoo"
MEMORY = 4 << 30
"""Bytes of address space that reading all of them may take."""
OUR_OWN = ("only integers and real numbers", "GiB each", "folds the scene flat", "coefficients are damaged")
"""What this package refuses although GDAL would read it."""


@pytest.mark.skipif(not ZOO.exists(), reason="the real rasters are not here")
def test_every_file_of_the_zoo_is_read_or_refused() -> None:
    code = "from tests.io.raster.test_real_scenes import tell; tell()"
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    outcomes = dict(json.loads(line) for line in told.stdout.splitlines())
    assert told.returncode == 0, f"ended after {list(outcomes)[-1:]}: {told.stderr[-500:]}"
    assert {file: outcome for file, outcome in outcomes.items() if outcome not in ("read", "refused")} == {}
    assert len(outcomes) == sum(file.is_file() for file in ZOO.rglob("*"))
    assert list(outcomes.values()).count("read") > len(outcomes) / 4


def tell() -> None:
    """Print what becomes of each file, as it becomes known."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with TemporaryDirectory() as folder:
        for file in sorted(ZOO.rglob("*")):
            if file.is_file():
                print(json.dumps([str(file.relative_to(ZOO)), outcome(file, Path(folder))]), flush=True)


def outcome(file: Path, folder: Path) -> str:
    """What becomes of a file: "read" or "refused" if all is well."""
    try:
        source = RasterSource(file)
        box = Box((0, 0), tuple(min(side, 256) for side in source.grid.shape))
        values, valid = source.read(box)
    except InputError as error:
        fair = str(file) in str(error) and (any(word in str(error) for word in OUR_OWN) or not readable(file))
        return "refused" if fair else f"refused without need: {error}"
    except Exception as error:
        return repr(error)
    window = Window(0, 0, box.shape[1], box.shape[0])
    with rasterio.open(file) as dataset:
        bands = [
            band for band in dataset.indexes if dataset.colorinterp[band - 1].name != "alpha" or dataset.count == 1
        ]
        expected = dataset.read(bands, window=window)
        observed = (dataset.dataset_mask(window=window) > 0) & np.isfinite(expected).all(axis=0)
    if not np.array_equal(values, expected, equal_nan=expected.dtype.kind == "f"):
        return "other values than rasterio's"
    if not np.array_equal(np.ones(box.shape, np.bool_) if valid is None else valid, observed):
        return "other observations than rasterio's"
    return "read" if source.grid.shape[0] * source.grid.shape[1] > 1e6 else placed(source, folder)


def readable(file: Path) -> bool:
    """Whether rasterio can read the first cells of a file."""
    try:
        with rasterio.open(file) as dataset:
            dataset.read(window=Window(0, 0, min(dataset.width, 256), min(dataset.height, 256)))
    except Exception:
        return False
    return True


def placed(source: RasterSource, folder: Path) -> str:
    """Whether a mask has just the place of `source` (as far as TIFF has words for it): "read" if so."""
    shape: Any = source.grid.shape
    mask = folder / "mask.tif"
    slabs = iter([np.zeros(shape, np.uint8)])
    write_cog(mask, source.grid, slabs, np.dtype(np.uint8), nodata=255, classes=(), tags={})
    grid = RasterSource(mask).grid
    same = grid == source.grid and (grid.reference == source.grid.reference or source.info.path.endswith(".vrt"))
    return "read" if same else f"another place: {grid.reference} instead of {source.grid.reference}"
