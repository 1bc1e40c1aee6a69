"""Models of other projects, built and saved by their own code, imported here: the same scores.

Skipped where the packages of benchmarks/peers.txt are not installed; docs/benchmarks.md says how they are.
`pytest -rP tests/models/importing/test_peers.py` shows the differences.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models.importing import ImportOptions, import_weights
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.pretrained import load_backbone
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import load_model
from tests.support import checkpoints, peers, plain_networks

TOLERANCE = 1e-6
EIGHTHS, ONE_MORE = (64, 96), (65, 57)
BANDS = ("red", "green", "blue", "near infrared")


def needs(packages: tuple[str, ...]) -> pytest.MarkDecorator:
    absent = peers.absent(packages)
    return pytest.mark.skipif(bool(absent), reason=f"not installed (benchmarks/peers.txt): {', '.join(absent)}")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


MMSEG: dict[str, tuple[Any, ...]] = {
    # configuration, weights with its names, size of the image
    "R18-D8": (peers.mmseg_resnet(18), lambda: checkpoints.mmseg_resnet(18, seed=1), EIGHTHS),
    "R50-D8": (peers.mmseg_resnet(50), lambda: checkpoints.mmseg_resnet(50, seed=1), EIGHTHS),
    "R50b-D8": (
        peers.mmseg_resnet(50, stem="b"),
        lambda: checkpoints.mmseg_resnet(50, stem="b", seed=1),
        EIGHTHS,
    ),
    "R101-D8": (peers.mmseg_resnet(101), lambda: checkpoints.mmseg_resnet(101, seed=1), EIGHTHS),
    "R50-D32": (peers.mmseg_resnet(50, stride=32), lambda: checkpoints.mmseg_resnet(50, seed=2), (128, 96)),
    "R50-D8 769": (peers.mmseg_resnet(50, align=True), lambda: checkpoints.mmseg_resnet(50, seed=3), ONE_MORE),
    "MobileNetV2-D8": (peers.mmseg_mobilenet(), lambda: checkpoints.mmseg_mobilenet(seed=1), EIGHTHS),
}


@needs(peers.MMSEG)
@pytest.mark.parametrize(
    ("name", "generation"), [*((name, "0.x") for name in MMSEG), ("R18-D8", "1.x"), ("R50-D32", "1.x")]
)
@torch.inference_mode()
def test_mmsegmentation(name, generation, tmp_path):
    config, weights, size = MMSEG[name]
    peer = peers.mmseg_model(config)
    peer.load_state_dict(weights())
    file = peers.mmseg_file(tmp_path / "weights.pth", peer, config, generation)
    import_weights(file, tmp_path / "model")
    model = load_model(tmp_path / "model")
    image = image_of(3, size, name)
    assert_same(f"mmseg {name}, file of {generation}", model.network(image), peers.mmseg_scores(peer, image))
    assert len({entry.name for entry in model.card.classes} - {f"class {index}" for index in range(19)}) == 19
    delete(tmp_path)


@needs(peers.MMSEG)
def test_training_checkpoint_of_mmengine_is_refused_with_a_way_that_works(tmp_path):
    """It carries the history of its losses as an object, which is never unpickled here."""
    from mmengine.logging import HistoryBuffer

    config, weights, size = MMSEG["R18-D8"]
    peer = peers.mmseg_model(config)
    peer.load_state_dict(weights())
    hub = {"log_scalars": {"train/loss": HistoryBuffer([0.5], [1])}}
    meta = {"cfg": peers.mmseg_text(config)}
    torch.save({"meta": meta, "state_dict": peer.state_dict(), "message_hub": hub}, tmp_path / "iter_80000.pth")
    with pytest.raises(ModelError, match=r"mmengine\.logging") as refusal:
        import_weights(tmp_path / "iter_80000.pth", tmp_path / "model")
    _, *command = shlex.split(str(refusal.value).partition("\n")[2])
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    import_weights(tmp_path / "weights.pth", tmp_path / "model")
    with torch.inference_mode():
        image = image_of(3, size)
        assert_same(
            "mmseg R18-D8, saved again", load_model(tmp_path / "model").network(image), peers.mmseg_scores(peer, image)
        )


FOUR = ImportOptions(channels=BANDS, mean=(0.0,) * 4, std=(1.0,) * 4)
SMP: dict[str, tuple[str, dict[str, Any], ImportOptions]] = {
    "resnet18": ("resnet18", {}, ImportOptions()),
    "resnet18, 1 class": ("resnet18", {"classes": 1}, ImportOptions()),
    "resnet18, 4 channels": ("resnet18", {"in_channels": 4}, FOUR),
    "resnet18, depth 4": ("resnet18", {"encoder_depth": 4, "upsampling": 16}, ImportOptions()),
    "resnet50": ("resnet50", {}, ImportOptions()),
    "resnet50, 4 channels, 1 class, depth 4": (
        "resnet50",
        {"encoder_depth": 4, "upsampling": 16, "in_channels": 4, "classes": 1},
        FOUR,
    ),
    "vgg16_bn": ("vgg16_bn", {}, ImportOptions()),
    "vgg16_bn, depth 4": ("vgg16_bn", {"encoder_depth": 4, "upsampling": 16}, ImportOptions()),
    "mobilenet_v2": ("mobilenet_v2", {}, ImportOptions()),
    "mobilenet_v2, depth 4, 1 class": (
        "mobilenet_v2",
        {"encoder_depth": 4, "upsampling": 16, "classes": 1},
        ImportOptions(),
    ),
    "tu-resnet18": ("tu-resnet18", {}, ImportOptions()),
    "tu-resnet50, depth 4": ("tu-resnet50", {"encoder_depth": 4, "upsampling": 16}, ImportOptions()),
    "tu-mobilenetv2_100": ("tu-mobilenetv2_100", {}, ImportOptions()),
    "tu-mobilenetv2_100, depth 4": ("tu-mobilenetv2_100", {"encoder_depth": 4, "upsampling": 16}, ImportOptions()),
    "timm-tf_efficientnet_lite0": ("timm-tf_efficientnet_lite0", {}, ImportOptions()),
    "tu-tf_efficientnet_lite0, depth 4": (
        "tu-tf_efficientnet_lite0",
        {"encoder_depth": 4, "upsampling": 16},
        ImportOptions(),
    ),
    "tu-efficientnet_lite0, depth 5, output stride 8": (
        "tu-efficientnet_lite0",
        {"encoder_depth": 5, "output_stride": 8},
        ImportOptions(),
    ),
    "timm-tf_efficientnet_lite0, depth 5, output stride 16": (
        "timm-tf_efficientnet_lite0",
        {"encoder_depth": 5, "output_stride": 16, "upsampling": 16},
        ImportOptions(),
    ),
    "tu-resnet18, depth 5, output stride 8": (
        "tu-resnet18",
        {"encoder_depth": 5, "output_stride": 8},
        ImportOptions(),
    ),
    "resnet18, depth 5, output stride 8": (
        "resnet18",
        {"encoder_depth": 5, "output_stride": 8},
        ImportOptions(),
    ),
    "resnet50, depth 5, output stride 8": (
        "resnet50",
        {"encoder_depth": 5, "output_stride": 8},
        ImportOptions(),
    ),
}


@needs(peers.SMP)
@pytest.mark.parametrize("name", SMP)
@torch.inference_mode()
def test_segmentation_models_pytorch(name, tmp_path):
    encoder, options, wanted = SMP[name]
    options = {"classes": 5, "in_channels": 3, "encoder_depth": 3} | options
    peer = peers.smp_model(encoder, **options)
    shape = {"depth": options["encoder_depth"], "classes": options["classes"], "in_channels": options["in_channels"]}
    if encoder.startswith("tu-"):
        peers.randomise(peer, seed=1)
        peer.segmentation_head[0].weight.mul_(0.3)
    else:
        peer.load_state_dict(checkpoints.smp(encoder, seed=1, **shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.save_pretrained(tmp_path / "peer")
    import_weights(tmp_path / "peer", tmp_path / "model", wanted)
    model, image = load_model(tmp_path / "model"), image_of(options["in_channels"], EIGHTHS, name)
    assert_same(f"smp {name}", model.network(image), as_many(peer(image)))
    exact = as_many(peer.double()(image.double()))
    assert_same(f"smp {name}, float64", model.network.double()(image.double()), exact, 1e-12)
    delete(tmp_path)


@needs(peers.TIMM)
@pytest.mark.parametrize(
    ("name", "stride"),
    [
        *((f"resnet{depth}", stride) for depth in (18, 50) for stride in (8, 16, 32)),
        ("mobilenetv2_100", 32),
        *((f"{kind}efficientnet_lite0", stride) for kind in ("", "tf_") for stride in (8, 16, 32)),
        *((f"tf_efficientnet_lite{size}", 8) for size in range(1, 5)),
        ("vgg16_bn", 16),
    ],
)
@torch.inference_mode()
def test_features_of_timm(name, stride, tmp_path):
    peer = peers.timm_model(name, **({} if name == "vgg16_bn" else {"output_stride": stride}))
    peers.randomise(peer, seed=1)
    image = image_of(3, EIGHTHS, name)
    spec = {"output_stride": stride, "basic_dilation": "timm"}
    features = imported_features(tmp_path, peer, image, "timm", spec, name)
    assert_same(f"timm {name}, output stride {stride}", features, peers.timm_features(peer, image))


@needs(peers.TIMM)
@pytest.mark.parametrize(
    ("name", "cut", "spec"),
    [
        ("resnet18", -2, {"output_stride": 32}),
        ("resnet50", -2, {"output_stride": 8}),
        ("vgg16_bn", 43, {"output_stride": 16}),
        ("mobilenet_v2", 18, {"output_stride": 32}),
    ],
)
@torch.inference_mode()
def test_features_of_torchvision(name, cut, spec, tmp_path):
    dilated = {"replace_stride_with_dilation": [False, True, True]} if spec["output_stride"] == 8 else {}
    peer = peers.torchvision_model(name, **dilated)
    weights = {
        "resnet18": lambda: checkpoints.torchvision_resnet(18, seed=1),
        "resnet50": lambda: checkpoints.torchvision_resnet(50, seed=1),
        "vgg16_bn": lambda: checkpoints.torchvision_vgg(seed=1, classifier=None),
        "mobilenet_v2": lambda: checkpoints.torchvision_mobilenet(seed=1),
    }
    peer.load_state_dict(weights[name](), strict=name != "vgg16_bn")
    if name == "vgg16_bn":
        del peer.classifier
    body = peer.features[:cut] if hasattr(peer, "features") else nn.Sequential(*list(peer.children())[:cut])
    image = image_of(3, EIGHTHS)
    assert_same(f"torchvision {name}", imported_features(tmp_path, peer, image, "torchvision", spec), body(image))


def imported_features(
    folder: Path, peer: nn.Module, image: Tensor, preset: Any, spec: dict[str, Any], name: str = "weights"
) -> Tensor:
    torch.save(peer.state_dict(), folder / f"{name}.pth")
    import_weights(folder / f"{name}.pth", folder / "backbone", ImportOptions(preset=preset))
    backbone = load_backbone(folder / "backbone")
    network = PSPNet(PSPNetSpec(backbone.card.backbone, 3, 2, ppm_channels=4, head_channels=4, **spec)).eval()
    backbone.start(network)
    delete(folder)
    return network.features(image)[0]


def as_many(scores: Tensor) -> Tensor:
    return plain_networks.two_planes(scores) if scores.shape[1] == 1 else scores


def image_of(channels: int, size: tuple[int, int], name: str = "") -> Tensor:
    image = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(4))
    return image * 10 if "mobilenet" in name.lower() or "lite" in name else image  # beyond what ReLU6 lets by


def assert_same(what: str, found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    difference = (found - expected).abs().max().item()
    print(f"{what}: max|d| {difference:.1e} at std {expected.std().item():.2f}")
    assert found.shape == expected.shape
    assert 0.05 < expected.std() < 10, "the comparison is on another scale than it was meant for"
    assert difference <= tolerance


def delete(folder: Path) -> None:
    """Files of hundreds of megabytes are not left to pytest, which keeps those of three runs."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
