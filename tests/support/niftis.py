"""NIfTI files made byte by byte, and what nibabel makes of them."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import nibabel
import numpy as np
from hypothesis import HealthCheck, settings

from pipeline.geometry import Box
from pipeline.io.volume.nifti import open_volume

files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""For properties that write their example to the test's own folder, over the one before."""

KINDS = {1: nibabel.Nifti1Header, 2: nibabel.Nifti2Header}
SHEARED = np.array([[-0.7, 0.1, 0.2, 90.5], [0.05, 0.8, -0.3, -126.25], [0.1, 0.3, 2.5, -72.1], [0, 0, 0, 1]])
MOVED = ((0.0, 0.0, -0.5, 9.0), (0.0, 2.0, 0.0, 8.0), (3.0, 0.25, 0.0, 7.0), (0.0, 0.0, 0.0, 1.0))


def put(path: Path, data: np.ndarray, *, version: int = 1, order: str = "<", note: str = "", **fields) -> Path:
    """Write a NIfTI file byte by byte from an array (i, j, k, …), with `fields` of the header set last."""
    header = KINDS[version](endianness=order)
    header.set_data_dtype(data.dtype.newbyteorder(order))
    header.set_data_shape(data.shape)
    header.set_sform(SHEARED, code=1)
    extension = np.array([32, 6], f"{order}i4").tobytes() + note.encode().ljust(24) if note else b""
    header["vox_offset"] = header.single_vox_offset + len(extension)
    for name in fields.keys() & set(header):
        header[name] = fields[name]
    start = header.binaryblock + bytes([len(note) > 0, 0, 0, 0]) + extension
    content = start + data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def numbers(shape: tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.dtype(kind).kind == "f":
        return rng.normal(0, 1000, shape).astype(kind)
    info = np.iinfo(kind)
    return rng.integers(max(info.min, -(2**50)), min(info.max, 2**50), shape, endpoint=True).astype(kind)


def whole(path: Path, **how):
    """The grid and all pixels of a file, by its sform unless told otherwise."""
    source = open_volume(path, **{"affine": "sform", **how})
    try:
        return source.grid, source.read(Box.whole(source.grid.shape))
    finally:
        source.close()


def by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (z, y, x) in float64 and the affine of (i, j, k), as nibabel reads them."""
    content = path.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    first = {int.from_bytes(content[:4], order) for order in ("little", "big")}
    kind = nibabel.Nifti2Image if 540 in first else nibabel.Nifti1Image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = kind.from_bytes(content)
        return image.get_fdata().reshape([*image.shape, 1, 1][:3]).T, image.affine
