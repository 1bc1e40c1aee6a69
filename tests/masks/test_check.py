"""`pipeline check`: a mask on its input's grid, and each way to lie beside it."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import rasterio
import SimpleITK
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.geometry import Grid
from pipeline.io.opening import open_source
from pipeline.io.raster import RasterSource, write_cog
from pipeline.io.volume.nifti import open_volume, write_nifti
from pipeline.io.zarr import SlabStore, create_labels
from pipeline.masks.check import check
from tests.support.inputs import PLACE, put_scene
from tests.support.niftis import MOVED, files, numbers, put

ROTATED = {"qform_code": 1, "sform_code": 3, "pixdim": [-1, 2, 3, 4, 0, 0, 0, 0], "quatern_d": 0.6, "xyzt_units": 2}
VOLUME = numbers((5, 4, 3), "i2")


def mask_of(path, mask, **how):
    source = open_volume(path, affine="sform", **how)
    write_nifti(mask, source.grid, [np.zeros(source.grid.shape, np.uint8)], "u1")
    source.close()
    return mask


def store_of(grid: Grid, path):
    create_labels(path, grid, np.dtype(np.uint8), nodata=255, classes=(), provenance={})
    return SlabStore(path) and path


def differing(mask, like) -> dict[str, object]:
    return {one.what: one for one in check(str(mask), str(like))}


@pytest.mark.parametrize(("version", "order"), [(1, "<"), (1, ">"), (2, "<"), (2, ">")])
@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz", "mask.zarr"])
def test_a_mask_of_ours_lies_on_the_grid_of_its_volume(tmp_path, version, order, name):
    path = put(tmp_path / "scan.nii.gz", VOLUME, version=version, order=order, **ROTATED)
    if name.endswith("zarr"):
        source = open_volume(path, affine="sform")
        source.close()
        store_of(source.grid, tmp_path / name)
    else:
        mask_of(path, tmp_path / name)
    assert check(str(tmp_path / name), str(path)) == []


CHANGES = {
    "srow_x": ([-0.7, 0.1, 0.2, 91], "sform"),
    "srow_z": ([0.1, 0.3, np.nextafter(np.float32(2.5), 3), -72.1], "sform"),
    "qoffset_y": (3.5, "qform"),
    "quatern_d": (0.6000001, "qform"),
    "pixdim": ([1, 2, 3, 4, 0, 0, 0, 0], "qform"),
    "sform_code": (4, "sform code"),
    "qform_code": (2, "qform code"),
    "xyzt_units": (1, "units"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_each_field_of_a_header_is_compared_to_the_bit(tmp_path, field):
    value, what = CHANGES[field]
    scan = put(tmp_path / "scan.nii", VOLUME, **ROTATED)
    mask = mask_of(scan, tmp_path / "mask.nii")
    assert check(str(mask), str(scan)) == []
    other = put(tmp_path / "other.nii", VOLUME, **{**ROTATED, field: value})
    found = differing(mask, other)
    assert set(found) == {what} or (field == "xyzt_units" and set(found) == {what})
    if what in ("sform", "qform"):
        one, two = (getattr(nibabel.load(path).header, f"get_{what}")() for path in (mask, other))
        corners = np.array([(i, j, k, 1) for i in (0, 4) for j in (0, 3) for k in (0, 2)])
        expected = np.linalg.norm(corners @ (one - two).T, axis=1).max()
        assert found[what].apart == pytest.approx(expected, rel=1e-6)
        assert found[what].apart > 0


def test_fields_that_are_no_place_do_not_matter(tmp_path):
    scan = put(tmp_path / "scan.nii", VOLUME, **ROTATED)
    mask = mask_of(scan, tmp_path / "mask.nii")
    other = put(tmp_path / "other.nii", VOLUME.astype("f4"), **{**ROTATED, "xyzt_units": 10}, toffset=3, note="a note")
    assert check(str(mask), str(other)) == []


def test_a_form_that_cannot_be_used_is_compared_all_the_same(tmp_path):
    broken = {**ROTATED, "quatern_b": np.nan}
    scan = put(tmp_path / "scan.nii", VOLUME, **broken)
    mask = mask_of(scan, tmp_path / "mask.nii")
    assert check(str(mask), str(scan)) == []
    found = differing(mask, put(tmp_path / "other.nii", VOLUME, **ROTATED))
    assert set(found) == {"qform"}
    assert found["qform"].apart is None


def test_another_shape_and_another_kind_are_named(tmp_path):
    scan = put(tmp_path / "scan.nii", VOLUME)
    mask = mask_of(put(tmp_path / "longer.nii", numbers((5, 4, 6), "i2")), tmp_path / "mask.nii")
    assert (differing(mask, scan)["shape"].mask, differing(mask, scan)["shape"].input) == ([6, 4, 5], [3, 4, 5])
    scene = put_scene(tmp_path / "scene.tif", np.ones((1, 4, 5), np.uint8))
    assert set(differing(scene, scan)) == {"kind"}


def test_a_mask_may_be_of_one_volume_or_of_all(tmp_path):
    scan = put(tmp_path / "scan.nii.gz", numbers((5, 4, 3, 2), "i2"))
    mask = mask_of(scan, tmp_path / "mask.nii", volume=1)
    assert check(str(mask), str(scan)) == []
    assert check(str(put(tmp_path / "both.nii", numbers((5, 4, 3, 2), "u1"))), str(scan)) == []
    assert set(differing(put(tmp_path / "more.nii", numbers((5, 4, 3, 3), "u1")), scan)) == {"volumes"}


@files
@given(shift=st.floats(-1e3, 1e3), row=st.integers(0, 2))
def test_a_store_without_words_is_compared_by_its_affine(tmp_path, shift, row):
    import shutil

    shutil.rmtree(tmp_path / "mask.zarr", ignore_errors=True)
    affine = np.array(MOVED)
    affine[row, 3] += shift
    moved = tuple(tuple(map(float, line)) for line in affine)
    mask = store_of(Grid((3, 4, 5), moved, ("z", "y", "x")), tmp_path / "mask.zarr")
    write_nifti(tmp_path / "v.nii", Grid((3, 4, 5), MOVED, ("z", "y", "x")), [np.zeros((3, 4, 5), np.uint8)], "u1")
    found = differing(mask, tmp_path / "v.nii")
    assert set(found) == ({"affine"} if (np.float32(moved) != np.float32(MOVED)).any() else set())
    if found:
        assert found["affine"].apart == pytest.approx(abs(moved[row][3] - MOVED[row][3]), abs=1e-9)


def scene_mask(path, mask):
    source = RasterSource(path)
    write_cog(
        mask, source.grid, iter([np.zeros(source.grid.shape, np.uint8)]), np.uint8, nodata=255, classes=(), tags={}
    )
    source.close()
    return mask


POINTS = [GroundControlPoint(r, c, 10 + c / 60, 50 - r / 60, 0, str(r + c)) for r in (0, 40) for c in (0, 50)]


@pytest.mark.parametrize(
    "profile",
    [{}, {"crs": None}, {"crs": "EPSG:4326", "gcps": POINTS, "transform": None}, {"crs": None, "transform": None}],
    ids=["tilted", "no system", "control points", "no place"],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_mask_of_ours_lies_on_the_grid_of_its_scene(tmp_path, profile):
    profile = {key: value for key, value in profile.items() if value is not None or key == "crs"}
    if "transform" not in profile and "gcps" in profile:
        profile["transform"] = Affine.identity()
    scene = put_scene(tmp_path / "scene.tif", np.ones((1, 40, 50), np.uint8), **profile)
    assert check(str(scene_mask(scene, tmp_path / "mask.tif")), str(scene)) == []


@pytest.mark.parametrize(
    ("profile", "what", "apart"),
    [
        ({"transform": PLACE @ Affine.translation(0.5, 0)}, "transform", np.hypot(0.25, 0.01)),
        ({"crs": "EPSG:32632"}, "crs", None),
    ],
)
def test_a_scene_elsewhere_is_named(tmp_path, profile, what, apart):
    scene = put_scene(tmp_path / "scene.tif", np.ones((1, 40, 50), np.uint8))
    other = put_scene(tmp_path / "other.tif", np.ones((1, 40, 50), np.uint8), **profile)
    found = differing(scene_mask(scene, tmp_path / "mask.tif"), other)
    assert set(found) == {what}
    assert found[what].apart == (None if apart is None else pytest.approx(apart))


def test_control_points_that_moved_are_named(tmp_path):
    scene, other = tmp_path / "scene.tif", tmp_path / "other.tif"
    moved = [GroundControlPoint(p.row, p.col, p.x + 1e-9, p.y, p.z, p.id) for p in POINTS]
    for path, points in ((scene, POINTS), (other, moved)):
        put_scene(path, np.ones((1, 40, 50), np.uint8), crs="EPSG:4326", gcps=points, transform=Affine.identity())
    assert set(differing(scene_mask(scene, tmp_path / "mask.tif"), other)) == {"gcps"}


def test_one_system_in_other_words_is_the_same(tmp_path):
    words = rasterio.crs.CRS.from_epsg(32633).to_wkt(version="WKT2_2019")
    scene = put_scene(tmp_path / "scene.tif", np.ones((1, 40, 50), np.uint8))
    source = RasterSource(scene)
    assert source.grid.crs != words
    grid = Grid(source.grid.shape, source.grid.affine, source.grid.axes, words)
    source.close()
    assert check(str(store_of(grid, tmp_path / "mask.zarr")), str(scene)) == []


def test_the_verb_tells_and_ends_with_its_code(tmp_path):
    scan = put(tmp_path / "scan.nii", VOLUME, **ROTATED)
    mask = mask_of(scan, tmp_path / "mask.nii")
    other = put(tmp_path / "other.nii", VOLUME, **{**ROTATED, "sform_code": 1, "srow_x": [-0.7, 0.1, 0.2, 95.5]})

    def run(*words, code):
        ended = CliRunner().invoke(app, ["check", str(mask), "--like", *map(str, words)])
        assert ended.exit_code == code, ended.output
        return ended.stdout

    assert run(scan, code=0) == f"{mask}: is exactly on the grid of {scan}\n"
    assert json.loads(run(scan, "--json", code=0)) == {
        "mask": str(mask),
        "like": str(scan),
        "same": True,
        "differences": [],
    }
    first, *lines = run(other, code=1).splitlines()
    assert first == f"{mask}: is not on the grid of {other}"
    assert [line.split(":")[0] for line in lines] == ["  sform", "  sform code"]
    assert lines[0].endswith("; 5 apart at the farthest corner")
    told = json.loads(run(other, "--json", code=1))
    assert [one["what"] for one in told["differences"]] == ["sform", "sform code"]
    assert not told["same"]
    run(tmp_path / "none.nii", code=2)


def test_the_mask_of_a_volume_of_another_format_lies_where_float32_can_say(tmp_path):
    """As of a DICOM series, whose numbers are decimal."""
    affine = ((0.0438571, 0.0104910, -0.42956206630000004, 106.109), (-1.7308, -0.414, -0.0108, 186.371))
    rows = (*affine, (6.2651619047619045, -0.114459189, 0.0, -42.7965), (0.0, 0.0, 0.0, 1.0))
    like = store_of(Grid((5, 6, 7), rows, ("z", "y", "x")), tmp_path / "like.zarr")
    mask = mask_of_store(like, tmp_path / "mask.nii.gz")
    assert differing(mask, like) == {}
    moved = np.nextafter(np.float32(rows[0][3]), np.float32(np.inf))
    other = store_of(Grid((5, 6, 7), ((*rows[0][:3], float(moved)), *rows[1:]), ("z", "y", "x")), tmp_path / "o.zarr")
    assert set(differing(mask, other)) == {"affine"}


def mask_of_store(like, mask):
    grid = open_source(str(like)).grid
    write_nifti(mask, grid, [np.zeros(grid.shape, np.uint8)], "u1")
    return mask


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("coded", [{}, {"qform_code": 0}, {"sform_code": 0}], ids=["both", "sform", "qform"])
def test_a_mask_that_itk_saves_again_lies_there_to_a_tolerance(tmp_path, coded, suffix):
    affine = np.diag([-0.7, 0.8, 2.51, 1])
    affine[:3, 3] = 90.53, -126.27, -72.19
    rotated = {"pixdim": [1, 0.7, 0.8, 2.51, 0, 0, 0, 0], "quatern_b": 0, "quatern_c": 1, "quatern_d": 0}
    place = dict(zip(("qoffset_x", "qoffset_y", "qoffset_z"), affine[:3, 3], strict=True))
    rows = dict(zip(("srow_x", "srow_y", "srow_z"), affine[:3], strict=True))
    rows["srow_z"][2] = 2.51 if "qform_code" in coded else -2.51
    fields = {**rotated, **place, **rows, "qform_code": 1, "sform_code": 2, **coded}
    scan = put(tmp_path / "scan.nii", VOLUME, **fields)
    mask, again = mask_of(scan, tmp_path / "mask.nii.gz"), tmp_path / f"again{suffix}"
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(mask)), str(again))
    assert check(str(again), str(scan), 1e-3) == []
    moved = SimpleITK.ReadImage(str(mask))
    moved.SetOrigin(np.add(moved.GetOrigin(), [0, 0.01, 0]))
    SimpleITK.WriteImage(moved, str(tmp_path / f"moved{suffix}"))
    assert check(str(tmp_path / f"moved{suffix}"), str(scan), 1e-3) != []
    assert check(str(tmp_path / f"moved{suffix}"), str(scan), 0.1) == []


@pytest.mark.parametrize("names", ["0123", "abcd", "1111"])
def test_control_points_are_compared_by_place_whatever_they_are_called(tmp_path, names):
    inner = put_scene(tmp_path / "in.tif", np.ones((1, 40, 50), np.uint8), transform=Affine.identity(), crs=None)
    points = "".join(
        f'<GCP Id="{name}" Info="corner" Pixel="{p.col}" Line="{p.row}" X="{p.x!r}" Y="{p.y!r}"/>'
        for name, p in zip(names, POINTS, strict=True)
    )
    scene = tmp_path / "scene.vrt"
    scene.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"><GCPList Projection="EPSG:4326">{points}</GCPList>'
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{inner}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert check(str(scene_mask(scene, tmp_path / "mask.tif")), str(scene)) == []


@given(cells=st.floats(1e-4, 2), toward=st.floats(0, 6.3), tolerance=st.floats(1e-4, 2))
def test_a_tolerance_is_a_distance_in_cells(tmp_path_factory, cells, toward, tolerance):
    folder = tmp_path_factory.mktemp("scenes")
    shift = Affine.translation(cells * np.cos(toward), cells * np.sin(toward))
    scene = put_scene(folder / "scene.tif", np.ones((1, 4, 5), np.uint8), transform=Affine(10, 0, 500, 0, -10, 900))
    mask = put_scene(
        folder / "mask.tif", np.ones((1, 4, 5), np.uint8), transform=Affine(10, 0, 500, 0, -10, 900) @ shift
    )
    if abs(cells - tolerance) > 1e-6:
        assert (check(str(mask), str(scene), tolerance) == []) == (cells < tolerance)
    assert differing(mask, scene)["transform"].apart == pytest.approx(10 * cells)


def test_control_points_may_be_off_by_the_tolerance_in_cells(tmp_path):
    scene, mask = tmp_path / "scene.tif", tmp_path / "mask.tif"
    moved = [GroundControlPoint(p.row, p.col, p.x + 0.01 / 60, p.y, p.z, p.id) for p in reversed(POINTS)]
    for path, points in ((scene, POINTS), (mask, moved)):
        put_scene(path, np.ones((1, 40, 50), np.uint8), crs="EPSG:4326", gcps=points, transform=Affine.identity())
    assert check(str(mask), str(scene), 0.011) == []
    (found,) = check(str(mask), str(scene), 0.009)
    assert (found.what, found.apart) == ("gcps", pytest.approx(0.01 / 60))


@pytest.mark.parametrize("tolerance", ["-1", "nan", "inf"])
def test_a_tolerance_that_is_none_is_refused(tmp_path, tolerance):
    scan = put(tmp_path / "scan.nii", VOLUME)
    ended = CliRunner().invoke(app, ["check", str(scan), "--like", str(scan), "--tolerance", tolerance])
    assert (ended.exit_code, f"--tolerance {tolerance}: must be a number of cells" in ended.stderr) == (2, True)
