"""Numbers that are none: what a run makes of fill values, overflows and inputs without any observation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from affine import Affine

from pipeline.archive.run import segment_one
from pipeline.errors import LASTING
from pipeline.jobs.job import Job, Resources
from pipeline.runs.observer import RunContext
from pipeline.runs.segment import segment
from tests.support.inputs import labels_of, listing, pixels, put_scene, put_volume

PLAIN = Resources(precision="float32", runtime="torch")
FILLS = (3.4028235e38, -3.4028235e38, 1e20, 9.96921e36, np.inf, -np.inf, np.nan)


def filled(values: np.ndarray, plane: int) -> tuple[np.ndarray, np.ndarray]:
    """Values as float32 with fill values in some cells of one plane, and where they are."""
    values, gap = values.astype(np.float32), np.zeros(values.shape[1:], bool)
    for at, fill in enumerate(FILLS):
        here = (..., slice(5 * at, 5 * at + 3), slice(3 * at, 3 * at + 4))
        values[plane][here] = fill
        gap[here] = True
    return values, gap


@pytest.mark.parametrize("nodata", [None, -9999.0])
def test_fill_values_of_one_band_are_nodata_and_change_nothing_else(nodata, models: Path, tmp_path: Path) -> None:
    values, gap = filled(pixels((2, 70, 90)), 1)
    plain = np.where(gap, np.nan, values)
    masks = []
    for name, pictures in (("fills", values), ("nan", plain)):
        scene = put_scene(tmp_path / f"{name}.tif", pictures, nodata=nodata)
        segment(Job(str(scene), tmp_path / f"{name}_mask.tif", str(models / "scene")), PLAIN)
        masks.append(labels_of(tmp_path / f"{name}_mask.tif"))
    np.testing.assert_array_equal(masks[0] == 255, gap)
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_fill_values_of_a_volume_are_nodata_and_not_in_its_statistics(
    suffix: str, models: Path, tmp_path: Path
) -> None:
    values, gap = filled(pixels((6, 40, 36))[None], 0)
    masks = []
    for name, voxels in (("fills", values), ("nan", np.where(gap, np.nan, values))):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".nii.gz":
            put_volume(path, voxels[0].T, np.diag([0.5, 0.5, 2, 1]))
        else:
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels[0]), str(path))
        segment(Job(str(path), tmp_path / f"{name}_mask.nii", str(models / "volume")), PLAIN)
        masks.append(np.asarray(labels_of(tmp_path / f"{name}_mask.nii")).T)
    np.testing.assert_array_equal(masks[0] == 255, gap)
    np.testing.assert_array_equal(*masks)


def test_values_that_overflow_only_after_scale_and_offset_are_nodata(models: Path, tmp_path: Path) -> None:
    values = pixels((2, 40, 50)).astype(np.float32)
    values[0, 3:9, 4:8] = 1e15
    scene = put_scene(tmp_path / "scene.tif", values)
    segment(Job(str(scene), tmp_path / "mask.tif", str(models / "scene"), scale=(1e6,)), PLAIN)
    np.testing.assert_array_equal(labels_of(tmp_path / "mask.tif") == 255, values[0] == 1e15)


def put_nothing(folder: Path, kind: str) -> Path:
    """An input of one kind in which there is nothing."""
    nan = np.full((1, 6, 40, 36), np.nan, np.float32)
    if kind == "scene of NaN":
        return put_scene(folder / "in.tif", np.full((2, 50, 60), np.nan, np.float32))
    if kind == "scene of nodata":
        return put_scene(folder / "in.tif", np.full((2, 50, 60), 7, np.uint8), nodata=7)
    if kind == "scene of fill values":
        return put_scene(folder / "in.tif", np.full((2, 50, 60), 3.4e38, np.float32))
    if kind == "volume of infinity":
        nan[:] = np.inf
    return put_volume(folder / "in.nii.gz", nan[0].T, np.diag([0.5, 0.5, 2, 1]))


@pytest.mark.parametrize(
    "kind", ["scene of NaN", "scene of nodata", "scene of fill values", "volume of NaN", "volume of infinity", "views"]
)
def test_an_input_in_which_nothing_was_observed_fails_by_name(kind: str, models: Path, tmp_path: Path) -> None:
    path = put_nothing(tmp_path, kind)
    model = models / ("scene" if kind.startswith("scene") else "volume")
    output = tmp_path / ("out.tif" if kind.startswith("scene") else "out.nii.gz")
    job = Job(str(path), output, str(model), view=("axial", "coronal") if kind == "views" else None)
    for _ in range(2):
        report = segment_one(job, RunContext(PLAIN))
        assert (report.status, report.code) == ("failed", "nothing-observed")
        assert f"{path}: nothing was observed" in str(report.reason)
        assert listing(tmp_path) == {path.name}
    assert report.code in LASTING


def test_an_area_of_interest_without_observations_fails_and_one_with_some_does_not(
    models: Path, tmp_path: Path
) -> None:
    values = pixels((2, 100, 80))
    values[:, :50] = 0
    scene = put_scene(tmp_path / "in.tif", values, nodata=0, transform=Affine(1, 0, 500000, 0, -1, 100))
    for south, status in ((50, "failed"), (49, "done")):
        aoi = f"500000,{south},500080,100,EPSG:32633"
        report = segment_one(Job(str(scene), tmp_path / "out.tif", str(models / "scene"), aoi=aoi), RunContext(PLAIN))
        assert report.status == status, report.reason
    assert (labels_of(tmp_path / "out.tif") != 255).sum() == 80
