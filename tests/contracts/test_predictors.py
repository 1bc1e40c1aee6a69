"""Every predictor of ours holds to the contract that is shipped."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from pipeline.models.card import Normalization
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.device import compiler
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.gpu import GpuPredictor
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.inference.runtime import InferenceModel, build_inference_model
from pipeline.models.inference.tta import TTA
from pipeline.testing import PredictorContract
from tests.support.fakes import Identity
from tests.support.model_cases import CARD_2D, CARD_3D, model_of, quick_to_compile, shallow

SCENES = model_of(replace(CARD_2D, network=shallow(CARD_2D.network)))
COMPILED = model_of(replace(CARD_2D, network=quick_to_compile(CARD_2D.network)))
VOLUMES = model_of(
    replace(CARD_3D, network=shallow(CARD_3D.network), normalization=Normalization("fixed", (100.0,), (40.0,)))
)
MISSING = {"compiled": compiler() is None, "openvino": find_spec("openvino") is None}


@cache
def made_ready(numerics: Numerics = REFERENCE) -> InferenceModel:
    return build_inference_model(COMPILED if numerics.runtime == "compiled" else SCENES, numerics)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.slow
class TestCpu(PredictorContract):
    @pytest.fixture(params=["torch", "compiled", "openvino"])
    def predictor(self, request):
        if MISSING.get(request.param):
            pytest.skip(f"there is no {request.param} here")
        numerics = replace(REFERENCE, runtime=request.param)
        return CpuPredictor(made_ready(numerics), Scaling.of(CARD_2D), threads=2)

    @pytest.fixture
    def patches(self):
        return noise(3, 2, 64, 48)


class TestCpuInBfloat16(TestCpu):
    @pytest.fixture
    def predictor(self):
        numerics = Numerics("cpu", "bfloat16", "torch", fused=True)
        return CpuPredictor(made_ready(numerics), Scaling.of(CARD_2D), threads=2)


class TestCpuAtAnotherSpacing(TestCpu):
    """With turns and scales of each patch."""

    @pytest.fixture
    def predictor(self):
        augmentation = TTA.of("flips")
        return CpuPredictor(made_ready(), Scaling.of(CARD_2D), (0.7, 0.7), augmentation=augmentation, threads=2)


class TestCpuOfVolumes(PredictorContract):
    margin = (1, 0, 0)

    @pytest.fixture
    def predictor(self):
        return CpuPredictor(build_inference_model(VOLUMES), Scaling.of(VOLUMES.card), (0.5, 0.5), threads=2)

    @pytest.fixture
    def patches(self):
        return noise(3, 1, 3, 48, 32)


class TestGpu(PredictorContract):
    """On a GPU, or else with torch's CPU as the device."""

    @pytest.fixture
    def predictor(self):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return GpuPredictor(made_ready(replace(REFERENCE, device=device)), Scaling.of(CARD_2D), batch=4)

    @pytest.fixture
    def patches(self):
        return noise(6, 2, 64, 48)


class TestIdentity(PredictorContract):
    """The engine's own tests rest on it."""

    margin = (2, 1)

    @pytest.fixture
    def predictor(self):
        return Identity(2, self.margin, batch=2)

    @pytest.fixture
    def patches(self):
        return noise(5, 2, 12, 9)
