"""Build the networks of a run, once for all items, and bind them to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch

from pipeline.engine.protocols import Pixels, Predictor
from pipeline.models.card import Card
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.ensemble import EnsemblePredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.gpu import GpuPredictor, measure_batch
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.inference.passes import image_of
from pipeline.models.inference.runtime import InferenceModel, build_inference_model
from pipeline.models.inference.shared import SharedPredictor
from pipeline.models.spec import ONNXSpec
from pipeline.models.store import load_any
from pipeline.runs.members import Member
from pipeline.runs.view_sweep import ViewSweep
from pipeline.sources.statistics import NO_STATISTICS, InputStatistics

ONNX_BATCH = 4
"""Patches in a batch on a GPU for ONNX Runtime, whose memory torch does not see."""


def build_predictor(
    sweep: ViewSweep, threads: int | None, own: InputStatistics = NO_STATISTICS
) -> Predictor | SharedPredictor:
    """Return the predictor of a run; `own` are the input's statistics, for a model that normalizes by them."""
    brought = sweep.prepared.own.predictor_of(sweep.prepared.card)
    if brought is not None:
        return brought
    return bind_predictor(inference_models(sweep, sweep.prepared.numerics, threads), sweep, threads, own)


def inference_models(sweep: ViewSweep, numerics: Numerics, threads: int | None = None) -> tuple[InferenceModel, ...]:
    """Return the models of a run, computing in `numerics`; the same ones for all items with the same settings."""
    callers = threads if numerics.runtime == "openvino" else None
    members = sweep.prepared.members
    return tuple(_build_model(member.model, member.card.to_json(), numerics, callers) for member in members)


def reference_models(sweep: ViewSweep) -> tuple[InferenceModel, ...]:
    """Return the models of a run in float32, for comparison; they are not cached."""
    return tuple(_build(member.model, member.card, REFERENCE) for member in sweep.prepared.members)


def bind_predictor(
    networks: Sequence[InferenceModel], sweep: ViewSweep, threads: int | None, own: InputStatistics
) -> Predictor | SharedPredictor:
    """Return the predictor of built networks for the input of a run."""
    if sweep.view.units is not None:
        scaling, augmentation = Scaling.of(sweep.prepared.card, own), sweep.prepared.augmentation
        return SharedPredictor(networks[0], scaling, sweep.view.units, augmentation=augmentation, threads=threads)
    members = sweep.prepared.members
    each = [_bind(member, model, sweep, threads, own) for member, model in zip(members, networks, strict=True)]
    if len(each) == 1:
        return each[0]
    return EnsemblePredictor(each, squares=sweep.recipe.needs_second_moment, scales=_scales(members))


def _scales(members: Sequence[Member]) -> tuple[float, ...]:
    """Return what the scores of each model are multiplied by: logits are brought to the temperature of the first."""
    if members[0].card.averaging == "softmax":
        return (1.0,) * len(members)
    return tuple(members[0].card.divisor / member.card.divisor for member in members)


def _bind(
    member: Member, network: InferenceModel, sweep: ViewSweep, threads: int | None, own: InputStatistics
) -> Predictor:
    scaling, spacing = Scaling.of(member.card, own), sweep.view.spacing
    augmentation = sweep.prepared.augmentation
    if network.numerics.on_cpu:
        return CpuPredictor(network, scaling, spacing, augmentation=augmentation, threads=threads)
    largest = augmentation.sizes(sweep.view.input_size_of(member.card))[-1]
    foreign = member.card.network if isinstance(member.card.network, ONNXSpec) else None
    batch = (
        _measure_batch(member.model, member.card.to_json(), network.numerics, largest)
        if foreign is None
        else foreign.batch or ONNX_BATCH
    )
    return GpuPredictor(network, scaling, spacing, augmentation=augmentation, batch=batch)


def network_input(sweep: ViewSweep, own: InputStatistics, patch: Pixels) -> torch.Tensor:
    """Return the network's input for one patch, shape `(1, in_channels, h, w)`."""
    scaled = Scaling.of(sweep.prepared.card, own)(
        patch.values[None], None if patch.valid is None else patch.valid[None]
    )
    return image_of(sweep.prepared.card, sweep.view.spacing, scaled)


@lru_cache(maxsize=8)
def _build_model(ref: str, card: str, numerics: Numerics, callers: int | None) -> InferenceModel:
    """Build the model `ref` with its `card`, as text."""
    return _build(ref, Card.from_json(card), numerics, callers)


def _build(ref: str, card: Card, numerics: Numerics, callers: int | None = None) -> InferenceModel:
    """Build the model `ref` as the job has its card, which may have another temperature than that on disk."""
    return build_inference_model(replace(load_any(ref), card=card), numerics, callers)


@lru_cache(maxsize=8)
def _measure_batch(ref: str, card: str, numerics: Numerics, seen: tuple[int, int]) -> int:
    """Measure how many patches of the size `seen` fit on a GPU with the model `ref`, once."""
    network = _build_model(ref, card, numerics, None)
    shape = (network.card.network.in_channels, *seen)
    return measure_batch(network.network, shape, torch.device(numerics.device))
