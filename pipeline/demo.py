"""The demo: a sample scene with its truth, a sample volume, and the mask of the scene. `make demo` runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from pipeline.classes import ClassTable, hex_color
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import from_geotransform, from_ijk, from_transform
from pipeline.io.lettering import legend, line
from pipeline.io.mask_files import mask_info
from pipeline.io.opening import open_source
from pipeline.io.raster import write_png, write_scene
from pipeline.io.volume.nifti import write_nifti
from pipeline.samples import (
    CLASSES,
    PHANTOM_AFFINE,
    SCENE_CRS,
    SCENE_TRANSFORM,
    phantom_slices,
    scene_rows,
)

SIZE = 2048
VOLUME = (24, 80, 80)
SEED = 7
_ROWS = 512


def make(folder: Path, shape: tuple[int, int] = (SIZE, SIZE), seed: int = SEED) -> None:
    """Write `scene.tif` and its true labels, `truth.tif`, band by band, and a phantom, `volume.nii.gz`."""
    grid = scene_grid(shape)
    image = (scene_rows(top, stop, shape[1], seed=seed)[0] for top, stop in _spans(shape[0]))
    write_scene(folder / "scene.tif", grid, image, 3, np.dtype(np.uint8))
    truth = (scene_rows(top, stop, shape[1], seed=seed)[1][None] for top, stop in _spans(shape[0]))
    write_scene(folder / "truth.tif", grid, truth, 1, np.dtype(np.uint8))
    volume = volume_grid(VOLUME)
    slices = (phantom_slices(z, z + 1, VOLUME, seed=seed)[0] for z in range(VOLUME[0]))
    write_nifti(folder / "volume.nii.gz", volume, slices, np.int16)


def scene_grid(shape: tuple[int, int]) -> Grid:
    """Return the grid of a sample scene of `shape`."""
    corner = from_geotransform(SCENE_TRANSFORM)
    words = {"transform": corner, "crs": SCENE_CRS}
    return Grid(shape, from_transform(corner), ("y", "x"), SCENE_CRS, {"gdal": words})


def volume_grid(shape: tuple[int, int, int]) -> Grid:
    """Return the grid of a phantom of `shape`."""
    return Grid(shape, from_ijk(np.array(PHANTOM_AFFINE)), ("z", "y", "x"))


def show(folder: Path) -> None:
    """Print the agreement of the mask with the truth, and a picture of scene, mask and truth."""
    scene, mask, truth = (_pixels(folder / name) for name in ("scene.tif", "scene_mask.tif", "truth.tif"))
    classes = mask_info(folder / "scene_mask.tif").classes
    colors = _colors(classes)
    picture = np.concatenate([scene, colors[mask[0]].transpose(2, 0, 1), colors[truth[0]].transpose(2, 0, 1)], axis=2)
    write_png(folder / "picture.png", _with_words(picture[:, ::4, ::4], classes))
    console = Console(highlight=False)
    if console.is_terminal:
        step = -(-picture.shape[2] // min(console.width - 1, 120))
        console.print(Segments(_blocks(picture[:, ::step, ::step])), end="")
        console.print("scene, mask and truth, from left to right\n")
    for name, share in _agreement(mask[0], truth[0]).items():
        console.print(f"  {name:<24}{share:6.1%}")
    console.print(f"\nmask     {folder / 'scene_mask.tif'}\npicture  {folder / 'picture.png'} (scene, mask, truth)")


def _with_words(picture: NDArray[np.uint8], classes: ClassTable) -> NDArray[np.uint8]:
    """Return scene, mask and truth with a caption over each and the names of the classes below."""
    width = picture.shape[2]
    third = width // 3
    head = [line(part, middle=name) for name, part in (("scene", third), ("mask", third), ("truth", width - 2 * third))]
    foot = legend([(entry.name, entry.color) for entry in classes], width)
    above, below = (words.transpose(2, 0, 1) for words in (np.concatenate(head, axis=1), foot))
    return np.concatenate([above, picture, below], axis=1)


def _agreement(mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, float]:
    overlaps = {
        f"IoU {name}": ((mask == value) & (truth == value)).sum() / max(1, ((mask == value) | (truth == value)).sum())
        for value, name in enumerate(CLASSES)
    }
    mean = float(np.mean(list(overlaps.values())))
    return {**overlaps, "mean IoU": mean, "pixels that agree": float((mask == truth).mean())}


def _pixels(path: Path) -> NDArray[np.uint8]:
    source = open_source(path)
    try:
        return source.read(Box.whole(source.grid.shape)).values.astype(np.uint8)
    finally:
        source.close()


def _colors(classes: ClassTable) -> NDArray[np.uint8]:
    table = np.zeros((256, 3), np.uint8)
    for entry in classes:
        table[entry.value] = entry.color
    return table


def _blocks(picture: NDArray[np.uint8]) -> Iterator[Segment]:
    """A picture in characters, each of which shows two pixels, one above the other."""
    for row in range(0, picture.shape[1] - 1, 2):
        for upper, lower in zip(picture[:, row].T, picture[:, row + 1].T, strict=True):
            yield Segment("▀", Style(color=hex_color(upper), bgcolor=hex_color(lower)))
        yield Segment.line()


def _spans(rows: int) -> Iterator[tuple[int, int]]:
    return ((top, min(top + _ROWS, rows)) for top in range(0, rows, _ROWS))


if __name__ == "__main__":
    {"make": make, "show": show}[sys.argv[1]](Path(sys.argv[2]))
