"""Pieces of a mask: numbered slab by slab, they are those of the whole array."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label
from typer.testing import CliRunner

import pipeline.sources.components
from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import RequestError
from pipeline.geometry import Box
from pipeline.io.mask_files import Mask, mask_info, publish
from pipeline.masks.check import check
from pipeline.masks.export import export, export_per_class
from pipeline.sources.components import ComponentFilter
from tests.support.fakes import ArraySource, grid_of
from tests.support.inputs import contents

TABLE = (
    LabelClass(0, "background", (0, 0, 0)),
    LabelClass(1, "liver", (200, 60, 50)),
    LabelClass(2, "spleen", (60, 60, 200)),
)


def whole(labels, least, largest):
    """The same of a whole array, piece by piece."""
    out = labels.copy()
    for value in (1, 2):
        pieces, count = label(labels == value, np.ones((3,) * labels.ndim))
        sizes = [int((pieces == number).sum()) for number in range(1, count + 1)]
        for number, size in enumerate(sizes, 1):
            first = sizes.index(max(sizes)) + 1
            if size < least or (largest and number != first):
                out[pieces == number] = 0
    return out


@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 10**6),
    crowd=st.sampled_from([0.5, 0.8, 0.95]),
    least=st.integers(0, 9),
    largest=st.booleans(),
    data=st.data(),
)
def test_what_is_left_is_what_whole_arrays_leave(shape, seed, crowd, least, largest, data):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(shape) < crowd, 0, rng.choice([1, 2, 2, 255], shape)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline.sources.components, "_ROWS", {3: data.draw(st.integers(1, 5))})
        connected = ComponentFilter(ArraySource(labels[None]), 0, 255, least=least, largest=largest)
    expected = whole(labels, least, largest)
    np.testing.assert_array_equal(connected.read(Box.whole(shape)).values[0], expected)
    start = [data.draw(st.integers(0, size - 1)) for size in shape]
    stop = [data.draw(st.integers(a + 1, size)) for a, size in zip(start, shape, strict=True)]
    box = Box(tuple(start), tuple(stop))
    values, valid = connected.read(box)
    np.testing.assert_array_equal(values[0], expected[box.slices])
    assert (valid is None) == (not (expected[box.slices] == 255).any())


@pytest.fixture
def mask(tmp_path):
    """Two pieces of one structure across a border of slabs, a crumb, and another structure; voxels of 8 mm³."""
    labels = np.zeros((70, 20, 20), np.uint8)
    labels[20:50, 5:10, 5:10] = 1
    labels[60:62, 5:10, 5:10] = 1
    labels[0, 0, 0] = 1
    labels[30:40, 12:18, 12:18] = 2
    grid = grid_of(labels.shape)
    affine = ((0.0, 0.0, 2.0, 0.0), (0.0, 2.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    source = ArraySource(labels[None])
    path = tmp_path / "mask.nii.gz"
    publish(Mask(source, type(grid)(grid.shape, affine, grid.axes), 255, TABLE, {"model": "m"}), path)
    return path


def voxels(path):
    return np.asanyarray(nibabel.load(path).dataobj).T


def test_the_largest_piece_of_each_structure_is_kept(mask, tmp_path):
    export(mask, tmp_path / "out.nii.gz", largest=True)
    expected = whole(voxels(mask), 0, True)
    np.testing.assert_array_equal(voxels(tmp_path / "out.nii.gz"), expected)
    assert (expected == 1).sum() == 30 * 25
    assert mask_info(tmp_path / "out.nii.gz").provenance == {"model": "m", "largest": True, "min_volume": 0.0}


def test_pieces_below_a_volume_become_background(mask, tmp_path):
    assert (
        CliRunner().invoke(app, ["export", str(mask), "-o", str(tmp_path / "o.nii"), "--min-volume", "0.1"]).exit_code
        == 0
    )
    np.testing.assert_array_equal(voxels(tmp_path / "o.nii"), whole(voxels(mask), 13, False))
    assert (voxels(tmp_path / "o.nii") == 1).sum() == 32 * 25, "the crumb of 0.008 ml alone is gone"


def test_one_structure_becomes_a_mask_of_its_own(mask, tmp_path):
    export(mask, tmp_path / "spleen.nii.gz", structure="spleen")
    np.testing.assert_array_equal(voxels(tmp_path / "spleen.nii.gz"), voxels(mask) == 2)
    assert [(c.value, c.name) for c in mask_info(tmp_path / "spleen.nii.gz").classes] == [
        (0, "background"),
        (1, "spleen"),
    ]


def test_each_structure_becomes_a_file_of_its_name(mask, tmp_path):
    words = ["export", str(mask), "--output", str(tmp_path / "parts"), "--per-class", "--largest"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    files = [tmp_path / "parts" / f"{name}.nii.gz" for name in ("liver", "spleen")]
    assert ended.output.split() == [str(file) for file in files]
    for value, file in enumerate(files, 1):
        np.testing.assert_array_equal(voxels(file), whole(voxels(mask), 0, True) == value)
        assert check(file, mask) == []
    before = contents(tmp_path / "parts")
    files[0].unlink()
    assert "spleen.nii.gz: already exists" in CliRunner().invoke(app, words).output
    assert not files[0].exists(), "nothing is written before all may be"
    assert CliRunner().invoke(app, [*words, "--overwrite", "--json"]).exit_code == 0
    assert contents(tmp_path / "parts") == before


def test_structures_that_would_share_a_file_or_go_into_one_are_refused(mask, tmp_path):
    for output in (tmp_path / "o.nii.gz", mask):
        with pytest.raises(RequestError, match="classes are exported to a folder"):
            export_per_class(mask, output)
    (tmp_path / "out.v1").mkdir()
    assert len(export_per_class(mask, tmp_path / "out.v1")) == 2
    said = json.loads((tmp_path / "mask.json").read_text())
    said["labels"][1]["name"], said["labels"][2]["name"] = "left lung", "left_lung"
    (tmp_path / "mask.json").write_text(json.dumps(said))
    with pytest.raises(RequestError, match="two of left lung, left_lung would have the same file name"):
        export_per_class(mask, tmp_path / "parts")
    (tmp_path / "mask.json").unlink()
    with pytest.raises(RequestError, match="has no class names"):
        export_per_class(mask, tmp_path / "parts")
    ended = CliRunner().invoke(app, ["export", str(mask), "-o", str(tmp_path / "p"), "--per-class", "--class", "liver"])
    assert "--per-class cannot be used with" in ended.output
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
@pytest.mark.parametrize("option", ["--min-volume", "--simplify", "--min-area"])
def test_absurd_numbers_are_refused(mask, tmp_path, option, number):
    ended = CliRunner().invoke(app, ["export", str(mask), "--output", str(tmp_path / "o.nii.gz"), option, number])
    assert ended.exit_code == 2
    assert f"{option} {float(number)}: must be 0 or more, and finite" in ended.output
    assert not (tmp_path / "o.nii.gz").exists()


def test_what_cannot_be_is_refused(mask, tmp_path):
    with pytest.raises(RequestError, match=r"no class 'splen' \(did you mean \"spleen\"\?\); it has background, liver"):
        export(mask, tmp_path / "o.nii.gz", structure="splen")
    nameless = tmp_path / "n.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels(mask).T, np.eye(4)), nameless)
    with pytest.raises(RequestError, match="no class named background"):
        export(nameless, tmp_path / "o.nii.gz", largest=True)
    assert not (tmp_path / "o.nii.gz").exists()
