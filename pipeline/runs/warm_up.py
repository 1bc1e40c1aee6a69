"""Verify a run's numerics on its first patches before anything is computed in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Pixels, Source
from pipeline.engine.arrays import arrays_of
from pipeline.engine.protocols import Predictor
from pipeline.engine.reader import read_patch
from pipeline.errors import counted
from pipeline.geometry import Box, Cut, Lattice
from pipeline.models.inference.device import fast_in_bf16
from pipeline.models.inference.numerics import Numerics
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.inference.shared import SharedPredictor
from pipeline.runs.observer import Observer
from pipeline.runs.predictors import bind_predictor, inference_models, reference_models
from pipeline.runs.view_sweep import ViewSweep
from pipeline.sources.statistics import InputStatistics

PATCHES = 3
"""Most patches to try."""
_outcomes: dict[tuple[tuple[str, ...], Numerics], Numerics] = {}
"""By SHA-256 of the models' weights and the numerics that were tried: those that work in this process."""


def verify_numerics(sweep: ViewSweep, source: Source, own: InputStatistics, observer: Observer) -> Numerics:
    """Return the numerics of a run that work here, after trying its first patches; `source` is what is swept.

    If the network cannot be compiled, it runs uncompiled. How well labels agree with those of float32 is reported once
    for all items of a process.
    """
    numerics = sweep.prepared.numerics
    asked = tuple(member.card.weights_sha256 for member in sweep.prepared.members), numerics
    if numerics.is_reference or asked in _outcomes:
        return _outcomes.get(asked, numerics)
    patches = list(
        islice(observed_patches(sweep.lattice, source, PATCHES), 1 + min(PATCHES - 1, len(sweep.lattice) // 8))
    )
    if not patches:
        return numerics
    if numerics.precision == "bfloat16" and numerics.on_cpu and not fast_in_bf16(numerics.device):
        observer.note("bfloat16 is slow on this machine, which has no fast convolutions in it; float32 is faster")
    observer.phase("trying")
    numerics, trial = _working_numerics(sweep, patches[0], own, observer)
    _outcomes[asked] = numerics
    if not numerics.is_reference:
        reference = Trial.of(sweep, reference_models(sweep), own)
        shares = list(_label_agreement(trial, reference, patches))
        if shares:
            patches_seen = counted(len(shares), "patch", "patches")
            words = f"labels agree with float32 on {np.mean(shares):.3%} of {patches_seen}"
            observer.note(f"{_describe(numerics)}: {words}")
    return numerics


@dataclass(frozen=True)
class Trial:
    """A predictor, on patches one by one."""

    predictor: Predictor | SharedPredictor
    sweep: ViewSweep

    @classmethod
    def of(cls, sweep: ViewSweep, networks: Sequence[InferenceModel], own: InputStatistics) -> Trial:
        """Return the trial of built networks on the input of a sweep."""
        return cls(bind_predictor(networks, sweep, 1, own), sweep)

    def labels(self, patch: Pixels) -> NDArray[Any]:
        """Return the labels of a patch."""
        scores = self._scores(patch)
        labels = np.empty(scores.shape[1:], self.sweep.prepared.labels.dtype)
        arrays_of(self.predictor).argmax(scores[: self.predictor.classes], labels)
        return labels

    def _scores(self, patch: Pixels) -> Any:  # noqa: ANN401  (an array of its device)
        if not isinstance(self.predictor, SharedPredictor):
            return self.predictor(patch.values[None], None if patch.valid is None else patch.valid[None])[0]
        lattice = self.sweep.lattice
        place = Box(lattice.margin, tuple(m + side for m, side in zip(lattice.margin, lattice.patch, strict=True)))
        cut = Cut.whole(place)
        return self.predictor.scores(
            self.predictor.joined(self.predictor.pieces(patch.values, patch.valid, [cut]), [cut])
        )


def _label_agreement(trial: Trial, reference: Trial, patches: Sequence[Pixels]) -> Iterator[float]:
    """Yield the share of labels on which both agree, for each patch that both can compute; they do so side by side."""
    with ThreadPoolExecutor(min(len(patches), os.cpu_count() or 1), "reference") as beside:
        for patch, expected in [(patch, beside.submit(reference.labels, patch)) for patch in patches]:
            with suppress(Exception):
                yield float(np.mean(trial.labels(patch) == expected.result()))


def _working_numerics(
    sweep: ViewSweep, patch: Pixels, own: InputStatistics, observer: Observer
) -> tuple[Numerics, Trial]:
    """Return numerics in which the network can compute a patch, and the predictor in them."""
    numerics = sweep.prepared.numerics
    trial = Trial.of(sweep, inference_models(sweep, numerics), own)
    if numerics.runtime != "compiled":
        return numerics, trial
    try:
        trial.labels(patch)
    except Exception as error:  # a compiler can fail in any way, and is only there for speed
        first = next(iter(f"{error}".splitlines()), type(error).__name__)
        observer.note(f"the network could not be compiled and runs uncompiled ({first})")
        numerics = replace(numerics, runtime="torch")
        trial = Trial.of(sweep, inference_models(sweep, numerics), own)
    return numerics, trial


def observed_patches(lattice: Lattice, source: Source, count: int) -> Iterator[Pixels]:
    """Yield the network's view of patches with any observed cell: `count` from all over the lattice, then others."""
    starts = [patch.start for _, row in lattice.rows() for patch in row]
    step = max(1, len(starts) // count)
    for start in (starts[i] for first in range(step) for i in range(first, len(starts), step)):
        pixels = read_patch(source, lattice.input_box(start))
        if pixels.valid is None or pixels.valid.any():
            yield pixels


def _describe(numerics: Numerics) -> str:
    parts = (numerics.device, numerics.precision, numerics.runtime)
    return " ".join(part for part in parts if part != "torch")
