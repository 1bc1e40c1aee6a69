"""The two halves of a NIfTI pair: `.hdr` with the header, `.img` with the voxels. No library is imported."""

from __future__ import annotations

import gzip
import zlib

from pipeline.errors import RemoteError
from pipeline.io.remote_files import File

HEADERS = (".hdr", ".hdr.gz")
VOXELS = (".img", ".img.gz")
PAIRS = (*HEADERS, *VOXELS)
_SIZES = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}
"""What the header of a NIfTI or Analyze file begins with: its own size. GDAL's files of these suffixes do not."""


def halves(path: File) -> tuple[File, File] | None:
    """Return header and voxels of the pair that `path` is half of, else None. The voxels may be missing."""
    suffix = next((suffix for suffix in PAIRS if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        return None
    stem = path.name[: -len(suffix)]
    header = path if suffix in HEADERS else _beside(path, stem, HEADERS)
    if header is None or not _begins_as_header(header):
        return None
    voxels = path if suffix in VOXELS else _beside(path, stem, VOXELS)
    return header, voxels or path.with_name(stem + VOXELS[0])


def is_lone_header(file: File) -> bool:
    """Return whether a file has the suffix of a header, but is none of NIfTI."""
    return file.name.lower().endswith(HEADERS) and halves(file) is None


def header_name(name: str) -> str | None:
    """Return the name of the header that would belong to the voxels of this name; None if it names no voxels.

    >>> header_name("a.img.gz"), header_name("a.nii")
    ('a.hdr', None)
    """
    suffix = next((suffix for suffix in VOXELS[::-1] if name.lower().endswith(suffix)), None)
    return None if suffix is None else name[: -len(suffix)] + HEADERS[0]


def parts(path: File) -> tuple[File, ...]:
    """Return the files that are read for `path`: both halves of a pair, else itself."""
    return halves(path) or (path,)


def _beside(path: File, stem: str, suffixes: tuple[str, ...]) -> File | None:
    return next((other for suffix in suffixes if (other := path.with_name(stem + suffix)).is_file()), None)


def _begins_as_header(path: File) -> bool:
    try:
        with path.open("rb") as file, gzip.open(file) if path.suffix.lower() == ".gz" else file as content:
            return content.read(4) in _SIZES
    except (OSError, EOFError, zlib.error, RemoteError):
        return False
