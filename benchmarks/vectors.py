"""Polygons of a large mask: whether their areas are the cells of each class, and the memory that making them takes.

    python -m benchmarks.vectors FOLDER [--columns 20000] [--rows 5000 20000] [--suffix .gpkg .parquet]

Makes masks of so many rows with blots of all sizes and holes in them, stairs over 3,000 rows and lines from top to
bottom, exports each in a process of its own, and compares, by class, the cells that the file tells and the areas of its
polygons with the cells of the mask. Prints JSON; ends with 1 where an area differs. Peaks are above that of a mask of
64 x 64, and grow until GDAL's cache of 32 MiB is full; the ratio of the last to the first is 1 where memory does not
grow with the rows. One polygon over all of a mask, such as a background with all its holes, is held until it is whole.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks.resident import MIB, resident
from pipeline.classes import LabelClass
from pipeline.io.raster import write_cog
from pipeline.io.raster.georeference import grid_at
from pipeline.masks.export import export

NODATA, SLAB, PART = 255, 1024, 50_000
CLASSES = tuple(
    LabelClass(value, name, (80 * value, 50, 0)) for value, name in enumerate(("blot", "stairs", "hole", "line"))
)


def labels(top: int, stop: int, columns: int) -> NDArray[np.uint8]:
    """Rows of the mask, each cell by its place alone: blots with holes, stairs and lines over both, nodata between."""
    y, x = np.mgrid[top:stop, 0:columns].astype(np.float32)
    waves = np.sin(x / 23) + np.sin(y / 31) + np.sin((x + y) / 57) + np.sin((x - 2 * y) / 301)
    found = np.full(waves.shape, NODATA, np.uint8)
    found[waves > 1.2] = 0
    found[waves > 2.6] = 2
    found[((x + 3 * y) % 4096 < 3) & (y % 4096 < 3000)] = 1
    found[x % 2500 < 2] = 3
    return found


def slabs(rows: int, columns: int) -> Iterator[NDArray[np.uint8]]:
    """All rows, some at a time."""
    for top in range(0, rows, SLAB):
        yield labels(top, min(top + SLAB, rows), columns)


def mask_of(folder: Path, rows: int, columns: int) -> Path:
    """The mask as a file, made once; its cells are a metre long."""
    path = folder / f"mask-{rows}x{columns}.tif"
    if not path.exists():
        grid = grid_at((rows, columns), (1, 0, 400_000, 0, -1, 5_000_000), "EPSG:32633")
        write_cog(path, grid, slabs(rows, columns), np.dtype(np.uint8), nodata=NODATA, classes=CLASSES, tags={})
    return path


def cells_of(path: Path) -> dict[int, int]:
    """Cells of each class, as rasterio reads them."""
    counts = np.zeros(256, np.int64)
    with rasterio.open(path) as dataset:
        for _, window in dataset.block_windows(1):
            counts += np.bincount(dataset.read(1, window=window).ravel(), minlength=256)
    return {c.value: int(counts[c.value]) for c in CLASSES}


def told_of(path: Path) -> tuple[dict[int, int], dict[int, int], int]:
    """By class the cells that a file tells and the areas of its polygons, and how many of them there are."""
    cells, areas, count = Counter[int](), Counter[int](), 0
    for values, told, shapes in _parts(path):
        if not shapely.is_valid(shapes).all():
            raise SystemExit(f"{path}: holds polygons that are not valid")
        exact = np.rint(shapely.area(shapes)).astype(np.int64)
        for value in np.unique(values).tolist():
            cells[value] += int(told[values == value].sum())
            areas[value] += int(exact[values == value].sum())
        count += len(values)
    return dict(cells), dict(areas), count


def _parts(path: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Values, cells and polygons, so many at a time."""
    if path.suffix == ".parquet":
        for batch in parquet.ParquetFile(path).iter_batches(PART):
            table = batch.to_pydict()
            yield np.array(table["value"]), np.array(table["cells"]), shapely.from_wkb(table["geometry"])
        return
    total = pyogrio.read_info(path)["features"]
    for first in range(0, total, PART):
        about, _, wkb, values = pyogrio.raw.read(path, skip_features=first, max_features=PART)
        table = dict(zip(about["fields"], values, strict=True))
        yield table["value"], table["cells"], shapely.from_wkb(wkb)


def exported(mask: Path, suffix: str) -> tuple[Path, int, float]:
    """The polygons of a mask, with MiB at the peak and seconds of the process that made them."""
    path = mask.with_suffix(suffix)
    path.unlink(missing_ok=True)
    began = time.monotonic()
    code = f"from benchmarks.vectors import measured; measured({str(mask)!r}, {str(path)!r})"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return path, int(printed) // MIB, time.monotonic() - began


def measured(mask: str, path: str) -> None:
    """Export, and print the bytes that this process held at its peak."""
    export(mask, Path(path))
    print(resident("VmHWM"))


def main(folder: Path, rows: list[int], columns: int, suffixes: list[str]) -> bool:
    """Whether all areas are those of the cells."""
    folder.mkdir(parents=True, exist_ok=True)
    right = True
    for suffix in suffixes:
        _, start, _ = exported(mask_of(folder, 64, 64), suffix)
        peaks = []
        for count in rows:
            mask = mask_of(folder, count, columns)
            path, peak, seconds = exported(mask, suffix)
            cells, areas, polygons = told_of(path)
            exact = cells == areas == cells_of(mask)
            right &= exact
            peaks.append(peak - start)
            figures = {"polygons": polygons, "areas exact": exact, "peak_above_mib": peaks[-1], "s": round(seconds, 1)}
            print(json.dumps({"mask": f"{count} x {columns}", "format": suffix, **figures}), flush=True)
        print(json.dumps({"format": suffix, "ratio of peaks": round(peaks[-1] / max(peaks[0], 1), 2)}), flush=True)
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[5000, 20000])
    parser.add_argument("--columns", type=int, default=20000)
    parser.add_argument("--suffix", nargs="+", default=[".gpkg", ".parquet"])
    asked = parser.parse_args()
    sys.exit(not main(asked.folder, asked.rows, asked.columns, asked.suffix))
