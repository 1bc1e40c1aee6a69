"""Small labelled inputs to learn from, and a training of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from pipeline.models.card import ClassEntry
from pipeline.training.config import Augmentation, Data, Network, Samples, Schedule, Training
from tests.support.inputs import put_scene

CLASSES = (ClassEntry("dark", (0, 0, 0)), ClassEntry("bright", (255, 255, 255)), ClassEntry("rare", (255, 0, 0)))
STILL = Augmentation((1.0, 1.0), 0.0, 0.0, quarter_turns=False, flips=(), brightness=0, contrast=0, color=0, noise=0)
SCENES = Training(
    name="small",
    kind="scene",
    classes=CLASSES,
    channels=("red", "green"),
    data=Data("scene*.tif", "{stem}_label.tif", validation=("scene2",), exclude=("*_label",)),
    network=Network(output_stride=16, ppm_channels=8, head_channels=8),
    samples=Samples(patch=(32, 32), batch=4),
    schedule=Schedule(steps=12, optimizer="adamw", rate=2e-3, new_layers=1.0, every=4),
)
LIGHT = replace(SCENES, network=replace(SCENES.network, backbone="mobilenet_v2"))
"""A network with a fifth of the weights to compute and to write."""
VOLUMES = replace(
    LIGHT,
    kind="volume",
    channels=("MR",),
    data=Data("volume*.nii.gz", "labels/{stem}.nii", validation=("volume1",)),
    samples=Samples(
        (24, 24), 2, spacing=(1.0, 1.0), margin=1, views=("axial", "coronal", "sagittal"), normalization="zscore"
    ),
)
TOML = """
name = "small"
kind = "scene"
channels = ["red", "green"]
classes = [
  {name = "dark", color = [0, 0, 0]},
  {name = "bright", color = [255, 255, 255]},
  {name = "rare", color = [255, 0, 0]},
]
[data]
images = "scene*.tif"
labels = "{stem}_label.tif"
validation = ["scene2"]
exclude = ["*_label"]
[network]
backbone = "mobilenet_v2"
output_stride = 16
ppm_channels = 8
head_channels = 8
[samples]
patch = [32, 32]
batch = 4
[schedule]
steps = 12
every = 4
optimizer = "adamw"
rate = 2e-3
new_layers = 1.0
averaging = 0.5
"""
"""The light training of scenes as a file."""


def truth(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Blocks of 16 cells of class 0 or 1, a few cells of class 2, and a corner that is ignored."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 2, (-(-shape[0] // 16), -(-shape[1] // 16)))
    labels = np.kron(blocks, np.ones((16, 16), int))[: shape[0], : shape[1]].astype(np.uint8)
    labels[20:24, 30:34] = 2
    labels[:5, :5] = 255
    return labels


def put_scenes(folder: Path) -> Path:
    """Three labelled scenes of different size and place; the values tell the class."""
    for index, shape in enumerate([(96, 80), (64, 144), (80, 80)]):
        labels = truth(shape, index)
        noise = np.random.default_rng(10 + index).normal(0, 8, (2, *shape))
        values = np.stack([60 + 80 * (labels == 1), 60 + 120 * (labels == 2)]) + noise
        put_scene(folder / f"scene{index}.tif", values.clip(1, 255).astype(np.uint8))
        put_scene(folder / f"scene{index}_label.tif", labels[None])
    return folder


def put_volumes(folder: Path) -> Path:
    """Two labelled volumes, one stored the other way round."""
    (folder / "labels").mkdir(parents=True)
    for index, affine in enumerate([np.diag([1.0, 1, 2, 1]), np.diag([-1.0, 1, 1, 1])]):
        labels = np.zeros((30, 26, 12), np.uint8)
        labels[8:20, 6:18, 3:9] = 1
        labels[10:14, 8:12, 4:6] = 2
        values = 100.0 * (1 + index) * (1 + labels) + np.random.default_rng(index).normal(0, 5, labels.shape)
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), folder / f"volume{index}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels.astype(np.float32), affine), folder / "labels" / f"volume{index}.nii")
    return folder
