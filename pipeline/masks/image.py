"""Open the image that a mask was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

from pipeline.engine import Source
from pipeline.errors import InputError, RequestError
from pipeline.io.opening import open_source


@overload
def open_image(image: str | Path, volume: int | None, affine: str = "strict") -> Source: ...
@overload
def open_image(image: str | Path | None, volume: int | None, affine: str = "strict") -> Source | None: ...


def open_image(image: str | Path | None, volume: int | None, affine: str = "strict") -> Source | None:
    """Open an image, or one volume of a 4-D one, from 0; None without an image.

    `affine` is what holds where sform and qform disagree, as in `open_source`.

    Raises:
        RequestError: A volume is given, but no image.
        InputError: The image is 4-D and no volume is given, or it cannot be read.

    """
    if image is None:
        if volume is not None:
            raise RequestError(f"--volume {volume}: selects a volume of a 4-D image; give that as --image")
        return None
    try:
        return open_source(image, volume=volume, affine=affine)
    except InputError as error:
        if error.code != "4d" or volume is not None:
            raise
        raise InputError(
            f"{image}: is 4-D; choose the volume that was segmented, e.g. --volume 0", error.code
        ) from None


def image_of(provenance: Mapping[str, Any] | None) -> str | None:
    """Return the name of the image that a mask was made from, by its metadata; None where it says none."""
    said = (provenance or {}).get("input")
    name = said.get("name") if isinstance(said, dict) else None
    return name if isinstance(name, str) and name else None


def image_beside(mask: Path, provenance: Mapping[str, Any] | None) -> Path | None:
    """Return the image that a mask was made from, if it lies in the folder of the mask under its name."""
    name = image_of(provenance)
    beside = None if name is None else mask.parent / Path(name).name
    return beside if beside is not None and beside.exists() else None
