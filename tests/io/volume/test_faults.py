from __future__ import annotations

import gzip
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.volume.nifti import open_volume
from tests.support.niftis import SHEARED, by_nibabel, files, numbers, put, whole
from tests.support.real import ZOO

BAD = {
    "time points": ({"dim": [4, 4, 3, 1, 2, 1, 1, 1]}, "4-D, with 2 volumes; --volume 0"),
    "vectors": ({"dim": [5, 4, 3, 1, 1, 2, 1, 1]}, "2 values per voxel"),
    "no axes": ({"dim": [0, 4, 3, 2, 1, 1, 1, 1]}, "impossible dimensions"),
    "eight axes": ({"dim": [8, 4, 3, 2, 1, 1, 1, 1]}, "impossible dimensions"),
    "zero size": ({"dim": [3, 4, 0, 2, 1, 1, 1, 1]}, "impossible dimensions"),
    "negative size": ({"dim": [3, -4, 3, 2, 1, 1, 1, 1]}, "impossible dimensions"),
    "huge": ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "70362301923678 bytes"),
    "complex": ({"datatype": 32}, "complex64"),
    "colours": ({"datatype": 128}, "type"),
    "bits": ({"datatype": 1}, "type"),
    "unknown type": ({"datatype": 9999}, "9999"),
    "magic": ({"magic": b"abc"}, "abc"),
    "pair": ({"magic": b"ni1"}, "pair"),
    "in the header": ({"vox_offset": 0}, "vox_offset"),
    "past the end": ({"vox_offset": 1e9}, "1000000048 bytes"),
    "nowhere": ({"vox_offset": np.nan}, "vox_offset"),
    "intercept": ({"scl_slope": 2, "scl_inter": np.inf}, "intercept"),
    "scale": ({"scl_slope": 1e37}, "float32"),
    "nan sform": ({"srow_x": [np.nan, 0, 0, 0]}, "sform is not finite"),
    "flat sform": ({"srow_x": [0, 0, 0, 0]}, r"sform .*singular"),
    "flat axis": ({"srow_x": [0, 0, 1, 0], "srow_y": [0, 1, 0, 0], "srow_z": [0, 0, 1, 0]}, r"sform .*singular"),
    "far sform": ({"srow_x": [-1e35, 0, 0, 0]}, "sform is not finite"),
    "overflow": ({"version": 2, "srow_x": [1e308, 0, 0, 0], "xyzt_units": 1}, "sform is not finite"),
    "pixdim 0": ({"sform_code": 0, "pixdim": [1, 1, 0, 1, 1, 1, 1, 1]}, "pixdim"),
    "nan pixdim": ({"sform_code": 0, "qform_code": 1, "pixdim": [1, 1, np.nan, 1, 1, 1, 1, 1]}, "pixdim"),
    "quaternion": ({"sform_code": 0, "qform_code": 1, "quatern_b": 2, "pixdim": [1] * 8}, "qform"),
    "nan qform": ({"sform_code": 0, "qform_code": 1, "qoffset_x": np.nan, "pixdim": [1] * 8}, "qform is not finite"),
}

CODES = {
    "4d": {"time points", "vectors"},
    "voxel-type": {"complex", "colours", "bits", "unknown type", "intercept"},
    "spacing-zero": {"pixdim 0", "nan pixdim", "flat axis"},
    "affine-not-finite": {"nan sform", "far sform", "overflow", "quaternion", "nan qform"},
    "affine-singular": {"flat sform"},
}
"""By code: faults that are not just unreadable."""


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@pytest.mark.parametrize("fault", BAD)
def test_a_faulty_header_is_refused_with_its_fault(tmp_path, fault, name):
    fields, words = BAD[fault]
    code = next((code for code, faults in CODES.items() if fault in faults), "unreadable")
    if fault == "past the end" and name.endswith("gz"):
        words = "at most"
    path = put(tmp_path / name, numbers((4, 3, 2), "u2"), **fields)
    with pytest.raises(InputError, match=words) as caught:
        open_volume(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.code == code


@pytest.mark.parametrize("content", [b"", b"\x5c\x01", b"\x1f\x8b", b"not a volume, but text" * 40, bytes(348)])
def test_what_is_no_nifti_is_refused(tmp_path, content):
    path = tmp_path / "v.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="NIfTI"):
        open_volume(path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    for path in [tmp_path / "absent.nii", tmp_path]:
        with pytest.raises(InputError, match="cannot be opened"):
            open_volume(path)


def test_a_size_that_matters_to_no_affine_may_be_wrong(tmp_path):
    sizes = [1, 0, -2, np.nan, 0, 0, 0, 0]
    grid, _ = whole(put(tmp_path / "v.nii", numbers((4, 3, 2), "u2"), pixdim=sizes))
    np.testing.assert_allclose(np.array(grid.affine)[:, [2, 1, 0, 3]], SHEARED, rtol=1e-6)
    flat, _ = whole(put(tmp_path / "w.nii", numbers((4, 3), "u2"), pixdim=[1, 2, 3, 0, 0, 0, 0, 0], sform_code=0))
    assert flat.spacing == (1, 3, 2)


@files
@given(length=st.integers(0, 10_000), name=st.sampled_from(["v.nii", "v.nii.gz"]))
def test_a_file_cut_short_is_refused(tmp_path, length, name):
    path = put(tmp_path / name, numbers((12, 11, 10), "i2"))
    content = path.read_bytes()
    path.write_bytes(content[: length % len(content)])
    with pytest.raises(InputError, match=path.name):
        whole(path)


@settings(files, max_examples=60)
@given(place=st.integers(10, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_in_a_gzip_file_is_found_or_harmless(tmp_path, place, bit):
    stored = numbers((12, 11, 10), "i2") // 1000
    path = put(tmp_path / "v.nii.gz", stored)
    content = bytearray(path.read_bytes())
    content[10 + place % (len(content) - 10)] ^= 1 << bit  # the ten bytes before are gzip's own, and not checked
    path.write_bytes(content)
    try:
        values = whole(path)[1].values
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017  (harmless bits exist: deflate can say the same in several ways)
    else:
        np.testing.assert_array_equal(values[0], stored.T)


def test_damage_is_found_again_by_a_second_try(tmp_path):
    path = put(tmp_path / "v.nii.gz", numbers((300, 301, 10), "i2"))  # larger than what is unpacked ahead
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    source = open_volume(path)
    for _ in range(3):
        with pytest.raises(InputError, match=r"slice 9 \(of 10.*CRC"):
            source.read(Box.whole((10, 301, 300)))
        assert source.read(Box((3, 0, 0), (4, 301, 300))).values.any()
    source.close()


@settings(files, max_examples=150)
@given(
    changes=st.lists(st.tuples(st.integers(4, 543), st.integers(0, 255)), min_size=1, max_size=12),
    version=st.sampled_from([1, 2]),
    name=st.sampled_from(["v.nii", "v.nii.gz"]),
)
def test_any_header_is_read_or_refused_and_claims_no_memory(tmp_path, changes, version, name):
    path = put(tmp_path / name, numbers((5, 4, 3), "i2"), version=version)
    content = bytearray(gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    tracemalloc.start()
    try:
        grid, _ = whole(path)
        assert np.isfinite(grid.affine).all()
        assert json.dumps(grid.reference, allow_nan=False)
        assert min(grid.spacing) > 0
    except InputError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**21


@pytest.mark.skipif(not ZOO.is_dir(), reason="the real data are not here")
def test_every_file_of_the_zoo_is_read_as_nibabel_does_or_refused():
    refused = set()
    for path in sorted(p for p in ZOO.rglob("*") if p.is_file()):
        try:
            grid, pixels = whole(path)
        except InputError:
            refused.add(path.name)
            continue
        expected, affine = by_nibabel(path)
        np.testing.assert_array_equal(pixels.values[0], expected.astype(pixels.values.dtype), err_msg=path.name)
        np.testing.assert_array_equal(np.array(grid.affine)[:, [2, 1, 0, 3]], affine, err_msg=path.name)
    odd = {p.name for p in (ZOO / "made_odd").iterdir()}
    assert odd & refused == {
        *("bad_magic.nii", "bad_sizeof_hdr.nii", "complex64.nii.gz", "d4_three_timepoints.nii.gz", "dim0_zero.nii"),
        *("empty.nii", "gz_bad_crc.nii.gz", "gz_flipped_byte.nii.gz", "gz_truncated_half.nii.gz", "nan_sform.nii"),
        *("huge_dims_32767.nii", "neg_dim.nii", "orphan_hdr.hdr", "singular_sform.nii", "text_named.nii.gz"),
        *("truncated_voxels.nii", "unknown_datatype_9999.nii", "vox_offset_past_eof.nii", "zero_dim.nii"),
    }
