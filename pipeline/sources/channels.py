"""Channels of a volume seen more than once: each of its windows is a channel of the model."""

from __future__ import annotations

from dataclasses import replace

from pipeline.engine import Pixels, Source
from pipeline.geometry import Box


class RepeatedChannels(Source):
    """A source whose channels are those of another, in another order or number."""

    def __init__(self, source: Source, channels: tuple[int, ...]) -> None:
        self._source, self._order = source, list(channels)
        self.info = replace(source.info, channels=len(channels))

    def read(self, box: Box) -> Pixels:
        """Pixels of `box`, with the channels in this order."""
        values, valid = self._source.read(box)
        return Pixels(values[self._order], valid)

    def close(self) -> None:
        """Release the file."""
        self._source.close()
