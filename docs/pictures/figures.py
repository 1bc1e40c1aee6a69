"""Pictures of the pages on evaluation and training: `python -m docs.pictures.figures`, in the root folder.

evaluate.png, confusion.svg   what `pipeline evaluate --pictures` draws of the sample scene with the packaged model
first-scene.png               the same of the tutorial, without the image
samples.png                   what `pipeline train --dry-run` draws, of the training in docs/howto/train.md
learning-rate.svg             what `--find-learning-rate` draws, with an EfficientNet-Lite0 from ImageNet

It prints the figures that the pages show. Everything is made anew in a temporary folder.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from pipeline import Job, segment
from pipeline.cli.evaluation_tables import print_evaluation
from pipeline.demo import make
from pipeline.evaluation.compare import evaluate_pairs
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.pictures import draw_pictures
from pipeline.evaluation.request import Measures
from pipeline.training.config import Network, Training, TrainingResources, read_training
from pipeline.training.learning_rate import find_learning_rate
from pipeline.training.preview import preview

FOLDER = Path(__file__).parent
TRAINING = re.compile(r"<!-- saved as train.toml -->\n```toml\n(.*?)```", re.DOTALL)
COLORS = 96
"""A picture of labels of so few is a quarter as large."""


def evaluation(folder: Path) -> None:
    """Draw the sample scene and what the packaged model makes of it."""
    make(folder, shape=(600, 800))
    scene, truth = (str(folder / f"{name}.tif") for name in ("scene", "truth"))
    mask = str(segment(Job(scene)).output)
    for image, name in ((scene, "evaluate"), (None, "first-scene")):
        pair = Pair(mask, truth, image)
        found = evaluate_pairs([pair], Measures())
        draw_pictures(found, [pair], folder / name)
        keep(folder / name / "best_scene_mask.png", f"{name}.png")
    shutil.copy(folder / "evaluate" / "confusion.svg", FOLDER)
    print_evaluation(found, (), as_json=False)


def training(folder: Path) -> None:
    """Draw the samples of the training of the page, and try learning rates."""
    make(folder, shape=(600, 800))
    page = (FOLDER.parent / "howto" / "train.md").read_text(encoding="utf-8")
    (folder / "train.toml").write_text(TRAINING.search(page)[1], encoding="utf-8")
    shown = read_training(folder / "train.toml")
    resources = TrainingResources("cpu")
    keep(preview(shown, folder, folder, resources).samples, "samples.png")
    print(find_learning_rate(from_imagenet(shown), folder, folder, resources).learning_rate)
    shutil.copy(folder / "learning_rate.svg", FOLDER / "learning-rate.svg")


def from_imagenet(shown: Training) -> Training:
    """Return a training that begins with a backbone."""
    name = "efficientnet_lite0"
    return replace(shown, network=Network(name, output_stride=16, pretrained=name))


def keep(path: Path, name: str) -> None:
    """Write a picture with few colors beside this file."""
    picture = Image.open(path).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    for made in (evaluation, training):
        with TemporaryDirectory() as folder:
            made(Path(folder))
