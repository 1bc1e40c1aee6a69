"""Many tiles as one scene: the same pixels as a mosaic that GDAL writes, and the same mask."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.merge import merge
from typer.testing import CliRunner

from pipeline.archive.recipe import key_of
from pipeline.cli import app
from pipeline.errors import InputError, OutputError
from pipeline.geometry import Box
from pipeline.io.opening import open_source
from pipeline.io.raster.mosaic import MosaicSource
from pipeline.jobs.job import Job
from pipeline.runs.segment import segment
from pipeline.testing import SourceContract
from tests.support.inputs import contents, labels_of, pixels
from tests.support.rasters import put

WHERE = Affine(10, 0, 500_000.1, 0, -10, 5_600_000.7)
TILES = {"a": (0, 0, 40, 50), "b": (0, 45, 40, 40), "c": (38, 3, 30, 60), "d": (90, 20, 20, 20)}
"""Row, column, height and width: overlaps, a gap, and edges in steps."""
SHAPE = (110, 85)


def put_tiles(folder: Path, **more) -> Path:
    folder.mkdir(exist_ok=True)
    image = np.maximum(pixels((2, *SHAPE)), 1)
    for seed, (name, (row, column, height, width)) in enumerate(TILES.items()):
        part = image[:, row : row + height, column : column + width].copy()
        part[:, :: 3 + seed, :7] = 0
        place = WHERE @ Affine.translation(column, row)
        put(folder / f"{name}.tif", part, transform=place, crs="EPSG:32632", nodata=0, **more)
    return folder


@pytest.fixture
def tiles(tmp_path):
    return put_tiles(tmp_path / "tiles")


def expected(tiles: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # of affine, in rasterio
        return merge(sorted(map(str, tiles.glob("*.tif"))), method="first")


@pytest.mark.parametrize("way", ["mosaic:{}", "mosaic:{}/", "mosaic:{}/*.tif", "mosaic:{}/**/*.tif"])
def test_it_reads_as_the_mosaic_that_rasterio_merges(tiles, way):
    source = open_source(way.format(tiles))
    values, where = expected(tiles)
    assert source.grid.shape == values.shape[1:] == SHAPE
    assert source.grid.reference["gdal"]["transform"] == pytest.approx(list(where)[:6], abs=1e-9)
    found = source.read(Box.whole(SHAPE))
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.valid, (values > 0).any(0))
    source.close()
    with pytest.raises(ValueError, match="is closed"):
        source.read(Box.whole(SHAPE))


class TestContract(SourceContract):
    @pytest.fixture(params=[2, 32])
    def source(self, tiles, request):
        return MosaicSource(f"mosaic:{tiles}", most_open=request.param)


def test_its_mask_is_that_of_the_written_mosaic(tiles, models, tmp_path):
    values, _ = expected(tiles)
    put(tmp_path / "merged.tif", values, transform=WHERE, crs="EPSG:32632", nodata=0)
    model = str(models / "scene")
    segment(Job(str(tmp_path / "merged.tif"), tmp_path / "one.tif", model))
    ended = CliRunner().invoke(app, ["run", "--input", f"mosaic:{tiles}", "--model", model, "--no-prefect"])
    assert ended.exit_code == 0, ended.output
    mask = tmp_path / "tiles_mask.tif"
    np.testing.assert_array_equal(labels_of(mask), labels_of(tmp_path / "one.tif"))
    with rasterio.open(mask) as dataset:
        assert dataset.transform == WHERE
        assert dataset.crs.to_epsg() == 32632
    before = contents(mask)
    job = Job(f"mosaic:{tiles}", mask, model)
    assert segment(job).status == "skipped"
    os.utime(tiles / "c.tif", (1, 1))
    with pytest.raises(OutputError, match="tiles_sha256"):
        segment(job)
    assert contents(mask) == before


def test_more_tiles_than_stay_open_are_read_all_the_same(tmp_path):
    tiles = put_tiles(tmp_path / "tiles")
    source = MosaicSource(f"mosaic:{tiles}", most_open=2)
    for _ in range(2):
        np.testing.assert_array_equal(source.read(Box.whole(SHAPE)).values, expected(tiles)[0])
    assert len(source._every) <= 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crs": "EPSG:32633"}, "have different CRSs; reproject them to one"),
        ({"transform": WHERE @ Affine.translation(0.3, 7)}, "is 0.000 rows and 0.300 columns off the grid of"),
        ({"transform": WHERE @ Affine.scale(2)}, "has cells of"),
        ({"transform": None}, "has no transform"),
        ({"bands": 3}, "has 3 channels, but"),
    ],
)
def test_tiles_that_do_not_lie_on_one_grid_are_named(tiles, change, said):
    bands = change.pop("bands", 2)
    place = {name: value for name, value in ({"transform": WHERE, "crs": "EPSG:32632"} | change).items() if value}
    put(tiles / "z.tif", pixels((bands, 9, 9)), **place)
    with pytest.raises(InputError, match=said) as error:
        open_source(f"mosaic:{tiles}")
    assert "z.tif" in str(error.value)


def test_no_tiles_are_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no tiles; give a folder"):
        open_source(f"mosaic:{tmp_path}")


def test_a_job_file_names_a_mosaic_beside_it(tiles, models, tmp_path):
    (tmp_path / "job.toml").write_text(f'input = "mosaic:tiles"\noutput = "out/"\nmodel = "{models / "scene"}"\n')
    ended = CliRunner().invoke(app, ["run", "--config", str(tmp_path / "job.toml"), "--no-prefect"])
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "out/tiles_mask.tif").exists()


def test_a_mosaic_is_one_item_of_a_ledger_from_wherever_it_is_named(tiles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert key_of(Job("mosaic:tiles")) == key_of(Job(f"mosaic:{tiles}")) == f"mosaic:{tiles}"
    monkeypatch.chdir(tiles)
    assert key_of(Job(f"mosaic:{tiles}")) == f"mosaic:{tiles}"
