"""A store that is open for writing: each slab of whole chunks once, by one writer, and safe before it returns."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.errors import OutputError
from pipeline.files.atomic import sync
from pipeline.geometry import Box
from pipeline.io.zarr.attributes import OURS


class SlabStore:
    """A store of labels or of scores that is open for writing: a `Sink`."""

    def __init__(self, path: Path) -> None:
        """Open the store that `create_labels` or `create_scores` made at `path`."""
        try:
            root = zarr.open_group(path, mode="r+")
            record: Any = root.attrs[OURS]
            self._folder = path / record["array"]
            array = root[record["array"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{path}: is not an unfinished mask ({error!r}); start over with --restart") from error
        if not isinstance(array, zarr.Array):
            raise OutputError(f"{path}: {record['array']} is not an array; start over with --restart")
        self._array = array

    def write(self, slab: Box, values: NDArray[Any]) -> None:
        """Write `values` `(*planes, *slab.shape)` of a slab that ends where chunks end.

        They are safe on the disk when this returns.
        """
        whole = self._planes(slab)
        self._check(whole, values)
        try:
            self._array[whole.slices] = values
            self._sync(whole)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written ({error.strerror or error})") from error

    def _planes(self, slab: Box) -> Box:
        """The slab with all planes of the array before its axes."""
        planes = self._array.shape[: self._array.ndim - len(slab.start)]
        return Box((*(0 for _ in planes), *slab.start), (*planes, *slab.stop))

    def _check(self, slab: Box, values: NDArray[Any]) -> None:
        if values.shape != slab.shape or not np.can_cast(values.dtype, self._array.dtype, "safe"):
            raise OutputError(
                f"{self._folder}: {values.dtype} of shape {values.shape} do not fit {slab} of {self._array.dtype}"
            )
        for start, stop, side, size in zip(slab.start, slab.stop, self._array.chunks, self._array.shape, strict=True):
            if start % side or (stop % side and stop != size):
                raise OutputError(
                    f"{self._folder}: {slab} would share chunks of {self._array.chunks} with another slab"
                )

    def _sync(self, slab: Box) -> None:
        spans = [
            range(start // side, -(-stop // side))
            for start, stop, side in zip(slab.start, slab.stop, self._array.chunks, strict=True)
        ]
        files = [self._folder.joinpath("c", *map(str, chunk)) for chunk in product(*spans)]
        files = [file for file in files if file.exists()]  # a chunk of nodata alone is not stored
        for path in (*files, *{folder for file in files for folder in file.parents[: len(spans)]}):
            sync(path)
