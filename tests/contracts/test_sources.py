"""Every source of ours, from a file or around another, holds to the contract that is shipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rioxarray
import SimpleITK
import zarr
from affine import Affine

from pipeline.engine import Source
from pipeline.geometry import Grid, Region
from pipeline.io.opening import open_source
from pipeline.io.raster.clipped import ClippedSource
from pipeline.io.raster.georeference import grid_at
from pipeline.io.raster.warped import ReprojectedSource
from pipeline.io.zarr.stage import stage_volume
from pipeline.masks.postprocess import SingleClass
from pipeline.sources.arrays import ArraySource as ArraySourceOfUsers
from pipeline.sources.arrays import DataArraySource
from pipeline.sources.calibrated import CalibratedSource, Calibration
from pipeline.sources.channels import RepeatedChannels
from pipeline.sources.components import ComponentFilter
from pipeline.sources.reoriented import ReorientedSource
from pipeline.sources.sieve import SievedLabels
from pipeline.testing import SourceContract
from pipeline.training.dataset import InMemorySource
from tests.support.dicoms import TILTED, put_series
from tests.support.fakes import ArraySource, grid_of
from tests.support.inputs import put_volume
from tests.support.niftis import SHEARED, numbers, put
from tests.support.rasters import pixels
from tests.support.rasters import put as put_raster

UTM, WHERE, SHAPE = "EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_600_000), (70, 90)
VOLUME = (9, 11, 7)
ONTO_ITSELF = Grid.from_transform(SHAPE, WHERE, UTM)
ONTO = grid_at((60, 75), (12.0, 0.0, 499_950.0, 0.0, -12.0, 5_600_040.0), UTM)


def holed(channels: int = 2, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    values = np.maximum(pixels((channels, *shape)), 1)
    values[:, 10:30, 20:40] = 0
    return values


def raster(folder: Path, name: str = "scene.tif", **how) -> str:
    return str(put_raster(folder / name, holed(), transform=WHERE, crs=UTM, nodata=0, **how))


def tiles(folder: Path) -> str:
    (folder / "tiles").mkdir()
    for name, (row, column) in {"a": (0, 0), "b": (20, 60), "c": (90, 5)}.items():
        place = WHERE @ Affine.translation(column, row)
        put_raster(folder / "tiles" / f"{name}.tif", holed(), transform=place, crs=UTM, nodata=0)
    return f"mosaic:{folder}/tiles"


def stack(folder: Path) -> str:
    put_raster(folder / "ten.tif", holed(1), transform=WHERE, crs=UTM, nodata=0)
    place = WHERE @ Affine.translation(-7, 13) @ Affine.scale(3)
    put_raster(folder / "thirty.tif", holed(1, (30, 40)).astype(np.uint16), transform=place, crs=UTM, nodata=0)
    return f"stack:ten={folder}/ten.tif|thirty={folder}/thirty.tif"


def nifti(folder: Path, name: str, kind: str = "<i2") -> str:
    return str(put(folder / name, numbers(VOLUME, kind), scl_slope=1, scl_inter=0))


def several(folder: Path) -> str:
    values = numbers((*VOLUME, 3), "<f4")
    values[2, 3] = np.nan
    return str(put(folder / "series.nii.gz", values))


def by_simpleitk(folder: Path, name: str, *, packed: bool) -> str:
    image = SimpleITK.GetImageFromArray(numbers(VOLUME, "<i2"))
    SimpleITK.WriteImage(image, str(folder / name), packed)
    return str(folder / name)


def series(folder: Path) -> Path:
    stored = np.random.default_rng(0).integers(0, 2000, VOLUME).astype(np.uint16)
    return put_series(folder / "series", stored, orientation=TILTED)


def zipped(folder: Path) -> str:
    return shutil.make_archive(str(folder / "zipped"), "zip", series(folder))


def zarr_array(folder: Path) -> str:
    zarr.create_array(folder / "a.zarr", data=holed(), chunks=(1, 16, 32), dimension_names=("band", "y", "x"))
    return str(folder / "a.zarr")


FILES: dict[str, Callable[[Path], Source]] = {
    "striped GeoTIFF": lambda folder: open_source(raster(folder)),
    "tiled GeoTIFF": lambda folder: open_source(raster(folder, tiled=True, blockxsize=32, blockysize=16)),
    "bands in another order": lambda folder: open_source(raster(folder), bands=[2, 1, 2]),
    "mosaic": lambda folder: open_source(tiles(folder)),
    "stack": lambda folder: open_source(stack(folder)),
    "scene on another grid": lambda folder: open_source(raster(folder), onto=ONTO),
    "mosaic on another grid": lambda folder: open_source(tiles(folder), onto=ONTO),
    "Zarr": lambda folder: open_source(zarr_array(folder)),
    "NIfTI": lambda folder: open_source(nifti(folder, "v.nii"), affine="sform"),
    "big-endian NIfTI of floats": lambda folder: open_source(nifti(folder, "v.nii", ">f4"), affine="sform"),
    "packed NIfTI": lambda folder: open_source(nifti(folder, "v.nii.gz"), affine="sform"),
    "one volume of several": lambda folder: open_source(several(folder), affine="sform", volume=1),
    "NRRD": lambda folder: open_source(by_simpleitk(folder, "v.nrrd", packed=False)),
    "packed NRRD": lambda folder: open_source(by_simpleitk(folder, "v.nrrd", packed=True)),
    "MetaImage": lambda folder: open_source(by_simpleitk(folder, "v.mha", packed=False)),
    "packed MetaImage": lambda folder: open_source(by_simpleitk(folder, "v.mhd", packed=True)),
    "DICOM": lambda folder: open_source(series(folder)),
    "zipped DICOM": lambda folder: open_source(zipped(folder)),
}


class TestFiles(SourceContract):
    @pytest.fixture(params=FILES)
    def source(self, request, tmp_path):
        return FILES[request.param](tmp_path)


def scene() -> ArraySource:
    values = pixels((2, *SHAPE))
    return ArraySource(values, values[0] % 5 > 0, block=(16, 32))


def labels(*shape: int) -> ArraySource:
    """Small patches of three classes, and nodata."""
    values = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (1, *shape), p=[0.5, 0.3, 0.15, 0.05])
    return ArraySource(values, values[0] != 255, block=(4,) * len(shape))


def volume() -> ArraySource:
    values = numbers((1, *VOLUME), "i2")
    return ArraySource(values, values[0] % 3 > 0, block=(1, *VOLUME[1:]))


def memory_map(folder: Path) -> Source:
    np.save(folder / "scene.npy", holed())
    return ArraySourceOfUsers(np.load(folder / "scene.npy", mmap_mode="r"), ONTO_ITSELF, nodata=0)


def data_array(folder: Path, **chunks: int) -> Source:
    opened = rioxarray.open_rasterio(raster(folder), **({"chunks": chunks} if chunks else {}))
    return DataArraySource(opened.transpose("y", "band", "x"))


ARRAYS: dict[str, Callable[[Path], Source]] = {
    "memory map": memory_map,
    "one channel": lambda folder: ArraySourceOfUsers(holed(1)[0].astype(">f4"), ONTO_ITSELF, nodata=0),
    "a volume": lambda folder: ArraySourceOfUsers(numbers(VOLUME, "<f8"), grid_of(VOLUME)),
    "DataArray": data_array,
    "DataArray in chunks": lambda folder: data_array(folder, y=16, x=32),
}


@pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")
class TestArrays(SourceContract):
    max_examples = 10

    @pytest.fixture(params=ARRAYS)
    def source(self, request, tmp_path):
        return ARRAYS[request.param](tmp_path)


TRIANGLE = (((5.0, 5.0), (60.0, 10.0), (30.0, 65.0), (5.0, 5.0)),)
"""In columns and rows."""
REGION = Region((TRIANGLE,))
WRAPPERS: dict[str, Callable[[], Source]] = {
    "array": scene,
    "calibrated": lambda: CalibratedSource(scene(), Calibration((0.5, 2.0), (1.0, -3.0))),
    "clipped": lambda: ClippedSource(scene(), REGION),
    "repeated": lambda: RepeatedChannels(scene(), (1, 0, 1)),
    "reoriented": lambda: ReorientedSource(volume(), (2, 0, 1), (True, False, True)),
    "sieved": lambda: SievedLabels(labels(40, 50), 255, 4),
    "sieved volume": lambda: SievedLabels(labels(8, 9, 10), 255, 3),
    "connected": lambda: ComponentFilter(labels(40, 8, 9), 0, 255, least=3),
    "alone": lambda: SingleClass(labels(40, 50), 2, 255),
    "held": lambda: InMemorySource(volume()),
}


class TestWrappers(SourceContract):
    @pytest.fixture(params=WRAPPERS)
    def source(self, request):
        return WRAPPERS[request.param]()


class TestStaged(SourceContract):
    @pytest.fixture
    def source(self, tmp_path):
        return stage_volume(volume(), tmp_path / "v.zarr", lambda values: None)


class Packed(ArraySource):
    """A source that one thread reads."""

    sequential = True


@pytest.mark.parametrize(
    "around",
    [
        lambda source: CalibratedSource(source, Calibration((0.5,), (1.0,))),
        lambda source: ClippedSource(source, REGION),
        lambda source: RepeatedChannels(source, (0, 0)),
        lambda source: ReorientedSource(source, (1, 0), (True, False)),
        lambda source: SievedLabels(source, 255, 4),
        lambda source: ComponentFilter(source, 0, 255),
        lambda source: SingleClass(source, 2, 255),
    ],
    ids=["calibrated", "clipped", "repeated", "reoriented", "sieved", "connected", "alone"],
)
def test_what_is_made_of_a_sequential_source_is_sequential(around):
    assert around(Packed(labels(*SHAPE).values)).info.sequential


def test_a_packed_volume_is_sequential_until_it_is_held(tmp_path):
    source = open_source(put_volume(tmp_path / "v.nii.gz", numbers(VOLUME, "i2"), SHEARED))
    assert source.info.sequential
    assert not InMemorySource(source).info.sequential


def test_a_warped_scene_is_called_what_the_scene_is(tmp_path):
    source = open_source(raster(tmp_path))
    assert ReprojectedSource(source, ONTO).info.path == source.info.path == str(tmp_path / "scene.tif")
    source.close()
