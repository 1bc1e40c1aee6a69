"""Lists what the packaged model "landcover" is trained on, for configs/train-landcover.toml.

    python benchmarks/landcover_data.py DATA OUT

DATA holds dubai/scenes/scene{4,7,8}.tif with their labels. OUT gets pairs.csv: those three, and scenes that are
drawn by `pipeline.samples` from seeds that no test uses. Scenes 1 and 3 are the test split and are not listed.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from pipeline.demo import make

SCENES = ("scene4", "scene7", "scene8")
SEEDS = range(100, 106)
SIDE = 1024


def list_pairs(data: Path, out: Path) -> Path:
    """Draw the scenes and write the table; returns its path."""
    pairs = [(data / f"dubai/scenes/{name}.tif", data / f"dubai/scenes/{name}_label.tif") for name in SCENES]
    for seed in SEEDS:
        folder = out / f"drawn{seed}"
        make(folder, (SIDE, SIDE), seed)
        pairs.append((folder / "scene.tif", folder / "truth.tif"))
    table = out / "pairs.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("image", "label"))
        rows.writerows((image.resolve(), label.resolve()) for image, label in pairs)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    print(list_pairs(asked.data, asked.out))
