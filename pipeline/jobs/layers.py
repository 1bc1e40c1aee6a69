"""Layers written beside the labels: confidence, and the scores behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.decoding import did_you_mean
from pipeline.engine import STEPS, Confidence, Decision, Disagreement, Probabilities, Scores, Source
from pipeline.errors import RequestError
from pipeline.files.object_path import Place
from pipeline.geometry import Box, Lattice
from pipeline.io.suffixes import stem_of, with_stem
from pipeline.models.card import Card
from pipeline.sources.passes import slabs

DISAGREEMENT = "disagreement"
LAYERS = ("confidence", "probabilities", "scores", DISAGREEMENT)


@dataclass(frozen=True)
class Layer:
    """A raster or volume beside the labels, on the same grid."""

    name: str
    decision: Decision
    bands: tuple[str, ...]
    """Name of each band."""

    @property
    def scaling(self) -> tuple[float, float] | None:
        """Scale and offset from stored values to 0..1; None: values are stored as they are."""
        return None if self.decision.dtype.kind == "f" else (1 / STEPS, -1 / STEPS)

    def beside(self, output: Path) -> Path:
        """Return the layer's file beside the mask `output`, in the same format."""
        return layer_path(output, self.name)


def layer_path(output: Place, name: str) -> Place:
    """Return the file of a layer beside the mask `output`."""
    return with_stem(output, f"{stem_of(output)}_{name}")


def parse_layers(also: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the named layers in their fixed order; None if there are none.

    >>> parse_layers("scores,confidence")
    ('confidence', 'scores')

    Raises:
        RequestError: If a layer is unknown.

    """
    words = [word.strip() for word in (also.split(",") if isinstance(also, str) else also or ())]
    for word in words:
        if word not in LAYERS:
            raise RequestError(f"unknown layer {word!r}{did_you_mean(word, LAYERS)}; choose from {', '.join(LAYERS)}")
    return tuple(name for name in LAYERS if name in words) or None


def layers_of(also: str | Sequence[str] | None, card: Card) -> tuple[Layer, ...]:
    """Return the requested layers for the scores of a model.

    Raises:
        RequestError: If a layer is unknown, or needs probabilities of a model that blends logits.

    """
    logits = card.averaging == "logits"
    names = tuple(entry.name for entry in card.classes)
    if logits and DISAGREEMENT in (also or ()):
        raise RequestError(
            f"--layers disagreement: compares probabilities, but the model {card.name} blends logits; "
            'set "averaging": "softmax" in its card'
        )
    known: dict[str, tuple[Decision, tuple[str, ...]]] = {
        "confidence": (Confidence(logits, temperature=card.divisor), ("confidence",)),
        "probabilities": (Probabilities((len(names),), logits, temperature=card.divisor), names),
        "scores": (Scores((len(names),)), names),
        DISAGREEMENT: (Disagreement(), (DISAGREEMENT,)),
    }
    return tuple(Layer(name, *known[name]) for name in parse_layers(also) or ())


def seam_index(disagreement: Source, lattice: Lattice) -> float | None:
    """Return the mean disagreement of the observed cells that more than one patch covers; None if there are none.

    It needs no ground truth: where patches agree about the cells that they share, no seam can be seen.
    """
    counts = [_patches_of(lattice, axis) for axis in range(len(lattice.shape))]

    def shared(box: Box) -> Any:  # noqa: ANN401  (an array)
        along = (count[start:stop] for count, start, stop in zip(counts, box.start, box.stop, strict=True))
        return reduce(np.multiply.outer, along) > 1

    return _mean_where(disagreement, shared)


def mean_disagreement(disagreement: Source) -> float | None:
    """Return the mean disagreement of all observed cells; None if there are none.

    With several models or views it needs no ground truth either: it is high where they were trained on nothing like
    the input.
    """
    return _mean_where(disagreement, lambda box: True)


def _mean_where(disagreement: Source, chosen: Callable[[Box], Any]) -> float | None:
    total = cells = 0
    for box, pixels in slabs(disagreement, disagreement.block[0]):
        steps = pixels.values[0][(pixels.values[0] > 0) & chosen(box)]
        total += int(steps.sum(dtype=np.int64)) - steps.size
        cells += steps.size
    return total / STEPS / cells if cells else None


def _patches_of(lattice: Lattice, axis: int) -> Any:  # noqa: ANN401  (an array of counts)
    """Return the number of patches that cover each cell along an axis."""
    counts = np.zeros(lattice.shape[axis], np.int64)
    whole = Box.whole(lattice.shape).clip(Box.whole(lattice.patch))
    for start in lattice.starts[axis]:
        counts[start : start + whole.shape[axis]] += 1
    return counts
