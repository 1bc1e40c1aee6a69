"""Lists what the packaged models are trained and measured on.

    python benchmarks/default_models.py DATA OUT [--labels MODEL]

DATA holds `dubai/scenes`, `fair_buildings/scenes` and `msd_hippocampus`, and `splits.json`, which says what is for the
test. OUT gets

landcover/first.csv    the training scenes of Dubai, and two scenes drawn by `pipeline.samples`: for the first training;
landcover/second.csv   all five scenes of Dubai, three drawn ones, and the west of Banepa: for the second one;
landcover/pairs.csv    the same with larger drawn scenes, for the third and the fourth one;
landcover/last.csv     the same with other labels of Banepa, for the last one and the fast one;
landcover.csv          the test scenes of Dubai with their truth, for the model of the first training;
folds/NAME/pairs.csv   the scenes of Dubai that do not overlap with those of a fold on the ground, and two drawn ones;
folds/NAME/truth.csv   those of the fold with their truth;
hippocampus.csv        the test volumes with theirs.

The drawn scenes are of seeds that no test uses. Banepa has labels of buildings only. With `--labels`, its west gets
labels made of these and, elsewhere, of what that model says where it is sure of land, road or vegetation; its east,
which is `landcover/banepa_east.tif`, is held back. In the other labels, what is green is vegetation.

The models are made from these by `pipeline train` and `pipeline evaluate`; docs/benchmarks.md has the commands.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from scipy.ndimage import binary_opening, uniform_filter

from pipeline.demo import make
from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment

SMALL, LARGE = 1024, 2048
"""Sides of drawn scenes."""
WEST, WIDTH = 2048, 3072
"""Columns of Banepa that are trained on, and all of them."""
SURE = 0.6
"""Least share of a class among those that are no buildings."""
BUILDING, VEGETATION, WATER, IGNORED = 0, 3, 4, 255
GREEN, NOT_GREEN = 0.10, 0.05
"""Least excess of green, (2 g - r - b) / (r + g + b), of what is surely vegetation, and of what may be."""
FOLDS = {"1-3": ("1", "3"), "4": ("4", "8"), "7": ("7", "8"), "8": ("4", "7", "8")}
"""Scenes that are not trained on, by those of each fold: they overlap with these on the ground."""
Pair = tuple[Path, Path]


def list_all(data: Path, out: Path, labels: str | None) -> None:
    """Draw the scenes and write the tables."""
    splits = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    training, test = ([_scene(data, name) for name in splits["dubai"][part]] for part in ("train", "test"))
    folder = out / "landcover"
    banepa = [] if labels is None else [_banepa(data / "fair_buildings/scenes", folder, labels)]
    small, large = _drawn(folder, range(100, 103), SMALL), _drawn(folder, range(200, 204), LARGE)
    _write(folder / "first.csv", "label", [*training, *small[:2]])
    _write(folder / "second.csv", "label", [*test, *training, *small, *banepa])
    _write(folder / "pairs.csv", "label", [*test, *training, *banepa, *large])
    _write(folder / "last.csv", "label", [*test, *training, *map(_with_greens, banepa), *large])
    _write(out / "landcover.csv", "truth", test)
    _list_folds(data, out / "folds", small[:2])
    volumes = splits["msd_hippocampus"]["test"]
    _write(out / "hippocampus.csv", "truth", [_volume(data / "msd_hippocampus", name) for name in volumes])


def _list_folds(data: Path, out: Path, drawn: Sequence[Pair]) -> None:
    for name, left_out in FOLDS.items():
        seen = sorted({*chain(*FOLDS.values())} - {*left_out})
        pairs = [_scene(data, f"scene{number}") for number in seen]
        _write(out / name / "pairs.csv", "label", [*pairs, *drawn])
        _write(out / name / "truth.csv", "truth", [_scene(data, f"scene{number}") for number in name.split("-")])


def _scene(data: Path, name: str) -> Pair:
    return data / f"dubai/scenes/{name}.tif", data / f"dubai/scenes/{name}_label.tif"


def _volume(folder: Path, name: str) -> Pair:
    return folder / f"images/{name}.nii.gz", folder / f"labels/{name}.nii.gz"


def _drawn(out: Path, seeds: Iterable[int], side: int) -> list[Pair]:
    folders = [out / f"drawn{seed}" for seed in seeds]
    for folder, seed in zip(folders, seeds, strict=True):
        make(folder, (side, side), seed)
    return [(folder / "scene.tif", folder / "truth.tif") for folder in folders]


def _banepa(scenes: Path, out: Path, model: str) -> Pair:
    """Cut Banepa in two, and label its west."""
    for part, columns in (("west", (0, WEST)), ("east", (WEST, WIDTH))):
        for name in ("", "_label"):
            _cut(scenes / f"banepa{name}.tif", out / f"banepa_{part}{name}.tif", columns)
    image, label, mask = out / "banepa_west.tif", out / "banepa_west_label.tif", out / "banepa_west_mask.tif"
    segment(Job(str(image), mask, model, also=("probabilities",)), Resources(overwrite=True))
    with rasterio.open(mask.with_name("banepa_west_mask_probabilities.tif")) as layer:
        shares = layer.read().astype(np.float32)
    shares /= shares.max()
    rest = shares[1:] / np.maximum(shares[1:].sum(0), 1e-3)
    found = rest.argmax(0) + 1
    sure = (rest.max(0) >= SURE) & (found != WATER)
    with rasterio.open(label, "r+") as labels:
        others = np.where(sure, found, IGNORED)
        labels.write(np.where(labels.read(1) == 1, BUILDING, others).astype(np.uint8), 1)
    return image, label


def _with_greens(pair: Pair) -> Pair:
    """Label what is green, and no building, as vegetation; ignore what may be, and water, of which there is none."""
    image, label = pair
    with rasterio.open(image) as scene:
        red, green, blue = (uniform_filter(band, 5) for band in scene.read((1, 2, 3)).astype(np.float32))
    excess = (2 * green - red - blue) / (red + green + blue + 1e-3)
    with rasterio.open(label) as before:
        labels, profile = before.read(1), before.profile
    sure = binary_opening(excess > GREEN, iterations=2)
    doubtful = (excess > NOT_GREEN) != (labels == VEGETATION)
    labels = np.where((labels != BUILDING) & (doubtful | (labels == WATER)), IGNORED, labels)
    found = label.with_name("banepa_west_greens.tif")
    with rasterio.open(found, "w", **profile) as after:
        after.write(np.where((labels != BUILDING) & sure, VEGETATION, labels).astype(np.uint8), 1)
    return image, found


def _cut(source: Path, target: Path, columns: tuple[int, int]) -> None:
    with rasterio.open(source) as whole:
        window = Window(columns[0], 0, columns[1] - columns[0], whole.height)
        shape = {"width": window.width, "transform": whole.window_transform(window), "nodata": None}
        profile = {"driver": "GTiff", "height": whole.height, "count": whole.count, "dtype": "uint8", "crs": whole.crs}
        with rasterio.open(target, "w", **profile, **shape, tiled=True, compress="deflate") as part:
            part.write(whole.read(window=window))


def _write(table: Path, truth: str, pairs: Iterable[Pair]) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("image", truth))
        rows.writerows((image.resolve(), label.resolve()) for image, label in pairs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", help="the model that labels Banepa")
    asked = parser.parse_args()
    list_all(asked.data, asked.out, asked.labels)
