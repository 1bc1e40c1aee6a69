"""Land cover from the air: three labelled scenes of Dubai, and scenes drawn by `pipeline.samples`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.models.card import FORMAT, Card, ClassEntry, Normalisation
from pipeline.models.spec import PSPNetSpec

PATCH = 512
DRAWN = 0.4
"""Share of the training crops that are drawn."""
CARD = Card(
    format=FORMAT,
    name="landcover",
    kind="scene",
    classes=(
        ClassEntry("building", (200, 60, 50)),
        ClassEntry("land", (214, 190, 140)),
        ClassEntry("road", (110, 110, 115)),
        ClassEntry("vegetation", (60, 140, 60)),
        ClassEntry("water", (50, 110, 200)),
    ),
    network=PSPNetSpec("resnet18", 3, 5),
    patch=(PATCH, PATCH),
    overlap=(PATCH // 4, PATCH // 4),
    channels=("red", "green", "blue"),
    margin=0,
    normalisation=Normalisation("fixed", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    spacing=None,
    orientation=None,
    views=(),
    averaging="softmax",
    window="gaussian",
    weights_sha256="",
    licence="Apache-2.0",
    credits="Trained on 'Semantic segmentation of aerial imagery' of Dubai by Humans in the Loop and the Mohammed Bin "
    "Rashid Space Centre (CC0 1.0), and on scenes drawn by this project.",
    evaluation={},
)
CLASSES = tuple(entry.name for entry in CARD.classes)
MEAN = torch.tensor(CARD.normalisation.mean).view(3, 1, 1)
STD = torch.tensor(CARD.normalisation.std).view(3, 1, 1)
Image = NDArray[np.uint8]
Pair = tuple[Image, Image]

try:
    from pipeline.samples import scene_rows
except ImportError:
    scene_rows = None


class Data:
    """Scenes with labels, as `(3, h, w)` and `(h, w)` of uint8; 255 is ignored."""

    card = CARD

    def __init__(self, folder: Path) -> None:
        split = json.loads((folder / "splits.json").read_text())["dubai"]
        self.folder = folder / "dubai/scenes"
        scenes = {name: self._open(name) for name in split["train"]}
        self.train = [
            scenes["scene4"],
            _cut(scenes["scene7"], 0, 4700, 0, None),
            _cut(scenes["scene8"], 0, None, 0, 5100),
        ]
        self.held_out = [_cut(scenes["scene7"], 4700, None, 0, None), _cut(scenes["scene8"], 0, None, 5100, None)]
        self.test_names = split["test"]
        self.places = [[np.flatnonzero(labels == k) for k in range(5)] for _, labels in self.train]
        self.areas = np.array([labels.size for _, labels in self.train], float)
        self.drawn = [] if scene_rows is None else [draw(seed, 1536) for seed in range(100, 116)]
        print(f"{len(self.train)} scenes, {len(self.drawn)} drawn", flush=True)

    def _open(self, name: str) -> Pair:
        with (
            rasterio.open(self.folder / f"{name}.tif") as image,
            rasterio.open(self.folder / f"{name}_label.tif") as labels,
        ):
            return image.read(), labels.read(1)

    def batch(self, rng: np.random.Generator, count: int, side: float) -> tuple[Tensor, Tensor]:
        """Normalised crops `(count, 3, s, s)` and labels `(count, s, s)`, augmented."""
        pairs = [self._crop(rng, int(PATCH * side)) for _ in range(count)]
        images = torch.stack([jitter(rng, image) for image, _ in pairs])
        return images, torch.stack([labels for _, labels in pairs])

    def _crop(self, rng: np.random.Generator, side: int) -> tuple[Tensor, Tensor]:
        size = int(side * 2 ** rng.uniform(-1.2, 1.2))
        if self.drawn and rng.random() < DRAWN:
            image, labels = self.drawn[rng.integers(len(self.drawn))]
            place = rng.integers(labels.size)
        else:
            scene = rng.choice(len(self.train), p=self.areas / self.areas.sum())
            image, labels = self.train[scene]
            place = _place(rng, self.places[scene], labels.size)
        y, x = divmod(int(place), labels.shape[1])
        top = int(np.clip(y - rng.integers(size), 0, labels.shape[0] - size))
        left = int(np.clip(x - rng.integers(size), 0, labels.shape[1] - size))
        box = np.s_[top : top + size, left : left + size]
        return _turn(rng, resize(image[(slice(None), *box)], labels[box], side))

    def validate(self, scores: Callable[[Tensor], Tensor], *, few: bool) -> dict[str, float]:
        """IoU per class and their mean on the held-out parts; and on a scene drawn from another seed."""
        figures = evaluate(scores, self.held_out, PATCH * (2 if few else 1))
        if scene_rows is not None:
            figures["drawn"] = evaluate(scores, [draw(7, 1024)], PATCH)["mIoU"]
        return figures

    def test(self, scores: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """IoU per class and their mean on the test scenes, and on a scene drawn from another seed than those seen."""
        return {
            "measure": "IoU over all pixels of patches of 512 side by side",
            "Dubai scenes 1 and 3, not seen in training": evaluate(
                scores, [self._open(name) for name in self.test_names], PATCH
            ),
            "drawn scene, seed 7, not seen in training": evaluate(scores, [draw(7, 1024)], PATCH),
        }


def draw(seed: int, side: int) -> Pair:
    """A made-up scene of `side` x `side` pixels with its labels."""
    image, labels = scene_rows(0, side, side, seed=seed)
    return np.asarray(image), np.asarray(labels).reshape(side, side)


def resize(image: Image, labels: Image, side: int) -> tuple[Tensor, Tensor]:
    """A crop and its labels at `side` x `side`: bilinear (averaged where it shrinks), and nearest."""
    pixels = torch.from_numpy(image.astype(np.float32))[None]
    ids = torch.from_numpy(labels.astype(np.float32))[None, None]
    pixels = functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return pixels[0], functional.interpolate(ids, (side, side), mode="nearest-exact")[0, 0].long()


def jitter(rng: np.random.Generator, image: Tensor) -> Tensor:
    """A normalised image with changed brightness, contrast, gamma, colour balance and saturation, and some noise."""
    x = (image / 255).clamp(0, 1) ** float(np.exp(rng.uniform(-0.35, 0.35)))
    gains = torch.tensor(np.exp(rng.normal(0, 0.08, 3)), dtype=torch.float32).view(3, 1, 1)
    x = x * gains * float(np.exp(rng.uniform(-0.3, 0.3)))
    grey = x.mean(0, keepdim=True)
    x = grey + (x - grey) * float(rng.uniform(0.5, 1.5))
    x = x.mean() + (x - x.mean()) * float(np.exp(rng.uniform(-0.3, 0.3)))
    x = x + torch.randn_like(x) * float(rng.uniform(0, 0.03))
    return (x.clamp(0, 1) * 255 - MEAN) / STD


def evaluate(scores: Callable[[Tensor], Tensor], pairs: list[Pair], step: int) -> dict[str, float]:
    """IoU per class and their mean, over patches of 512 pixels every `step` pixels."""
    matrix = np.zeros((5, 5))
    for image, labels in pairs:
        for top in range(0, labels.shape[0] - PATCH + 1, step):
            for left in range(0, labels.shape[1] - PATCH + 1, step):
                box = np.s_[top : top + PATCH, left : left + PATCH]
                x = (torch.from_numpy(image[(slice(None), *box)].astype(np.float32)) - MEAN) / STD
                found, truth = scores(x[None])[0].argmax(0).numpy(), labels[box]
                seen = truth < 5
                matrix += np.bincount(truth[seen].astype(int) * 5 + found[seen], minlength=25).reshape(5, 5)
    iou = np.diag(matrix) / np.maximum(matrix.sum(0) + matrix.sum(1) - np.diag(matrix), 1)
    return {"mIoU": round(float(iou.mean()), 4)} | dict(zip(CLASSES, iou.round(4).tolist(), strict=True))


def _place(rng: np.random.Generator, places: list[NDArray[np.intp]], size: int) -> int:
    if rng.random() < 0.4:
        return int(rng.integers(size))
    return int(rng.choice(places[rng.integers(5)]))


def _turn(rng: np.random.Generator, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    image, labels = (torch.rot90(x, turns, (-2, -1)) for x in pair)
    return (image.flip(-1), labels.flip(-1)) if flip else (image, labels)


def _cut(pair: Pair, top: int, bottom: int | None, left: int, right: int | None) -> Pair:
    image, labels = pair
    return image[:, top:bottom, left:right], labels[top:bottom, left:right]
