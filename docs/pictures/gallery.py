"""The pictures of the gallery: `python -m docs.pictures.gallery DATA`, from the root of the project.

DATA is a folder with the images that `SCENES` and `VOLUMES` name, as their publishers give them:

dubai            "Semantic segmentation of aerial imagery", Humans in the Loop and MBRSC, CC0
naip_prairie     a quarter quad of the National Agriculture Imagery Program, USDA, public domain, at 5 m
fair_buildings   Banepa, OpenAerialMap, CC-BY 4.0
msd_hippocampus  Task04 of the Medical Segmentation Decathlon, CC-BY-SA 4.0

Each is segmented by its packaged model, with its defaults, and drawn by `pipeline export`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import rasterio
from PIL import Image
from rasterio.windows import Window

from pipeline import Job, export, segment

FOLDER = Path(__file__).parent
DPI, WIDTH, QUALITY = 100, 1200, 75
"""Of a map; of a picture; and of WebP, which makes 50 to 200 kB of it."""


class Part(NamedTuple):
    """A part of a scene."""

    path: str
    column: int
    row: int
    width: int
    height: int


SCENES = {
    "gallery-dubai": Part("dubai/scenes/scene3.tif", 0, 0, 2046, 1974),
    "gallery-prairie": Part("naip_prairie/m_4709963_se_14_1_20140720.tif", 0, 0, 934, 723),
    "gallery-banepa": Part("fair_buildings/scenes/banepa.tif", 2048, 1024, 1024, 1024),
}
VOLUMES = {"gallery-hippocampus": "msd_hippocampus/images/hippocampus_001.nii.gz"}


def cut(part: Part, data: Path, folder: Path) -> Path:
    """Write a part of a scene as a scene of its own, with its first three bands."""
    window = Window(part.column, part.row, part.width, part.height)
    target = folder / Path(part.path).name
    with rasterio.open(data / part.path) as scene:
        profile = {**scene.profile, "count": 3, "width": part.width, "height": part.height}
        profile["transform"] = scene.window_transform(window)
        with rasterio.open(target, "w", **profile) as file:
            file.write(scene.read((1, 2, 3), window=window))
    return target


def scene_picture(image: Path) -> Image.Image:
    """Return the image of a scene and, beside it, the mask over it."""
    mask = Path(str(segment(Job(str(image))).output))
    sides = []
    for opacity in (0.0, 0.6):
        export(mask, mask.with_suffix(".png"), image=image, opacity=opacity, dpi=DPI, overwrite=True)
        sides.append(Image.open(mask.with_suffix(".png")).convert("RGB"))
    whole = Image.new("RGB", (sum(side.width for side in sides), sides[0].height), "white")
    whole.paste(sides[0], (0, 0))
    whole.paste(sides[1], (sides[0].width, 0))
    return whole


def volume_picture(image: Path, folder: Path) -> Image.Image:
    """Return slices of a volume with the outlines of its mask."""
    mask = Path(str(segment(Job(str(image), folder / "mask.nii.gz")).output))
    export(mask, folder / "mask.png", image=image)
    return Image.open(folder / "mask.png").convert("RGB")


def keep(picture: Image.Image, name: str) -> None:
    """Write a picture at most `WIDTH` wide beside this file."""
    picture.thumbnail((WIDTH, 2 * WIDTH))
    picture.save(FOLDER / f"{name}.webp", quality=QUALITY, method=6)


def main(data: Path) -> None:
    """Make all of them."""
    for name, part in SCENES.items():
        with TemporaryDirectory() as folder:
            keep(scene_picture(cut(part, data, Path(folder))), name)
    for name, path in VOLUMES.items():
        with TemporaryDirectory() as folder:
            keep(volume_picture(data / path, Path(folder)), name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
