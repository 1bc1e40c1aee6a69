"""Open the image that a mask was made from."""

from __future__ import annotations

from pathlib import Path
from typing import overload

from pipeline.engine import Source
from pipeline.errors import InputError, RequestError
from pipeline.io.opening import open_source


@overload
def open_image(image: str | Path, volume: int | None) -> Source: ...
@overload
def open_image(image: str | Path | None, volume: int | None) -> Source | None: ...


def open_image(image: str | Path | None, volume: int | None) -> Source | None:
    """Open an image, or one volume of a 4-D one, from 0; None without an image.

    Raises:
        RequestError: A volume is given, but no image.
        InputError: The image is 4-D and no volume is given, or it cannot be read.

    """
    if image is None:
        if volume is not None:
            raise RequestError(f"--volume {volume}: selects a volume of a 4-D image; give that as --image")
        return None
    try:
        return open_source(image, volume=volume)
    except InputError as error:
        if error.code != "4d" or volume is not None:
            raise
        raise InputError(
            f"{image}: is 4-D; choose the volume that was segmented, e.g. --volume 0", error.code
        ) from None
