"""Which of a header's words hold: two forms, several volumes, two halves, and text."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from dataclasses import replace
from itertools import product

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Extension

from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.opening import open_source
from pipeline.io.suffixes import suffix_of
from pipeline.io.volume.nifti import open_volume, write_nifti
from pipeline.io.volume.nifti_pairs import halves, parts
from tests.support.niftis import MOVED, SHEARED, files, numbers, put, whole

SHAPE = (5, 4, 3)
DATA = numbers(SHAPE, "i2")
QUARTERED = {"qform_code": 1, "pixdim": [1, 2, 3, 4, 0, 0, 0, 0], "quatern_d": 0.6, "qoffset_x": 12.5}


def matrix(grid) -> np.ndarray:
    """The affine of (i, j, k)."""
    return np.array(grid.affine)[:, [2, 1, 0, 3]]


def farthest(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape))])
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


@pytest.mark.parametrize("version", [1, 2])
def test_forms_that_disagree_are_refused_unless_one_is_chosen(tmp_path, version):
    path = put(tmp_path / "v.nii", DATA, version=version, sform_code=4, **QUARTERED)
    header = nibabel.load(path).header
    apart = farthest(header.get_sform(), header.get_qform(), SHAPE)
    said = (
        rf"sform \(code 4, MNI 152\) and its qform \(code 1, scanner\) disagree, by {apart:.4g} mm "
        ".*--nifti-affine sform or"
    )
    with pytest.raises(InputError, match=said) as caught:
        open_volume(path)
    assert caught.value.code == "forms-disagree"
    np.testing.assert_array_equal(matrix(whole(path, affine="sform")[0]), header.get_sform())
    np.testing.assert_array_equal(matrix(whole(path, affine="qform")[0]), header.get_qform())


@pytest.mark.parametrize("affine", ["strict", "sform", "qform"])
@pytest.mark.parametrize("codes", [(0, 0), (2, 0), (0, 1)], ids=["neither", "sform", "qform"])
def test_a_form_that_is_alone_holds_whatever_is_asked_for(tmp_path, codes, affine):
    path = put(tmp_path / "v.nii", DATA, **{**QUARTERED, "sform_code": codes[0], "qform_code": codes[1]})
    np.testing.assert_array_equal(matrix(whole(path, affine=affine)[0]), nibabel.load(path).affine)


def test_where_both_forms_agree_the_sform_holds_whatever_is_asked_for(tmp_path):
    affine = np.array(MOVED)[:, [2, 1, 0, 3]]
    header = nibabel.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_qform(affine, 1, strip_shears=True)
    close = header.get_qform() + np.eye(4) * [0.01, 0, 0, 0]
    header.set_sform(close, 1)
    fields = {name: header[name] for name in ("srow_x", "srow_y", "srow_z", "pixdim", "sform_code", "qform_code")}
    fields |= {name: header[name] for name in header if name.startswith(("quatern", "qoffset"))}
    path = put(tmp_path / "v.nii", DATA, **fields)
    for asked in ("strict", "sform", "qform"):
        np.testing.assert_array_equal(matrix(whole(path, affine=asked)[0]), header.get_sform())
    assert not np.array_equal(header.get_sform(), header.get_qform())


@pytest.mark.parametrize(
    ("broken", "other", "code"),
    [
        ({"srow_x": [np.nan, 0, 0, 0]}, "qform", "affine-not-finite"),
        ({"pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "sform", "spacing-zero"),
        ({"qoffset_y": np.inf}, "sform", "affine-not-finite"),
    ],
)
def test_a_broken_form_can_be_done_without(tmp_path, broken, other, code):
    path = put(tmp_path / "v.nii", DATA, **{**QUARTERED, **broken})
    with pytest.raises(InputError, match=f"--nifti-affine {other}") as caught:
        open_volume(path)
    assert caught.value.code == code
    whole(path, affine=other)


UNITS = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)


@files
@given(turn=UNITS, half=st.booleans(), spacing=st.floats(0.3, 3), zoom=st.sampled_from([1, 6]))
def test_one_place_written_as_both_forms_never_disagrees(tmp_path, turn, half, spacing, zoom):
    """Also for a turn of nearly 180 degrees, where the quaternion in float32 is at its worst."""
    w, x, y, z = np.array([turn[0] * (0.0001 if half else 1), *turn[1:]]) / np.linalg.norm(turn)
    rotation = nibabel.quaternions.quat2mat((w, x, y, z))
    affine = np.eye(4)
    affine[:3, :3] = rotation * [spacing, spacing, zoom * spacing]
    affine[:3, 3] = (-200, 150, 80)
    header = nibabel.Nifti1Header()
    header.set_data_shape((512, 512, 200))
    header.set_data_dtype(np.uint8)
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    path = tmp_path / "v.nii"
    header["vox_offset"] = 352
    path.write_bytes(header.binaryblock + bytes(4))
    with path.open("r+b") as file:
        file.truncate(352 + 512 * 512 * 200)
    with closing(open_volume(path)) as source:
        np.testing.assert_array_equal(matrix(source.grid), header.get_sform())


@files
@given(
    affine=st.sampled_from(["sform", "qform"]),
    version=st.sampled_from([1, 2]),
    name=st.sampled_from(["m.nii", "m.nii.gz"]),
)
def test_both_forms_are_written_back_whichever_holds(tmp_path, affine, version, name):
    path = put(tmp_path / "v.nii", DATA, version=version, sform_code=4, **QUARTERED)
    grid, _ = whole(path, affine=affine)
    grid = replace(grid, reference=json.loads(json.dumps(grid.reference)))
    write_nifti(tmp_path / name, grid, [np.zeros(grid.shape, np.uint8)], "u1")
    before, after = nibabel.load(path).header, nibabel.load(tmp_path / name).header
    for form in ("sform", "qform"):
        np.testing.assert_array_equal(getattr(after, f"get_{form}")(), getattr(before, f"get_{form}")())
        assert after[f"{form}_code"] == before[f"{form}_code"]


@pytest.mark.parametrize("kind", ["i2", "f4"])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_any_volume_of_a_file_is_what_nibabel_reads(tmp_path, name, kind):
    stored = numbers((*SHAPE, 4), kind)
    path = put(tmp_path / name, stored)
    for volume in (2, 0, 3, 1):
        with closing(open_volume(path, volume=volume)) as source:
            pixels = source.read(Box.whole(source.grid.shape))
            assert source.info.volumes == 4
        np.testing.assert_array_equal(pixels.values[0], stored[..., volume].T)
    write_nifti(tmp_path / "mask.nii", source.grid, [np.zeros(source.grid.shape, np.uint8)], "u1")
    mask = nibabel.load(tmp_path / "mask.nii")
    assert mask.shape == SHAPE
    np.testing.assert_array_equal(mask.affine, nibabel.load(path).affine)
    assert mask.header["sform_code"] == 1
    for absent in (4, -1):
        with pytest.raises(InputError, match=f"no volume {absent}: there are 4, counted from 0") as caught:
            open_volume(path, volume=absent)
        assert caught.value.code == "4d"


def test_a_file_of_one_volume_has_the_first_alone(tmp_path):
    for shape in [(*SHAPE, 1), SHAPE]:
        path = put(tmp_path / "v.nii", DATA.reshape(shape))
        np.testing.assert_array_equal(whole(path, volume=0)[1].values[0], DATA.T)
        with pytest.raises(InputError, match="there are 1"):
            open_volume(path, volume=1)


def test_damage_after_a_volume_is_found_all_the_same(tmp_path):
    path = put(tmp_path / "v.nii.gz", numbers((*SHAPE, 4), "i2"))
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    with pytest.raises(InputError, match="CRC"):
        whole(path, volume=1)
    plain = put(tmp_path / "v.nii", numbers((*SHAPE, 4), "i2"))
    plain.write_bytes(plain.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        open_volume(plain, volume=0)


def put_pair(folder, *, version=1, order="<", packed=False, offset=0, **fields):
    """Both halves of a pair, of one volume: the header's path, and the voxels'."""
    single = put(folder / "single.nii", DATA, version=version, order=order)
    kind = {1: nibabel.Nifti1Header, 2: nibabel.Nifti2Header}[version]
    header = kind(single.read_bytes()[: kind.sizeof_hdr], order, check=False)
    header["magic"], header["vox_offset"] = header.pair_magic, offset
    for name, value in fields.items():
        header[name] = value
    voxels = bytes(offset) + DATA.astype(f"{order}i2").tobytes(order="F")
    single.unlink()
    written = []
    for suffix, content in ((".hdr", header.binaryblock + bytes(4)), (".img", voxels)):
        path = folder / f"scan{suffix}{'.gz' * packed}"
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
        written.append(path)
    return written


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("version", "order", "offset"), [(1, "<", 0), (1, ">", 32), (2, "<", 0), (2, ">", 0)])
def test_either_half_of_a_pair_stands_for_it(tmp_path, version, order, offset, packed):
    header, voxels = put_pair(tmp_path, version=version, order=order, packed=packed, offset=offset)
    affine = SHEARED.astype(np.float32) if version == 1 else SHEARED
    for half in (header, voxels):
        with closing(open_source(half)) as source:
            np.testing.assert_array_equal(source.read(Box.whole(source.grid.shape)).values[0], DATA.T)
            np.testing.assert_array_equal(matrix(source.grid), affine)
        assert parts(half) == (header, voxels)
    write_nifti(tmp_path / "mask.nii", source.grid, [np.zeros(source.grid.shape, np.uint8)], "u1")
    mask = nibabel.load(tmp_path / "mask.nii")
    assert mask.header["magic"].item() == mask.header.single_magic
    np.testing.assert_array_equal(mask.affine, affine)


def test_a_pair_that_is_not_whole_is_refused(tmp_path):
    header, voxels = put_pair(tmp_path)
    content = voxels.read_bytes()
    voxels.write_bytes(content[:-1])
    with pytest.raises(InputError, match="cut short"):
        open_source(header)
    voxels.unlink()
    with pytest.raises(InputError, match=r"scan\.img does not exist; .* both halves"):
        open_source(header)
    voxels.write_bytes(content)
    header.write_bytes(header.read_bytes()[:344] + bytes(8))
    with pytest.raises(InputError, match=r"Analyze 7\.5, which does not distinguish left from right"):
        open_source(header)


def test_what_only_has_the_suffix_of_a_pair_is_none(tmp_path):
    (tmp_path / "a.hdr").write_text("ENVI\ndescription = {a raster}\n")
    (tmp_path / "a.img").write_bytes(bytes(400))
    assert halves(tmp_path / "a.hdr") is halves(tmp_path / "a.img") is halves(tmp_path / "b.nii") is None
    assert [suffix_of(f"scan.{end}") for end in ("hdr", "IMG", "hdr.gz", "img.gz", "nii.gz", "csv.gz")] == [
        *(".hdr", ".img", ".hdr.gz", ".img.gz", ".nii.gz", ".gz")
    ]


TEXT = {"descrip": b"JANE DOE \xe9", "aux_file": b"DOE.dcm", "intent_name": b"DOE scan"}
NOTES = [(6, b"DOE, a comment"), (4, b"<xml/>"), (2, bytes(range(256)))]


def put_noted(path, order="<", *, paired=False):
    """A file with all kinds of text, written by nibabel."""
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(f"{order}i2"))
    header.set_sform(SHEARED, 1)
    image = (nibabel.Nifti1Pair if paired else nibabel.Nifti1Image)(DATA, None, header)
    for code, content in NOTES:
        image.header.extensions.append(Nifti1Extension(code, content))
    for name, text in TEXT.items():
        image.header[name] = text
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.hdr", "v.img.gz"])
def test_text_and_extensions_are_kept_on_request_only(tmp_path, name, order):
    path = put_noted(tmp_path / name, order, paired="nii" not in name)
    told, _ = whole(path)
    kept, _ = whole(path, keep_text=True)
    assert "DOE" not in str(told.reference)
    kept = replace(kept, reference=json.loads(json.dumps(kept.reference)))
    labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    write_nifti(tmp_path / "told.nii", told, [labels], "u1")
    write_nifti(tmp_path / "kept.nii", kept, [labels], "u1", description="not said")
    assert b"DOE" not in (tmp_path / "told.nii").read_bytes()
    mask = nibabel.load(tmp_path / "kept.nii")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels.T)
    assert {name: mask.header[name].item() for name in TEXT} == TEXT
    notes = [(note.code, note.content.rstrip(b"\0")) for note in mask.header.extensions]
    assert notes == [(code, content.rstrip(b"\0")) for code, content in NOTES]
    assert mask.header["intent_code"] == 1002
    np.testing.assert_array_equal(whole(tmp_path / "kept.nii")[1].values[0], labels)


@pytest.mark.parametrize("size", [7, -16, 64, 400, 2**31 - 1])
def test_damaged_extensions_are_refused_only_where_they_are_kept(tmp_path, size):
    path = put(tmp_path / "v.nii", DATA, note="an extension")
    content = bytearray(path.read_bytes())
    content[352:356] = np.array([size], "<i4").tobytes()
    path.write_bytes(content)
    whole(path)
    with pytest.raises(InputError, match=r"extensions are damaged .*--keep-header-text"):
        whole(path, keep_text=True)


def test_a_moved_grid_keeps_text_too(tmp_path):
    grid, _ = whole(put_noted(tmp_path / "v.nii"), keep_text=True)
    write_nifti(tmp_path / "m.nii", replace(grid, affine=MOVED), [np.zeros(grid.shape, np.uint8)], "u1")
    assert nibabel.load(tmp_path / "m.nii").header["descrip"].item() == TEXT["descrip"]
