"""Pictures in memory, encoded for a browser."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png_of(picture: NDArray[np.uint8]) -> bytes:
    """Return `(rows, columns, 4)`, red, green, blue and alpha, as PNG: packed quickly rather than small."""
    written = BytesIO()
    Image.fromarray(picture).save(written, "PNG", compress_level=1)
    return written.getvalue()
