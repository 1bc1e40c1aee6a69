"""The voxels of a volume on their way to a file: whole slices one after the other, x fastest, packed or not."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import OutputError


def filling(
    path: Path, shape: tuple[int, ...], slabs: Iterable[NDArray[Any]], stored: np.dtype[Any]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of slabs of shape `(n, y, x)`, which follow each other along z, as voxels of type `stored`.

    Raises:
        OutputError: They do not fill a volume of this shape, or their type does not fit.

    """
    done = 0
    for slab in slabs:
        done += len(slab)
        if slab.shape[1:] != shape[1:] or done > shape[0]:
            raise OutputError(f"{path}: slab of shape {slab.shape} ends at slice {done} of a volume of shape {shape}")
        if not np.can_cast(slab.dtype, stored, "safe"):
            raise OutputError(f"{path}: labels of type {slab.dtype} do not fit {stored.name}; write a wider type")
        yield np.ascontiguousarray(slab, stored).reshape(-1).view(np.uint8)
    if done != shape[0]:
        raise OutputError(f"{path}: the labels end after {done} of {shape[0]} slices; run this item again")


def gzipped(file: BufferedIOBase, packed: bool = True) -> AbstractContextManager[BufferedIOBase]:
    """Return a file to write to: `packed` by gzip at level 1, without time or name, or as it is."""
    if not packed:
        return nullcontext(file)
    return gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0)
