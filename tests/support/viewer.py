"""Viewers in this process, and the files that they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import STEPS
from pipeline.geometry import Grid
from pipeline.io.mask_files import Mask, MaskLayer, publish, publish_layer
from pipeline.io.opening import open_source
from pipeline.sources.arrays import ArraySource as GridSource
from pipeline.viewer.server import address_of, listen, new_token, server_of
from pipeline.viewer.view import open_view
from tests.support.fakes import ArraySource
from tests.support.inputs import pixels, put_scene, put_volume

NODATA = 255
SCRIPT = "<script>alert(1)</script>"
TABLE: ClassTable = (
    LabelClass(0, "background", (0, 0, 0)),
    LabelClass(1, "water", (40, 90, 200)),
    LabelClass(2, SCRIPT, (220, 60, 50)),
    LabelClass(3, "forest", (30, 140, 60)),
)
DEGREES = Affine(1 / 3600, 0, 15.2, 0, -1 / 3600, 64.1)
"""Pixels of one arc second, far to the north: half as wide as they are high."""


def labels_of(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes by value, with a corner that was not observed."""
    labels = (values[0] // 64).astype(np.uint8)
    labels[:20, :30] = NODATA
    return labels


def put_image_and_mask(folder: Path, shape: tuple[int, int] = (700, 900), suffix: str = ".tif") -> tuple[Path, Path]:
    """Write a scene in degrees and a mask of it."""
    values = np.stack([pixels(shape, seed) for seed in range(3)])
    image = put_scene(folder / "scene.tif", values, transform=DEGREES, crs="EPSG:4326", tiled=True, photometric="rgb")
    return image, put_mask(folder / f"scene_mask{suffix}", labels_of(values), grid_of(image), image.name)


def grid_of(path: Path) -> Grid:
    source = open_source(path, affine="sform")
    source.close()
    return source.grid


def put_mask(path: Path, labels: NDArray[np.uint8], grid: Grid, image: str, table: ClassTable = TABLE) -> Path:
    source = ArraySource(labels[None], block=tuple(min(512, side) for side in labels.shape))
    publish(Mask(source, grid, NODATA, table, {"input": {"name": image}, "model": "test"}), path)
    return path


def put_scan_and_mask(folder: Path) -> tuple[Path, Path]:
    """Write a volume with three different sides, as LPS, and a mask of it."""
    rng = np.random.default_rng(0)
    values = rng.integers(-500, 1500, (40, 50, 30)).astype(np.int16)
    affine = np.array([[-0.8, 0, 0, 12.5], [0, -0.9, 0, 30.0], [0, 0, 2.5, -40.0], [0, 0, 0, 1.0]])
    scan = put_volume(folder / "scan.nii.gz", values, affine)
    labels = np.zeros((30, 50, 40), np.uint8)
    labels[5:20, 10:40, 5:15] = 1
    labels[10:25, 10:20, 20:35] = 3
    return scan, put_mask(folder / "scan_mask.nii.gz", labels, grid_of(scan), scan.name)


def put_volume_layer(path: Path, values: NDArray[Any], image: Path, **said: Any) -> Path:
    """Write a layer `([bands,] z, y, x)` of an image beside its mask: NaN is not observed, of bytes 0."""
    planes, grid = values if values.ndim > 3 else values[None], grid_of(image)
    steps = values.dtype == np.uint8
    each = tuple(GridSource(plane, grid, nodata=0 if steps else None) for plane in planes)
    both = GridSource(planes, grid, nodata=0 if steps else None)
    names = tuple(f"band {number}" for number in range(len(planes))) if len(planes) > 1 else ("layer",)
    made = {"input": {"name": image.name}, **said}
    scaling = (1 / STEPS, -1 / STEPS) if steps else None
    publish_layer(MaskLayer("layer", both, each, grid, names, scaling, made), path)
    return path


@contextmanager
def served(files: Sequence[Path], **how: Any) -> Iterator[str]:
    """The address of a viewer that runs in a thread until the block ends."""
    listening, token = listen(0), new_token()
    view = open_view([str(file) for file in files], **how)
    server = server_of(view, listening, token, how.get("basemap"))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield address_of(listening, token)
    finally:
        server.should_exit = True
        thread.join()
        view.close()
        listening.close()
