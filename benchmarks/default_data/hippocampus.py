"""Hippocampus in T1 MR: Medical Segmentation Decathlon, Task04."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.geometry import reflect
from pipeline.models.card import FORMAT, Card, ClassEntry, Normalisation
from pipeline.models.spec import PSPNetSpec

PATCH = (192, 144)
"""Rows (y) and columns (x) of a patch in model pixels."""
ZOOM = 3
MARGIN = 2
CARD = Card(
    format=FORMAT,
    name="hippocampus",
    kind="volume",
    classes=(
        ClassEntry("background", (0, 0, 0)),
        ClassEntry("anterior", (230, 120, 40)),
        ClassEntry("posterior", (50, 120, 210)),
    ),
    network=PSPNetSpec("resnet18", 2 * MARGIN + 1, 3),
    patch=PATCH,
    overlap=(PATCH[0] // 2, PATCH[1] // 2),
    channels=("T1 MR",),
    margin=MARGIN,
    normalisation=Normalisation("zscore", (), ()),
    spacing=(1 / ZOOM, 1 / ZOOM),
    orientation="RAS",
    views=("axial",),
    averaging="softmax",
    window="gaussian",
    weights_sha256="",
    licence="CC-BY-SA-4.0",
    credits="Trained on Task04 (hippocampus) of the Medical Segmentation Decathlon, Antonelli et al. 2022, "
    "doi:10.1038/s41467-022-30695-9, CC-BY-SA 4.0; images from Vanderbilt University Medical Center.",
    evaluation={},
)
Volume = tuple[NDArray[np.float32], NDArray[np.uint8]]


class Data:
    """Volumes `(z, y, x)` in RAS orientation at 1 mm, normalised each by itself, and their labels."""

    card = CARD

    def __init__(self, folder: Path) -> None:
        split = json.loads((folder / "splits.json").read_text())["msd_hippocampus"]
        self.folder = folder / "msd_hippocampus"
        subjects = sorted({_subject(name) for name in split["train"]})
        held_out = set(subjects[::10])
        self.train = [self._open(name) for name in split["train"] if _subject(name) not in held_out]
        self.held_out = [self._open(name) for name in split["train"] if _subject(name) in held_out]
        self.test_names = split["test"]
        self.slices = [(k, z) for k, (image, _) in enumerate(self.train) for z in range(len(image))]
        print(f"{len(self.train)} volumes, {len(self.slices)} slices, {len(self.held_out)} held out", flush=True)

    def _open(self, name: str) -> Volume:
        image = nib.load(self.folder / "images" / f"{name}.nii.gz")
        labels = nib.load(self.folder / "labels" / f"{name}.nii.gz")
        if nib.aff2axcodes(image.affine) != ("R", "A", "S"):
            raise ValueError(f"{name} is not in RAS orientation")
        values = np.asarray(image.dataobj, np.float32).T
        counted = values[np.isfinite(values) & (values != 0)]
        return (values - counted.mean()) / counted.std(), np.asarray(labels.dataobj).astype(np.uint8).T

    def batch(self, rng: np.random.Generator, count: int, side: float) -> tuple[Tensor, Tensor]:
        """Stacks of slices `(count, 5, h, w)` and the labels `(count, h, w)` of the middle one, augmented."""
        pairs = [self._stack(rng, side) for _ in range(count)]
        return torch.stack([image for image, _ in pairs]), torch.stack([labels for _, labels in pairs])

    def _stack(self, rng: np.random.Generator, side: float) -> tuple[Tensor, Tensor]:
        volume, z = self.slices[rng.integers(len(self.slices))]
        image, labels = self.train[volume]
        planes = torch.from_numpy(image[reflect(z - MARGIN, z + MARGIN + 1, len(image))])
        if rng.random() < 0.2:
            planes = planes.flip(0)
        return warp(rng, planes, torch.from_numpy(labels[z]), tuple(int(n * side) for n in PATCH))

    def validate(self, scores: Callable[[Tensor], Tensor], *, few: bool) -> dict[str, float]:
        """Dice of both parts, averaged over held-out volumes."""
        return evaluate(scores, self.held_out[:8] if few else self.held_out)

    def test(self, scores: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Dice of both parts, averaged over the test volumes."""
        volumes = [self._open(name) for name in self.test_names]
        return {"measure": f"Dice, mean of {len(volumes)} volumes not seen in training", **evaluate(scores, volumes)}


def warp(rng: np.random.Generator, planes: Tensor, labels: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A turned, scaled, shifted and bent copy at model spacing, mirrored outside the image; labels there are 255."""
    height, width = labels.shape
    angle, zoom = rng.normal(0, 0.12), ZOOM * np.exp(rng.normal(0, 0.1))
    y, x = torch.meshgrid(*((torch.arange(n) + 0.5 - n / 2) / zoom for n in size), indexing="ij")
    wave = functional.interpolate(torch.randn(1, 2, 5, 4) * float(rng.uniform(0, 1.2)), list(size), mode="bicubic")[0]
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    y, x = cos * y - sin * x + wave[0], sin * y + cos * x + wave[1]
    y = y + size[0] / ZOOM / 2 - 0.5 + float(rng.uniform(-14, 3))
    x = x + size[1] / ZOOM / 2 - 0.5 + float(rng.uniform(-12, 3))
    if rng.random() < 0.5:
        x = width - 1 - x
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)[None]
    image = functional.grid_sample(planes[None], grid, "bilinear", "reflection", align_corners=True)[0]
    ids = functional.grid_sample(labels[None, None].float(), grid, "nearest", "reflection", align_corners=True)[0, 0]
    inside = (grid[0].abs() <= 1 + 1 / max(height, width)).all(-1)
    return shade(rng, image), ids.round().long().where(inside, 255)


def shade(rng: np.random.Generator, image: Tensor) -> Tensor:
    """The image with a changed scale, offset, slope across it, sharpness and noise."""
    side = torch.linspace(-1, 1, image.shape[1])[:, None] * rng.normal(0, 0.12) + torch.linspace(
        -1, 1, image.shape[2]
    ) * rng.normal(0, 0.12)
    image = image * float(np.exp(rng.normal(0, 0.15))) * (1 + side) + float(rng.normal(0, 0.15))
    if rng.random() < 0.3:
        image = functional.avg_pool2d(image[None], 3, 1, 1, count_include_pad=False)[0]
    return (image + torch.randn_like(image) * float(rng.uniform(0, 0.2))).float()


def predict(scores: Callable[[Tensor], Tensor], image: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels of a whole volume, slice by slice, through the model's own spacing as the predictor does it."""
    depth, height, width = image.shape
    rows, columns = (reflect(0, n // ZOOM, size) for n, size in zip(PATCH, (height, width), strict=True))
    if height > len(rows) or width > len(columns):
        raise ValueError(f"volumes larger than a patch are not evaluated here: {image.shape}")
    planes = torch.from_numpy(image[:, rows][:, :, columns])
    found = []
    for z in range(depth):
        stack = planes[reflect(z - MARGIN, z + MARGIN + 1, depth)][None]
        fine = scores(functional.interpolate(stack, PATCH, mode="bilinear"))
        native = functional.interpolate(fine, planes.shape[1:], mode="bilinear")
        found.append(native[0].argmax(0)[:height, :width].numpy())
    return np.stack(found)


def evaluate(scores: Callable[[Tensor], Tensor], volumes: list[Volume]) -> dict[str, float]:
    """Dice of both parts, averaged over volumes."""
    dice = []
    for image, labels in volumes:
        found = predict(scores, image)
        pairs = [(found == k, labels == k) for k in (1, 2)]
        dice.append([2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in pairs])
    anterior, posterior = np.mean(dice, axis=0).round(4).tolist()
    return {"anterior": anterior, "posterior": posterior}


def _subject(name: str) -> int:
    return (int(name.rsplit("_", 1)[1]) + 1) // 2
