"""The packaged models with random weights and a network that is quick: same card, same names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from pipeline.models import catalogue
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.store import save_model
from tests.support.model_cases import shallow

SEED = 2
"""Of weights with which masks are not empty: all of a volume is of its first structure."""


def put_fast_models(folder: Path) -> None:
    """Write them; they take the place of `catalogue.WEIGHTS`."""
    for name in catalogue.names():
        card = catalogue.load_card(name)
        spec = shallow(replace(card.network, backbone="mobilenet_v2", ppm_channels=4, head_channels=8))
        torch.manual_seed(SEED)
        save_model(folder / card.name, replace(card, network=spec), PSPNet(spec).eval())


def put_start(folder: Path, weights: Path) -> None:
    """Write what makes each process begun with `folder` on its path use them."""
    (folder / "sitecustomize.py").write_text(
        f"import pathlib, pipeline.models.catalogue as c\nc.WEIGHTS = pathlib.Path({str(weights)!r})\n"
    )
