"""DICOM series written by pydicom, and what SimpleITK makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
TILTED = (0.9396926207859084, 0.3420201433256687, 0.0, -0.3213938048432697, 0.883022221559489, 0.3420201433256687)
UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PLACE = (-31.5, 12.25, 70.0)


def normal_of(orientation: tuple[float, ...]) -> NDArray[np.float64]:
    return np.cross(orientation[:3], orientation[3:])


def places_of(count: int, step: float, orientation: tuple[float, ...], first: tuple[float, ...] = PLACE) -> NDArray:
    """Positions of slices that lie evenly."""
    return np.array(first) + np.outer(np.arange(count) * step, normal_of(orientation))


def put_series(
    folder: Path,
    stored: NDArray[Any],
    *,
    modality: str = "CT",
    orientation: tuple[float, ...] = UPRIGHT,
    places: NDArray[Any] | None = None,
    step: float = 2.0,
    spacing: tuple[float, float] = (0.75, 0.5),
    scales: list[tuple[float, float]] | None = None,
    order: list[int] | None = None,
    uid: str | None = None,
    frames: bool = False,
    syntax: str | None = None,
    **tags: Any,
) -> Path:
    """Write `stored` (z, y, x) into `folder`, one file a slice, named in `order`; or as frames of one file."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(stored)
    places = places_of(count, step, orientation) if places is None else places
    scales = scales or [(1.0, -1024.0 if modality == "CT" else 0.0)] * count
    order = order or list(range(count))
    base = {**common(stored, modality, frames), "SeriesInstanceUID": uid or generate_uid(), **tags}
    if frames:
        base |= frame_groups(orientation, places[order], spacing, [scales[at] for at in order])
        save(folder / "enhanced.dcm", stored[order], {**base, "NumberOfFrames": count}, syntax)
        return folder
    for number, at in enumerate(order):
        place = {"ImagePositionPatient": digits(places[at]), "ImageOrientationPatient": digits(orientation)}
        scale = dict(zip(("RescaleSlope", "RescaleIntercept"), digits(scales[at]), strict=True))
        own = {**place, **scale, "PixelSpacing": digits(spacing), "SliceThickness": digits([abs(step)])[0]}
        save(folder / f"IM{number:04}", stored[at], {"InstanceNumber": number + 1, **own, **base}, syntax)
    return folder


def common(stored: NDArray[Any], modality: str, frames: bool) -> dict[str, Any]:
    return {
        "SOPClassUID": (ENHANCED if frames else CLASSES)[modality],
        "Modality": modality,
        "StudyInstanceUID": "1.2.3",
        "FrameOfReferenceUID": "1.2.3.4",
        "PatientID": "",
        "PatientName": "",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "Rows": stored.shape[1],
        "Columns": stored.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12 if stored.dtype.kind == "u" else 16,
        "HighBit": 11 if stored.dtype.kind == "u" else 15,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }


def frame_groups(orientation, places, spacing, scales) -> dict[str, Any]:
    def each(name: str, **tags: Any) -> Dataset:
        outer = Dataset()
        setattr(outer, name, Sequence([data_set(tags)]))
        return outer

    shared = each("PlaneOrientationSequence", ImageOrientationPatient=digits(orientation))
    shared.update(each("PixelMeasuresSequence", PixelSpacing=digits(spacing), SliceThickness="2"))
    own = []
    for place, (slope, intercept) in zip(places, scales, strict=True):
        frame = each("PlanePositionSequence", ImagePositionPatient=digits(place))
        scale = {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "HU"}
        frame.update(each("PixelValueTransformationSequence", **scale))
        own.append(frame)
    return {
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence(own),
    }


def data_set(tags: dict[str, Any]) -> Dataset:
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def digits(values) -> list[str]:
    """Numbers in the 16 letters of a DICOM decimal."""
    return [f"{float(value):.14f}"[:16] for value in values]


def save(path: Path, stored: NDArray[Any], tags: dict[str, Any], syntax: str | None) -> None:
    made = data_set({"SOPInstanceUID": generate_uid(), **tags})
    made.PixelData = stored.astype("<u2" if stored.dtype.kind == "u" else "<i2").tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    if syntax is not None:
        made.compress(syntax, generate_instance_uid=False)
    made.save_as(path, enforce_file_format=True)


def by_simpleitk(folder: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values (z, y, x) and the affine of (z, y, x) in RAS+, as SimpleITK reads a series."""
    image = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader().GetGDCMSeriesFileNames(str(folder)))
    direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3] = np.c_[direction[:, ::-1], image.GetOrigin()]
    affine[:2] *= -1
    return SimpleITK.GetArrayFromImage(image), affine


def pixels(shape: tuple[int, ...], kind: str = "u2", seed: int = 0) -> NDArray[Any]:
    low, high = (0, 4096) if kind == "u2" else (-32768, 32768)
    return np.random.default_rng(seed).integers(low, high, shape).astype(kind)
