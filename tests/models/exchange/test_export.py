"""PSPNets are written as ONNX files that compute what torch computes, and that others can run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pipeline.errors import ModelError, OutputError, PipelineError
from pipeline.jobs.job import Job, Resources
from pipeline.models.exchange import export
from pipeline.models.exchange.export import export_model
from pipeline.models.importing import ImportOptions, import_weights
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import load_model, save_model
from pipeline.runs.segment import segment
from tests.support.inputs import labels_of, listing, pixels, put_scene, undecided
from tests.support.model_cases import CARD_2D, network_of
from tests.support.onnx_files import put_unet

FLOAT32 = Resources(precision="float32", runtime="torch")
SPECS = {
    "resnet18": PSPNetSpec("resnet18", 2, 3, ppm_channels=4, head_channels=8, truncated=True),
    "smp": PSPNetSpec("resnet18", 2, 3, head="smp", ppm_channels=4, head_channels=8, truncated=True),
    "efficientnet_lite0": PSPNetSpec("efficientnet_lite0", 2, 3, ppm_channels=4, head_channels=8, truncated=True),
    "mobilenet_v2": PSPNetSpec(
        "mobilenet_v2", 2, 3, ppm_channels=4, head_channels=8, align_corners=True, truncated=True
    ),
    "decoder": PSPNetSpec("resnet18", 2, 3, ppm_channels=4, head_channels=8, truncated=True, decoder_channels=(6, 5)),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return put_scene(tmp_path_factory.mktemp("scene") / "scene.tif", pixels((2, 180, 140), seed=5))


@pytest.mark.parametrize("name", SPECS)
def test_probabilities_are_those_of_torch(name, tmp_path):
    """Of patches whose features the bins of the pyramid do not divide."""
    card = replace(CARD_2D, network=SPECS[name], patch=(72, 88), overlap=(16, 16))
    save_model(tmp_path / "model", card, network_of(SPECS[name]))
    made = export_model(tmp_path / "model", tmp_path / "net.onnx")
    image = torch.randn(1, 2, 72, 88, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = load_model(tmp_path / "model").network(image).softmax(1).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    assert np.abs(found - expected).max() <= 1e-5
    assert made.difference <= 1e-5
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)


@pytest.mark.parametrize("averaging", ["softmax", "logits"])
def test_what_is_imported_again_gives_the_same_mask(averaging, scene, tmp_path):
    card = replace(CARD_2D, network=SPECS["resnet18"], averaging=averaging, temperature=1.5)
    save_model(tmp_path / "model", card, undecided(network_of(card.network)))
    export_model(tmp_path / "model", tmp_path / "net.onnx")
    again = import_weights(tmp_path / "net.onnx", tmp_path / "again", ImportOptions()).card
    assert (again.averaging, again.temperature, again.classes) == (averaging, 1.5, card.classes)
    segment(Job(str(scene), tmp_path / "before.tif", str(tmp_path / "model"), features="patch"), FLOAT32)
    segment(Job(str(scene), tmp_path / "after.tif", str(tmp_path / "again")))
    before = labels_of(tmp_path / "before.tif")
    assert len(np.unique(before)) == 3
    assert np.mean(labels_of(tmp_path / "after.tif") == before) >= 0.9999


def test_deepness_finds_what_it_reads(tmp_path):
    """It opens the file by ONNX Runtime: one input and one output, square, of a fixed size, probabilities."""
    card = replace(CARD_2D, network=SPECS["resnet18"], patch=(64, 64), overlap=(16, 16), spacing=(0.5, 0.5))
    save_model(tmp_path / "model", card, network_of(card.network))
    assert export_model(tmp_path / "model", tmp_path / "net.onnx").notes == ()
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert [one.shape for one in session.get_inputs()] == [[1, 2, 64, 64]]
    assert [one.shape for one in session.get_outputs()] == [[1, 3, 64, 64]]
    told = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert told["model_type"] == "Segmentor"
    assert told["class_names"] == {"0": "a", "1": "b", "2": "c"}
    assert (told["resolution"], told["tiles_size"], told["tile_size"], told["tiles_overlap"]) == (50, 64, 64, 25)
    assert told["standardization_mean"] == pytest.approx([100 / 255, 50 / 255])
    assert told["standardization_std"] == pytest.approx([40 / 255, 20 / 255])


def test_what_deepness_cannot_do_is_told(models, tmp_path):
    notes = export_model(models / "scene", tmp_path / "net.onnx").notes
    assert [note.split(" ")[0:3] for note in notes] == [["Deepness", "takes", "square"], ["set", "the", "resolution"]]
    assert export_model(models / "volume", tmp_path / "volume.onnx").notes == ()


def test_deepness_is_told_of_a_zoom_and_this_package_remembers_it(tmp_path):
    card = replace(CARD_2D, network=SPECS["resnet18"], patch=(64, 64), overlap=(16, 16), spacing=None, zoom=1.5)
    save_model(tmp_path / "model", card, network_of(card.network))
    notes = export_model(tmp_path / "model", tmp_path / "net.onnx").notes
    assert notes == ("set the resolution in Deepness to that of the scene divided by 1.5, which the model sees",)
    assert import_weights(tmp_path / "net.onnx", tmp_path / "again", ImportOptions()).card.zoom == 1.5


def test_a_file_that_differs_from_torch_is_not_written(models, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MOST", -1.0)
    with pytest.raises(PipelineError, match="not written, for ONNX Runtime computes something else than torch"):
        export_model(models / "scene", tmp_path / "net.onnx")
    assert listing(tmp_path) == set()


def test_only_a_pspnet_is_exported_and_only_to_a_free_name(models, tmp_path):
    import_weights(
        put_unet(tmp_path / "net.onnx"),
        tmp_path / "model",
        ImportOptions(channels=("a", "b"), mean=(0.0, 0.0), std=(1.0, 1.0), patch=(64, 64)),
    )
    with pytest.raises(ModelError, match="its network is an ONNX file"):
        export_model(tmp_path / "model", tmp_path / "other.onnx")
    with pytest.raises(OutputError, match="already exists; use --overwrite"):
        export_model(models / "scene", tmp_path / "net.onnx")
