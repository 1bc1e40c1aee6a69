"""One volume, however it is stored and sliced.

Each axis of a file comes in each place and each direction here; `python -m benchmarks.loops orientations` takes all 48
of each view.
"""

from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import zarr
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

from pipeline.jobs.job import Job, Resources
from pipeline.models import store
from pipeline.runs.segment import segment
from tests.support.inputs import labels_of, pixels, put_volume

pytestmark = pytest.mark.slow

VALUES = pixels((3, 40, 50), seed=3).T.astype(np.int16)
"""(x, y, z), all growing towards R, A and S."""
AFFINE = np.array([[0.9, 0.02, 0.1, -20], [-0.02, 1.1, -0.2, 30], [0.1, 0.2, 2.5, 5], [0, 0, 0, 1]])
WORDS = [words for axes in permutations(("LR", "PA", "IS")) for words in product(*axes)]
SOME = [WORDS[8 * order + turned] for order in range(6) for turned in (order % 4, 7 - order % 4)]
"""Two of each order of the axes, turned over in opposite ways."""


@pytest.fixture(scope="module")
def model(models):
    """The small model of volumes, loaded once for all."""
    loaded = store.load_model(models / "volume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load_model", lambda ref: loaded)
        yield str(models / "volume")


@pytest.mark.parametrize(
    ("view", "values", "some"),
    [("axial", VALUES, SOME), ("sagittal,axial", VALUES[:24, :20], SOME[1::2])],
    ids=["one view", "two views"],
)
def test_all_orientations_give_one_mask(model, tmp_path, view, values, some):
    whole = put_volume(tmp_path / "ras.nii.gz", values, AFFINE)
    segment(Job(str(whole), model=model, view=view))
    mask = labels_of(tmp_path / "ras_mask.nii.gz")
    assert len(np.unique(mask)) == 2
    assert len(set(WORDS)) == 48
    for words in some:
        turn = axcodes2ornt(words)  # where each axis of the file goes to in (x, y, z)
        turned = nibabel.Nifti1Image(values, AFFINE).as_reoriented(_back(turn))
        path = put_volume(tmp_path / "scan.nii", np.asanyarray(turned.dataobj), turned.affine)
        assert nibabel.aff2axcodes(turned.affine) == words
        segment(Job(str(path), tmp_path / "mask.nii", model, view=view), Resources(overwrite=True))
        found = nibabel.load(tmp_path / "mask.nii")
        assert np.array_equal(found.affine, nibabel.load(path).affine), words
        assert np.array_equal(np.asanyarray(nibabel.as_closest_canonical(found).dataobj), mask), words


def _back(turn):
    """The orientation transform from RAS to `turn`."""
    return nibabel.orientations.ornt_transform(axcodes2ornt("RAS"), turn)


def test_a_packed_a_plain_and_a_zarr_volume_give_the_same_labels(model, tmp_path):
    plain = np.diag([0.9, 1.1, 2.5, 1])
    paths = [put_volume(tmp_path / name, VALUES, plain) for name in ("a.nii", "b.nii.gz")]
    scale = {"type": "scale", "scale": [2.5, 1.1, 0.9]}
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    scales = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]
    group = zarr.create_group(tmp_path / "c.zarr", attributes={"ome": {"version": "0.5", "multiscales": scales}})
    group.create_array("0", data=np.ascontiguousarray(VALUES.T), chunks=(2, 16, 16), dimension_names=tuple("zyx"))
    masks = []
    for path in (*paths, tmp_path / "c.zarr"):
        report = segment(Job(str(path), model=model))
        assert report.output.endswith("_mask.nii.gz")
        masks.append(labels_of(path.with_name(f"{path.stem.split('.')[0]}_mask.nii.gz")))
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


@pytest.mark.parametrize(("view", "order"), [("coronal", (0, 2, 1)), ("sagittal", (1, 2, 0))])
def test_a_view_is_the_axial_one_of_the_turned_volume(model, tmp_path, view, order):
    """`order`: which axis of the volume becomes x, y and z of the turned one."""
    whole = put_volume(tmp_path / "whole.nii.gz", VALUES, np.diag([0.9, 1.1, 2.5, 1]))
    sides = np.array([0.9, 1.1, 2.5])[list(order)]
    turned = put_volume(tmp_path / "turned.nii.gz", VALUES.transpose(order), np.diag([*sides, 1]))
    segment(Job(str(whole), model=model, view=view))
    segment(Job(str(turned), model=model))
    expected = labels_of(tmp_path / "turned_mask.nii.gz")
    assert np.array_equal(labels_of(tmp_path / "whole_mask.nii.gz").transpose(order), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 1), (1, 40, 2), (49, 65, 1)])
@pytest.mark.parametrize("view", ["axial", "sagittal,coronal"])
def test_no_volume_is_too_small(model, tmp_path, shape, view):
    path = put_volume(tmp_path / "scan.nii.gz", pixels(shape[::-1]).T.astype(np.int16), AFFINE)
    segment(Job(str(path), model=model, view=view))
    labels = labels_of(tmp_path / "scan_mask.nii.gz")
    assert labels.shape == shape
    assert labels.max() <= 1


@pytest.mark.parametrize("view", ["axial", "axial,coronal"])
def test_a_voxel_that_is_not_a_number_is_nodata(model, tmp_path, view):
    values = VALUES.astype(np.float32)
    values[3, 4, 2] = np.nan
    values[10:20, 8, 0] = np.inf
    path = put_volume(tmp_path / "scan.nii.gz", values, AFFINE)
    segment(Job(str(path), model=model, view=view))
    assert np.array_equal(labels_of(tmp_path / "scan_mask.nii.gz") == 255, ~np.isfinite(values))


def test_the_oracle_turns_volumes():
    """`_back` and nibabel agree on a turn that can be seen."""
    turned = nibabel.Nifti1Image(VALUES, np.eye(4)).as_reoriented(_back(axcodes2ornt("ALS")))
    assert nibabel.aff2axcodes(turned.affine) == ("A", "L", "S")
    assert np.array_equal(np.asanyarray(turned.dataobj), VALUES[::-1].transpose(1, 0, 2))
    assert np.array_equal(turned.affine, inv_ornt_aff(_back(axcodes2ornt("ALS")), VALUES.shape))
