"""A scene on another grid: what GDAL's warper makes of it, by any box, and a mask of that grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, transform
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.geometry import Box, Grid
from pipeline.io.opening import open_source
from pipeline.io.raster import RasterSource
from pipeline.io.raster import warped as warped_module
from pipeline.io.raster.georeference import grid_at, transform_of
from pipeline.io.raster.warped import ReprojectedSource
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.target_grid import find_target_grid
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.testing import SourceContract
from tests.support.inputs import labels_of, pixels, put_volume
from tests.support.rasters import PLACES, put

UTM, WHERE = "EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_600_000)
COARSE = WHERE @ Affine.scale(2)
GLOBE = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
WORLD = Affine(2, 0, -180, 0, -2, 90)


class Case(NamedTuple):
    """A scene's place, and another grid."""

    transform: Affine
    crs: str
    onto: Affine
    system: str
    shape: tuple[int, int]


CASES = {
    "finer": Case(COARSE, UTM, Affine(12, 0, 499_990, 0, -12, 5_600_020), UTM, (260, 340)),
    "moved by a part": Case(COARSE, UTM, Affine(20, 0, 499_997.3, 0, -20, 5_600_001.9), UTM, (150, 195)),
    "twice as coarse": Case(COARSE, UTM, Affine(40, 0, 500_000, 0, -40, 5_600_000), UTM, (77, 100)),
    "south up": Case(COARSE, UTM, Affine(20, 0, 500_300, 0, 20, 5_597_003), UTM, (140, 150)),
    "turned": Case(COARSE, UTM, Affine(18, 0, 501_000, 0, -18, 5_599_700) @ Affine.rotation(27), UTM, (150, 140)),
    "of a turned scene": Case(
        COARSE @ Affine.rotation(-40), UTM, COARSE @ Affine.translation(-50, -150), UTM, (250, 300)
    ),
    "degrees": Case(COARSE, UTM, Affine(1 / 3500, 0, 8.99, 0, -1 / 5500, 50.56), "EPSG:4326", (175, 235)),
    "of degrees": Case(
        Affine(2e-4, 0, 9, 0, -2e-4, 50), "EPSG:4326", Affine(14, 0, 499_900, 0, -22, 5_538_700), UTM, (160, 200)
    ),
    "from above": Case(WORLD, "EPSG:4326", Affine(8e4, 0, -6e6, 0, -8e4, 6e6), GLOBE, (150, 150)),
    "of one from above": Case(
        Affine(8e4, 0, -6e6, 0, -8e4, 6e6), GLOBE, Affine(1.4, 0, -110, 0, -1.2, 85), "EPSG:4326", (140, 155)
    ),
    "the pole": Case(WORLD, "EPSG:4326", Affine(18e4, 0, -9e6, 0, -18e4, 9e6), "EPSG:3995", (100, 100)),
}
SHAPE = (155, 200)
SIZES = {"the pole": (90, 180), "from above": (90, 180), "of one from above": (150, 150)}
TILE = 64
"""Cells of a side of what is looked for at a time: so few that the small grids of this module have several."""


@pytest.fixture(scope="module", autouse=True)
def small_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warped_module, "_TILE", TILE)
        yield


def image(shape: tuple[int, int], dtype: Any = np.float32) -> np.ndarray:
    """Two channels without zeros, and holes of zeros in both."""
    values = np.maximum(pixels((2, *shape)), 1).astype(dtype)
    values[:, 40:60, 100:130] = 0
    values[:, 22, 33] = 0
    return values


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    of = CASES[request.param]
    path = tmp_path_factory.mktemp("warp") / "scene.tif"
    put(path, image(SIZES.get(request.param, SHAPE)), transform=of.transform, crs=of.crs, nodata=0, tiled=True)
    source = ReprojectedSource(RasterSource(path), grid_at(of.shape, tuple(of.onto)[:6], of.system))
    return of, path, source, shown(source)


def shown(source, box: Box | None = None):
    box = box or Box.whole(source.grid.shape)
    values, valid = source.read(box)
    return values, np.ones(box.shape, bool) if valid is None else valid


def by_gdal(path: Path, of: Case, **more: Any) -> np.ndarray:
    """Bands as GDAL warps them place by place, with no more than four cells for each."""
    grid = {"crs": of.system, "transform": of.onto, "height": of.shape[0], "width": of.shape[1]}
    exact = {"tolerance": 1e-9, "XSCALE": 1, "YSCALE": 1, "resampling": Resampling.bilinear, "dtype": "float32"}
    with rasterio.open(path) as dataset, WarpedVRT(dataset, **grid, **exact, **more) as warped:
        return warped.read()


def test_it_is_what_gdal_makes_of_it(case, tmp_path):
    of, path, _, (values, valid) = case
    expected = by_gdal(path, of, add_alpha=True)[:2]
    np.testing.assert_allclose(values[:, valid], expected[:, valid], rtol=1e-5, atol=1e-3)
    with rasterio.open(path) as dataset:
        seen = (dataset.read(1) > 0).astype(np.float32)
    put(tmp_path / "seen.tif", seen[None], transform=of.transform, crs=of.crs)
    np.testing.assert_array_equal(valid, by_gdal(tmp_path / "seen.tif", of)[0] > 1 - 2e-6)
    assert (values[:, ~valid] == 0).all()
    assert 0.1 < valid.mean() < 1


@pytest.mark.slow
class TestContract(SourceContract):
    max_examples = 10

    @pytest.fixture
    def source(self, case):
        _, path, source, _ = case
        return ReprojectedSource(RasterSource(path), source.grid)


def test_far_places_are_read_in_parts_that_change_no_byte(case):
    _, path, source, (values, valid) = case
    box = Box((15, 10), (75, 90))
    part, seen = shown(ReprojectedSource(RasterSource(path), source.grid, at_once=700), box)
    assert part.tobytes() == np.ascontiguousarray(values[(slice(None), *box.slices)]).tobytes()
    np.testing.assert_array_equal(seen, valid[box.slices])


@pytest.mark.parametrize(
    "place", ["north-up", "south-up", "rotated", "sheared", "degrees", "point", "local", "transform alone"]
)
def test_a_scene_on_its_own_grid_is_itself(place, tmp_path):
    path = str(put(tmp_path / "scene.tif", image((70, 140), np.uint8), nodata=0, **PLACES[place]))
    own = RasterSource(path)
    put_on = open_source(path, onto=find_target_grid(Job(path, like=path)))
    assert put_on.grid == own.grid
    for found, expected in zip(shown(put_on), shown(own), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("dtype", "kind"), [("uint8", "uint8"), ("int16", "int16"), ("float32", "float32"), ("int64", "float64")]
)
@pytest.mark.parametrize("factor", [(2, 2), (3, 5), (50, 1)])
def test_larger_pixels_are_means_of_whole_blocks(dtype, kind, factor, tmp_path):
    values = image((150, 140), dtype)
    path = str(put(tmp_path / "scene.tif", values, transform=Affine(2, 0, 7, 0, -3, 9), crs=UTM, nodata=0))
    source = open_source(path, onto=find_target_grid(Job(path, resolution=(3 * factor[0], 2 * factor[1]))))
    found, valid = shown(source)
    blocks = values.reshape(2, 150 // factor[0], factor[0], 140 // factor[1], factor[1])
    means = blocks.mean((2, 4), dtype=np.float64)
    whole = (blocks[0] > 0).all((1, 3))
    assert found.dtype == kind
    np.testing.assert_array_equal(valid, whole)
    expected = means if np.dtype(kind).kind == "f" else np.rint(means)
    np.testing.assert_allclose(found[:, whole], expected[:, whole], rtol=1e-6)


def test_a_pixel_that_is_not_a_number_spreads_no_further_than_it_is_needed(tmp_path):
    values = image((60, 140))
    values[1, 30, 30] = np.nan
    path = str(put(tmp_path / "scene.tif", values, transform=WHERE, crs=UTM))
    found, valid = shown(open_source(path, onto=find_target_grid(Job(path, resolution=(5, 5)))))
    assert np.isfinite(found).all()
    assert np.argwhere(~valid).min(0).tolist() == [59, 59]
    assert np.argwhere(~valid).max(0).tolist() == [62, 62]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of affine, in rasterio
@pytest.mark.parametrize("place", ["north-up", "rotated", "degrees", "point"])
@pytest.mark.parametrize("system", ["EPSG:3857", "EPSG:32632"])
def test_another_system_holds_the_scene_and_little_more(place, system, tmp_path):
    path = str(put(tmp_path / "scene.tif", image((70, 140)), **PLACES[place]))
    grid = find_target_grid(Job(path, crs=system))
    with rasterio.open(path) as dataset:
        rows, columns = dataset.shape
        corners = [dataset.transform @ corner for corner in ((0, 0), (columns, 0), (columns, rows), (0, rows))]
        xs, ys = transform(dataset.crs, system, *zip(*corners, strict=True))
        usual, _, _ = calculate_default_transform(dataset.crs, system, columns, rows, *dataset.bounds)
    a, b, left, d, e, top = transform_of(grid)
    assert (b, d) == (0, 0)
    side = max(grid.spacing)
    found = (left, top + e * grid.shape[0], left + a * grid.shape[1], top)
    np.testing.assert_allclose(found, (min(xs), min(ys), max(xs), max(ys)), rtol=0, atol=2 * side)
    assert left <= min(xs) + 1e-6
    assert top >= max(ys) - 1e-6
    assert grid.crs == rasterio.CRS.from_user_input(system).to_wkt()
    if place != "rotated":
        assert 0.6 < side / usual.a < 1.6
    assert shown(open_source(path, onto=grid))[1].mean() > 0.4
    sized = find_target_grid(Job(path, crs=system, resolution=(2 * side, side)))
    assert sized.spacing == pytest.approx((2 * side, side))


@pytest.mark.parametrize("grid", [{"like": "other.tif"}, {"resolution": (7.0, 9.0)}, {"crs": "EPSG:3857"}])
def test_a_mask_is_that_of_the_scene_on_the_grid(grid, models, tmp_path):
    put(tmp_path / "scene.tif", image((150, 160), np.uint8), transform=WHERE, crs=UTM, nodata=0)
    put(tmp_path / "other.tif", pixels((1, 120, 130)), transform=WHERE @ Affine.scale(1.3, 1.1), crs=UTM)
    words = {name: str(tmp_path / value) if name == "like" else value for name, value in grid.items()}
    job = Job(str(tmp_path / "scene.tif"), tmp_path / "mask.tif", str(models / "scene"), **words)
    segment(job)
    onto = find_target_grid(job)
    values, valid = shown(open_source(job.input, onto=onto))
    placed = {"transform": Affine(*transform_of(onto)), "crs": onto.crs, "nodata": 0}
    put(tmp_path / "warped.tif", np.where(valid, values, 0), **placed)
    segment(Job(str(tmp_path / "warped.tif"), tmp_path / "plain.tif", job.model))
    np.testing.assert_array_equal(labels_of(tmp_path / "mask.tif"), labels_of(tmp_path / "plain.tif"))
    with rasterio.open(tmp_path / "mask.tif") as mask, rasterio.open(tmp_path / "warped.tif") as warped:
        assert (mask.shape, mask.transform, mask.crs) == (warped.shape, warped.transform, warped.crs)
        np.testing.assert_array_equal(mask.read_masks(1) > 0, valid)
    assert segment(job).status == "skipped"
    with pytest.raises(OutputError, match=r"made with target\."):
        segment(Job(job.input, job.output, job.model))


def test_the_command_line_and_a_job_file_say_the_same(models, tmp_path):
    scene = put(tmp_path / "scene.tif", image((150, 160), np.uint8), transform=WHERE, crs=UTM, nodata=0)
    model = str(models / "scene")
    (tmp_path / "job.toml").write_text(
        f'input = "scene.tif"\noutput = "m.tif"\nmodel = "{model}"\nresolution = [20, 40]\n'
    )
    words = [["--config", str(tmp_path / "job.toml")], ["--input", str(scene), "--output", str(tmp_path / "n.tif")]]
    words[1] += ["--model", model, "--resolution", "20,40"]
    for said in words:
        ended = CliRunner().invoke(app, ["run", *said, "--no-prefect", "--quiet"])
        assert ended.exit_code == 0, ended.output
    with rasterio.open(tmp_path / "m.tif") as one, rasterio.open(tmp_path / "n.tif") as other:
        assert one.shape == other.shape == (75, 40)
        assert one.res == (40, 20)
        np.testing.assert_array_equal(one.read(), other.read())
    (tmp_path / "like.toml").write_text(f'input = "scene.tif"\noutput = "o.tif"\nmodel = "{model}"\nlike = "m.tif"\n')
    ended = CliRunner().invoke(app, ["plan", "--config", str(tmp_path / "like.toml"), "--no-probe", "--json"])
    assert ended.exit_code == 0, ended.output
    assert '"shape": [\n' in ended.output or "75" in ended.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--like", "x.tif", "--crs", "EPSG:4326"], "like x.tif already defines the grid"),
        (["--resolution", "0"], "must be positive"),
        (["--resolution", "1,2,3"], "must be one number, or height and width"),
        (["--crs", "EPSG:99999999"], "is not a CRS that PROJ knows"),
        (["--like", "nowhere.tif"], "has no transform, so it cannot be used as a grid"),
        (["--like", "far.tif"], "does not overlap the target grid"),
        (
            ["--like", "unknown.tif"],
            "has the CRS WGS 84 / UTM zone 32N, but the target grid has no CRS",
        ),
        (["--like", "scan.nii.gz"], "is only for scenes; scan.nii.gz is a volume"),
        (["--like", "missing.tif"], "there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(words, said, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(Path("scene.tif"), image((150, 160), np.uint8), transform=WHERE, crs=UTM)
    put(Path("nowhere.tif"), pixels((1, 20, 20)))
    put(Path("unknown.tif"), pixels((1, 20, 20)), transform=WHERE)
    put(Path("far.tif"), pixels((1, 20, 20)), transform=WHERE @ Affine.translation(9000, 0), crs=UTM)
    put_volume(Path("scan.nii.gz"), np.zeros((5, 5, 5), np.uint8), np.eye(4))
    command = [
        "run",
        "--input",
        "scene.tif",
        "--output",
        "out/mask.tif",
        "--model",
        str(models / "scene"),
        "--no-prefect",
    ]
    ended = CliRunner().invoke(app, [*command, *words])
    assert ended.exit_code in (1, 2)
    assert said in " ".join(ended.output.split())
    assert "Traceback" not in ended.output
    assert not Path("out").exists()


@pytest.mark.parametrize("place", ["ground control points", "coefficients", "nowhere"])
def test_a_scene_without_a_transform_is_put_on_no_grid(place, tmp_path):
    path = str(put(tmp_path / "scene.tif", image((70, 140)), **PLACES[place]))
    other = str(put(tmp_path / "other.tif", image((70, 140)), **PLACES["degrees"]))
    with pytest.raises(InputError, match="has no transform, so it cannot be put on another grid"):
        open_source(path, onto=find_target_grid(Job(path, like=other)))
    with pytest.raises(RequestError, match="the size of its pixels is unknown"):
        find_target_grid(Job(path, resolution=(1.0, 1.0)))
    with pytest.raises(RequestError, match="has no transform or CRS"):
        find_target_grid(Job(path, crs="EPSG:3857"))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Tiles of two systems and sizes of pixels, one over a part of another, and one far away."""
    folder = tmp_path_factory.mktemp("mixed") / "tiles"
    folder.mkdir()
    put(folder / "a.tif", image((110, 140)), transform=WHERE, crs=UTM, nodata=0)
    put(folder / "b.tif", image((80, 150)), transform=Affine(2e-4, 0, 9.01, 0, -2e-4, 50.55), crs="EPSG:4326", nodata=0)
    put(
        folder / "c.tif", image((80, 150)), transform=Affine(2e-4, 0, 59.01, 0, -2e-4, 50.55), crs="EPSG:4326", nodata=0
    )
    onto = grid_at((200, 330), tuple(Affine(12, 0, 499_900, 0, -12, 5_600_100))[:6], UTM)
    return folder, onto, open_source(f"mosaic:{folder}", onto=onto)


def test_tiles_of_several_systems_are_put_on_one_grid(tiles):
    folder, onto, source = tiles
    (a, seen_a), (b, seen_b) = (shown(open_source(folder / name, onto=onto)) for name in ("a.tif", "b.tif"))
    assert (seen_a & seen_b).any()
    values, valid = shown(source)
    np.testing.assert_array_equal(valid, seen_a | seen_b)
    np.testing.assert_array_equal(values[:, valid], np.where(seen_a, a, b)[:, valid])
    assert source.grid == onto


@pytest.mark.slow
class TestContractOfTiles(SourceContract):
    max_examples = 10

    @pytest.fixture
    def source(self, tiles):
        folder, onto, _ = tiles
        return open_source(f"mosaic:{folder}", onto=onto)


def test_such_tiles_are_a_job_with_a_grid_of_its_own(tiles, models, tmp_path):
    folder, onto, _ = tiles
    placed = {"transform": Affine(*transform_of(onto)), "crs": UTM}
    like = str(put(tmp_path / "like.tif", pixels((1, *onto.shape)), **placed))
    job = Job(f"mosaic:{folder}", tmp_path / "m.tif", str(models / "scene"))
    assert prepare(replace(job, like=like), Resources()).grid == onto
    with pytest.raises(InputError, match=r"different CRSs.*with --crs, or a raster with the grid .* with --like"):
        prepare(job, Resources())
    grid = find_target_grid(Job(f"mosaic:{folder}/[ab].tif", crs=UTM, resolution=(20.0, 10.0)))
    _, valid = shown(open_source(f"mosaic:{folder}/[ab].tif", onto=grid))
    assert valid[:4].any()
    assert valid[-4:].any()
    assert valid[:, :4].any()
    assert valid[:, -4:].any()
    assert grid.spacing == (20, 10)
    assert find_target_grid(Job(f"mosaic:{folder}/[ab].tif", crs=UTM)).spacing == pytest.approx((10, 10))
    far = Grid((9, 9), ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ("y", "x"), UTM)
    with pytest.raises(InputError, match="does not overlap the target grid"):
        open_source(f"mosaic:{folder}", onto=far)


@pytest.mark.parametrize(
    ("place", "how", "said"),
    [
        ("degrees", {"resolution": (10.0, 10.0)}, r"10 x 10 .* is 0\.0111111 x 0\.0138889; .* the CRS \(degree\)"),
        ("north-up", {"crs": "EPSG:4326", "resolution": (0.5, 0.5)}, r"0\.5 x 0\.5 .* of the CRS \(degree\)"),
        ("transform alone", {"resolution": (1e4, 1e4)}, r"10000 x 10000 .* is 400 x 500; give it in units of the CRS$"),
    ],
)
def test_a_pixel_larger_than_the_scene_is_in_another_unit(place, how, said, tmp_path):
    path = str(put(tmp_path / "a.tif", pixels((1, 40, 50)), **PLACES[place]))
    with pytest.raises(RequestError, match=f"--resolution: a pixel of {said}"):
        find_target_grid(Job(path, **how))
