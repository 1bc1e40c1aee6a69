"""Scenes of every place, layout, type and mask: the same cells come out, where they lay, and nodata where it was.

The oracle is rasterio, of the input and of the mask. The network tells pixels apart by their bits, so that one pixel
that is moved, rounded, scaled, or taken from another band has another class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.rpc import RPC

from pipeline.classes import LabelClass
from pipeline.engine import Labels, Recipe, sweep
from pipeline.geometry import Lattice, cut_slabs, split_runs
from pipeline.io.mask_files import Mask, publish
from pipeline.io.opening import open_source
from pipeline.jobs.job import Job
from pipeline.runs.segment import segment
from tests.support.fakes import ArraySink, ArraySource
from tests.support.rasters import COEFFICIENTS, MASKS, NORTH_UP, PLACES, POINTS, put

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 70, 90
CLASSES = tuple(LabelClass(value, f"class {value}", (40 * value, 0, 0)) for value in range(5))
NODATA = 255


def told(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The class of pixels `(channels, rows, columns)`: a sum of their bytes that minds the order."""
    digits = np.ascontiguousarray(np.moveaxis(values, 0, -1)).view(np.uint8).astype(np.int64)
    return np.asarray((digits * (1 + np.arange(digits.shape[-1]))).sum(-1) % 5, np.uint8)


@dataclass
class Bits:
    """A network that is sure of the class that `told` gives each pixel."""

    classes: int = 5
    margin: tuple[int, ...] = (0, 0)
    batch: int = 1
    threads: int = 2

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        return np.stack([np.moveaxis(np.eye(5, dtype=np.float32)[told(one)], -1, 0) for one in values])


def swept_mask(path: Path, mask: Path) -> None:
    """What a run does, with `Bits` for its network, and patches that overlap and stand over."""
    source = open_source(path)
    sink = ArraySink.like((), source.grid.shape, np.uint8)
    recipe = Recipe(Lattice(source.grid.shape, (32, 24), (8, 6), (0, 0)), "gaussian", (Labels(),))
    (run,) = split_runs(cut_slabs(source.grid.shape, 32), 1)
    sweep(source, Bits(), sink, recipe, run)
    publish(Mask(ArraySource(sink.values[None]), source.grid, NODATA, CLASSES, {}), mask)
    source.close()


def extremes(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Numbers over all that the type holds, with its ends, and no zeros."""
    random, kind = np.random.default_rng(1), np.dtype(dtype)
    if kind.kind == "f":
        values = (random.standard_normal(shape) * 10.0 ** random.integers(-3, 4, shape)).astype(kind)
        values[..., 0, 0] = np.finfo(kind).max
        return values
    ends = np.iinfo(kind)
    values = random.integers(ends.min, ends.max, shape, kind, endpoint=True)
    values[..., 0, 0], values[..., -1, -1] = ends.max, ends.min
    return values


def bare(dtype: Any = np.uint8, bands: int = 2, **options: Any) -> Callable[[Path], Path]:
    place = {"transform": NORTH_UP, "crs": "EPSG:32633"}
    shape = (bands, options.pop("height", HEIGHT), options.pop("width", WIDTH))
    return lambda path: put(path, extremes(shape, dtype), **{**place, **options})


def at(**place: Any) -> Callable[[Path], Path]:
    return lambda path: put(path, extremes((2, HEIGHT, WIDTH), np.uint8), **place)


def tagged(path: Path) -> Path:
    """Scale, offset and unit that would make other values of what is stored."""
    bare(np.int16)(path)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.units = (1e-4, 1e-4), (-0.1, -0.1), ("m", "m")
    return path


def mapped(path: Path) -> Path:
    """One band of numbers that stand for colors."""
    bare(bands=1)(path)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {value: (value, 255 - value, 7, 255) for value in range(256)})
    return path


def halves(path: Path) -> Path:
    """16-bit floats, which GDAL tells as 32-bit ones."""
    values = extremes((2, HEIGHT, WIDTH), np.float16)
    return put(path, values.astype(np.float32), transform=NORTH_UP, crs="EPSG:32633", nbits=16)


def copied(driver: str, suffix: str, **options: Any) -> Callable[[Path], Path]:
    """The file of another driver, made of a GeoTIFF."""

    def write(path: Path) -> Path:
        inner = bare(np.uint16, bands=3)(path.with_suffix(".inner.tif"))
        other = path.with_suffix(suffix)
        with rasterio.open(inner) as dataset:
            rasterio.shutil.copy(dataset, other, driver=driver, **options)
        return other

    return write


def virtual(path: Path) -> Path:
    """Half of one file beside half of another, in one band, and a gap between them."""
    width = WIDTH // 2
    names = [path.with_name(f"{name}.tif") for name in ("left", "right")]
    for seed, name in enumerate(names):
        put(name, np.random.default_rng(seed).integers(1, 255, (1, HEIGHT, width), np.uint8))
    parts = "".join(
        f'<ComplexSource><SourceFilename relativeToVRT="1">{name.name}</SourceFilename><SourceBand>1</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{HEIGHT}"/>'
        f'<DstRect xOff="{left}" yOff="0" xSize="{width}" ySize="{HEIGHT}"/><NODATA>0</NODATA></ComplexSource>'
        for name, left in zip(names, (0, width + 9), strict=True)
    )
    where = ", ".join(map(repr, NORTH_UP.to_gdal()))
    (path.with_suffix(".vrt")).write_text(
        f'<VRTDataset rasterXSize="{2 * width + 9}" rasterYSize="{HEIGHT}"><SRS>EPSG:32633</SRS>'
        f'<GeoTransform>{where}</GeoTransform><VRTRasterBand dataType="Byte" band="1"><NoDataValue>0</NoDataValue>'
        f"{parts}</VRTRasterBand></VRTDataset>"
    )
    return path.with_suffix(".vrt")


TILES = {"tiled": True, "blockxsize": 32, "blockysize": 16}
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
CASES: dict[str, Callable[[Path], Path]] = {
    **{f"place: {name}": at(**place) for name, place in PLACES.items()},
    "place: polar": at(transform=Affine(30, 0, -1200.5, 0, -30, 845.25), crs="EPSG:3031"),
    "place: non-square": at(transform=Affine(0.25, 0, 4e5, 0, -3, 5e6), crs="EPSG:25832"),
    "place: mirrored": at(transform=Affine(-10, 0, 5e5, 0, -10, 4e6), crs="EPSG:32633"),
    "place: rows to the east": at(transform=Affine(0, 10, 5e5, 10, 0, 4e6), crs="EPSG:32633"),
    "place: rotated, of points": at(**PLACES["rotated"], point=True),
    "place: control points on a plane": at(gcps=POINTS, crs="EPSG:32633"),
    "place: coefficients and a transform": at(rpcs=COEFFICIENTS, **PLACES["degrees"]),
    "place: coefficients of points": at(rpcs=COEFFICIENTS, point=True),
    **{f"type: {name}": bare(name) for name in TYPES},
    "type: 16-bit float": halves,
    "type: 1 bit": lambda path: put(path, extremes((2, HEIGHT, WIDTH), np.uint8) % 2, nbits=1, **PLACES["degrees"]),
    "type: 12 bits": lambda path: put(path, extremes((2, HEIGHT, WIDTH), np.uint16) % 4096, nbits=12),
    "layout: strips by pixel": bare(interleave="pixel", compress="lzw", blockysize=7),
    "layout: strips by band": bare(interleave="band", compress="deflate", predictor=2, blockysize=7),
    "layout: tiles by pixel": bare(interleave="pixel", **TILES),
    "layout: tiles by band": bare(interleave="band", compress="zstd", **TILES),
    "layout: big-endian": bare(np.uint16, endianness="BIG"),
    "layout: BigTIFF": bare(bigtiff="YES"),
    "layout: one column": bare(width=1),
    "layout: one row": bare(height=1),
    "layout: one pixel": bare(height=1, width=1),
    "layout: one column of tiles": bare(width=1, **TILES),
    **{f"mask: {name}": write for name, write in MASKS.items()},
    "kind: scale and offset": tagged,
    "kind: color-mapped": mapped,
    "kind: JPEG 2000": copied("JP2OpenJPEG", ".jp2", quality="100", reversible="YES"),
    "kind: PNG": copied("PNG", ".png", worldfile="YES"),
    "kind: ERDAS Imagine": copied("HFA", ".img"),
    "kind: VRT": virtual,
}


def pictures(dataset: DatasetReader) -> list[int]:
    return [i for i, kind in zip(dataset.indexes, dataset.colorinterp, strict=True) if kind.name != "alpha"]


def seen(dataset: DatasetReader, bands: list[int]) -> NDArray[np.bool_]:
    """Where GDAL has any of the bands observed, and a network can take all of them."""
    values = np.stack([dataset.read(band).astype(np.float64) for band in bands])
    return np.asarray((dataset.read_masks(bands) > 0).any(0) & (np.abs(values) < 1e20).all(0))


def place_of(dataset: DatasetReader) -> dict[str, Any]:
    points, points_crs = dataset.gcps
    return {
        "shape": dataset.shape,
        "transform": tuple(dataset.transform),
        "crs": dataset.crs,
        "control points": points and ([p.asdict() for p in points], points_crs),
        "coefficients": dataset.rpcs and RPC.to_gdal(dataset.rpcs),
        "of points": not points and dataset.tags().get("AREA_OR_POINT") == "Point",
    }


@pytest.mark.parametrize("case", CASES)
def test_a_mask_has_the_pixels_the_place_and_the_nodata_of_its_scene(case: str, tmp_path: Path) -> None:
    path = CASES[case](tmp_path / "scene.tif")
    swept_mask(path, tmp_path / "mask.tif")
    with rasterio.open(path) as scene, rasterio.open(tmp_path / "mask.tif") as mask:
        assert place_of(mask) == place_of(scene)
        bands = pictures(scene)
        observed = seen(scene, bands)
        kind = np.result_type(*(scene.dtypes[band - 1] for band in bands))
        expected = told(np.stack([scene.read(band).astype(kind) for band in bands]))
        np.testing.assert_array_equal(mask.read(1), np.where(observed, expected, NODATA))
        np.testing.assert_array_equal(mask.read_masks(1) > 0, observed)
        assert case.startswith("mask: ") or len(np.unique(expected)) > 1 or expected.size == 1, "says nothing"


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith(("type: ", "layout: "))])
def test_a_run_leaves_place_and_nodata_as_they_are(case: str, models: Path, tmp_path: Path) -> None:
    path = CASES[case](tmp_path / "scene.tif")
    with rasterio.open(path) as scene:
        bands = (pictures(scene) * 2)[:2]
        segment(Job(str(path), tmp_path / "mask.tif", str(models / "scene"), bands=tuple(bands)))
        with rasterio.open(tmp_path / "mask.tif") as mask:
            assert place_of(mask) == place_of(scene)
            np.testing.assert_array_equal(mask.read_masks(1) > 0, seen(scene, bands))
            assert mask.read(1)[seen(scene, bands)].max(initial=0) < 3
