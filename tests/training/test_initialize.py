"""Weights to start a training from, by name and by folder."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models.catalogue import WEIGHTS, find_model
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.pretrained import load_backbone
from pipeline.models.spec import PSPNetSpec
from pipeline.training.initialize import initialize_from

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
