"""Numbers that are none: what a run makes of fill values, overflows and inputs without any observation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment
from tests.support.inputs import labels_of, pixels, put_scene, put_volume

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
