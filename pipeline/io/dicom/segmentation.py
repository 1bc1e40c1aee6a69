"""Write a mask as DICOM Segmentation over the slices that it was made from. The only module that uses highdicom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from pipeline.classes import TISSUE, ClassTable, Concept, Snomed, background_of
from pipeline.engine.protocols import Source
from pipeline.errors import InputError
from pipeline.files.atomic import atomic_write
from pipeline.geometry.grid import difference
from pipeline.io.dicom.headers import Slice
from pipeline.io.dicom.source import DicomSource
from pipeline.sources.passes import slabs

_TEXT = 64
"""Characters of a text of DICOM (LO)."""
_MAKER = "pipeline"
_UNSAID = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Tags that a segmentation must have and may leave empty: who the patient is stays with the images."""


def write_segmentation(
    path: Path, labels: Source, nodata: int, classes: ClassTable, image: DicomSource, model: str
) -> None:
    """Write a mask as one binary segment per class, with its name and color, except background and nodata.

    Each frame refers to its slice of `image`, by UIDs alone: the patient's name and all other text are
    left empty. Every call makes a new instance. A segmentation is made in memory, a byte for each voxel.

    Raises:
        InputError: The mask is on another grid than the images, or these have no common frame of reference.
        OutputError: The file cannot be written.

    """
    _check(labels, image)
    chosen = _segments(labels, nodata, classes)
    numbers = np.zeros(np.iinfo(labels.dtype).max + 1, np.uint8 if len(chosen) < 256 else np.uint16)
    numbers[list(chosen)] = np.arange(1, len(chosen) + 1)
    mask = np.concatenate([numbers[pixels.values[0]] for _, pixels in slabs(labels)])
    images, order = _images(image.slices)
    thick, down, across = image.grid.spacing
    made = Segmentation(
        source_images=images,
        pixel_array=mask[order],
        segmentation_type="BINARY",
        segment_descriptions=_descriptions(chosen, model),
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_MAKER,
        software_versions=version("pipeline"),
        device_serial_number="none",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=(down, across), slice_thickness=thick, spacing_between_slices=thick
        ),
        content_label="MASK",
    )
    with atomic_write(path) as draft:
        made.save_as(draft)


class _Segment(NamedTuple):
    name: str
    color: tuple[int, int, int] | None
    terms: Snomed


def _check(labels: Source, image: DicomSource) -> None:
    if words := difference(labels.grid, image.grid):
        raise InputError(
            f"the mask is on another grid than the images: {words}; give the series that it was made from",
            "unsuitable",
        )
    if not all(one.frame_of_reference_uid and one.study for one in image.slices):
        raise InputError("the images have no FrameOfReferenceUID or StudyInstanceUID for a segmentation to refer to")
    if not all(one.sop_class for one in image.slices):
        raise InputError("the images have no SOPClassUID for a segmentation to refer to")
    if any(one.frame for one in image.slices) and len({one.file for one in image.slices}) > 1:
        raise InputError(
            "the series has frames in several files, but a segmentation can only refer to one file of frames"
        )


def _segments(labels: Source, nodata: int, classes: ClassTable) -> dict[int, _Segment]:
    """By value in the mask: its segment; of a mask without a table, the values that there are."""
    background = background_of(classes) or 0
    known = {c.value: _Segment(c.name, c.color, c.snomed or TISSUE) for c in classes}
    if not known:
        there = np.unique(np.concatenate([np.unique(pixels.values) for _, pixels in slabs(labels)]))
        known = {int(value): _Segment(f"label {value}", None, TISSUE) for value in there}
    chosen = {value: said for value, said in known.items() if value not in (background, nodata)}
    if not chosen:
        raise InputError("the mask has nothing but background, so it has no segment to write", "unsuitable")
    return chosen


def _coded(concept: Concept) -> Code:
    return Code(concept.code, "SCT", concept.meaning)


def _descriptions(chosen: Mapping[int, _Segment], model: str) -> list[SegmentDescription]:
    by = highdicom.AlgorithmIdentificationSequence(
        name=(model or _MAKER)[:_TEXT], family=codes.DCM.ArtificialIntelligence, version=version("pipeline")
    )
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=name[:_TEXT],
            segmented_property_category=_coded(terms.category),
            segmented_property_type=_coded(terms.type),
            algorithm_type="AUTOMATIC",
            algorithm_identification=by,
            display_color=None if color is None else CIELabColor.from_rgb(*color),
        )
        for number, (name, color, terms) in enumerate(chosen.values(), 1)
    ]


def _images(slices: Sequence[Slice]) -> tuple[list[Dataset], NDArray[np.intp]]:
    """Return data sets as highdicom needs them, rebuilt from the headers, and the slice of each of their frames."""
    if len({one.file for one in slices}) > 1 or len(slices) == 1:
        return [_image(one, _plane(one)) for one in slices], np.arange(len(slices))
    order = np.argsort([one.frame for one in slices])
    frames = [_set(PlanePositionSequence=[_set(ImagePositionPatient=list(slices[at].position))]) for at in order]
    shared = _set(
        PlaneOrientationSequence=[_set(ImageOrientationPatient=list(slices[0].orientation))],
        PixelMeasuresSequence=[_set(PixelSpacing=list(slices[0].spacing), SliceThickness=slices[0].thickness)],
    )
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
    return [_image(slices[0], {"NumberOfFrames": len(slices), **groups})], order


def _image(one: Slice, place: Mapping[str, Any]) -> Dataset:
    return _set(
        SOPClassUID=one.sop_class,
        SOPInstanceUID=one.instance,
        SeriesInstanceUID=one.series,
        StudyInstanceUID=one.study,
        FrameOfReferenceUID=one.frame_of_reference_uid,
        Modality=one.modality,
        Rows=one.shape[0],
        Columns=one.shape[1],
        **dict.fromkeys(_UNSAID, ""),
        **place,
    )


def _plane(one: Slice) -> dict[str, Any]:
    return {
        "ImagePositionPatient": list(one.position),
        "ImageOrientationPatient": list(one.orientation),
        "PixelSpacing": list(one.spacing),
        "SliceThickness": one.thickness,
    }


def _set(**tags: Any) -> Dataset:  # noqa: ANN401  (tags by name)
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return made
