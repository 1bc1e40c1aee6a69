"""Networks in ONNX files from end to end: masks are those of a plain loop, and all promises of a run hold for them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.metadata import version
from threading import Event

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted, ModelError, OutputError, PipelineError, RequestError
from pipeline.io.mask_files import mask_info
from pipeline.jobs.job import Job, Resources
from pipeline.models.catalogue import files_of, load_card
from pipeline.models.importing import ImportOptions, import_weights
from pipeline.models.publish import publish_model
from pipeline.models.store import load_model, record_temperature
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from tests.support.inputs import contents, labels_of, pixels, put_scene, put_volume
from tests.support.observers import Callbacks
from tests.support.onnx_files import put_convolution, put_unet
from tests.support.plain_loop import plain_mask, session_scores, softmax

MEAN, STD = (100.0, 80.0), (40.0, 50.0)
TOLD = ImportOptions(channels=("a", "b"), mean=MEAN, std=STD, patch=(64, 64), overlap=(16, 16))
ALIKE = 0.9999
"""Share of cells that must have the label of the plain loop."""


def imported(folder, put, options=TOLD, **network):
    file = put(folder / "net.onnx", **{"channels": 2, **network})
    return str(import_weights(file, folder / "model", options).path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A U-Net."""
    return imported(tmp_path_factory.mktemp("unet"), put_unet)


@pytest.fixture(scope="module")
def whole(scene, model, tmp_path_factory):
    """The mask of one run."""
    job = Job(str(scene), tmp_path_factory.mktemp("whole") / "mask.tif", model)
    segment(job)
    return job.output


def scaled(values):
    mean, std = (np.array(numbers, np.float32)[:, None, None] for numbers in (MEAN, STD))
    return (values.astype(np.float32) - mean) / std


def of_stride(scores):
    """What gives scores of fewer cells, resized as torch resizes them."""

    def resized(patch):
        coarse = torch.from_numpy(scores(patch))[None]
        return torch.nn.functional.interpolate(coarse, patch.shape[1:], mode="bilinear")[0].numpy()

    return resized


def blended(file, kind):
    scores = session_scores(file)
    if kind == "stride":
        return lambda patch: softmax(of_stride(scores)(patch))
    if kind == "sigmoid":
        return lambda patch: np.concatenate([1 - scores(patch), scores(patch)])
    return scores if kind == "softmax" else lambda patch: softmax(scores(patch))


@pytest.mark.parametrize(
    ("kind", "put", "network"),
    [
        ("unet", put_unet, {}),
        ("stride", put_convolution, {"stride": 4}),
        ("softmax", put_convolution, {"then": "Softmax", "shape": (1, 2, 64, 64)}),
        ("sigmoid", put_convolution, {"then": "Sigmoid", "planes": 1}),
    ],
)
def test_a_mask_is_that_of_a_plain_loop(kind, put, network, tmp_path):
    values = pixels((2, 200, 150), seed=1)
    scene = put_scene(tmp_path / "scene.tif", values)
    model = imported(tmp_path, put, **network)
    segment(Job(str(scene), tmp_path / "mask.tif", model))
    expected = plain_mask(scaled(values), blended(tmp_path / "net.onnx", kind), (64, 64), (16, 16))
    assert len(np.unique(expected)) == len(load_card(model).classes)
    assert np.mean(labels_of(tmp_path / "mask.tif") == expected) >= ALIKE


def test_logits_are_averaged_if_the_card_says_so(model, tmp_path):
    values = pixels((2, 100, 150), seed=1)
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    words = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**words, "averaging": "logits"}))
    segment(Job(str(put_scene(tmp_path / "scene.tif", values)), tmp_path / "mask.tif", str(folder)))
    expected = plain_mask(scaled(values), session_scores(folder / "network.onnx"), (64, 64), (16, 16))
    assert np.mean(labels_of(tmp_path / "mask.tif") == expected) >= ALIKE


@pytest.mark.parametrize("means", [Resources(rows=2048), Resources(memory=1 << 20)], ids=["rows", "strips"])
def test_bytes_are_the_same_by_any_means(scene, model, whole, tmp_path, means):
    job = Job(str(scene), tmp_path / "mask.tif", model)
    segment(job, means)
    assert contents(job.output) == contents(whole)


@pytest.mark.slow
def test_bytes_are_the_same_with_workers(scene, model, whole, tmp_path):
    job = Job(str(scene), tmp_path / "mask.tif", model)
    segment(job, Resources(workers=2))
    assert contents(job.output) == contents(whole)


def test_a_stopped_run_goes_on_to_the_same_bytes(scene, model, whole, tmp_path):
    job, stop = Job(str(scene), tmp_path / "mask.tif", model), Event()
    mark = Ledger.mark

    def mark_and_stop(ledger, slab, digests):
        mark(ledger, slab, digests)
        stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "mark", mark_and_stop)
        with pytest.raises(Interrupted):
            segment(job, observer=Callbacks(stop))
    assert not job.output.exists()
    segment(job)
    assert contents(job.output) == contents(whole)


def test_what_decides_bytes_is_recorded_and_another_is_not_mixed_in(scene, model, whole, tmp_path, monkeypatch):
    told = mask_info(whole).provenance
    card = load_card(model)
    assert told["network"]["family"] == "onnx"
    assert told["weights_sha256"] == card.weights_sha256
    assert (told["device"], told["precision"], told["runtime"]) == ("cpu", "float32", "onnx")
    assert told["onnxruntime"] == version("onnxruntime")
    job = Job(str(scene), whole, model)
    assert segment(job).status == "skipped"
    monkeypatch.setattr("pipeline.runs.prepared.runtime_version", lambda: "0.0")
    assert segment(job).status == "skipped", "another version changes rounding alone"
    other = imported(tmp_path, put_unet, seed=1)
    with pytest.raises(OutputError, match="weights_sha256"):
        segment(replace(job, model=other))


def test_weights_beside_the_network_belong_to_it(scene, whole, tmp_path):
    """They are copied, told in the fingerprint, and refused if they are others."""
    model = imported(tmp_path, put_unet, beside="net.data")
    assert set(files_of(model)) == {"net.data", "network.onnx", "card.json"}
    (data,) = load_card(model).network.data
    prepared = prepare(Job(str(scene), tmp_path / "mask.tif", model), Resources())
    assert prepared.fingerprint()["network"]["data"] == ({"name": "net.data", "sha256": data.sha256},)
    published = publish_model(model, tmp_path / "published")
    segment(Job(str(scene), tmp_path / "mask.tif", str(published)))
    assert np.array_equal(labels_of(tmp_path / "mask.tif"), labels_of(whole))
    (tmp_path / "model/net.data").write_bytes(bytes((tmp_path / "net.data").stat().st_size))
    with pytest.raises(ModelError, match=r"net\.data: is nothing but zeros|net\.data: SHA-256 is"):
        segment(Job(str(scene), tmp_path / "other.tif", model))


def test_a_volume_is_segmented_slice_by_slice(tmp_path):
    options = ImportOptions(kind="volume", orientation="RAS", view="axial", patch=(32, 32), mean=(100.0,), std=(50.0,))
    model = imported(tmp_path, put_unet, options, channels=3)
    values = pixels((7, 40, 48), seed=2)
    put_volume(tmp_path / "scan.nii", values.transpose(2, 1, 0).astype(np.int16), np.diag([1.0, 1, 2, 1]))
    segment(Job(str(tmp_path / "scan.nii"), tmp_path / "mask.nii", model))
    found = labels_of(tmp_path / "mask.nii").transpose(2, 1, 0)
    padded = np.pad((values.astype(np.float32) - 100) / 50, ((1, 1), (0, 0), (0, 0)), mode="edge")
    scores = session_scores(tmp_path / "net.onnx")
    for z in range(1, 6):
        expected = plain_mask(padded[z : z + 3], lambda patch: softmax(scores(patch)), (32, 32), (10, 10))
        assert np.mean(found[z] == expected) >= ALIKE


def test_scores_are_averaged_with_those_of_other_models(model, models, tmp_path):
    """With another network in ONNX, and with a PSPNet."""
    values = pixels((2, 150, 130), seed=3)
    scene = put_scene(tmp_path / "scene.tif", values)
    other = imported(tmp_path, put_unet, seed=7)
    job = Job(str(scene), tmp_path / "both.tif", (model, other))
    segment(job)
    first, second = (session_scores(files_of(each)["network.onnx"]) for each in (model, other))
    mean = plain_mask(scaled(values), lambda patch: softmax(first(patch)) + softmax(second(patch)), (64, 64), (16, 16))
    assert np.mean(labels_of(tmp_path / "both.tif") == mean) >= ALIKE
    classes = tuple(entry.name for entry in load_card(models / "scene").classes)
    named = imported(tmp_path, put_unet, replace(TOLD, classes=classes, overwrite=True))
    mixed = prepare(replace(job, model=(str(models / "scene"), named)), Resources(precision="float32", runtime="torch"))
    assert mixed.fingerprint()["onnxruntime"] == version("onnxruntime")
    segment(mixed.job, Resources(precision="float32", runtime="torch", overwrite=True))


def test_a_network_of_its_own_spacing_sees_pixels_of_that_size(tmp_path):
    """Cells of 0.5 m for pixels of 1 m: a patch has twice as many cells along each side."""
    scene = put_scene(
        tmp_path / "scene.tif",
        pixels((2, 300, 260)),
        transform=Affine(0.5, 0, 500000, 0, -0.5, 5600000),
    )
    model = imported(tmp_path, put_unet, replace(TOLD, spacing=(1.0, 1.0)))
    planned = plan(Job(str(scene), tmp_path / "mask.tif", model), probe=False)
    assert planned.patch == pytest.approx((128, 128), abs=1)
    assert segment(Job(str(scene), tmp_path / "mask.tif", model)).status == "done"
    assert len(np.unique(labels_of(tmp_path / "mask.tif"))) == 3


def test_turns_scales_layers_and_temperature_are_those_of_any_network(scene, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    record_temperature(tmp_path / "model", 2.0)
    job = Job(str(scene), tmp_path / "mask.tif", str(tmp_path / "model"), tta="flips,0.5", also=("confidence",))
    assert segment(job).status == "done"
    with rasterio.open(tmp_path / "mask_confidence.tif") as layer:
        assert layer.read(1).max() > 0


REFUSED = {
    "shared features": ({"features": "shared"}, {}, "only a PSPNet can be .* share features"),
    "a patch that it does not take": ({"patch": (63, 64)}, {}, r"multiples of 2 model pixels, but .* 63 x 64"),
    "a scale that it does not take": ({"tta": (0.55,)}, {}, "multiples of 2 model pixels"),
    "bfloat16": ({}, {"precision": "bfloat16"}, "computed in the numbers that it was exported in"),
    "int8": ({}, {"precision": "int8"}, "computed in the numbers that it was exported in"),
    "torch": ({}, {"runtime": "torch"}, "is run by ONNX Runtime; leave --runtime out"),
    "OpenVINO": ({}, {"runtime": "openvino"}, "is run by ONNX Runtime; leave --runtime out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_only_a_pspnet_has_is_refused(case, scene, model, tmp_path):
    job, means, words = REFUSED[case]
    with pytest.raises(PipelineError, match=words):
        prepare(Job(str(scene), tmp_path / "mask.tif", model, **job), Resources(**means))


def test_a_pspnet_does_not_run_in_onnx_runtime(scene, models, tmp_path):
    with pytest.raises(RequestError, match="is for models whose networks are ONNX files"):
        prepare(Job(str(scene), tmp_path / "mask.tif", str(models / "scene")), Resources(runtime="onnx"))


def test_it_is_not_trained_further_nor_loaded_as_a_pspnet(model):
    with pytest.raises(ModelError, match="only a PSPNet can be trained further, teach another, be quantized"):
        load_model(model)


def test_without_the_extra_it_says_what_to_install(scene, model, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.optional.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"onnxruntime, not installed; run pip install 'pipeline\[onnx\]'"):
        prepare(Job(str(scene), tmp_path / "mask.tif", model), Resources())


def test_verbs_show_it_as_they_show_others(scene, model, whole, tmp_path):
    def invoke(*words):
        ended = CliRunner().invoke(app, [*map(str, words)])
        assert ended.exit_code == 0, ended.output
        return ended.output

    shown = invoke("models", model)
    assert "ONNX, logits, output stride 1" in shown
    planned = json.loads(invoke("plan", "--input", scene, "--model", model, "--json"))
    assert planned["items"][0]["runtime"] == "onnx"
    assert planned["items"][0]["seconds"] > 0
    invoke("models", model, "--page", tmp_path / "page.md")
    assert "ONNX, logits" in (tmp_path / "page.md").read_text()
    told = json.loads(invoke("evaluate", "--input", scene, "--truth", whole, "--model", model, "--json"))
    assert told["overall"]["figures"]["mean_iou"]["value"] == 1
