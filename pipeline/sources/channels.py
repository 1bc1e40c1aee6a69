"""Repeated channels of a volume: each intensity window is a channel of the model."""

from __future__ import annotations

from dataclasses import replace

from pipeline.engine import Pixels, Source
from pipeline.geometry import Box


class RepeatedChannels(Source):
    """A source with the channels of another one, reordered or repeated."""

    def __init__(self, source: Source, channels: tuple[int, ...]) -> None:
        self._source, self._order = source, list(channels)
        self.info = replace(source.info, channels=len(channels))

    def read(self, box: Box) -> Pixels:
        """Read the pixels of `box`, with the channels in this order."""
        values, valid = self._source.read(box)
        return Pixels(values[self._order], valid)

    def close(self) -> None:
        """Close the file."""
        self._source.close()
