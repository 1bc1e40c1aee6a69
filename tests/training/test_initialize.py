"""Weights to start a training from, by name and by folder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models.catalogue import WEIGHTS, find_model
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.pretrained import load_backbone
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import load_model, save_model
from pipeline.training.initialize import initialize_from
from tests.support.model_cases import CARD_2D, network_of, shallow

SPEC = PSPNetSpec("efficientnet_lite0", 3, 2, ppm_channels=8, head_channels=8)


def test_a_packaged_backbone_is_found_by_its_name(tmp_path):
    network = PSPNet(SPEC)
    initialize_from(network, "efficientnet_lite0", tmp_path)
    state = load_backbone(WEIGHTS / "efficientnet_lite0").state
    for name in ("stem.0.weight", "layer7.0.conv.2.weight"):
        assert torch.equal(network.state_dict()[name], state[name])
    for name, tensor in state.items():
        assert torch.isfinite(tensor).all(), name
        assert not name.endswith("running_var") or (tensor >= 0).all(), name


def test_a_folder_of_that_name_comes_first(tmp_path):
    folder = tmp_path / "efficientnet_lite0"
    folder.mkdir()
    (folder / "backbone.json").write_text("{}")
    with pytest.raises(ModelError, match=r"backbone\.json: "):
        initialize_from(PSPNet(SPEC), folder.name, tmp_path)


def test_a_backbone_cannot_be_run():
    with pytest.raises(ModelError, match="is a backbone to train from"):
        find_model("efficientnet_lite0")


def test_weights_that_do_not_exist_are_told_with_those_that_do(tmp_path):
    with pytest.raises(ModelError, match=r"no such weights.*landcover.*backbone \(efficientnet_lite0\), a folder"):
        initialize_from(PSPNet(SPEC), "resnet18", tmp_path)


def test_a_decoder_starts_anew_where_the_model_has_none(tmp_path):
    card = replace(CARD_2D, network=shallow(CARD_2D.network))
    save_model(tmp_path / "plain", card, network_of(card.network))
    plain = load_model(tmp_path / "plain").network
    network = PSPNet(replace(card.network, decoder_channels=(6, 5)))
    initialize_from(network, "plain", tmp_path)
    state = network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in plain.state_dict().items())
    assert not network.decoder.last.weight.any()


@pytest.mark.parametrize(("channels", "others"), [((6, 5), (6, 5, 5)), ((6, 5, 5), (6, 5))])
def test_a_decoder_to_another_stride_goes_on_from_the_stages_that_both_have(channels, others, tmp_path):
    spec = replace(shallow(CARD_2D.network), backbone="efficientnet_lite0", decoder_channels=channels)
    save_model(tmp_path / "other", replace(CARD_2D, network=spec), network_of(spec))
    known = load_model(tmp_path / "other").network.decoder
    network = PSPNet(replace(spec, decoder_channels=others))
    initialize_from(network, "other", tmp_path)
    own = network.decoder
    for mine, its in zip(own.stages[:2], known.stages[:2], strict=True):
        assert torch.equal(mine[0].weight, its[0].weight)
    assert known.last.weight.shape == own.last.weight.shape
    assert not own.last.weight.any()


@pytest.mark.parametrize("other", [(7, 5), (6, 4)])
def test_a_decoder_of_other_channels_is_refused(tmp_path, other):
    spec = replace(shallow(CARD_2D.network), decoder_channels=(6, 5))
    save_model(tmp_path / "decoded", replace(CARD_2D, network=spec), network_of(spec))
    same = PSPNet(spec)
    initialize_from(same, "decoded", tmp_path)
    assert torch.equal(same.decoder.last.weight, load_model(tmp_path / "decoded").network.decoder.last.weight)
    with pytest.raises(ModelError, match=r"is of another network\. decoder\."):
        initialize_from(PSPNet(replace(spec, decoder_channels=other)), "decoded", tmp_path)
