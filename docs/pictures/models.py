"""Pictures of the pages of the packaged models, and the pages: `python -m docs.pictures.models DATA`.

DATA holds Task04 of the Medical Segmentation Decathlon (`msd_hippocampus`). Each page shows where its model errs:
landcover and landcover-fast on the demo's drawn scene, hippocampus on the test split that its card names. The figures
on the pages are those that are recorded in the cards; docs/benchmarks.md has the commands that record them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from pipeline import Job, Resources, segment
from pipeline.demo import make
from pipeline.evaluation.compare import evaluate_pairs
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.pictures import FAILURE, draw_pictures
from pipeline.evaluation.request import Measures
from pipeline.models.catalogue import load_card
from pipeline.reports.model_pages import write_model_page

PAGES = Path(__file__).parents[1] / "models"
SHOWN, WIDTH, COLORS = 4, 1036, 96
"""Failures on a page; columns and colors of a picture."""


def drawn(folder: Path) -> list[tuple[Path, Path]]:
    """Return the demo's scene and its truth."""
    make(folder / "drawn", shape=(2048, 2048))
    return [(folder / "drawn/scene.tif", folder / "drawn/truth.tif")]


def crops(data: Path) -> list[tuple[Path, Path]]:
    """Return the volumes of the test split and their truths."""
    task = data / "msd_hippocampus"
    stems = load_card("hippocampus").training["data"]["exclude"]
    return [(task / f"images/{stem}.nii.gz", task / f"labels/{stem}.nii.gz") for stem in stems]


def pictures(model: str, pairs: Sequence[tuple[Path, Path]], folder: Path) -> Path:
    """Draw where a model errs into the folder of its page."""
    made = []
    for image, truth in pairs:
        mask = folder / "masks" / f"{image.name.partition('.')[0]}_mask{''.join(image.suffixes)}"
        segment(Job(str(image), mask, model), Resources(overwrite=True))
        made.append(Pair(str(mask), str(truth), str(image)))
    draw_pictures(evaluate_pairs(made, Measures()), made, folder / "pictures")
    target = PAGES / model
    target.mkdir(exist_ok=True)
    for before in target.glob(f"{FAILURE}_*.png"):
        before.unlink()
    for path in sorted((folder / "pictures").glob(f"{FAILURE}_*.png"))[:SHOWN]:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((WIDTH, WIDTH), Image.Resampling.BOX)
        picture.quantize(COLORS, dither=Image.Dither.NONE).save(target / path.name, optimize=True)
    return target


def main(data: Path) -> None:
    """Write the pages."""
    for model, pairs in (("landcover", drawn), ("landcover-fast", drawn), ("hippocampus", lambda _: crops(data))):
        with TemporaryDirectory() as folder:
            shown = pictures(model, pairs(Path(folder)), Path(folder))
        write_model_page(model, PAGES / f"{model}.md", shown)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
