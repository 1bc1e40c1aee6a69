"""Build the network of a run, once for all items, and bind it to one of them."""

from __future__ import annotations

from functools import lru_cache

import torch

from pipeline.engine.protocols import Pixels, Predictor
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling, model_patch
from pipeline.models.inference.gpu import GpuPredictor, measure_batch
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.inference.passes import image_of
from pipeline.models.inference.runtime import InferenceModel, build_inference_model
from pipeline.models.inference.shared import SharedPredictor
from pipeline.models.store import load_model
from pipeline.runs.view_sweep import ViewSweep
from pipeline.sources.statistics import NO_STATISTICS, InputStatistics


def build_predictor(
    sweep: ViewSweep, threads: int | None, own: InputStatistics = NO_STATISTICS
) -> Predictor | SharedPredictor:
    """Return the predictor of a run; `own` are the input's statistics, for a model that normalizes by them."""
    return bind_predictor(inference_model(sweep, sweep.prepared.numerics, threads), sweep, threads, own)


def inference_model(sweep: ViewSweep, numerics: Numerics, threads: int | None = None) -> InferenceModel:
    """Return the model of a run, computing in `numerics`; the same one for all items with the same settings."""
    callers = threads if numerics.runtime == "openvino" else None
    return _build_model(sweep.prepared.model, sweep.prepared.card.to_json(), numerics, callers)


def reference_model(sweep: ViewSweep) -> InferenceModel:
    """Return the model of a run in float32, for comparison; it is not cached."""
    return build_inference_model(load_model(sweep.prepared.model), REFERENCE)


def bind_predictor(
    network: InferenceModel, sweep: ViewSweep, threads: int | None, own: InputStatistics
) -> Predictor | SharedPredictor:
    """Return the predictor of a built network for the input of a run."""
    spacing, units = sweep.view.spacing, sweep.view.units
    scaling, augmentation = Scaling.of(sweep.prepared.card, own), sweep.prepared.augmentation
    if units is not None:
        return SharedPredictor(network, scaling, units, augmentation=augmentation, threads=threads)
    if network.numerics.on_cpu:
        return CpuPredictor(network, scaling, spacing, augmentation=augmentation, threads=threads)
    rows, columns = sweep.lattice.patch[-2:]
    largest = augmentation.sizes(model_patch(sweep.prepared.card, spacing, (rows, columns)))[-1]
    batch = _measure_batch(sweep.prepared.model, sweep.prepared.card.to_json(), network.numerics, largest)
    return GpuPredictor(network, scaling, spacing, augmentation=augmentation, batch=batch)


def network_input(sweep: ViewSweep, own: InputStatistics, patch: Pixels) -> torch.Tensor:
    """Return the network's input for one patch, shape `(1, in_channels, h, w)`."""
    scaled = Scaling.of(sweep.prepared.card, own)(
        patch.values[None], None if patch.valid is None else patch.valid[None]
    )
    return image_of(sweep.prepared.card, sweep.view.spacing, scaled)


@lru_cache(maxsize=2)
def _build_model(ref: str, card: str, numerics: Numerics, callers: int | None) -> InferenceModel:
    """Build the model `ref`; its `card`, as text, distinguishes its versions."""
    return build_inference_model(load_model(ref), numerics, callers)


@lru_cache(maxsize=8)
def _measure_batch(ref: str, card: str, numerics: Numerics, seen: tuple[int, int]) -> int:
    """Measure how many patches of the size `seen` fit on a GPU with the model `ref`, once."""
    network = _build_model(ref, card, numerics, None)
    shape = (network.card.network.in_channels, *seen)
    return measure_batch(network.network, shape, torch.device(numerics.device))
