"""Imported checkpoints predict what they predicted at home: files with the names and shapes that other projects
publish, read, written and loaded again, against plain networks that read those names themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.models.importing import ImportOptions, import_weights
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.pretrained import load_backbone
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import load_model
from tests.support import checkpoints, plain_networks
from tests.support.checkpoints import State, mmseg_file, semseg_file
from tests.support.plain_networks import (
    D32,
    LITE_D8,
    MMSEG_D8,
    SEMSEG_D8,
    SMP_D8,
    TIMM_D8,
    lite_of_efficientnet_pytorch,
    lite_of_timm,
)

pytestmark = pytest.mark.slow

TOLERANCE = 1e-6
EIGHTHS, ONE_MORE = (64, 56), (65, 57)
BANDS = ("red", "green", "blue", "near infrared")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Published:
    """One published model: its weights, the file that they come in, and what they compute."""

    weights: Callable[..., State]
    write: Callable[[Path, State], Path]
    scores: Callable[[State, Tensor], Tensor]
    size: tuple[int, int]
    options: ImportOptions = field(default_factory=ImportOptions)
    double: bool = False
    """Whether to compare in float64 as well."""
    spec: dict[str, object] = field(default_factory=dict)
    """What the imported network has to be."""


def bare(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


def smp_folder(path: Path, state: State, *, encoder: str, **config: object) -> Path:
    return checkpoints.save_pretrained(path.with_suffix(""), state, checkpoints.smp_config(encoder, **config))


def smp_scores(state: State, image: Tensor, depth: int) -> Tensor:
    found = plain_networks.smp(state, image, depth=depth)
    return plain_networks.two_planes(found) if found.shape[1] == 1 else found


def of_smp(encoder: str, depth: int = 3, *, classes: int = 5, in_channels: int = 3, **other: object) -> Published:
    config = {"encoder_depth": depth, "upsampling": 2**depth, "classes": classes, "in_channels": in_channels}
    channels = ImportOptions(channels=BANDS, mean=(0.0,) * 4, std=(1.0,) * 4) if in_channels == 4 else ImportOptions()
    return Published(
        partial(checkpoints.smp, encoder, depth=depth, classes=classes, in_channels=in_channels),
        partial(smp_folder, encoder=encoder, **config),
        partial(smp_scores, depth=depth),
        EIGHTHS,
        channels,
        double=True,
        spec={"output_stride": 2**depth, "truncated": True, "head": "smp", "dropout": 0.2, **other},
    )


PUBLISHED = {
    "semseg R50": Published(
        partial(checkpoints.semseg, 50, channels=16),
        semseg_file,
        plain_networks.semseg,
        ONE_MORE,
        spec={"stem": "semseg", "dilation": "full", "align_corners": True, "classes": 150},
    ),
    "semseg R101": Published(
        partial(checkpoints.semseg, 101, channels=16), semseg_file, plain_networks.semseg, ONE_MORE
    ),
    "mmseg R18": Published(
        partial(checkpoints.mmseg_resnet, 18),
        mmseg_file,
        plain_networks.mmseg_resnet,
        EIGHTHS,
        double=True,
        spec={"stem": "v1c", "dilation": "contracted", "basic_dilation": "conv1", "align_corners": False},
    ),
    "mmseg R50": Published(
        partial(checkpoints.mmseg_resnet, 50, channels=16),
        mmseg_file,
        plain_networks.mmseg_resnet,
        (97, 83),
        spec={"stem": "v1c", "dilation": "contracted", "ppm_channels": 16},
    ),
    "mmseg R34": Published(
        partial(checkpoints.mmseg_resnet, 34, channels=16), mmseg_file, plain_networks.mmseg_resnet, EIGHTHS
    ),
    "mmseg R50 b": Published(
        partial(checkpoints.mmseg_resnet, 50, stem="b", channels=16),
        mmseg_file,
        plain_networks.mmseg_resnet,
        EIGHTHS,
        spec={"stem": "torchvision", "dilation": "contracted"},
    ),
    "mmseg R18 D32": Published(
        partial(checkpoints.mmseg_resnet, 18, channels=16),
        mmseg_file,
        partial(plain_networks.mmseg_resnet, rule=D32),
        (128, 96),
        ImportOptions(output_stride=32),
        double=True,
    ),
    "mmseg R18 769": Published(
        partial(checkpoints.mmseg_resnet, 18, channels=16),
        bare,
        partial(plain_networks.mmseg_resnet, align=True),
        ONE_MORE,
        ImportOptions(align_corners=True),
        double=True,
    ),
    "mmseg MobileNetV2": Published(
        checkpoints.mmseg_mobilenet,
        mmseg_file,
        plain_networks.mmseg_mobilenet,
        EIGHTHS,
        double=True,
        spec={"dilation": "contracted", "ppm_channels": 512, "head_channels": 512},
    ),
    "smp resnet18": of_smp("resnet18"),
    "smp resnet18 to layer3": of_smp("resnet18", 4),
    "smp resnet34": of_smp("resnet34"),
    "smp resnet50": of_smp("resnet50", classes=1, in_channels=4, ppm_channels=128, head_channels=512),
    "smp mobilenet_v2": of_smp("mobilenet_v2"),
    "smp mobilenet_v2 to layer5": of_smp("mobilenet_v2", 4),
    "smp vgg16_bn": of_smp("vgg16_bn"),
    "smp lite": of_smp("timm-tf_efficientnet_lite0", backbone="efficientnet_lite0_symmetric"),
    "smp timm lite to layer5": of_smp("tu-tf_efficientnet_lite0", 4, backbone="efficientnet_lite0"),
    "smp resnet18 dilated": Published(
        partial(checkpoints.smp, "resnet18", depth=5),
        partial(smp_folder, encoder="resnet18", encoder_depth=5, output_stride=8),
        partial(plain_networks.smp, depth=5, rule=SMP_D8),
        EIGHTHS,
        ImportOptions(),
        double=True,
        spec={"truncated": False, "dilation": "full", "basic_dilation": "both", "output_stride": 8},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
@torch.inference_mode()
def test_imported_model_scores_as_at_home(name, tmp_path):
    case = PUBLISHED[name]
    state = case.weights(seed=1)
    file = case.write(tmp_path / "weights.pth", state)
    imported = import_weights(file, tmp_path / "model", case.options)
    model = load_model(tmp_path / "model")
    assert model.card == imported.card
    assert {key: getattr(model.card.network, key) for key in case.spec} == case.spec
    image = image_of(model.card.network.in_channels, case.size)
    image = image * 10 if "obile" in name else image  # beyond what ReLU6 lets by
    assert_same(model.network(image), case.scores(state, image), TOLERANCE)
    if case.double:
        exact = case.scores({key: x.double() for key, x in state.items()}, image.double())
        assert_same(model.network.double()(image.double()), exact, 1e-12)
    delete(tmp_path)


@torch.inference_mode()
def test_what_shapes_cannot_tell_changes_the_scores(tmp_path):
    """Networks that load the same file without an error, each equal to its own plain network and to no other."""
    state = checkpoints.mmseg_resnet(18, channels=16, seed=2)
    file, image = mmseg_file(tmp_path / "weights.pth", state), image_of(3, ONE_MORE)
    rules = {
        "conv1": (ImportOptions(), MMSEG_D8),
        "both": (ImportOptions(dilation="full", basic_dilation="both"), SMP_D8),
        "timm": (ImportOptions(basic_dilation="timm"), TIMM_D8),
        "full": (ImportOptions(dilation="full"), SEMSEG_D8),
        "stride": (ImportOptions(output_stride=32), D32),
    }
    found, expected = {}, {}
    for name, (options, rule) in rules.items():
        import_weights(file, tmp_path / name, options)
        found[name] = load_model(tmp_path / name).network(image)
        expected[name] = plain_networks.mmseg_resnet(state, image, rule=rule)
    import_weights(file, tmp_path / "align", ImportOptions(align_corners=True))
    found["align"] = load_model(tmp_path / "align").network(image)
    expected["align"] = plain_networks.mmseg_resnet(state, image, align=True)
    for name, scores in found.items():
        for other, theirs in expected.items():
            difference = (scores - theirs).abs().max().item()
            assert difference <= TOLERANCE if name == other else difference > 1e-3, (name, other, difference)


BACKBONES = {
    "torchvision R18": (partial(checkpoints.torchvision_resnet, 18), "resnet18-f37072fd.pth", None),
    "timm R50": (partial(checkpoints.torchvision_resnet, 50, fc=False), "resnet50.a1_in1k.pth", "timm"),
    "mmseg R18": (partial(checkpoints.mmseg_backbone, 18), "resnet18_v1c-b5776b93.pth", None),
    "MobileNetV2": (checkpoints.torchvision_mobilenet, "mobilenet_v2-b0353104.pth", None),
    "VGG16": (partial(checkpoints.torchvision_vgg, classifier=8), "vgg16_bn-6c64b313.pth", None),
    "Lite0 of Google": (checkpoints.efficientnet_pytorch, "efficientnet-lite0-57934424.pth", None),
    "Lite1 of timm": (partial(checkpoints.timm_lite, 1), "tf_efficientnet_lite1-bde8b488.pth", None),
    "Lite0 of timm": (checkpoints.timm_lite, "efficientnet_lite0_ra-37913777.pth", "timm"),
    "SSL4EO R18 of torchgeo": (
        partial(checkpoints.torchvision_resnet, 18, in_channels=13, fc=False),
        "resnet18_sentinel2_all_moco-59bfdff9.pth",
        None,
    ),
    "SSL4EO R18": (partial(checkpoints.moco, 18), "B13_rn18_moco_0099.pth", None),
    "Satlas R50": (partial(checkpoints.satlas, 50), "sentinel2_resnet50_si_rgb.pth", None),
    "Satlas of many images": (
        partial(checkpoints.satlas, 18, prefix="backbone.backbone."),
        "sentinel2_resnet18_mi_rgb.pth",
        None,
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_imported_backbone_gives_the_features_of_home(name, tmp_path):
    weights, file, preset = BACKBONES[name]
    state = weights(seed=3)
    if "encoder_q" in next(iter(state)):
        torch.save({"epoch": 100, "arch": "resnet18", "state_dict": state, "optimizer": {}}, tmp_path / file)
    else:
        torch.save(state, tmp_path / file)
    import_weights(tmp_path / file, tmp_path / "backbone", ImportOptions(preset=preset))
    backbone = load_backbone(tmp_path / "backbone")
    card = backbone.card
    spec = PSPNetSpec(card.backbone, len(card.channels), 2, ppm_channels=4, head_channels=4, stem=card.stem)
    if card.backbone == "vgg16_bn":
        spec = PSPNetSpec(card.backbone, 3, 2, ppm_channels=4, head_channels=4, output_stride=16)
    network = PSPNet(spec).eval()
    backbone.start(network)
    image = image_of(len(card.channels), EIGHTHS)
    features, _ = network.features(image)
    assert_same(features, features_at_home(state, image, file), TOLERANCE)
    delete(tmp_path)


def features_at_home(state: State, image: Tensor, file: str) -> Tensor:
    """Last features of a backbone: of a ResNet dilated to stride 8, of MobileNetV2 too, of VGG16 before its end."""
    if "lite" in file:
        blocks = [count for _, count in checkpoints.LITE[0]]
        names = lite_of_timm(state) if "conv_stem.weight" in state else lite_of_efficientnet_pytorch(state, blocks)
        google = not file.startswith("efficientnet_lite")
        return plain_networks.efficientnet_lite(state, image, names, LITE_D8, tensorflow=google)[-1]
    if "features.0.weight" in state:
        return plain_networks.vgg(state, image, 43)
    if "features.0.0.weight" in state:
        return plain_networks.torchvision_mobilenet(state, image, plain_networks.MOBILENET_D8)[-1]
    prefix = next((p for p in PREFIXES if f"{p}conv1.weight" in state), "")
    stem = [(f"{prefix}conv1", f"{prefix}bn1")]
    if "stem.0.weight" in state:
        stem = plain_networks.deep_stem("stem")
    return plain_networks.resnet(state, image, stem, f"{prefix}layer{{}}", MMSEG_D8)[-1]


PREFIXES = ("module.encoder_q.", "backbone.resnet.", "backbone.backbone.resnet.")


@pytest.mark.parametrize(
    ("make", "tensors"),
    [
        (partial(checkpoints.semseg, 50), 370),
        (partial(checkpoints.semseg, 101), 676),
        (partial(checkpoints.semseg, 152), 982),
        (partial(checkpoints.mmseg_resnet, 18), 172),
        (partial(checkpoints.mmseg_resnet, 50), 370),
        (partial(checkpoints.mmseg_resnet, 50, stem="b"), 358),
        (checkpoints.mmseg_mobilenet, 346),
        (partial(checkpoints.smp, "resnet50"), 346),
        (partial(checkpoints.smp, "vgg16_bn"), 119),
        (partial(checkpoints.smp, "mobilenet_v2"), 340),
        (partial(checkpoints.torchvision_resnet, 18), 122),
        (partial(checkpoints.torchvision_resnet, 50), 320),
        (partial(checkpoints.torchvision_resnet, 101), 626),
        (checkpoints.torchvision_vgg, 97),
        (checkpoints.torchvision_mobilenet, 314),
        (checkpoints.efficientnet_pytorch, 296),
    ],
)
def test_tables_have_as_many_tensors_as_published(make, tensors):
    assert len(make()) == tensors


@pytest.mark.parametrize("depth", [50, 101, 152])
@pytest.mark.parametrize("family", ["semseg", "mmseg"])
def test_deeper_networks_have_the_tensors_of_the_tables(family, depth):
    """By number of values: each weight of the file has its place in the network."""
    stem = {"semseg": "semseg", "mmseg": "v1c"}[family]
    state = checkpoints.semseg(depth) if family == "semseg" else checkpoints.mmseg_resnet(depth, classes=150)
    spec = PSPNetSpec(f"resnet{depth}", 3, 150, stem=stem, ppm_channels=512, head_channels=512, auxiliary=True)
    with torch.device("meta"):
        ours = PSPNet(spec).state_dict()
    assert sorted(x.shape for x in ours.values()) == sorted(x.shape for x in state.values())


def image_of(channels: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(4))


def assert_same(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert 0.05 < expected.std() < 10, "the comparison is on another scale than it was meant for"
    assert (found - expected).abs().max().item() <= tolerance


def delete(folder: Path) -> None:
    """Files of hundreds of megabytes are not left to pytest, which keeps those of three runs."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
