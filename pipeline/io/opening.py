"""Open an input by its format, and identify its version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.errors import InputError, PipelineError, RemoteError, RequestError
from pipeline.files.digest import sha256_of
from pipeline.files.object_path import ObjectPath, is_object
from pipeline.files.signatures import stand_in, unlike
from pipeline.geometry import Grid
from pipeline.io.address import as_utf8
from pipeline.io.formats import Input, OpenOptions, look
from pipeline.io.remote_files import File, RemoteFile, plain_address, version_words
from pipeline.io.suffixes import STORES, suffix_of


def open_source(
    path: str | Path | Input,
    *,
    bands: Sequence[int | str] | None = None,
    onto: Grid | None = None,
    affine: str = "strict",
    volume: int | None = None,
    keep_text: bool = False,
    series: str | None = None,
    allow: Sequence[str] = (),
) -> Source:
    """Open an input: a scene as GDAL opens it, a volume in NIfTI, NRRD, MetaImage or DICOM, or a Zarr array.

    `bands` (of GDAL's rasters) are numbers from 1, or names; `onto` is a grid that a scene is put on. Of NIfTI:
    `affine` is what holds where sform and qform disagree, "sform", "qform", or "strict" for neither; `volume`, from 0,
    is one of a 4-D file; `keep_text` takes free text and extensions of the header along. `series` is the UID of one of
    several DICOM series. `allow` are schemes and folders to which a raster may refer, beside its own. Raises InputError
    with the path, what was found and the way out.
    """
    item = look(path)
    options = OpenOptions(bands, onto, affine, volume, keep_text, series, allow)
    if item.format.checked:
        _check(item, options)
    source = _open(item, options)
    if bands is not None and "bands" not in item.format.takes:
        source.close()
        raise RequestError(
            f"{path}: bands can only be selected from GDAL rasters; this input has {source.channels} channels"
        )
    if onto is None or "onto" in item.format.takes:
        return source
    from pipeline.io.raster.warped import ReprojectedSource

    return ReprojectedSource(source, onto)


def _open(item: Input, options: OpenOptions) -> Source:
    try:
        return item.format.open(item, options)
    except InputError as error:
        if not _may_be_foreign(item, error) or (told := next(_foreign(item), None)) is None:
            raise
        raise InputError(told, error.code) from None


def _may_be_foreign(item: Input, error: InputError) -> bool:
    """Whether a look at the first bytes may tell more: not of what GDAL reads at addresses, and what is not there."""
    if not item.remote:
        return item.path.is_file()
    return item.format.kinds is not None and not isinstance(error, RemoteError)


def _foreign(item: Input) -> Iterator[str]:
    """Yield the files of an input that are something else, and what."""
    known, files = item.format.kinds, _files(item)
    for path in files:
        kind = stand_in(path) if known is None or path != item.file else unlike(path, *known)
        if kind is not None:
            yield f"{path}: {kind}"


def _files(item: Input) -> tuple[File, ...]:
    """The files of an input, or the one that was given where it does not tell of others."""
    try:
        return tuple(path for path in item.format.files(item) if path.is_file())
    except PipelineError:
        return (item.file,)


def _check(item: Input, options: OpenOptions) -> None:
    """Raise InputError for what cannot be an input, and RequestError for a choice that its format does not have."""
    if not item.remote:
        _check_file(item.path)
    if options.volume is not None and "volume" not in item.format.takes:
        raise RequestError(f"{item.name}: --volume selects a volume of a 4-D NIfTI file, which this is not")
    if options.series is not None and "series" not in item.format.takes:
        raise RequestError(f"{item.name}: --series is for folders of DICOM files, which this is not")


def _check_file(path: Path) -> None:
    if str(path) != as_utf8(str(path)):
        raise InputError(
            f"{path}: its name is not UTF-8, which GDAL needs; rename it, e.g. with `convmv`", "unsuitable"
        )
    at = next((part for part in (path, *path.parents) if part.exists()), path)
    if path.is_symlink() and at != path:
        raise InputError(f"{path}: is a link to a file that does not exist; fetch it, e.g. with `git annex get`")
    if at != path and suffix_of(at) not in STORES:
        raise InputError(f"{path}: there is no such file; look for it with `ls {at}`")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); fetch or write it again")


def max_form_distance(one: Grid, other: Grid, form: str) -> float | None:
    """Return the distance in millimeters, at the farthest corner, of two NIfTI grids by their "sform" or "qform".

    None where that of one of them is invalid.
    """
    from pipeline.io.volume.nifti_header import with_form

    try:
        first, second = with_form(one, form), with_form(other, form)
    except InputError:
        return None
    return first.max_corner_distance(second) * min(first.spacing)


def input_version(path: str | Path | Input, series: str | None = None) -> dict[str, Any]:
    """Return what identifies the version of an input without reading it: name, size and time of change.

    For a DICOM series, a digest of the UIDs of its instances; for an address of http(s) or of an object store, what its
    server reports; for any other address, the name alone.
    """
    item = look(path)
    if item.parts:
        return {"name": item.name, "parts": [input_version(part) for _, part in item.parts]}
    if item.format.version is not None:
        return item.format.version(item, series)
    if item.remote and item.format.kinds is None:
        return {"name": item.name, **_served(plain_address(item.text))}
    first, *others = map(_version_of, item.format.files(item))
    return {**first, **({"voxels": others[0]} if others else {})}


def _version_of(file: File) -> dict[str, Any]:
    if isinstance(file, RemoteFile):
        return version_words(file)
    about = file.stat()
    return {"name": file.name, "bytes": about.st_size, "changed_ns": about.st_mtime_ns}


def _served(address: str) -> dict[str, Any]:
    """What a server reports of what GDAL reads, which may have other ways in: nothing where there is none for us."""
    from pipeline.io.http import version_at

    if address.startswith("http"):
        return version_at(address)
    if not is_object(address) or find_spec("obstore") is None:
        return {}
    from pipeline.io.objects import has_credentials, head, version_of

    try:
        place = ObjectPath.parse(address)
        found = head(place) if has_credentials(place.scheme) else None
    except RequestError:  # also of a name that GDAL alone takes
        return {}
    return {} if found is None else version_of(found).words()


def stamp_of(path: str | Path | Input) -> str | None:
    """Return the size and time of change of an input, or size and ETag of an object.

    None for any other address, and where nothing exists, or the store does not tell.
    """
    item = look(path)
    try:
        if item.parts:
            return _joined(stamp_of(part) for _, part in item.parts)
        if item.remote:
            return _stamp_of_object(item)
        if item.format.digest is not None:
            return item.format.digest(item)
        return " ".join(f"{about.st_size} {about.st_mtime_ns}" for about in map(Path.stat, item.paths))
    except (OSError, RequestError):
        return None


def content_of(path: str | Path | Input) -> str | None:
    """Return the SHA-256 of a file, or of all files of a store; of an object, size and ETag.

    None where it cannot be read, and for any other address.
    """
    item = look(path)
    if item.parts:
        return _joined(content_of(part) for _, part in item.parts)
    if item.remote or item.format.digest is not None:
        return stamp_of(item)
    try:
        if not item.path.is_dir():
            return " ".join(map(sha256_of, item.paths))
        return _sha256_of_folder(item.path)
    except (OSError, RequestError):
        return None


def _stamp_of_object(item: Input) -> str | None:
    """Size and ETag of an object, as its store tells them to those who have credentials."""
    address = plain_address(item.text)
    try:
        said = _served(address) if is_object(address) else {}
    except PipelineError:  # which is told when the item is opened
        return None
    return f"{said['bytes']} {said['etag']}" if {"bytes", "etag"} <= said.keys() else None


def _sha256_of_folder(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        whole.update(f"{file.relative_to(folder)} {sha256_of(file)}\n".encode())
    return whole.hexdigest()


def _joined(parts: Iterable[str | None]) -> str | None:
    """One text of several; None where one is."""
    known = list(parts)
    return None if None in known else hashlib.sha256(repr(known).encode()).hexdigest()
