"""Sources that wrap other sources, arrays as sources, and passes over a source: calibration, statistics, sieve.

May import the engine, geometry, files and errors; nothing of io, models or what is above them.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.sources.arrays import ArraySource, DataArraySource

__all__ = ["ArraySource", "DataArraySource"]

__getattr__ = lazy(__name__, {"pipeline.sources.arrays": ("ArraySource", "DataArraySource")})
