"""Models on disk: the same network comes back, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import ModelError
from pipeline.files.digest import sha256_of
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.store import load_model, names, save_model
from tests.support.model_cases import CARD_2D, network_of


@pytest.fixture(scope="module")
def network():
    return network_of(replace(CARD_2D.network, auxiliary=True))


@pytest.fixture
def folder(tmp_path, network):
    save_model(tmp_path / "model", CARD_2D, network)
    return tmp_path / "model"


def rewrite(folder, change):
    """Change the weights, and give the card their new checksum."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"weights_sha256": sha256_of(file)}))


@torch.inference_mode()
def test_save_and_load_give_the_network_at_half_precision(folder, network):
    model = load_model(folder)
    image = torch.randn(1, 2, 48, 48)
    half = PSPNet(CARD_2D.network).eval()
    half.load_state_dict({name: x for name, x in network.state_dict().items() if not name.startswith("aux.")})
    half = half.half().float()
    assert torch.equal(model.network(image), half(image))
    assert not model.network.training
    assert {x.dtype for x in model.network.parameters()} == {torch.float32}
    assert not any(x.requires_grad for x in model.network.parameters())
    assert not any(x.is_meta for x in model.network.state_dict().values())


def test_stored_weights_are_small_and_only_what_is_needed(folder):
    state = load_file(folder / "model.safetensors")
    assert {x.dtype for x in state.values()} == {torch.float16}
    assert not [name for name in state if name.startswith("aux.") or name.endswith("num_batches_tracked")]


def test_every_way_to_name_a_model(folder, tmp_path):
    ways = [folder, str(folder), folder / "card.json", folder / "model.safetensors"]
    assert {load_model(way).path for way in ways} == {folder / "model.safetensors"}
    (folder / "card.json").rename(tmp_path / "mine.json")
    (folder / "model.safetensors").rename(tmp_path / "mine.safetensors")
    assert load_model(tmp_path / "mine.json").path == load_model(tmp_path / "mine.safetensors").path


def test_damaged_weights_are_refused(folder):
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"SHA-256 is [0-9a-f]{64}, but .*card\.json says [0-9a-f]{64}"):
        load_model(folder)


def test_what_is_not_safetensors_is_refused(folder):
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04 a pickle in a zip")
    card = json.loads((folder / "card.json").read_text())
    found = sha256_of(folder / "model.safetensors")
    (folder / "card.json").write_text(json.dumps(card | {"weights_sha256": found}))
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_model(folder)


def test_wrong_names_and_shapes_are_listed(folder):
    def change(state):
        state["head.4.weight"] = state["head.4.weight"][:2].clone()
        state["extra"] = state.pop("stem.0.weight")
        return {name: x for name, x in state.items() if not name.startswith("layer4.")}

    rewrite(folder, change)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    said = str(caught.value)
    assert "head.4.weight is (2, 8, 1, 1), the network's is (3, 8, 1, 1)" in said
    assert "1 unknown: extra" in said
    assert "missing: stem.0.weight; layer4.0.bn1.bias" in said or "missing: stem.0.weight; layer4" in said
    assert said.count("layer4.") == 9


def test_weights_beyond_half_precision_are_not_saved(tmp_path):
    network = network_of(CARD_2D.network)
    network.layer4[0].bn1.running_var[3] = 1e6
    with pytest.raises(ModelError, match=r"layer4\.0\.bn1\.running_var"):
        save_model(tmp_path, CARD_2D, network)
    assert list(tmp_path.iterdir()) == []


def test_packaged_models_load():
    for name in names():
        model = load_model(name)
        assert model.network.spec == model.card.network
