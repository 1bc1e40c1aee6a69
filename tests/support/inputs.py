"""Small models and inputs on disk, written by rasterio and nibabel, and what those make of our outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray

from pipeline.models.card import Normalization
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.store import save_model
from tests.support.model_cases import CARD_2D, CARD_3D, network_of, shallow

SCENE_CARD = replace(CARD_2D, network=shallow(CARD_2D.network), patch=(128, 96), overlap=(32, 24), channels=("a", "b"))
VOLUME_CARD = replace(
    CARD_3D,
    network=shallow(CARD_3D.network),
    patch=(48, 64),
    overlap=(12, 16),
    spacing=None,
    normalization=Normalization("zscore", (), ()),
)
SEED = 4
"""Of weights with which every class is found in all of the inputs here."""
BLOT = 40
PLACE = Affine(0.5, 0.01, 1000.25, 0.02, -0.5, 2000.75)


def put_models(folder: Path) -> None:
    """Write the models `scene` and `volume`."""
    for name, card in (("scene", SCENE_CARD), ("volume", VOLUME_CARD)):
        save_model(folder / name, replace(card, name=name), undecided(network_of(card.network, SEED)))


def undecided(network: PSPNet) -> PSPNet:
    """The network with its classes brought to the same mean and spread, so that each wins somewhere."""
    noise = np.stack([pixels((network.spec.in_channels, 128, 128), seed) for seed in range(6)])
    with torch.inference_mode():
        scores = network((torch.from_numpy(noise).float() - 100) / 50)
        spread, mean = torch.std_mean(scores, (0, 2, 3))
        last = network.head[4]
        last.weight /= spread[:, None, None, None]
        last.bias.copy_((last.bias - mean) / spread)
    return network


def pixels(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Blots under noise, from 1, along the last two axes."""
    rng = np.random.default_rng(seed)
    blots = rng.integers(1, 200, (*shape[:-2], -(-shape[-2] // BLOT), -(-shape[-1] // BLOT)))
    whole = np.kron(blots, np.ones((BLOT, BLOT), int))[..., : shape[-2], : shape[-1]]
    return (whole + rng.integers(0, 56, shape)).astype(np.uint8)


def put_scene(path: Path, values: NDArray[Any], **profile: Any) -> Path:
    """Write `(channels, rows, columns)`, by default with a tilted place in EPSG:32633."""
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", **shape, **{"crs": "EPSG:32633", "transform": PLACE, **profile}
    ) as to:
        to.write(values)
    return path


def put_volume(path: Path, values: NDArray[Any], affine: NDArray[Any]) -> Path:
    """Write `(i, j, k)`."""
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, 1)
    image.set_qform(None, 0)
    nibabel.save(image, path)
    return path


def labels_of(path: Path) -> NDArray[Any]:
    """Labels of a mask, by another reader than ours: `(rows, columns)` or `(i, j, k)`."""
    if path.suffix == ".tif":
        with rasterio.open(path) as dataset:
            labels: NDArray[Any] = dataset.read(1)
            return labels
    return np.asanyarray(nibabel.load(path).dataobj)


def contents(path: Path) -> dict[str, bytes]:
    """Bytes of a file and of what lies beside it under its name, or of all files of a store."""
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    stem = path.name.split(".")[0]
    return {
        file.name.replace(stem, "", 1): file.read_bytes()
        for file in path.parent.iterdir()
        if file.is_file() and file.name.split(".")[0] == stem
    }


def listing(folder: Path) -> set[str]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
