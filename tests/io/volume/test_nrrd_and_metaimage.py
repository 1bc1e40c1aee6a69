"""NRRD and MetaImage are read as SimpleITK reads them, in bounded memory, and damage is seen."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from contextlib import nullcontext
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.archive.archive import version_of
from pipeline.cli import app
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.opening import input_version, open_source, stamp_of
from pipeline.io.volume.stream import open_stream
from pipeline.jobs.inputs import find_inputs
from pipeline.jobs.outputs import name_outputs
from pipeline.testing import SourceContract
from tests.support.dicoms import TILTED, normal_of, pixels
from tests.support.inputs import labels_of, put_volume
from tests.support.niftis import files

NAMES = ("v.nrrd", "v.nhdr", "v.mha", "v.mhd")
DIRECTION = np.c_[TILTED[:3], TILTED[3:], -normal_of(TILTED)]


def put(path: Path, values, *, packed=False, direction=DIRECTION, spacing=(0.5, 0.75, 2.5), origin=(-9.5, 3.25, 70.0)):
    image = SimpleITK.GetImageFromArray(values)
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    SimpleITK.WriteImage(image, str(path), packed)
    return path


def whole(path: Path):
    source = open_source(path)
    try:
        return source.grid, source.read(Box.whole(source.grid.shape)).values[0]
    finally:
        source.close()


def by_simpleitk(path: Path):
    """Values (z, y, x) and the affine of (z, y, x) in RAS+."""
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    turned = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3] = np.c_[turned[:, ::-1], image.GetOrigin()]
    affine[:2] *= -1
    return SimpleITK.GetArrayFromImage(image), affine


@settings(files, max_examples=25)
@given(
    name=st.sampled_from(NAMES),
    packed=st.booleans(),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    kind=st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "f4"]),
    axes=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_values_and_places_are_those_of_simpleitk(tmp_path, name, packed, shape, kind, axes, signs):
    values = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    path = put(tmp_path / name, values, packed=packed, direction=DIRECTION[:, axes] * signs)
    expected, affine = by_simpleitk(path)
    grid, ours = whole(path)
    assert ours.dtype == values.dtype
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(grid.affine, affine, atol=1e-9)


@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (-1, -1)), ("LAS", (-1, 1)), ("right-anterior-superior", (1, 1)), ("RAS", (1, 1))],
)
def test_each_space_of_nrrd_becomes_ras(tmp_path, space, signs):
    directions = np.array([[0.5, 0.1, 0], [0, 0.75, 0.2], [0.1, 0, 2.5]])  # sheared, which SimpleITK refuses
    header = {"space": space, "space directions": directions, "space origin": [1, 2, 3]}
    values = pixels((4, 3, 2), "i2")
    nrrd.write(str(tmp_path / "v.nrrd"), values, header)
    grid, ours = whole(tmp_path / "v.nrrd")
    np.testing.assert_array_equal(ours, values.T)
    for at in ((0, 0, 0), (3, 2, 1), (1, 0, 1)):
        place = (np.array([1, 2, 3]) + np.array(at) @ directions) * (*signs, 1)
        np.testing.assert_allclose((np.array(grid.affine) @ (*at[::-1], 1))[:3], place, atol=1e-12)


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("skip", [0, 7, -1])
def test_byte_order_and_skipped_bytes(tmp_path, order, skip):
    values = pixels((2, 3, 4), "i2")
    (tmp_path / "v.raw").write_bytes(
        b"x" * (7 if skip else 0) + values.astype(">i2" if order == "big" else "<i2").tobytes()
    )
    (tmp_path / "v.nhdr").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nspace: RAS\nsizes: 4 3 2\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        f"endian: {order}\nencoding: raw\nbyte skip: {skip}\ndata file: v.raw\n\n"
    )
    (tmp_path / "v.mhd").write_text(
        f"NDims = 3\nDimSize = 4 3 2\nBinaryData = True\nElementByteOrderMSB = {order == 'big'}\nHeaderSize = {skip}\n"
        "ElementSpacing = 1 1 1\nElementType = MET_SHORT\nElementDataFile = v.raw\n"
    )
    for name in ("v.nhdr", "v.mhd"):
        np.testing.assert_array_equal(whole(tmp_path / name)[1], values)


class TestContract(SourceContract):
    @pytest.fixture(params=NAMES)
    def source(self, request, tmp_path):
        return open_source(put(tmp_path / request.param, pixels((6, 5, 4), "i2"), packed=True))

    def test_it_is_sequential(self, opened):
        assert opened.info.sequential


def stored(path: Path) -> Path:
    """The file with the voxels."""
    return next((path.with_suffix(end) for end in (".raw.gz", ".zraw", ".raw") if path.with_suffix(end).exists()), path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["flip", "cut", "checksum"])
def test_damage_in_packed_voxels_is_seen(tmp_path, name, damage):
    path = put(tmp_path / name, pixels((9, 30, 40), "i2"), packed=True)
    at = stored(path)
    content = bytearray(at.read_bytes())
    if damage == "cut":
        del content[-900:]
    else:
        content[-1 if damage == "checksum" and name.startswith("v.m") else -6 if damage == "checksum" else -5000] ^= (
            0xFF
        )
    at.write_bytes(content)
    with pytest.raises(InputError, match="damaged at or before slice"):
        whole(path)


@pytest.mark.parametrize("damage", ["flip", "cut", None])
def test_a_checksum_beyond_the_piece_with_the_last_byte_is_seen_to(tmp_path, damage):
    piece = 1 << 20
    size = piece - 200
    size += piece + 2 - len(zlib.compress(bytes(size), 0))  # stored as it is, and two bytes of checksum are left over
    content = bytearray(zlib.compress(bytes(size), 0))
    assert len(content) == piece + 2
    if damage == "flip":
        content[-1] ^= 0xFF
    (tmp_path / "packed").write_bytes(content[:-2] if damage == "cut" else content)
    stream = open_stream(tmp_path / "packed", 0, "zlib")
    target = bytearray(size)
    stream.read_into(0, memoryview(target))
    expected = {"flip": pytest.raises(zlib.error), "cut": pytest.raises(EOFError), None: nullcontext()}
    with expected[damage]:
        stream.read_into(size - 9, memoryview(target)[:9], last=True)
    stream.close()


@pytest.mark.parametrize("name", NAMES)
def test_voxels_that_are_too_few_or_gone_are_refused_at_once(tmp_path, name):
    path = put(tmp_path / name, pixels((3, 4, 5), "i2"))
    at = stored(path)
    at.write_bytes(at.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"needs 120 bytes for its shape \(3, 4, 5\)"):
        open_source(path)
    if at != path:
        at.unlink()
        with pytest.raises(InputError, match=r"voxels in v\.\w+ cannot be opened"):
            open_source(path)


NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "LPS",
    "sizes": "2 2 2",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)",
    "endian": "little",
    "encoding": "raw",
}
META = {
    "NDims": "3",
    "DimSize": "2 2 2",
    "BinaryData": "True",
    "ElementSpacing": "1 1 1",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": None}, "no anatomical space"),
        ({"space": "scanner-xyz"}, "no anatomical space"),
        ({"space units": '"m" "m" "m"'}, "units other than mm"),
        ({"encoding": "ascii"}, "encoding other than raw and gzip"),
        ({"type": "block", "block size": "3"}, "type that is not supported"),
        ({"dimension": "2", "sizes": "2 4", "space directions": "(1,0,0) (0,1,0)"}, "has 2 axes"),
        ({"space directions": "(1,0,0) (0,1,0) (1,0,0)"}, "fold it flat"),
        ({"space directions": "(1,0,0) (0,0,0) (0,0,1)"}, "not finite, or 0"),
        ({"space directions": None}, "no direction"),
        ({"data file": "LIST"}, "in several files"),
        ({"sizes": "x"}, "no NRRD header"),
    ],
)
def test_a_faulty_nrrd_is_refused(tmp_path, change, words):
    lines = [f"{key}: {value}" for key, value in (NRRD | change).items() if value is not None]
    (tmp_path / "v.nrrd").write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + bytes(16))
    with pytest.raises(InputError, match=words) as caught:
        open_source(tmp_path / "v.nrrd")
    assert str(caught.value).startswith(f"{tmp_path / 'v.nrrd'}: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"DimSize": None}, "no MetaImage header"),
        ({"DimSize": "2 4"}, "has 2 axes"),
        ({"DimSize": "2 4 x"}, "no finite numbers for DimSize"),
        ({"DimSize": "-2 2 -2"}, "impossible shape"),
        ({"ElementNumberOfChannels": "3"}, r"\[3.0\] values per voxel"),
        ({"BinaryData": "False"}, "as text"),
        ({"ElementType": "MET_STRING"}, "type that is not supported"),
        ({"ElementSpacing": "1 1"}, "ElementSpacing of 3"),
        ({"ElementSpacing": "1 0 1"}, "not finite, or 0"),
        ({"TransformMatrix": "1 0 0 0 1 0 1 0 0"}, "fold it flat"),
        ({"Offset": "1 2"}, "no direction"),
        ({"ElementDataFile": "LIST"}, "in several files"),
    ],
)
def test_a_faulty_metaimage_is_refused(tmp_path, change, words):
    made = META | change
    lines = [f"{key} = {value}" for key, value in made.items() if value is not None]
    lines.sort(key=lambda line: line.startswith("ElementDataFile"))
    (tmp_path / "v.mha").write_bytes("\n".join([*lines, ""]).encode() + bytes(16))
    with pytest.raises(InputError, match=words) as caught:
        open_source(tmp_path / "v.mha")
    assert str(caught.value).startswith(f"{tmp_path / 'v.mha'}: ")


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
def test_memory_does_not_grow_with_the_slices(tmp_path, name):
    def peak(depth: int) -> int:
        source = open_source(put(tmp_path / name, np.zeros((depth, 256, 256), np.int16) + 7, packed=True))
        tracemalloc.start()
        for z in range(depth):
            source.read(Box((z, 0, 0), (z + 1, 256, 256)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        source.close()
        return most

    assert peak(128) < 1.05 * peak(64) < 6 * 2**20


@pytest.mark.parametrize("name", ["v.nhdr", "v.mhd"])
def test_the_identity_is_that_of_header_and_voxels(tmp_path, name):
    path = put(tmp_path / name, pixels((3, 4, 5), "i2"))
    before, stamp, version = input_version(path), stamp_of(str(path)), version_of(str(path))
    at = stored(path)
    at.write_bytes(b"\1" + at.read_bytes()[1:])
    os.utime(at, (1, 1))
    assert input_version(path) != before
    assert stamp_of(str(path)) != stamp
    assert version_of(str(path))[1] != version[1]


def test_they_are_found_and_segmented_as_the_nifti_of_them(tmp_path, models):
    values = pixels((4, 60, 70), "i2") % 200
    folder = tmp_path / "in"
    folder.mkdir()
    put(folder / "a.nrrd", values, packed=True)
    put(folder / "b.mhd", values)
    grid, _ = whole(folder / "a.nrrd")
    put_volume(tmp_path / "same.nii", values.T, np.array(grid.affine)[:, [2, 1, 0, 3]])
    found = find_inputs([str(folder)])
    assert [Path(item).name for item in found] == ["a.nrrd", "b.mhd"]
    assert name_outputs(found, "out", [str(folder)]) == (Path("out/a_mask.nii.gz"), Path("out/b_mask.nii.gz"))
    words = ["run", "--model", str(models / "volume"), "--no-prefect", "--quiet", "--input"]
    for item in (*found, str(tmp_path / "same.nii")):
        ended = CliRunner().invoke(app, [*words, item])
        assert ended.exit_code == 0, ended.output
    expected = labels_of(tmp_path / "same_mask.nii.gz")
    assert len(np.unique(expected)) > 1
    for name in ("a", "b"):
        np.testing.assert_array_equal(labels_of(folder / f"{name}_mask.nii.gz"), expected)
