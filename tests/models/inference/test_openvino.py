"""OpenVINO, an extra: the network of torch, the same bytes from any thread, and int8 that says how good it is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import InputError, Interrupted, ModelError, OutputError, PipelineError
from pipeline.jobs.job import Job, Resources
from pipeline.masks.info import describe
from pipeline.models.card import read_card
from pipeline.models.catalogue import CARD, INT8_GRAPH, INT8_WEIGHTS
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.networks.folded import resized
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import load_model, save_model
from pipeline.runs import warm_up
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from tests.support.inputs import pixels, put_scene, put_volume
from tests.support.model_cases import CARD_2D, model_of
from tests.support.observers import Callbacks

pytest.importorskip("openvino")
pytest.importorskip("nncf")

from pipeline.runs.quantize import quantize

FLOAT32 = Numerics("cpu", "float32", "openvino")
BFLOAT16 = Numerics("cpu", "bfloat16", "openvino")
INT8 = Numerics("cpu", "int8", "openvino")
SPECS = {
    "resnet50": PSPNetSpec("resnet50", 2, 3, ppm_channels=4, head_channels=8),
    "resnet18, smp": PSPNetSpec("resnet18", 2, 3, head="smp", ppm_channels=4, head_channels=8),
    "mobilenet_v2": PSPNetSpec("mobilenet_v2", 2, 3, ppm_channels=4, head_channels=8, align_corners=True),
    "efficientnet_lite0": PSPNetSpec("efficientnet_lite0", 2, 3, ppm_channels=4, head_channels=8),
    "vgg16_bn": PSPNetSpec("vgg16_bn", 2, 3, output_stride=16, ppm_channels=4, head_channels=8),
    "decoder": PSPNetSpec(
        "efficientnet_lite0", 2, 3, output_stride=16, ppm_channels=4, head_channels=8, decoder_channels=(6, 5, 4)
    ),
}


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(seed))


def scores(network, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(x)


def parts(trunk, x: torch.Tensor) -> list[torch.Tensor]:
    """Copies of what a trunk gives."""
    with torch.inference_mode(), trunk(x) as given:
        return [part.clone() for part in given]


@pytest.mark.parametrize("name", SPECS)
def test_float32_is_the_network_of_torch_at_any_size(name):
    model = model_of(replace(CARD_2D, network=SPECS[name]))
    network = build_inference_model(model, FLOAT32).network
    for size in ((64, 48), (96, 96), (64, 48)):
        expected = scores(model.network, image(*size))
        spread = float(expected.std())
        torch.testing.assert_close(scores(network, image(*size)), expected, atol=1e-4 * spread, rtol=0)


def test_bfloat16_is_near():
    model = model_of(CARD_2D)
    expected = scores(model.network, image(64, 48))
    error = (scores(build_inference_model(model, BFLOAT16).network, image(64, 48)) - expected).abs().max()
    assert error < 0.1 * expected.std()


@pytest.mark.parametrize("numerics", [FLOAT32, BFLOAT16, INT8], ids=lambda numerics: numerics.precision)
def test_bytes_are_the_same_however_many_calls_run_side_by_side(numerics, made):
    images = [image(128, 96, seed) for seed in range(4)]
    model = load_model(made)
    alone = [scores(build_inference_model(model, numerics, 1).network, x).numpy().tobytes() for x in images]
    assert len(set(alone)) == len(images)
    for callers, threads in ((1, 3), (4, 5)):
        network = build_inference_model(model, numerics, callers).network
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda x, call=network: scores(call, x).numpy().tobytes(), images * 5))
        assert found == alone * 5, (callers, threads)


@pytest.mark.parametrize("name", ["resnet18, smp", "efficientnet_lite0", "vgg16_bn", "decoder"])
def test_its_trunk_is_that_of_torch_for_blocks_of_any_size(name):
    model = model_of(replace(CARD_2D, network=SPECS[name]))
    plain, here = (build_inference_model(model, numerics).halves for numerics in (REFERENCE, FLOAT32))
    for size in ((64, 48), (96, 64)):
        expected = parts(plain.trunk, image(*size))
        for found, wanted in zip(parts(here.trunk, image(*size)), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-4 * float(wanted.std()), rtol=0)
            assert found.is_contiguous(memory_format=torch.channels_last)
        part = [each[:, :, 1:, :2] for each in expected]
        with torch.inference_mode():
            wanted = plain.head(*part)
            torch.testing.assert_close(here.head(*part), wanted, atol=1e-4 * float(wanted.std()), rtol=0)


def test_a_network_without_biases_has_a_trunk():
    """OpenVINO leaves out the sum with biases that are all 0, such as those of a network that was never trained."""
    model = model_of(CARD_2D)
    for module in model.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.zeros_(module.bias)
            module.running_mean.zero_()
    plain, here = (build_inference_model(model, numerics).halves for numerics in (REFERENCE, FLOAT32))
    for found, wanted in zip(parts(here.trunk, image(64, 96)), parts(plain.trunk, image(64, 96)), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4 * float(wanted.std()), rtol=0)


def test_the_trunk_in_int8_is_that_of_the_stored_form(made):
    """For one patch it gives what the whole form gives; a block of other size is as near to float32."""
    model = load_model(made)
    whole, halves = (getattr(build_inference_model(model, INT8), part) for part in ("network", "halves"))
    x = image(128, 96)
    with torch.inference_mode():
        coarse = halves.head(*parts(halves.trunk, x))
        split = resized(coarse, x, align_corners=halves.align_corners)
        torch.testing.assert_close(split, whole(x), atol=1e-4 * float(split.std()), rtol=0)
        plain = parts(build_inference_model(model).halves.trunk, image(160, 256))
        for found, wanted in zip(parts(halves.trunk, image(160, 256)), plain, strict=True):
            assert 0 < (found - wanted).abs().max() < wanted.std()


@pytest.mark.parametrize("numerics", [FLOAT32, BFLOAT16, INT8], ids=lambda numerics: numerics.precision)
def test_bytes_of_a_trunk_depend_on_nothing_but_its_block(numerics, made):
    images = [image(128, 96), image(160, 64, 1), image(160, 64, 2)]
    model = load_model(made)

    def digests(callers, threads, order):
        trunk = build_inference_model(model, numerics, callers).halves.trunk
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(lambda n: b"".join(x.numpy().tobytes() for x in parts(trunk, images[n])), order)
            return dict(zip(order, found, strict=True))

    alone = {n: digests(1, 1, [n])[n] for n in range(3)}
    assert len(set(alone.values())) == 3
    for callers, threads, order in ((1, 3, [1, 0, 2]), (3, 4, [2, 2, 1, 0, 1, 0])):
        assert digests(callers, threads, order) == {n: alone[n] for n in order}


def test_a_trunk_gives_memory_that_the_next_call_uses_again():
    """A block of a wide network takes tens of MB, and is only needed until its patches are cut."""
    trunk = build_inference_model(model_of(CARD_2D), FLOAT32, 2).halves.trunk
    with trunk(image(64, 96)) as first:
        places = [part.data_ptr() for part in first]
        kept = [part.clone() for part in first]
        with trunk(image(64, 96, 1)) as second:
            assert not {part.data_ptr() for part in second} & {*places}
        assert all(part.equal(copy) for part, copy in zip(first, kept, strict=True))
    with trunk(image(64, 96, 2)) as third:
        assert [part.data_ptr() for part in third] == places
        assert not any(part.equal(copy) for part, copy in zip(third, kept, strict=True))


def test_a_form_that_is_padded_for_another_size_cannot_share(scenes, tmp_path):
    spec = replace(SPECS["efficientnet_lite0"], output_stride=8, truncated=True)
    card = replace(CARD_2D, network=spec, patch=(65, 64))
    save_model(tmp_path / "plain", card, model_of(card).network)
    quantize([Job(str(scenes / "b.tif"), None, str(tmp_path / "plain"))], tmp_path / "made", patches=2, agreement=0.1)
    halves = build_inference_model(load_model(tmp_path / "made"), INT8).halves
    with pytest.raises(ModelError, match=r"int8 form is padded for patches of 65 x 64 .*give --features patch"):
        parts(halves.trunk, image(64, 64))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two scenes; the first has no observation in most of its patches."""
    folder = tmp_path_factory.mktemp("scenes")
    values = pixels((2, 700, 700))
    values[:, 100:600] = 0
    put_scene(folder / "a.tif", values, nodata=0)
    put_scene(folder / "b.tif", pixels((2, 300, 400), seed=1), nodata=0)
    return folder


def jobs(scenes, models, name="scene"):
    return [Job(str(scenes / file), None, str(models / name)) for file in ("a.tif", "b.tif")]


@pytest.fixture(scope="module")
def made(scenes, models, tmp_path_factory):
    """The small model, with a form in int8."""
    folder = tmp_path_factory.mktemp("int8") / "model"
    said = []
    record = quantize(jobs(scenes, models), folder, patches=12, agreement=0.5, observer=Callbacks(note=said.append))
    assert record.patches == 6
    assert said[-1].startswith(f"labels agree with float32 on {record.agreement:.3%} of 6 patches; in {record.rest}: s")
    return folder


def test_a_quantized_model_is_whole_and_says_how_good_it_is(made, models, scenes):
    card, before = read_card(made / CARD), read_card(models / "scene" / CARD)
    assert replace(card, int8=None) == before
    assert card.int8.patch == before.patch
    assert hashlib.sha256((made / INT8_GRAPH).read_bytes()).hexdigest() == card.int8.xml_sha256
    assert hashlib.sha256((made / INT8_WEIGHTS).read_bytes()).hexdigest() == card.int8.bin_sha256
    assert 0.5 <= card.int8.agreement <= 1
    assert sorted(path.name for path in made.iterdir()) == [CARD, INT8_WEIGHTS, INT8_GRAPH, "model.safetensors"]
    assert str(models) not in (made / INT8_GRAPH).read_text()


def test_it_computes_in_int8(made):
    assert '"FakeQuantize"' in (made / INT8_GRAPH).read_text()
    model = load_model(made)
    plain, int8 = (
        scores(build_inference_model(model, numerics).network, image(128, 96)) for numerics in (FLOAT32, INT8)
    )
    assert 0 < (plain - int8).abs().max() < plain.std()


def test_a_run_in_int8_is_recorded_and_told(made, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(warm_up, "_outcomes", {})
    said = []
    job = Job(str(scenes / "a.tif"), tmp_path / "mask.tif", str(made))
    assert plan(job, Resources(precision="int8"), probe=True).precision == "int8"
    segment(job, Resources(precision="int8"), Callbacks(note=said.append))
    assert said[0].startswith("cpu int8 openvino: labels agree with float32 on ")
    record = describe(str(job.output))["made"]
    form = read_card(made / CARD).int8
    assert [record[name] for name in ("precision", "runtime")] == ["int8", "openvino"]
    assert record["int8_sha256"] == [form.xml_sha256, form.bin_sha256]
    assert segment(job, Resources(precision="int8")).status == "skipped"
    segment(replace(job, output=tmp_path / "two.tif"), Resources(precision="int8", workers=2))
    assert (tmp_path / "two.tif").read_bytes() == job.output.read_bytes()


def test_patches_of_any_size_share_features_in_int8(made, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(warm_up, "_outcomes", {})
    said = []
    job = Job(str(scenes / "b.tif"), tmp_path / "mask.tif", str(made), features="shared", patch=(96, 64))
    segment(job, Resources(precision="int8"), Callbacks(note=said.append))
    assert said[0].startswith("cpu int8 openvino: labels agree with float32 on ")
    record = describe(str(job.output))["made"]
    assert record["features"]["halo"] == [32, 32]
    assert record["int8_sha256"][0] == read_card(made / CARD).int8.xml_sha256
    two = replace(job, output=tmp_path / "two.tif")
    segment(two, Resources(precision="int8", workers=2))
    assert two.output.read_bytes() == job.output.read_bytes()
    assert prepare(replace(job, tta=("flips",)), Resources(precision="int8")).numerics == INT8


def test_a_run_that_shares_features_in_int8_continues_to_the_same_bytes(made, scenes, tmp_path):
    tall = put_scene(tmp_path / "tall.tif", pixels((2, 2100, 70)))
    whole = Job(str(tall), tmp_path / "mask.tif", str(made), features="shared", patch=(64, 64))
    stopped = replace(whole, output=tmp_path / "again.tif")
    segment(whole, Resources(precision="int8"))
    seen = []

    class Stopping(Callbacks):
        def should_stop(self):
            return len(seen) > 1

        def advanced(self, cells):
            seen.append(cells)

    with pytest.raises(Interrupted):
        segment(stopped, Resources(precision="int8"), Stopping())
    assert segment(stopped).status == "done"
    assert stopped.output.read_bytes() == whole.output.read_bytes()


def test_a_damaged_form_is_refused(made, tmp_path):
    for name in (INT8_GRAPH, INT8_WEIGHTS):
        folder = tmp_path / name
        folder.mkdir()
        for file in made.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        with (folder / name).open("r+b") as to:
            to.seek(1000)
            to.write(b"\x01\x02")
        assert build_inference_model(load_model(folder)).network
        with pytest.raises(ModelError, match=rf"{name}: SHA-256 is .*card\.json says"):
            build_inference_model(load_model(folder), INT8)
        (folder / name).unlink()
        with pytest.raises(ModelError, match=f"{name}: cannot read this file of the model"):
            build_inference_model(load_model(folder), INT8)


def test_an_int8_form_is_refused_where_there_is_none_or_of_another_patch(made, models, scenes, tmp_path):
    job = Job(str(scenes / "a.tif"), tmp_path / "mask.tif", str(models / "scene"))
    with pytest.raises(ModelError, match="has no int8 form; make one with `pipeline quantize`"):
        prepare(job, Resources(precision="int8"))
    job = replace(job, model=str(made))
    for other in (replace(job, patch=(64, 96)), replace(job, tta=(0.5,))):
        with pytest.raises(ModelError, match="takes patches of 128 x 96 model pixels, but this run needs 64 x "):
            prepare(other, Resources(precision="int8"))
        assert prepare(other, Resources(precision="float32", runtime="openvino")).numerics == FLOAT32
    with pytest.raises(ModelError, match="has no int8 form"):
        build_inference_model(load_model(models / "scene"), INT8)
    with pytest.raises(ModelError, match="takes patches of 128 x 96 model pixels, but this run needs 64 x 48"):
        scores(build_inference_model(load_model(made), INT8).network, image(64, 48))


def test_a_model_saved_anew_has_no_form_of_its_old_weights(made, tmp_path):
    model = load_model(made)
    assert save_model(tmp_path, model.card, model.network).int8 is None


def test_what_agrees_too_little_is_not_written(scenes, models, tmp_path):
    with pytest.raises(
        PipelineError, match=r"agree with float32 on at most \d.*% of the pixels, but --agreement is 100.001%"
    ):
        quantize(jobs(scenes, models), tmp_path / "out", patches=4, agreement=1.00001)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_there_is_replaced_only_on_request(made, scenes, models):
    with pytest.raises(OutputError, match="already holds a model; use --overwrite"):
        quantize(jobs(scenes, models), made, patches=12)


def test_an_empty_input_is_refused(models, tmp_path):
    empty = put_scene(tmp_path / "empty.tif", np.zeros((2, 300, 300), np.uint8), nodata=0)
    with pytest.raises(InputError, match="has 0 patches with values; int8 needs at least 2"):
        quantize([Job(str(empty), None, str(models / "scene"))], tmp_path / "out")


def test_volumes_are_turned_and_scaled_as_in_a_run(models, tmp_path):
    affine = np.array([[0, 0, 2.0, 5], [-1, 0, 0, 3], [0, 1, 0, 2], [0, 0, 0, 1]])
    path = put_volume(tmp_path / "scan.nii.gz", pixels((70, 30, 60)), affine)
    job = Job(str(path), tmp_path / "mask.nii.gz", str(models / "volume"))
    record = quantize([job], tmp_path / "model", patches=8, agreement=0.3)
    assert record.patches == 4
    quantize([replace(job, view=("axial", "coronal"))], tmp_path / "both", patches=8, agreement=0.3)
    assert (tmp_path / "both" / INT8_WEIGHTS).read_bytes() != (tmp_path / "model" / INT8_WEIGHTS).read_bytes()
    said = []
    segment(replace(job, model=str(tmp_path / "model")), Resources(precision="int8"), Callbacks(note=said.append))
    share = float(said[0].split("%")[0].split()[-1]) / 100
    assert share > 0.3


def test_the_verb_prints_json_alone(scenes, models, tmp_path):
    command = [sys.executable, "-m", "pipeline.cli", "quantize", "--model", str(models / "scene"), "--agreement", "0.5"]
    command += ["--input", str(scenes / "b.tif"), "--out", str(tmp_path / "out"), "--patches", "4", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (item,) = json.loads(ended.stdout)["items"]
    assert item["agreement"] == read_card(tmp_path / "out" / CARD).int8.agreement
    assert all(line.startswith("labels agree") for line in ended.stderr.splitlines()), ended.stderr
