"""A mask as DICOM Segmentation, read back by others and laid over the patient voxel by voxel."""

from __future__ import annotations

from dataclasses import replace

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from pipeline.classes import Concept, LabelClass, Snomed
from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.io.mask_files import Mask, publish
from pipeline.io.opening import open_source
from pipeline.masks.export import export
from tests.io.dicom.test_source import PATIENT, planted
from tests.support.dicoms import TILTED, UPRIGHT, pixels, places_of, put_series
from tests.support.fakes import ArraySource

CLASSES = (
    LabelClass(0, "background", (0, 0, 0)),
    LabelClass(3, "liver", (200, 60, 50)),
    LabelClass(7, "spleen", (30, 110, 200)),
    LabelClass(9, "nowhere", (0, 255, 0)),
)
SHAPE = (5, 6, 7)


def put_mask(path, series, labels, classes=CLASSES, model="abdomen"):
    """Labels on the grid of a series, with 255 where nothing was observed."""
    source = open_source(series)
    publish(Mask(ArraySource(labels[None]), source.grid, 255, classes, {"model": model}), path)
    source.close()
    return path


@pytest.fixture
def labels():
    return np.random.default_rng(1).choice(np.array([0, 0, 3, 7, 255], np.uint8), SHAPE)


def by_pydicom(path) -> dict[tuple[int, ...], str]:
    """Label of each labelled voxel by its place in the patient, in micrometres, of the frames themselves."""
    seg = pydicom.dcmread(path)
    names = {one.SegmentNumber: one.SegmentLabel for one in seg.SegmentSequence}
    shared = seg.SharedFunctionalGroupsSequence[0]
    turn = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down, across = shared.PixelMeasuresSequence[0].PixelSpacing
    found = {}
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, about in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        first = np.array(about.PlanePositionSequence[0].ImagePositionPatient, float)
        name = names[about.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        for row, column in np.argwhere(frame):
            place = first + row * down * turn[3:] + column * across * turn[:3]
            assert rounded(place) not in found
            found[rounded(place)] = name
    return found


def by_nibabel(path) -> dict[tuple[int, ...], str]:
    image = nibabel.load(path)
    values = np.asanyarray(image.dataobj)
    names = {c.value: c.name for c in CLASSES[1:]}
    places = {tuple(at): image.affine @ (*at, 1) for at in np.argwhere(np.isin(values, list(names)))}
    return {rounded(place[:3] * (-1, -1, 1)): names[values[at]] for at, place in places.items()}


def rounded(place) -> tuple[int, ...]:
    return tuple(np.rint(np.array(place) * 100).astype(int))


@pytest.mark.parametrize("turn", [UPRIGHT, TILTED, (0, 1, 0, 0, 0, -1)], ids=["upright", "oblique", "sagittal"])
@pytest.mark.parametrize("frames", [False, True], ids=["slices", "frames"])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_each_voxel_lies_where_it_lies_in_the_mask(tmp_path, labels, turn, frames, modality):
    how = {"orientation": turn, "order": [3, 0, 4, 2, 1], "step": -2.5, "frames": frames, "modality": modality}
    series = put_series(tmp_path / "s", pixels(SHAPE), **how)
    mask = put_mask(tmp_path / "m.nii.gz", series, labels)
    export(mask, tmp_path / "m.dcm", image=series)
    expected = by_nibabel(mask)
    assert len(expected) == np.isin(labels, (3, 7)).sum()
    assert by_pydicom(tmp_path / "m.dcm") == expected
    volume = highdicom.seg.segread(tmp_path / "m.dcm").get_volume(combine_segments=True)
    there = np.argwhere(volume.array)
    places = volume.map_indices_to_reference(there)
    numbers = {1: "liver", 2: "spleen"}
    read = {rounded(place): numbers[volume.array[tuple(at)]] for at, place in zip(there, places, strict=True)}
    assert read == expected


@pytest.mark.parametrize("frames", [False, True], ids=["slices", "frames"])
def test_segments_have_names_and_colours_and_frames_their_images(tmp_path, labels, frames):
    series = put_series(tmp_path / "s", pixels(SHAPE), order=[3, 0, 4, 2, 1], frames=frames)
    export(put_mask(tmp_path / "m.nii.gz", series, labels), tmp_path / "m.dcm", image=series)
    seg = highdicom.seg.segread(tmp_path / "m.dcm")
    assert seg.SegmentationType == "BINARY"
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["liver", "spleen", "nowhere"]
    for one, known in zip(seg.SegmentSequence, CLASSES[1:], strict=True):
        colour = highdicom.color.CIELabColor.from_dicom_value(one.RecommendedDisplayCIELabValue).to_rgb()
        assert np.abs(np.array(colour) - known.color).max() <= 2
        assert one.SegmentAlgorithmName == "abdomen"
    images = [pydicom.dcmread(path) for path in series.iterdir()]
    assert seg.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert seg.StudyInstanceUID == images[0].StudyInstanceUID
    places = {}
    for image in images:
        each = image.PerFrameFunctionalGroupsSequence if frames else [image]
        for number, one in enumerate(each, 1):
            place = one.PlanePositionSequence[0] if frames else one
            key = (image.SOPInstanceUID, number if frames else None)
            places[key] = [float(v) for v in place.ImagePositionPatient]
    for about in seg.PerFrameFunctionalGroupsSequence:
        source = about.DerivationImageSequence[0].SourceImageSequence[0]
        key = (source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber"))
        assert [float(v) for v in about.PlanePositionSequence[0].ImagePositionPatient] == places[key]


def test_a_mask_without_a_table_has_segments_by_number(tmp_path, labels):
    series = put_series(tmp_path / "s", pixels(SHAPE))
    mask = put_mask(tmp_path / "m.nii.gz", series, labels)
    (tmp_path / "m.json").unlink()
    export(mask, tmp_path / "m.dcm", image=series)
    assert [one.SegmentLabel for one in pydicom.dcmread(tmp_path / "m.dcm").SegmentSequence] == ["label 3", "label 7"]


def test_a_long_name_of_a_model_is_cut_to_what_dicom_holds(tmp_path, labels):
    series = put_series(tmp_path / "s", pixels(SHAPE))
    export(put_mask(tmp_path / "m.nii.gz", series, labels, model="a" * 100), tmp_path / "m.dcm", image=series)
    (segment, *_) = pydicom.dcmread(tmp_path / "m.dcm").SegmentSequence
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "a" * 64


def test_no_patient_text_is_carried_over(tmp_path, labels):
    assert PATIENT in planted().values()
    series = put_series(tmp_path / "s", pixels(SHAPE), **planted())
    export(put_mask(tmp_path / "m.nii.gz", series, labels), tmp_path / "m.dcm", image=series)
    written = (tmp_path / "m.dcm").read_bytes().lower()
    assert b"miller" not in written
    assert b"quenti" not in written


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (None, RequestError, "give their folder as --image"),
        ("m.nii.gz", RequestError, "give their folder as --image"),
        ("other", InputError, r"on another grid than the images: .* spacing \[2.0, 0.75, .*\] and \[3.0, 0.75"),
        ("nowhere", InputError, "no FrameOfReferenceUID"),
        ("halves", InputError, "frames in several files"),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path, labels, image, error, words):
    series = put_series(tmp_path / "s", pixels(SHAPE))
    put_series(tmp_path / "other", pixels(SHAPE), step=3.0)
    put_series(tmp_path / "nowhere", pixels(SHAPE), FrameOfReferenceUID="")
    for name, part in (("half", slice(0, 3)), ("halves", slice(3, 5))):
        how = {"frames": True, "uid": "1.2", "places": places_of(5, 2.0, UPRIGHT)[part]}
        put_series(tmp_path / name, pixels(SHAPE)[part], **how)
    (tmp_path / "half" / "enhanced.dcm").rename(tmp_path / "halves" / "other.dcm")
    mask = put_mask(tmp_path / "m.nii.gz", series, labels)
    with pytest.raises(error, match=words):
        export(mask, tmp_path / "m.dcm", image=None if image is None else tmp_path / image)
    assert not (tmp_path / "m.dcm").exists()


def test_a_mask_of_background_alone_is_refused(tmp_path, labels):
    series = put_series(tmp_path / "s", pixels(SHAPE))
    mask = put_mask(tmp_path / "m.nii.gz", series, labels * 0, CLASSES[:1])
    with pytest.raises(InputError, match="nothing but background"):
        export(mask, tmp_path / "m.dcm", image=series)


def test_a_structure_that_is_nowhere_is_still_a_segment(tmp_path, labels):
    series = put_series(tmp_path / "s", pixels(SHAPE))
    export(put_mask(tmp_path / "m.nii.gz", series, labels * 0), tmp_path / "m.dcm", image=series)
    assert by_pydicom(tmp_path / "m.dcm") == {}


def test_on_the_command_line(tmp_path, labels):
    series = put_series(tmp_path / "s", pixels(SHAPE))
    mask = put_mask(tmp_path / "m.nii.gz", series, labels)
    words = ["export", str(mask), "--image", str(series), "--output", str(tmp_path / "m.dcm")]
    assert CliRunner().invoke(app, words).exit_code == 0
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code != 0
    assert "already exists" in ended.stderr
    with pytest.raises(OutputError, match="already exists"):
        export(mask, tmp_path / "m.dcm", image=series)


def test_a_segment_has_the_terms_of_its_class(tmp_path, labels):
    series = put_series(tmp_path / "s", pixels(SHAPE))
    liver = Snomed(Concept("123037004", "Anatomical Structure"), Concept("10200004", "Liver"))
    put_mask(tmp_path / "m.nii.gz", series, labels, (CLASSES[0], replace(CLASSES[1], snomed=liver), CLASSES[2]))
    export(tmp_path / "m.nii.gz", tmp_path / "seg.dcm", image=series)
    one, other = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    for part, expected in ((one, ("123037004", "10200004")), (other, ("85756007", "85756007"))):
        found = part.SegmentedPropertyCategoryCodeSequence[0], part.SegmentedPropertyTypeCodeSequence[0]
        assert tuple(code.CodeValue for code in found) == expected
        assert {code.CodingSchemeDesignator for code in found} == {"SCT"}
