"""A store of unfinished work as an input: what is wrong with it is never the fault of an input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.engine import Pixels
from pipeline.errors import DamagedError, InputError
from pipeline.geometry import Box
from pipeline.io.zarr.source import ZarrSource


class WorkSource(ZarrSource):
    """A store of labels, a layer, scores or a staged volume, to be read.

    Raises:
        DamagedError: The store, or a chunk that is read, is not as it was written.

    """

    def __init__(self, path: Path, band: int | None = None) -> None:
        """Open the store at `path`, or one band of it, of which alone chunks are then read."""
        self.path = path
        try:
            super().__init__(path)
        except InputError as error:
            raise DamagedError(str(error)) from error
        if band is not None and self._lead:
            self._lead = (slice(band, band + 1),)
            self.info = replace(self.info, channels=1)

    def read(self, box: Box) -> Pixels:
        """Return the values of `box`, `(channels, *box.shape)`."""
        try:
            return super().read(box)
        except InputError as error:
            raise DamagedError(str(error)) from error
