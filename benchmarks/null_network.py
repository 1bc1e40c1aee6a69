"""The engine with a network that costs nothing, against GDAL reading and writing the same files.

    python -m benchmarks.null_network FOLDER [ROWS] [COLUMNS]

Two comparisons on one scene (8192 x 8192 x 3 unless told), with patches of 512 that overlap by 128 and 6 classes:

run     `segment` to a COG (read, cut, blend, decide, stage in Zarr, overviews, COG), against GDAL reading the scene and
        writing the same mask as the same kind of COG;
sweep   the engine alone from the scene to Zarr, against GDAL reading the scene and writing the same mask as a plain
        tiled GeoTIFF.

Runs alternate; the ratio of their medians is what counts. On a busy machine that of CPU seconds says more. With the
extra `kernels`, they are loaded in the first run, which does not count; that takes .1 CPU s.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import rasterio
import rasterio.shutil
import torch
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window

import pipeline.runs.predictors
import pipeline.runs.segment
from benchmarks import random_model
from benchmarks.scenes import sample_scene
from pipeline.engine import sweep
from pipeline.files.atomic import remove
from pipeline.geometry import Box
from pipeline.io.raster import RasterSource
from pipeline.io.zarr import SlabStore, create_labels
from pipeline.jobs.job import Job, Resources
from pipeline.runs.prepare import prepare
from pipeline.runs.view_sweep import sweeps_of

CLASSES, RUNS = 6, 5


class NullNetwork:
    """Scores that are ready: smooth, so that the mask is made of blobs, as masks are."""

    classes, batch, threads = CLASSES, 1, 1

    def __init__(self) -> None:
        coarse = np.random.default_rng(0).random((1, CLASSES, 8, 8), np.float32)
        self._scores = np.asarray(torch.nn.functional.interpolate(torch.from_numpy(coarse), (512, 512), mode="bicubic"))

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Always the same scores."""
        return self._scores


def run(scene: Path, mask: Path, model: Path) -> None:
    with patch.object(pipeline.runs.predictors, "build_predictor", lambda *_: NullNetwork()):
        pipeline.runs.segment.segment(Job(str(scene), mask, str(model)), Resources(overwrite=True))


@dataclass(frozen=True)
class Unmarked:
    """A store of labels as a sink, without a ledger."""

    store: SlabStore

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write the labels of a slab."""
        self.store.write(slab, values[0])


def sweep_alone(scene: Path, store: Path, model: Path) -> None:
    (view,) = sweeps_of(prepare(Job(str(scene), store, str(model)), Resources()))
    remove(store)
    create_labels(store, view.grid, np.dtype(np.uint8), nodata=255, classes=view.prepared.classes, provenance={})
    source = RasterSource(scene)
    sweep(source, NullNetwork(), Unmarked(SlabStore(store)), view.recipe, view.slabs(Resources()))
    source.close()


def gdal_plain(scene: Path, labels: NDArray[np.uint8], mask: Path) -> None:
    with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS", GDAL_CACHEMAX=256), rasterio.open(scene) as source:
        profile = {**source.profile, "count": 1, "compress": "zstd", "zstd_level": 1, "num_threads": "all_cpus"}
        profile.pop("photometric", None)
        with rasterio.open(mask, "w", **{**profile, "interleave": "band", "nodata": 255}) as target:
            target.write_colormap(1, {value: (40 * value, value, value, 255) for value in range(CLASSES)})
            for top in range(0, source.height, 512):
                window = Window(0, top, source.width, min(512, source.height - top))
                source.read(window=window)
                target.write(labels[top : top + 512], 1, window=window)


def gdal_cog(scene: Path, labels: NDArray[np.uint8], mask: Path) -> None:
    stage = mask.with_suffix(".stage.tif")
    gdal_plain(scene, labels, stage)
    with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS", GDAL_CACHEMAX=256):
        with rasterio.open(stage, "r+") as target:
            target.build_overviews([2, 4, 8, 16, 32], Resampling.mode)
        options = {"compress": "deflate", "blocksize": 512, "overviews": "force_use_existing"}
        rasterio.shutil.copy(stage, mask, driver="COG", num_threads="all_cpus", **options)
    stage.unlink()


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def compare(ours: Callable[[], None], theirs: Callable[[], None]) -> dict[str, float]:
    pairs = [(*seconds(ours), *seconds(theirs)) for _ in range(RUNS + 1)][1:]
    engine, engine_cpu, gdal, gdal_cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "engine_s": round(engine, 2),
        "gdal_s": round(gdal, 2),
        "speed_of_gdal": round(gdal / engine, 2),
        "engine_cpu_s": round(engine_cpu, 2),
        "gdal_cpu_s": round(gdal_cpu, 2),
        "speed_of_gdal_by_cpu": round(gdal_cpu / engine_cpu, 2),
    }


def main(folder: Path, rows: int = 8192, columns: int = 8192) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scene, model = sample_scene(folder, rows, columns), folder / "r18"
    random_model.write(model, classes=CLASSES)
    run(scene, folder / "engine.tif", model)
    with rasterio.open(folder / "engine.tif") as mask:
        labels = mask.read(1)
    figures = {
        "run": compare(
            lambda: run(scene, folder / "engine.tif", model), lambda: gdal_cog(scene, labels, folder / "gdal.tif")
        ),
        "sweep": compare(
            lambda: sweep_alone(scene, folder / "engine.zarr", model),
            lambda: gdal_plain(scene, labels, folder / "gdal.tif"),
        ),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
