"""Lists what the packaged models are trained and measured on.

    python benchmarks/default_models.py DATA OUT

DATA holds `dubai/scenes` and `msd_hippocampus`, and `splits.json`, which says what is for the test. OUT gets

landcover/pairs.csv   the training scenes of Dubai, and scenes drawn by `pipeline.samples` from seeds that no test uses;
landcover.csv         the test scenes with their truth;
hippocampus.csv       the test volumes with theirs.

The models are made from these by `pipeline train` and `pipeline evaluate`; docs/benchmarks.md has the commands.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path

from pipeline.demo import make

SEEDS = range(100, 106)
SIDE = 1024
Pair = tuple[Path, Path]


def list_all(data: Path, out: Path) -> None:
    """Draw the scenes and write the three tables."""
    splits = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    training = [_scene(data, name) for name in splits["dubai"]["train"]]
    _write(out / "landcover/pairs.csv", "label", [*training, *_drawn(out / "landcover")])
    _write(out / "landcover.csv", "truth", [_scene(data, name) for name in splits["dubai"]["test"]])
    volumes = splits["msd_hippocampus"]["test"]
    _write(out / "hippocampus.csv", "truth", [_volume(data / "msd_hippocampus", name) for name in volumes])


def _scene(data: Path, name: str) -> Pair:
    return data / f"dubai/scenes/{name}.tif", data / f"dubai/scenes/{name}_label.tif"


def _volume(folder: Path, name: str) -> Pair:
    return folder / f"images/{name}.nii.gz", folder / f"labels/{name}.nii.gz"


def _drawn(out: Path) -> Iterable[Pair]:
    for seed in SEEDS:
        folder = out / f"drawn{seed}"
        make(folder, (SIDE, SIDE), seed)
        yield folder / "scene.tif", folder / "truth.tif"


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
    asked = parser.parse_args()
    list_all(asked.data, asked.out)
