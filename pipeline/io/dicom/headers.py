"""Read the header of a CT or MR slice: geometry, type and scale of its values, and UIDs. No patient text.

Only the tags in `_TAGS` are parsed, so nothing else of a file can reach an output, a log or a message; messages have
the names of tags, never their text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from logging import CRITICAL, getLogger
from math import isfinite
from typing import IO, Any

import pydicom
from pydicom.filereader import read_partial
from pydicom.pixels import get_decoder
from pydicom.tag import Tag

from pipeline.errors import InputError
from pipeline.io.dicom.encoding import as_standard, is_blank
from pipeline.io.dicom.files import BROKEN, IMAGES, Files, may_be_image, stands_for
from pipeline.sources.validity import is_scale

_TAGS = (
    *(
        "SOPClassUID",
        "Modality",
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "Rows",
        "Columns",
        "NumberOfFrames",
        "SamplesPerPixel",
    ),
    *("BitsAllocated", "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelSpacing"),
    *("ImageOrientationPatient", "ImagePositionPatient", "SpacingBetweenSlices", "SliceThickness"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
"""By tag: the sequence in which an enhanced image has it, by frame or for all."""
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1")
_OTHER = "OT"
"""Modality of an image that names none: other."""
_MOST_FRAMES = 1 << 16
_MOST_DISORDERED = 100
"""Elements that may follow one of a higher tag."""
_PIXELS = (0x7FE00010, 0x7FE00009, 0x7FE00008)

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Slice:
    """One slice: a file, or a frame of one. Millimeters, in DICOM's world (LPS)."""

    file: str
    frame: int
    instance: str
    """SOP instance UID."""
    sop_class: str
    """SOP class UID; empty where neither it nor the modality is known."""
    study: str
    frame_of_reference_uid: str
    """UID of the study, and of the frame of reference; empty where the file has none."""
    series: str
    """Series instance UID."""
    modality: str
    shape: tuple[int, int]
    """Rows and columns."""
    position: Numbers
    """Center of the first pixel."""
    orientation: Numbers
    """Direction of a row, along which columns grow, then that of a column."""
    spacing: Numbers
    """Between rows, and between columns."""
    thickness: float
    """Distance to the next slice according to the file; used for a single slice only."""
    stored: tuple[int, int]
    """Least and largest number that can be stored."""
    scale: tuple[float, float]
    """Slope and intercept by which stored numbers become values."""


def read_slices(files: Files) -> list[Slice]:
    """Read the slices of all CT and MR images among `files`, in order of their names.

    Other DICOM objects (DICOMDIR, reports, segmentations) and other files are skipped.

    Raises:
        InputError: A file is empty or unreadable, since it might be a slice; or an image is damaged, in color, without
            a position, or in an unknown transfer syntax.

    """
    found = []
    for name in files.names():
        try:
            found += list(_slices(files, name)) if _is_image(files, name) else []
        except InputError as error:
            raise error.at(files.place(name)) from None
    return found


def _is_image(files: Files, name: str) -> bool:
    try:
        head = files.head(name)
    except BROKEN:
        raise InputError("cannot be read; fetch it again from where it came") from None
    if not head:
        raise InputError("is empty (0 bytes); fetch it again, or remove it")
    if kind := stands_for(head):
        raise InputError(str(kind))
    return may_be_image(head)


@cache
def configure() -> None:
    """Quiet pydicom and its decoders in this process, the first time that a file is read."""
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # its warnings quote the text of tags
    for name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg"):
        getLogger(name).setLevel(CRITICAL)  # they log what is raised as well, with its traceback


def _slices(files: Files, name: str) -> Iterator[Slice]:
    configure()
    try:
        with files.open(name) as file:
            header = _header(file)
        sop_class, modality = _class_of(header)
    except InputError:
        raise
    except Exception:
        raise InputError("its header is damaged; fetch the file again from where it came") from None
    if not modality:
        return
    _check_packing(header)
    for frame in range(_frames(header, files)):
        tags = _Tags(header, frame)
        yield Slice(
            file=name,
            frame=frame,
            instance=tags.text("SOPInstanceUID"),
            sop_class=sop_class,
            study=tags.text("StudyInstanceUID", needed=False),
            frame_of_reference_uid=tags.text("FrameOfReferenceUID", needed=False),
            series=tags.text("SeriesInstanceUID"),
            modality=modality,
            shape=(tags.whole("Rows"), tags.whole("Columns")),
            position=tags.numbers("ImagePositionPatient", 3),
            orientation=tags.numbers("ImageOrientationPatient", 6),
            spacing=tags.numbers("PixelSpacing", 2),
            thickness=tags.number("SpacingBetweenSlices", tags.number("SliceThickness", 1.0)),
            stored=_stored(tags),
            scale=_scale(tags),
        )


def _header(file: IO[bytes]) -> Any:  # noqa: ANN401  (a data set of pydicom)
    if is_blank(file):
        raise InputError("its header ends in zeros, so it is damaged; fetch the file again from where it came")
    return read_partial(as_standard(file), _End(), specific_tags=list(map(Tag, _TAGS)))


@dataclass
class _End:
    """Where the header of a file ends: at its pixels, or where its elements have long been out of order."""

    last: int = 0
    disordered: int = 0

    def __call__(self, tag: int, representation: str | None, length: int) -> bool:
        """Return whether the header ends before an element.

        Raises:
            InputError: What follows is no header: without this, a file of zeros is as many elements.

        """
        self.disordered += tag <= self.last
        if self.disordered > _MOST_DISORDERED:
            raise InputError(
                f"has more than {_MOST_DISORDERED} elements out of order, so its header is damaged; fetch the file "
                "again from where it came"
            )
        self.last = tag
        return tag in _PIXELS


def _class_of(header: Any) -> tuple[str, str]:  # noqa: ANN401  (a data set of pydicom)
    """SOP class and modality; without a class, those of the tag Modality. The modality is empty for other objects.

    Raises:
        InputError: The header ends before it says what the object is.

    """
    said = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))
    if said:
        return said, IMAGES.get(said, "")
    if "Rows" not in header:
        raise InputError("has neither SOPClassUID nor Rows")
    modality = str(header.get("Modality") or _OTHER)
    enhanced = "PerFrameFunctionalGroupsSequence" in header
    found = next((uid for uid, kind in IMAGES.items() if kind == modality and (uid in _ENHANCED) == enhanced), "")
    return found, modality if found or modality == _OTHER else ""


def _frames(header: Any, files: Files) -> int:  # noqa: ANN401  (a data set of pydicom)
    if "PerFrameFunctionalGroupsSequence" not in header:
        return 1
    frames = _Tags(header, 0).whole("NumberOfFrames")
    described = len(header.PerFrameFunctionalGroupsSequence)
    if frames != described or frames > _MOST_FRAMES:
        raise InputError(
            f"declares {frames} frames, but describes {described}; fetch the file again from where it came"
        )
    if frames > 1 and files.packed:
        raise InputError(
            f"holds {frames} frames in a zip, where each is found only by unpacking those before; unzip it"
        )
    return frames


def _stored(tags: _Tags) -> tuple[int, int]:
    bits, signed = tags.whole("BitsStored"), tags.whole("PixelRepresentation")
    if not 1 <= bits <= 32:
        raise InputError(f"stores {bits} bits per pixel; 1 to 32 can be read")
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _scale(tags: _Tags) -> tuple[float, float]:
    slope, intercept = tags.number("RescaleSlope", 1.0), tags.number("RescaleIntercept", 0.0)
    if not is_scale(slope, intercept):
        raise InputError(
            f"has RescaleSlope {slope:g} and RescaleIntercept {intercept:g}, which leave no values; correct them"
        )
    return slope, intercept


def _check_packing(header: Any) -> None:  # noqa: ANN401  (a data set of pydicom)
    samples = _Tags(header, 0).whole("SamplesPerPixel")
    if samples != 1:
        raise InputError(f"has {samples} values per pixel; only images of one can be segmented", "unsuitable")
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        known = syntax.name if syntax is not None and not syntax.is_private else "an unknown transfer syntax"
        raise InputError(
            f"is stored as {known}, for which no decoder is installed; pip install 'pipeline[dicom]', or unpack the "
            "series first, e.g. `gdcmconv --raw IN OUT`"
        )


@dataclass(frozen=True)
class _Tags:
    """Tags of a frame: its own, else those of all frames, else those of the file."""

    header: Any
    frame: int

    def number(self, name: str, otherwise: float) -> float:
        return otherwise if self._value(name) in (None, "") else self.numbers(name, 1)[0]

    def numbers(self, name: str, count: int) -> Numbers:
        found = self._value(name)
        try:
            values = tuple(float(value) for value in (found if count > 1 else [found]))
        except (TypeError, ValueError):
            values = ()
        if len(values) != count or not all(map(isfinite, values)):
            raise InputError(f"has no {name} of {count} finite numbers; without it voxels have no position")
        return values

    def whole(self, name: str) -> int:
        found = self._value(name)
        if not isinstance(found, int) or found < 0:
            raise InputError(f"has no integer {name}; fetch the file again from where it came")
        return int(found)

    def text(self, name: str, *, needed: bool = True) -> str:
        found = self._value(name) or ""
        if needed and not found:
            raise InputError(f"has no {name}; fetch the file again from where it came")
        return str(found)

    def _value(self, name: str) -> Any:  # noqa: ANN401  (what pydicom makes of a tag)
        try:
            return next((item[name].value for item in self._items(name) if name in item), None)
        except Exception:
            return None

    def _items(self, name: str) -> Iterator[Any]:
        group = _GROUPS.get(name)
        frames = self.header.get("PerFrameFunctionalGroupsSequence")
        shared = self.header.get("SharedFunctionalGroupsSequence")
        for item in ([frames[self.frame]] if frames else []) + ([shared[0]] if shared else []):
            if group is not None and item.get(group):
                yield item[group][0]
        yield self.header
