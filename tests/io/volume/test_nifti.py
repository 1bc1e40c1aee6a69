from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import Box, Grid
from pipeline.io.volume.nifti import open_volume, write_nifti
from tests.support.niftis import MOVED, SHEARED, by_nibabel, files, numbers, put, whole

INTEGERS = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8"]
TEXT = {"descrip": b"JANE DOE", "aux_file": b"DOE.dcm", "intent_name": b"DOE scan", "db_name": b"DOE", "cal_max": 9}
CHANGED = {"sizeof_hdr", "datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter", "cal_max", "cal_min"}
CHANGED |= {"descrip", "aux_file", "intent_code", "intent_name", "intent_p1", "intent_p2", "intent_p3", "magic"}
CHANGED |= {"data_type", "db_name", "extents", "session_error", "regular", "glmax", "glmin", "eol_check", "unused_str"}


def spans(shape: tuple[int, ...]):
    pairs = [st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted) for n in shape]
    return st.tuples(*pairs).map(lambda s: Box(tuple(a for a, _ in s), tuple(b for _, b in s)))


SHAPES = st.one_of(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.just(1), st.just(1)),
)


@files
@given(
    data=st.data(),
    shape=SHAPES,
    kind=st.sampled_from([*INTEGERS, "f4", "f8"]),
    scale=st.sampled_from([(1, 0), (0, 5), (np.nan, 0), (2, -1024), (0.0003709984, -17.3), (-1.5, 3.25)]),
    version=st.sampled_from([1, 2]),
    order=st.sampled_from("<>"),
    name=st.sampled_from(["v.nii", "v.nii.gz"]),
    note=st.sampled_from(["", "an extension"]),
)
def test_any_box_is_what_nibabel_reads(tmp_path, data, shape, kind, scale, version, order, name, note):
    stored = numbers(shape, kind)
    fields = {"scl_slope": scale[0], "scl_inter": scale[1]}
    path = put(tmp_path / name, stored, version=version, order=order, note=note, **fields)
    expected, affine = by_nibabel(path)
    box = data.draw(spans(expected.shape))
    with closing(open_volume(path)) as source:
        pixels = source.read(box)

    scaled = np.isfinite(scale[0]) and scale[0] != 0 and scale != (1, 0)
    assert source.dtype == pixels.values.dtype == (kind if kind in INTEGERS and not scaled else np.float32)
    assert pixels.values.dtype.isnative
    np.testing.assert_array_equal(pixels.values[0], expected.astype(source.dtype)[box.slices])
    assert (pixels.valid is None) == (kind in INTEGERS)
    assert source.grid.shape == expected.shape
    np.testing.assert_array_equal(np.array(source.grid.affine)[:, [2, 1, 0, 3]], affine)


@files
@given(order=st.permutations(range(6)))
def test_gzip_may_be_read_in_any_order_and_more_than_once(tmp_path, order):
    stored = numbers((5, 4, 6), "i2")
    source = open_volume(put(tmp_path / "v.nii.gz", stored))
    assert source.info.sequential
    for z in [*order, *order]:
        values = source.read(Box((z, 0, 0), (z + 1, 4, 5))).values
        np.testing.assert_array_equal(values[0, 0], stored[:, :, z].T)
    source.close()


def test_a_file_of_several_gzip_members_is_one(tmp_path):
    """As bgzip packs them."""
    stored = numbers((30, 20, 10), "i2")
    content = put(tmp_path / "v.nii", stored).read_bytes()
    packed = tmp_path / "v.nii.gz"
    packed.write_bytes(
        b"".join(gzip.compress(content[at : at + 999]) for at in range(0, len(content), 999)) + bytes(64)
    )
    np.testing.assert_array_equal(whole(packed)[1].values[0], stored.T)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_any_thread_may_read(tmp_path, name):
    stored = numbers((40, 30, 20), "i2")
    source = open_volume(put(tmp_path / name, stored))
    rows = [int(z) for z in np.random.default_rng(0).integers(0, 20, 200)]
    with ThreadPoolExecutor(8) as pool:
        slices = list(pool.map(lambda z: source.read(Box((z, 0, 0), (z + 1, 30, 40))).values[0, 0], rows))
    source.close()
    assert source.info.sequential == name.endswith("gz")
    for z, values in zip(rows, slices, strict=True):
        np.testing.assert_array_equal(values, stored[:, :, z].T)


def test_a_closed_source_refuses_to_read(tmp_path):
    for name in ["v.nii", "v.nii.gz"]:
        source = open_volume(put(tmp_path / name, numbers((2, 2, 2), "u1")))
        source.close()
        with pytest.raises(ValueError, match="closed"):
            source.read(Box.whole((2, 2, 2)))


def test_a_box_outside_of_the_grid_is_refused(tmp_path):
    source = open_volume(put(tmp_path / "v.nii", numbers((2, 3, 4), "u1")))
    with pytest.raises(ValueError, match=r"\(4, 3, 2\)"):
        source.read(Box((0, 0, 0), (4, 3, 3)))
    source.close()


def test_what_is_not_finite_is_not_observed(tmp_path):
    stored = np.array([0, np.nan, np.inf, -np.inf, 1e300, -1]).reshape(6, 1, 1)
    grid, pixels = whole(put(tmp_path / "v.nii", stored))
    assert grid.shape == (1, 1, 6)
    assert pixels.values.dtype == np.float32
    assert pixels.valid.ravel().tolist() == [True, False, False, False, False, True]


def test_gzip_is_known_by_its_bytes_not_by_its_name(tmp_path):
    stored = numbers((3, 4, 5), "i2")
    packed = put(tmp_path / "v.nii.gz", stored)
    np.testing.assert_array_equal(whole(packed.rename(tmp_path / "v.nii"))[1].values[0], stored.T)
    plain = put(tmp_path / "w.nii", stored)
    np.testing.assert_array_equal(whole(plain.rename(tmp_path / "w.nii.gz"))[1].values[0], stored.T)


def quaternion(rng: np.random.Generator) -> dict[str, float]:
    axis = rng.normal(size=3)
    b, c, d = axis / np.linalg.norm(axis) * rng.uniform(0, 0.999)
    return {"quatern_b": b, "quatern_c": c, "quatern_d": d, "qoffset_x": -90.1, "qoffset_y": 33.7, "qoffset_z": 1e-3}


def geometry(seed: int, codes: tuple[int, int], units: int, qfac: float) -> dict[str, object]:
    """Header fields of an odd but possible volume: sform and qform that disagree, shear, odd further axes."""
    rng = np.random.default_rng(seed)
    rows = {f"srow_{axis}": SHEARED[i] + rng.uniform(-0.05, 0.05, 4) for i, axis in enumerate("xyz")}
    return {
        **rows,
        **quaternion(rng),
        "qform_code": codes[0],
        "sform_code": codes[1],
        "pixdim": [qfac, *rng.uniform(0.3, 5, 3), 2.5, 0, 1, -1],
        "xyzt_units": units,
        "dim_info": 57,
        "slice_code": 3,
        "slice_end": 4,
        "slice_duration": 0.07,
        "toffset": 12.5,
    }


GEOMETRIES = st.builds(
    geometry,
    st.integers(0, 999),
    st.sampled_from([(0, 0), (1, 0), (4, 0), (0, 2), (1, 1), (2, 5)]),
    st.sampled_from([0, 2, 10]),
    st.sampled_from([-1.0, 0.0, 1.0]),
)


@files
@given(fields=GEOMETRIES, shape=SHAPES, version=st.sampled_from([1, 2]), order=st.sampled_from("<>"))
def test_the_affine_is_the_one_that_nibabel_chooses(tmp_path, fields, shape, version, order):
    path = put(tmp_path / "v.nii", numbers(shape, "u1"), version=version, order=order, **fields)
    grid, _ = whole(path)
    np.testing.assert_array_equal(np.array(grid.affine)[:, [2, 1, 0, 3]], by_nibabel(path)[1])
    assert grid.axes == ("z", "y", "x")


@pytest.mark.parametrize(("units", "factor"), [(1, 1000), (2, 1), (3, 0.001), (0, 1), (10, 1), (11, 0.001)])
def test_a_grid_is_in_millimetres_whatever_the_unit_of_the_header(tmp_path, units, factor):
    path = put(tmp_path / "v.nii", numbers((2, 3, 4), "u1"), xyzt_units=units)
    grid, _ = whole(path)
    rows = SHEARED[:3].astype(np.float32).astype(float) * factor
    np.testing.assert_allclose(np.array(grid.affine)[:3][:, [2, 1, 0, 3]], rows, rtol=1e-12)
    write_nifti(tmp_path / "out.nii", grid, [np.zeros(grid.shape, np.uint8)], "u1")
    assert nibabel.load(tmp_path / "out.nii").header["xyzt_units"] == units
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii").get_sform(), nibabel.load(path).get_sform())


@files
@given(
    fields=GEOMETRIES,
    shape=SHAPES,
    version=st.sampled_from([1, 2]),
    order=st.sampled_from("<>"),
    name=st.sampled_from(["out.nii", "out.nii.gz"]),
    dtype=st.sampled_from(["u1", "u2"]),
    rows=st.integers(1, 6),
)
def test_labels_are_written_on_exactly_the_grid_that_was_read(
    tmp_path, fields, shape, version, order, name, dtype, rows
):
    path = put(tmp_path / "v.nii", numbers(shape, "i2"), version=version, order=order, **fields, **TEXT)
    grid, _ = whole(path)
    reference = json.loads(json.dumps(grid.reference, allow_nan=False))
    assert reference == grid.reference
    labels = np.random.default_rng(1).integers(0, 256, grid.shape).astype(dtype)
    slabs = (labels[z : z + rows] for z in range(0, len(labels), rows))
    write_nifti(tmp_path / name, replace(grid, reference=reference), slabs, dtype, description="made by a test")

    before, after = nibabel.load(path), nibabel.load(tmp_path / name)
    for field in before.header:
        if field not in CHANGED:
            np.testing.assert_array_equal(after.header[field], before.header[field], err_msg=field)
    assert type(after) is type(before)
    assert after.shape == before.shape
    assert after.get_data_dtype() == np.dtype(dtype)
    assert after.header.endianness == "<"
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(np.asarray(after.dataobj).reshape(labels.T.shape), labels.T)
    assert after.header["intent_code"] == 1002
    assert after.header["descrip"].item() == b"made by a test"
    assert not len(after.header.extensions)
    assert whole(tmp_path / name)[0] == grid


def test_no_text_of_the_input_is_carried_over(tmp_path):
    path = put(tmp_path / "v.nii", numbers((3, 3, 3), "u1"), note="DOE, a comment", **TEXT)
    assert b"DOE" in path.read_bytes()
    grid, _ = whole(path)
    write_nifti(tmp_path / "out.nii", grid, [np.zeros(grid.shape, np.uint8)], "u1")
    assert b"DOE" not in (tmp_path / "out.nii").read_bytes()
    assert "DOE" not in str(grid.reference)


def test_numbers_that_json_has_no_word_for_come_back(tmp_path):
    sizes = [1, np.nan, 2, 3, np.inf, -np.inf, 0.1, 0]
    grid, _ = whole(put(tmp_path / "v.nii", numbers((3, 3, 3), "u1"), pixdim=sizes))
    reference = json.loads(json.dumps(grid.reference, allow_nan=False))
    write_nifti(tmp_path / "out.nii", replace(grid, reference=reference), [np.zeros(grid.shape, np.uint8)], "u1")
    content = (tmp_path / "out.nii").read_bytes()
    written = nibabel.Nifti1Header(content[:348], check=False)["pixdim"]
    np.testing.assert_array_equal(written, np.float32(sizes))


@pytest.mark.parametrize("origin", [{}, {"nifti": "of another grid"}])
def test_a_grid_of_another_origin_is_written_as_sform_in_millimetres(tmp_path, origin):
    if origin:
        origin = whole(put(tmp_path / "v.nii", numbers((5, 4, 3), "u1")))[0].reference
    grid = Grid((3, 4, 5), MOVED, ("z", "y", "x"), reference=origin)
    labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    write_nifti(tmp_path / "out.nii.gz", grid, iter(labels[:, None]), np.uint8)
    image = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(image.get_sform(), np.array(MOVED)[:, [2, 1, 0, 3]])
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (2, 0)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms(), grid.spacing[::-1], rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels.T)
    assert whole(tmp_path / "out.nii.gz")[0] == grid


def test_a_grid_too_long_for_nifti_1_becomes_nifti_2(tmp_path):
    grid = Grid((1, 1, 40_000), MOVED, ("z", "y", "x"))
    write_nifti(tmp_path / "out.nii", grid, [np.ones(grid.shape, np.uint8)], "u1")
    assert isinstance(nibabel.load(tmp_path / "out.nii"), nibabel.Nifti2Image)
    assert whole(tmp_path / "out.nii")[1].values.all()
