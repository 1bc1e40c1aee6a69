"""What a network is computed in: chosen by machine and run, tried on the first patches, kept to the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted, OutputError, RequestError
from pipeline.jobs.job import Job, Resources
from pipeline.masks.info import describe
from pipeline.models.card import ClassEntry
from pipeline.models.inference import device as device_room
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.device import WORTH_COMPILING, choose_device, choose_numerics
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.store import save_model
from pipeline.runs import warm_up
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from tests.support.inputs import pixels, put_scene
from tests.support.model_cases import CARD_2D, model_of, quick_to_compile, shallow
from tests.support.observers import Callbacks

pytestmark = pytest.mark.slow

ONEDNN = all(map(device_room._in_onednn, device_room._CONVOLUTIONS))
"""Whether torch would use the instructions that a test says this processor has."""
SCENES = model_of(replace(CARD_2D, network=shallow(CARD_2D.network)))


@pytest.fixture
def machine(monkeypatch):
    """A CPU with these instructions, and a compiler or none."""

    def make(*instructions: str, compiler: str | None = "g++") -> None:
        if not ONEDNN and {"amx_bf16", "avx512_bf16"} & {*instructions}:
            pytest.skip("on this processor, torch gives oneDNN no convolutions in bfloat16")
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True))
        monkeypatch.setattr(device_room, "compiler", lambda: compiler)

    return make


@pytest.mark.parametrize(
    ("instructions", "precision"),
    [(("amx_bf16", "avx512_bf16"), "bfloat16"), (("avx512_bf16",), "bfloat16"), (("avx2", "avx512_f"), "float32")],
)
def test_bfloat16_only_where_there_are_instructions_for_it(machine, instructions, precision):
    machine(*instructions)
    assert choose_numerics("cpu") == Numerics("cpu", precision, "torch", fused=precision == "bfloat16")
    assert choose_numerics("cpu", "float32") == REFERENCE
    asked = choose_numerics("cpu", "bfloat16")
    assert (asked.precision, asked.fused) == ("bfloat16", precision == "bfloat16")


@pytest.mark.parametrize(("version", "precision"), [("2.13.1+cpu", "bfloat16"), ("2.14.0", "float32")])
def test_a_torch_that_was_not_tested_computes_in_float32_unless_asked(machine, monkeypatch, version, precision):
    machine("avx512_bf16")
    monkeypatch.setattr(torch, "__version__", version)
    assert choose_numerics("cpu").precision == precision
    assert choose_numerics("cpu", "bfloat16").precision == "bfloat16"


def test_a_torch_without_onednn_computes_in_float32(machine, monkeypatch):
    machine("amx_bf16")
    assert choose_numerics("cpu").precision == "bfloat16"
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert choose_numerics("cpu").precision == "float32"


@pytest.mark.parametrize("asked", ["xpu", "meta", "mps" if not torch.backends.mps.is_available() else "hpu"])
def test_devices_that_networks_do_not_run_on_are_refused(asked):
    with pytest.raises(RequestError, match=f"--device {asked}: .*give cpu"):
        choose_device(asked)


def test_a_device_has_one_name():
    assert choose_device("cpu:0") == "cpu"
    assert Numerics(choose_device("cpu:0")).on_cpu


def test_a_metal_gpu_is_used_where_torch_has_one(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps:0") == "mps"
    assert choose_numerics("mps") == Numerics("mps", "float32", "torch")
    assert choose_numerics("mps", flop=WORTH_COMPILING).runtime == "torch"
    assert choose_device(None) != "mps"


def test_nothing_is_compiled_where_convolutions_are_fused(machine):
    machine("amx_bf16")
    assert choose_numerics("cpu", flop=WORTH_COMPILING) == Numerics("cpu", "bfloat16", "torch", fused=True)
    assert choose_numerics("cpu", runtime="compiled") == Numerics("cpu", "bfloat16", "compiled")
    assert choose_numerics("cpu", "float32", flop=WORTH_COMPILING).runtime == "compiled"


def test_a_compiler_is_used_when_the_run_repays_it(machine):
    machine()
    assert choose_numerics("cpu", flop=WORTH_COMPILING).runtime == "compiled"
    assert choose_numerics("cpu", flop=WORTH_COMPILING * 0.99).runtime == "torch"
    assert choose_numerics("cpu", runtime="torch", flop=WORTH_COMPILING).runtime == "torch"
    assert choose_numerics("cpu", runtime="compiled").runtime == "compiled"
    machine(compiler=None)
    assert choose_numerics("cpu", flop=WORTH_COMPILING).runtime == "torch"
    with pytest.raises(RequestError, match="no C\\+\\+ compiler"):
        choose_numerics("cpu", runtime="compiled")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"precision": "float16"}, "--precision float16: must be one of float32, bfloat16, int8"),
        ({"runtime": "onnx"}, "--runtime onnx: is for models whose networks are ONNX files; leave it out for a PSPNet"),
        ({"precision": "int8", "runtime": "torch"}, "--precision int8 needs --runtime openvino, got --runtime torch"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_way_out(asked, words):
    with pytest.raises(RequestError, match=words):
        choose_numerics("cpu", **asked)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_batch_changes_no_byte(precision):
    values = np.random.default_rng(0).integers(0, 256, (5, 2, 64, 48)).astype(np.uint8)
    predictor = CpuPredictor(
        build_inference_model(SCENES, Numerics(precision=precision)), Scaling.of(CARD_2D), threads=2
    )
    whole = predictor(values, None)
    assert whole.dtype == np.float32
    for order in ([4, 2, 0], [1]):
        assert predictor(values[order], None).tobytes() == whole[order].tobytes()


def test_bfloat16_is_near_float32_and_not_the_same():
    values = np.random.default_rng(0).integers(0, 256, (1, 2, 64, 48)).astype(np.uint8)
    plain, half = (
        CpuPredictor(build_inference_model(SCENES, Numerics(precision=precision)), Scaling.of(CARD_2D))(values, None)
        for precision in ("float32", "bfloat16")
    )
    assert 0 < np.abs(plain - half).max() < 0.05


@pytest.mark.skipif(device_room.compiler() is None, reason="needs a C++ compiler")
def test_a_compiled_network_gives_the_same_bytes_from_any_thread():
    values = np.random.default_rng(0).integers(0, 256, (4, 2, 64, 48)).astype(np.uint8)
    model = model_of(replace(CARD_2D, network=quick_to_compile(CARD_2D.network)))
    plain = CpuPredictor(build_inference_model(model), Scaling.of(CARD_2D))(values, None)
    predictor = CpuPredictor(build_inference_model(model, Numerics(runtime="compiled")), Scaling.of(CARD_2D), threads=4)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda i: predictor(values[i : i + 1], None), range(4)))
    assert np.concatenate(threaded).tobytes() == predictor(values, None).tobytes()
    np.testing.assert_allclose(np.concatenate(threaded), plain, atol=1e-5)


@pytest.fixture
def tall(models, tmp_path, monkeypatch):
    monkeypatch.setattr(warm_up, "_outcomes", {})
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 2100, 100)))
    return Job(str(scene), tmp_path / "mask.tif", str(models / "scene"))


def test_a_precision_that_is_slow_here_is_told_once(tall, machine):
    machine("avx2")
    said = []
    for name in ("a.tif", "b.tif"):
        job = replace(tall, output=tall.output.with_name(name))
        segment(job, Resources(precision="bfloat16"), Callbacks(note=said.append))
    assert said[0].startswith("bfloat16 is slow on this machine")
    assert len(said) == 2


def test_agreement_with_float32_is_told_once_for_all_items(tall, machine):
    machine("avx512_bf16")
    said = []
    for name in ("a.tif", "b.tif"):
        segment(
            replace(tall, output=tall.output.with_name(name)),
            Resources(precision="bfloat16"),
            Callbacks(note=said.append),
        )
    assert len(said) == 1
    start, share, rest = said[0].rpartition(" on ")[0], float(said[0].split("%")[0].split()[-1]), said[0].split("%")[1]
    assert start.startswith("cpu bfloat16: labels agree with float32")
    assert 95 < share <= 100
    assert rest == " of 3 patches"


def test_float32_is_not_tried_against_itself(tall):
    said = []
    segment(tall, Resources(precision="float32"), Callbacks(note=said.append))
    assert said == []
    made = describe(str(tall.output))["made"]
    assert [made[name] for name in ("device", "precision", "runtime")] == ["cpu", "float32", "torch"]


def test_a_network_that_cannot_be_compiled_runs_without_and_says_so(tall, monkeypatch):
    def compile_(*_, **__):
        def fails(_):
            raise RuntimeError("g++: no such instruction\nmore")

        return fails

    monkeypatch.setattr(torch, "compile", compile_)
    said = []
    for name in ("a.tif", "b.tif"):
        job = replace(tall, output=tall.output.with_name(name))
        means = Resources(precision="float32", runtime="compiled")
        assert segment(job, means, Callbacks(note=said.append)).status == "done"
        assert describe(str(job.output))["made"]["runtime"] == "torch"
    assert said == ["the network could not be compiled and runs uncompiled (g++: no such instruction)"]


def test_a_run_goes_on_in_the_numbers_it_began_in(tall, machine, monkeypatch):
    machine("avx512_bf16")
    stopped = _stopped(tall)
    assert Ledger(prepare(tall, Resources()).work).fingerprint["precision"] == "bfloat16"
    machine("avx512_bf16")
    monkeypatch.setattr(torch, "__version__", "2.14.0")
    with pytest.raises(OutputError, match="precision 'bfloat16' \\(now 'float32'\\)"):
        segment(tall, Resources(precision="float32"))
    assert stopped
    assert segment(tall).status == "done"
    assert describe(str(tall.output))["made"]["precision"] == "bfloat16"
    assert segment(tall).status == "skipped"


def test_a_run_that_is_asked_for_in_other_numbers_names_them(tall, machine, monkeypatch):
    machine("avx512_bf16")
    _stopped(tall)
    monkeypatch.setattr(device_room, "check_extra", lambda *_: None)
    with pytest.raises(
        OutputError, match="precision 'bfloat16' \\(now 'float32'\\), runtime 'torch' \\(now 'openvino'\\)"
    ):
        segment(tall, Resources(precision="float32", runtime="openvino"))
    with pytest.raises(OutputError, match="runtime 'torch' \\(now 'openvino'\\)"):
        segment(tall, Resources(runtime="openvino"))


def test_agreement_is_told_of_more_classes_than_a_byte_holds(tmp_path):
    many = tuple(ClassEntry(f"class {i}", (i % 256, i // 256, 0)) for i in range(300))
    card = replace(CARD_2D, classes=many, network=replace(CARD_2D.network, classes=300))
    save_model(tmp_path / "many", card, model_of(card).network)
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 70, 60)))
    said = []
    segment(
        Job(str(scene), tmp_path / "mask.tif", str(tmp_path / "many")),
        Resources(precision="bfloat16"),
        Callbacks(note=said.append),
    )
    assert "labels agree" in said[-1]


def _stopped(job: Job) -> bool:
    def stop(_):
        raise Interrupted

    with pytest.raises(Interrupted):
        segment(job, Resources(), Callbacks(started=lambda *_: stop(0)))
    return True
