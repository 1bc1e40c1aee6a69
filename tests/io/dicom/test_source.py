"""A DICOM series is read as other readers have it, or refused with numbers and a code of its own."""

from __future__ import annotations

import json
import shutil
import time
import tomllib
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from typer.testing import CliRunner

from pipeline.archive.archive import version_of
from pipeline.archive.pseudonyms import without_names
from pipeline.cli import app
from pipeline.errors import LASTING, InputError, RequestError
from pipeline.geometry import Box
from pipeline.io.dicom import files as files_room
from pipeline.io.dicom.encoding import layout_of
from pipeline.io.formats import look
from pipeline.io.opening import input_version, open_source, stamp_of
from pipeline.io.suffixes import stem_of
from pipeline.jobs.inputs import find_inputs, jobs_of
from pipeline.jobs.job_file import read_request
from pipeline.jobs.outputs import name_outputs
from pipeline.runs.report import Report
from pipeline.testing import SourceContract
from tests.support.dicoms import TILTED, UPRIGHT, by_simpleitk, normal_of, pixels, places_of, put_series
from tests.support.inputs import labels_of, put_volume
from tests.support.niftis import files
from tests.support.real import DATA


def whole(path: Path, series: str | None = None):
    """Grid and values of a series."""
    source = open_source(path, series=series)
    try:
        return source.grid, source.read(Box.whole(source.grid.shape)).values[0]
    finally:
        source.close()


@st.composite
def turns(draw):
    """Direction cosines of rows and columns, any way round."""
    four = np.array(draw(st.tuples(*[st.integers(-9, 9)] * 4).filter(any)), float)
    a, b, c, d = four / np.linalg.norm(four)
    row = (a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c))
    column = (2 * (b * c - a * d), a * a - b * b + c * c - d * d, 2 * (c * d + a * b))
    return (*row, *column)


@settings(files, max_examples=12)
@given(
    turn=turns(),
    shape=st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6)),
    step=st.sampled_from([-3.0, -0.7, 0.625, 5.0]),
    kind=st.sampled_from(["u2", "i2"]),
    data=st.data(),
)
def test_values_and_places_are_those_of_the_tags(tmp_path, turn, shape, step, kind, data):
    stored, places = pixels(shape, kind), places_of(shape[0], step, turn)
    scales = [(slope, 3.0 * number) for number, slope in enumerate((1.0, 2.5, 1.0, 0.5, 1.0)[: shape[0]])]
    order = data.draw(st.permutations(range(shape[0])))
    shutil.rmtree(tmp_path / "s", ignore_errors=True)
    grid, values = whole(
        put_series(tmp_path / "s", stored, orientation=turn, places=places, scales=scales, order=order)
    )
    by_slice = np.array(scales)[:, :, None, None]
    expected = (stored * by_slice[:, 0] + by_slice[:, 1]).astype(np.float32)
    ascending = slice(None, None, int(np.sign(step)))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected[ascending])
    for z, y, x in ((0, 0, 0), tuple(np.array(shape) - 1), (1, 0, shape[2] // 2)):
        left = places[ascending][z] + y * 0.75 * np.array(turn[3:]) + x * 0.5 * np.array(turn[:3])
        world = np.array(grid.affine) @ (z, y, x, 1)
        np.testing.assert_allclose(world[:3], left * (-1, -1, 1), atol=1e-9)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("turn", [UPRIGHT, TILTED, (0, 1, 0, 0, 0, -1)], ids=["upright", "oblique", "sagittal"])
def test_it_is_what_simpleitk_reads(tmp_path, modality, turn):
    stored = pixels((5, 4, 6), "u2" if modality == "CT" else "i2")
    put_series(tmp_path / "s", stored, modality=modality, orientation=turn, step=-2.5, order=[3, 0, 4, 2, 1])
    values, affine = by_simpleitk(tmp_path / "s")
    grid, ours = whole(tmp_path / "s")
    np.testing.assert_array_equal(ours, values)
    assert ours.dtype == np.int16
    np.testing.assert_allclose(grid.affine, affine, atol=1e-6)


@pytest.mark.parametrize("series", ["12-T1post-05670", "13_HCropVolume"])
@pytest.mark.skipif(not (DATA / "dicom_mr_brain").exists(), reason="the real series are not here")
def test_real_series_are_what_simpleitk_reads(series):
    folder = DATA / "dicom_mr_brain/Study1" / series
    values, affine = by_simpleitk(folder)
    grid, ours = whole(folder)
    np.testing.assert_array_equal(ours, values)
    np.testing.assert_allclose(grid.affine, affine, atol=0.001)


@pytest.mark.parametrize(
    ("kind", "scale", "dtype"),
    [
        ("u2", (1, -1024), "i2"),
        ("i2", (1, 0), "i2"),
        ("i2", (2, 0), "i4"),
        ("u2", (10, 0), "u2"),
        ("u2", (0.5, 0), "f4"),
        ("u2", (1, 0.5), "f4"),
    ],
)
def test_whole_scales_give_the_smallest_whole_type(tmp_path, kind, scale, dtype):
    stored = pixels((2, 3, 3), kind)
    _, values = whole(put_series(tmp_path / "s", stored, scales=[scale] * 2))
    assert values.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(values, stored.astype(float) * scale[0] + scale[1])


@pytest.mark.parametrize(
    "syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda s: getattr(s, "name", "")
)
@pytest.mark.parametrize("frames", [False, True], ids=["slices", "frames"])
def test_compressed_slices_and_frames_are_the_same_volume(tmp_path, syntax, frames):
    stored, order = pixels((4, 40, 48)), [2, 0, 3, 1]
    scales = [(1.0, float(number)) for number in range(4)]
    how = {"orientation": TILTED, "scales": scales, "order": order}
    plain, values = whole(put_series(tmp_path / "plain", stored, **how))
    grid, same = whole(put_series(tmp_path / "other", stored, **how, frames=frames, syntax=syntax))
    assert grid == plain
    np.testing.assert_array_equal(same, values)


class TestContract(SourceContract):
    @pytest.fixture(params=[False, True], ids=["slices", "frames"])
    def source(self, request, tmp_path):
        return open_source(put_series(tmp_path / "s", pixels((6, 9, 8)), frames=request.param))


def test_a_zip_is_its_folder(tmp_path):
    folder = put_series(tmp_path / "p1" / "scan.1.2", pixels((3, 4, 5)), orientation=TILTED)
    packed = Path(shutil.make_archive(str(tmp_path / "scan"), "zip", tmp_path / "p1"))
    one, values = whole(folder)
    other, same = whole(packed)
    assert one == other
    np.testing.assert_array_equal(values, same)
    put_series(tmp_path / "e", pixels((3, 4, 5)), frames=True)
    with pytest.raises(InputError, match=r"3 frames in a zip.*unzip it"):
        whole(Path(shutil.make_archive(str(tmp_path / "e"), "zip", tmp_path / "e")))


def moved(at: int, by: tuple[float, ...], count: int = 6):
    places = places_of(count, 2.0, UPRIGHT)
    places[at] += by
    return {"places": places}


FAULTS = {
    "missing": (
        {"places": places_of(8, 2.0, UPRIGHT)[[0, 1, 2, 4, 5, 7]]},
        "missing-slices",
        r"lacks 2 slices: slices are 2.000 mm apart, but 4.000 mm between IM0002 at 74.000 and IM0003 at 78.000",
    ),
    "duplicated": (
        moved(3, (0, 0, 2)),
        "duplicate-slices",
        r"1 slice too many: IM0003 and IM0004 are both.*78.000",
    ),
    "two times": ({"places": np.repeat(places_of(3, 2.0, UPRIGHT), 2, 0)}, "duplicate-slices", "3 slices too many"),
    "one place": ({"places": np.repeat(places_of(1, 2.0, UPRIGHT), 6, 0)}, "duplicate-slices", "5 slices too many"),
    "uneven": (moved(3, (0, 0, 0.7)), "uneven-slices", r"1.300 to 2.700 mm apart, 2.000 mm as a rule"),
    "aside": (moved(3, (1.5, 0, 0)), "mixed-slices", r"offset by up to 1.500 mm"),
    "gantry": (
        {"places": places_of(6, 2.0, UPRIGHT) + np.outer(np.arange(6), (0, 0.5, 0))},
        "gantry-tilt",
        r"tilted by 14.04 degrees: each slice is offset by 0.500 mm",
    ),
    "skew": ({"orientation": (1, 0, 0, 0.5, 0.5, 0)}, "unreadable", "not at right angles"),
    "pixel 0": ({"spacing": (0.0, 1.0)}, "unreadable", "PixelSpacing"),
    "colour": ({"SamplesPerPixel": 3}, "unsuitable", "3 values per pixel"),
    "bits": ({"BitsStored": 0}, "unreadable", "stores 0 bits"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_numbers(tmp_path, fault):
    how, code, words = FAULTS[fault]
    put_series(tmp_path / "s", pixels((6, 3, 3)), **how)
    with pytest.raises(InputError, match=words) as caught:
        open_source(tmp_path / "s")
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{tmp_path / 's'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"ImageOrientationPatient": list(TILTED)}, "mixed-slices", "several directions.*IM0000.*IM0002"),
        ({"PixelSpacing": [0.75, 0.6]}, "mixed-slices", r"0.75, 0.5\] mm \(IM0000\) and of \[0.75, 0.6\]"),
        ({"Rows": 2}, "mixed-slices", r"3 x 3 \(IM0000\) and of 2 x 3 \(IM0002\)"),
        ({"ImagePositionPatient": None}, "unreadable", "IM0002: has no ImagePositionPatient of 3"),
        ({"RescaleSlope": "1e400"}, "unreadable", "IM0002: has no RescaleSlope of 1"),
        ({"RescaleSlope": "0"}, "unreadable", "IM0002: has RescaleSlope 0 and"),
        ({"RescaleSlope": "1e-300"}, "unreadable", "IM0002: has RescaleSlope 1e-300 and"),
        ({"RescaleSlope": "-1e30"}, "unreadable", "IM0002: has RescaleSlope -1e.30 and"),
        ({"RescaleIntercept": "1e200"}, "unreadable", "IM0002: has RescaleSlope 1 and RescaleIntercept 1e.200,"),
        ({"SOPInstanceUID": None}, "unreadable", "IM0002: has no SOPInstanceUID"),
    ],
)
def test_one_slice_that_is_not_like_the_others_is_named(tmp_path, change, code, words):
    folder = put_series(tmp_path / "s", pixels((4, 3, 3)))
    one = pydicom.dcmread(folder / "IM0002")
    for name, value in change.items():
        setattr(one, name, value)
    one.save_as(folder / "IM0002")
    with pytest.raises(InputError, match=words) as caught:
        open_source(folder)
    assert caught.value.code == code


def test_only_headers_are_read_before_the_first_box(tmp_path):
    folder = put_series(tmp_path / "s", pixels((3, 30, 30)))
    path = folder / "IM0001"
    path.write_bytes(path.read_bytes()[:-300])
    source = open_source(folder)
    source.read(Box((0, 0, 0), (1, 30, 30)))
    with pytest.raises(InputError, match="IM0001: its pixels are damaged or cut short"):
        source.read(Box((1, 0, 0), (2, 30, 30)))


@pytest.mark.parametrize("length", [0, 132, 140, 400])
def test_a_cut_header_is_refused(tmp_path, length):
    folder = put_series(tmp_path / "s", pixels((3, 3, 3)))
    path = folder / "IM0001"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match="IM0001: "):
        whole(folder)


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    put_series(tmp_path / "s", pixels((3, 90, 90)))
    packed = Path(shutil.make_archive(str(tmp_path / "s"), "zip", tmp_path / "s"))
    content = bytearray(packed.read_bytes())
    content[content.rindex(b"PK\x03\x04") + 60] ^= 0xFF
    packed.write_bytes(content)
    with pytest.raises(InputError, match=r"file IM000\d: cannot be read"):
        whole(packed)
    with ZipFile(tmp_path / "stored.zip", "w") as archive:
        for path in sorted((tmp_path / "s").iterdir()):
            archive.write(path, path.name)
    stored = bytearray((tmp_path / "stored.zip").read_bytes())
    stored[stored.index(b"PK\x01\x02") - 9] ^= 0xFF  # among the last pixels
    (tmp_path / "stored.zip").write_bytes(stored)
    with pytest.raises(InputError, match="IM0002: its pixels are damaged"):
        whole(tmp_path / "stored.zip")
    (tmp_path / "cut.zip").write_bytes(content[:500])
    with pytest.raises(InputError):
        open_source(tmp_path / "cut.zip")


def test_one_slice_is_as_thick_as_it_says(tmp_path):
    grid, _ = whole(put_series(tmp_path / "s", pixels((1, 3, 3)), orientation=TILTED, step=4.0))
    np.testing.assert_allclose(np.array(grid.affine)[:3, 0], 4 * normal_of(TILTED) * (-1, -1, 1), atol=1e-12)


@pytest.fixture
def two(tmp_path):
    """A folder with two series."""
    put_series(tmp_path / "s", pixels((3, 4, 5)), uid="1.2.30")
    put_series(tmp_path / "t", pixels((2, 6, 7), "i2"), uid="1.2.31", modality="MR")
    for file in (tmp_path / "t").iterdir():
        file.rename(tmp_path / "s" / f"T{file.name}")
    (tmp_path / "t").rmdir()
    return tmp_path / "s"


def test_of_several_series_one_is_chosen(two, tmp_path):
    listed = r"1.2.30 \(CT, 3 slices of 4 x 5\); 1.2.31 \(MR, 2 slices of 6 x 7\)"
    with pytest.raises(InputError, match=rf"holds 2 series: {listed}; choose one with --series") as caught:
        open_source(two)
    assert caught.value.code == "several-series"
    with pytest.raises(InputError, match=rf"holds no series 9; it holds {listed}"):
        open_source(two, series="9")
    assert whole(two, "1.2.31")[0].shape == (2, 6, 7)
    assert input_version(two, "1.2.30") != input_version(two, "1.2.31")
    put_volume(tmp_path / "v.nii", np.zeros((3, 3, 3), np.int16), np.eye(4))
    with pytest.raises(RequestError, match="--series is for folders of DICOM"):
        open_source(tmp_path / "v.nii", series="1.2.30")


def test_a_series_is_chosen_on_the_command_line_and_in_a_job_file(two, tmp_path):
    (tmp_path / "job.toml").write_text(tomllib_text := 'input = "s"\nseries = "1.2.31"\n')
    assert tomllib.loads(tomllib_text)["series"] == "1.2.31"
    (job,) = jobs_of(read_request(tmp_path / "job.toml"))
    assert (job.input, job.series) == (str(two), "1.2.31")
    other = put_series(tmp_path / "other", pixels((2, 3, 3)), uid="1.2.32")
    ended = CliRunner().invoke(
        app, ["plan", "--input", str(tmp_path), "--series", "1.2.32", "--model", "hippocampus", "--no-probe", "--json"]
    )
    assert ended.exit_code == 0, ended.output
    assert [plan["input"] for plan in json.loads(ended.stdout)["items"]] == [str(other)]
    ended = CliRunner().invoke(app, ["plan", "--input", str(tmp_path), "--series", "9"])
    assert (ended.exit_code, "is in none of 2 inputs" in ended.output) == (2, True)


def test_a_folder_of_dicom_is_one_item_and_told_by_content(tmp_path):
    study = tmp_path / "study"
    first = put_series(study / "1.2.840.99", pixels((2, 3, 3)))
    second = put_series(study / "deep" / "MR 2", pixels((2, 3, 3)))
    (second / "notes.txt").write_text("DICM")
    both = put_series(study / "made", pixels((2, 3, 3)))
    put_volume(both / "scan.nii", np.zeros((3, 3, 3), np.int16), np.eye(4))
    (study / "empty").mkdir()
    shutil.make_archive(str(study / "other"), "zip", study / "empty")
    packed = shutil.make_archive(str(study / "packed"), "zip", first)
    found = (str(first), str(second), str(both / "scan.nii"), packed)
    assert find_inputs([str(study)]) == found
    assert find_inputs([str(first)]) == (str(first),)
    assert stem_of(first) == "1.2.840.99"
    outputs = name_outputs(found, "out", [str(study)])
    places = ("1.2.840.99_mask", "deep/MR 2_mask", "made/scan_mask", "packed_mask")
    assert outputs == tuple(Path("out", f"{name}.nii.gz") for name in places)
    assert name_outputs([str(first)], "out", [str(first)]) == (Path("out/1.2.840.99_mask.nii.gz"),)
    assert not look(study).format.gathers


@pytest.mark.parametrize(
    "kind", ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.1.3.10"], ids=["segmentation", "DICOMDIR"]
)
def test_other_objects_are_passed_over(tmp_path, kind):
    stored = pixels((3, 4, 5))
    folder = put_series(tmp_path / "study" / "s", stored)
    put_series(tmp_path / "other", stored, SOPClassUID=kind)
    shutil.copy(tmp_path / "other" / "IM0000", folder / "A")
    shutil.copy(tmp_path / "other" / "IM0000", tmp_path / "study" / "mask.dcm")
    assert whole(folder)[0].shape == stored.shape
    assert find_inputs([str(tmp_path / "study")]) == (str(folder),)
    with pytest.raises(RequestError, match="and no CT or MR in DICOM"):
        find_inputs([str(tmp_path / "other")])
    with pytest.raises(InputError):
        open_source(tmp_path / "other")


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    folder = put_series(tmp_path / "s", pixels((3, 4, 5)))
    monkeypatch.setattr("pipeline.optional.find_spec", lambda name: None)
    with pytest.raises(
        RequestError, match=r"requires pydicom, highdicom, not installed; run pip install 'pipeline\[dicom\]'"
    ):
        open_source(folder)
    (tmp_path / "v.nrrd").write_text("NRRD0004")
    with pytest.raises(RequestError, match=r"pip install 'pipeline\[nrrd\]'"):
        open_source(tmp_path / "v.nrrd")
    (tmp_path / "v.nhdr").write_text("NRRD0004")
    assert version_of(str(tmp_path / "v.nhdr")) == (None, None)


def test_the_identity_is_that_of_the_instances(tmp_path):
    folder = put_series(tmp_path / "s", pixels((3, 4, 5)))
    before = input_version(folder)
    (folder / "IM0000").rename(folder / "Z")
    assert input_version(folder) == before
    one = pydicom.dcmread(folder / "Z")
    one.SOPInstanceUID = "1.2.3.4.5"
    one.save_as(folder / "Z")
    assert input_version(folder) != before


@pytest.mark.slow
def test_a_series_is_segmented_as_the_nifti_of_it(tmp_path, models):
    stored = pixels((5, 60, 70))
    folder = put_series(tmp_path / "CT 1.2", stored, orientation=TILTED)
    grid, values = whole(folder)
    put_volume(tmp_path / "same.nii", values.T, np.array(grid.affine)[:, [2, 1, 0, 3]])
    words = ["run", "--model", str(models / "volume"), "--no-prefect", "--quiet", "--input"]
    for name in ("CT 1.2", "same.nii"):
        ended = CliRunner().invoke(app, [*words, str(tmp_path / name)])
        assert ended.exit_code == 0, ended.output
    ours, other = tmp_path / "CT 1.2_mask.nii.gz", tmp_path / "same_mask.nii.gz"
    np.testing.assert_array_equal(labels_of(ours), labels_of(other))
    np.testing.assert_allclose(nibabel.load(ours).affine, nibabel.load(other).affine, atol=1e-5)
    assert len(np.unique(labels_of(ours))) > 1
    shared = tmp_path / "shared.nii.gz"
    ended = CliRunner().invoke(app, [*words, str(folder), "--output", str(shared), "--workers", "2"])
    assert ended.exit_code == 0, ended.output
    assert shared.read_bytes() == ours.read_bytes()


TEXTS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC"}
PATIENT = "Miller^Quenti"


def planted() -> dict[str, str]:
    """Patient text in every tag of text that a file can have."""
    known = {entry[4]: (Tag(number), entry) for number, entry in DicomDictionary.items() if entry[4]}
    return {
        name: PATIENT
        for name, (tag, entry) in known.items()
        if entry[0] in TEXTS and tag.group > 2 and entry[3] != "Retired"
    }


def test_no_patient_text_reaches_outputs_or_logs(tmp_path, models, capfd):
    texts = planted()
    assert len(texts) > 500
    put_series(tmp_path / "in" / "good", pixels((3, 20, 20)), **texts)
    put_series(tmp_path / "in" / "uneven", pixels((6, 20, 20)), **moved(3, (0, 0, 0.7)), **texts)
    broken = put_series(tmp_path / "in" / "broken", pixels((3, 20, 20)), **texts)
    (broken / "IM0001").write_bytes((broken / "IM0001").read_bytes()[:-100])
    put_series(tmp_path / "in" / "number", pixels((3, 20, 20)), **texts)
    for path in (tmp_path / "in" / "number").iterdir():
        path.write_bytes(path.read_bytes().replace(b"-31.5\\12.25\\7", b"Miller\\Quenti"))
    words = [
        "run",
        "--input",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
        "--model",
        str(models / "volume"),
    ]
    told = ""
    for more in ((), ("--json",)):
        ended = CliRunner().invoke(app, [*words, "--no-prefect", *more])
        assert ended.exit_code == 1
        told += ended.output
    assert "uneven" in told
    assert "IM0001" in told
    told += "".join(capfd.readouterr())
    assert "done" in told
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert any(path.name == "good_mask.nii.gz" for path in written)
    for text in [told.encode(), *(path.read_bytes() for path in written)]:
        assert b"miller" not in text.lower()
        assert b"quenti" not in text.lower()
    image = nibabel.load(tmp_path / "out" / "good_mask.nii.gz")
    assert b"iller" not in image.header.binaryblock


def test_with_hashed_names_no_file_inside_is_told(tmp_path):
    folder = put_series(tmp_path / "Miller.Anne", pixels((3, 4, 4)))
    (folder / "IM0001").rename(folder / "Anne_1.dcm")
    reason = f"{folder}, file Anne_1.dcm: is damaged"
    told = without_names(Report(str(folder), None, "failed", reason, 0.0, 0))
    assert "anne" not in f"{told}".lower()


def test_every_code_of_a_series_has_a_test():
    listed = {code for _, code, _ in FAULTS.values()} | {"several-series"}
    assert {code for code in LASTING if "series" in code or "slices" in code or "tilt" in code} <= listed


def test_a_slice_that_is_written_again_in_its_place_changes_the_stamp_of_its_folder(tmp_path):
    folder = put_series(tmp_path / "series", pixels((3, 4, 4)))
    before = stamp_of(str(folder))
    assert stamp_of(str(folder)) == before
    with (folder / "IM0001").open("ab") as file:
        file.write(bytes(2))
    assert stamp_of(str(folder)) != before


def data_set(path: Path, coding: str) -> bytes:
    """The elements of a file after its meta group, in another coding."""
    one = pydicom.dcmread(path)
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = coding == "implicit", coding != "big"
    plain = Dataset(one)
    if coding == "big":
        plain.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
    write_dataset(out, plain)
    return out.getvalue()


def after_meta(path: Path) -> bytes:
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def saved(path: Path, without: tuple[str, ...] = (), syntax: str | None = None, **how) -> bytes:
    one = pydicom.dcmread(path)
    for part in (one, one.file_meta):
        for name in without:
            if name in part:
                del part[name]
    if syntax is not None:
        one.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    one.save_as(out, enforce_file_format=False, **how)
    return out.getvalue()


def long_meta(path: Path) -> bytes:
    """A meta group that ends far behind the first bytes, with the transfer syntax after what is private."""
    one = pydicom.dcmread(path)
    uid = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    kind = b"\x02\x00\x02\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0"
    assert one.SOPClassUID in kind.decode("latin-1")
    return bytes(128) + b"DICM" + kind + b"\x02\x00\x02\x01OB\0\0" + (4000).to_bytes(4, "little") + bytes(4000) + uid


SOP = ("SOPClassUID", "MediaStorageSOPClassUID")
ODD = {
    "implicit, no meta group": lambda path: data_set(path, "implicit"),
    "explicit, no meta group": after_meta,
    "big endian, no meta group": lambda path: data_set(path, "big"),
    "preamble, no meta group": lambda path: path.read_bytes()[:132] + data_set(path, "implicit"),
    "no preamble": lambda path: path.read_bytes()[128:],
    "no preamble, no magic": lambda path: path.read_bytes()[132:],
    "no preamble, deflated": lambda path: saved(path, syntax=DeflatedExplicitVRLittleEndian)[128:],
    "deflated": lambda path: saved(path, syntax=DeflatedExplicitVRLittleEndian),
    "no SOP class in the data set": lambda path: saved(path, SOP[:1]),
    "no SOP class in the meta group": lambda path: saved(path, SOP[1:]),
    "no SOP class": lambda path: saved(path, SOP),
    "no SOP class, no modality": lambda path: saved(path, (*SOP, "Modality")),
    "no transfer syntax": lambda path: saved(path, ("TransferSyntaxUID",), implicit_vr=False, little_endian=True),
    "long meta group": lambda path: long_meta(path) + after_meta(path),
}
"""Ways to write a file that pydicom or SimpleITK read, and most readers write otherwise."""


@pytest.mark.parametrize("frames", [False, True], ids=["slices", "frames"])
@pytest.mark.parametrize("way", ODD)
def test_a_file_written_in_an_odd_way_is_the_same_volume(tmp_path, way, frames):
    how = {"orientation": TILTED, "order": [2, 0, 1], "frames": frames}
    plain, values = whole(put_series(tmp_path / "s", pixels((3, 40, 50)), **how))
    for path in (tmp_path / "s").iterdir():
        if not (frames and way == "long meta group"):
            path.write_bytes(ODD[way](path))
    grid, same = whole(tmp_path / "s")
    assert grid == plain
    np.testing.assert_array_equal(same, values)
    assert find_inputs([str(tmp_path)]) == (str(tmp_path / "s"),)


@pytest.mark.parametrize("way", ["implicit, no meta group", "deflated", "no SOP class", "no SOP class, no modality"])
def test_what_simpleitk_reads_of_odd_files_is_what_is_read(tmp_path, way):
    put_series(tmp_path / "s", pixels((3, 4, 5)), orientation=TILTED)
    for path in (tmp_path / "s").iterdir():
        path.write_bytes(ODD[way](path))
    values, affine = by_simpleitk(tmp_path / "s")
    grid, ours = whole(tmp_path / "s")
    np.testing.assert_array_equal(ours, values)
    np.testing.assert_allclose(grid.affine, affine, atol=1e-6)


@pytest.mark.parametrize("name", ["scan.dcm", "scan.IMA", "scan", "1.2.840.99", "scan.dicom"])
def test_a_file_of_many_frames_is_an_input_by_itself(tmp_path, name):
    folder = put_series(tmp_path / "s", pixels((3, 40, 50)), frames=True)
    grid, values = whole(folder)
    image = tmp_path / name
    image.write_bytes(
        data_set(folder / "enhanced.dcm", "implicit") if name == "scan" else (folder / "enhanced.dcm").read_bytes()
    )
    other, same = whole(image)
    assert (other, look(image).format.kind) == (grid, "volume")
    np.testing.assert_array_equal(same, values)
    np.testing.assert_array_equal(same, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(image))))
    assert input_version(image)["name"] == name
    ended = CliRunner().invoke(app, ["info", str(image), "--json"])
    assert ended.exit_code == 0, ended.output
    (output,) = name_outputs([str(image)], "out", [str(image)])
    assert output == Path("out", f"{'1.2.840.99' if name.startswith('1') else 'scan'}_mask.nii.gz")


def test_one_slice_by_itself_is_refused_with_the_way_out(tmp_path):
    folder = put_series(tmp_path / "s", pixels((3, 4, 5)))
    for name in ("IM0001", "a.dcm"):
        one = (folder / "IM0001").rename(tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: is a single DICOM file; give the folder that holds its series"):
            open_source(one)
        shutil.copy(one, folder / "IM0001")


def test_files_that_only_begin_like_a_data_set_are_passed_over(tmp_path):
    folder = put_series(tmp_path / "s", pixels((3, 4, 5)))
    (folder / "notes").write_bytes(b"\x08\x00 are the first bytes of this text, which is long enough")
    (folder / "short").write_bytes(b"\x08\x00\x05\x00")
    assert whole(folder)[0].shape == (3, 4, 5)


@settings(max_examples=100)
@given(head=st.binary(max_size=600), start=st.sampled_from([b"", b"\x08\x00\x05\x00", bytes(128) + b"DICM", b"DICM"]))
def test_any_first_bytes_are_told_apart(head, start):
    layout = layout_of(start + head)
    assert layout is None or 0 <= layout.start <= layout.data <= len(start + head)


def test_a_deflated_file_is_inflated_no_further_than_needed(tmp_path):
    """A header before gigabytes of zeros."""
    folder = put_series(tmp_path / "s", pixels((1, 4, 5)))
    path = folder / "IM0000"
    deflated = saved(path, syntax=DeflatedExplicitVRLittleEndian)
    layout = layout_of(deflated)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(after_meta(path) + b"\xfe\xff\0\x01OW\0\0\xff\xff\xff\x7f") + packer.compress(
        bytes(50 << 20)
    )
    path.write_bytes(deflated[: layout.data] + bomb + packer.flush())
    tracemalloc.start()
    try:
        whole(folder)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("frames", [False, True], ids=["slices", "frames"])
def test_a_copy_of_a_file_counts_once(tmp_path, frames, packed):
    """Even of all of them, of the last one, and of one that has another name in front."""
    folder = put_series(tmp_path / "s", pixels((4, 5, 6)), frames=frames)
    (plain, values), version = whole(folder), input_version(folder)
    for path in sorted(folder.iterdir()):
        shutil.copy(path, folder / f"{path.stem} (1){path.suffix}")
    shutil.copy(max(folder.iterdir()), folder / "A")
    if packed and frames:
        return
    grid, same = whole(Path(shutil.make_archive(str(tmp_path / "s"), "zip", folder)) if packed else folder)
    assert grid == plain
    np.testing.assert_array_equal(same, values)
    assert input_version(folder) == version


def test_slices_of_one_uid_and_other_bytes_are_still_refused(tmp_path):
    folder = put_series(tmp_path / "s", pixels((4, 5, 6)))
    content = bytearray((folder / "IM0002").read_bytes())
    content[-1] ^= 1
    (folder / "copy").write_bytes(content)
    with pytest.raises(InputError, match="1 slice too many") as caught:
        open_source(folder)
    assert caught.value.code == "duplicate-slices"


def bomb(path, content):
    """A zip of one series, whose slices end in `content`."""
    folder = put_series(path.with_suffix(""), pixels((2, 4, 4)))
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.writestr(file.name, file.read_bytes() + content)
    return path


@pytest.fixture
def most(monkeypatch):
    """Members of a zip may be of 3 MiB."""
    monkeypatch.setattr(files_room, "MOST_UNPACKED", 3 << 20)


@pytest.mark.usefixtures("most")
def test_a_member_of_a_zip_that_unpacks_to_more_than_any_slice_is_refused_with_the_limit(tmp_path):
    whole(bomb(tmp_path / "small.zip", bytes(2 << 20)))
    path = bomb(tmp_path / "s.zip", bytes(4 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r"file IM0000: unpacks to 4 MiB, and the most is 3; unzip it"):
        open_source(path)


@pytest.mark.usefixtures("most")
def test_other_members_of_a_zip_may_be_large(tmp_path):
    path = bomb(tmp_path / "s.zip", b"")
    with ZipFile(path, "a", ZIP_DEFLATED) as archive:
        archive.writestr("film.bin", b"film" + bytes(4 << 20))
    _, values = whole(path)
    assert values.shape == (2, 4, 4)


@pytest.mark.parametrize("cut", [140, 200, 400, 800])
def test_a_header_that_goes_on_in_zeros_is_damaged_and_soon_found_so(tmp_path, cut):
    folder = put_series(tmp_path / "s", pixels((2, 4, 4)))
    head = (folder / "IM0000").read_bytes()[:cut]
    with (folder / "IM0000").open("wb") as file:
        file.write(head)
        file.truncate(2 << 30)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"IM0000: .*damaged"):
        open_source(folder)
    assert time.monotonic() - began < 20, "two gigabytes took minutes"


def test_a_few_elements_out_of_order_do_no_harm(tmp_path):
    folder = put_series(tmp_path / "s", pixels((2, 4, 4)))
    expected = whole(folder)[1]
    for path in folder.iterdir():
        one = pydicom.dcmread(path)
        one.save_as(path)
        content = path.read_bytes()
        at = content.index(b"\x20\x00\x0d\x00UI")  # StudyInstanceUID
        length = 8 + int.from_bytes(content[at + 6 : at + 8], "little")
        element, first = content[at : at + length], content.index(b"\x08\x00\x16\x00UI")
        path.write_bytes(content[:first] + element + content[first:at] + content[at + length :])
    np.testing.assert_array_equal(whole(folder)[1], expected)
