"""The networks against plain ones, written from the published tables."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec
from tests.support import checkpoints, plain_networks
from tests.support.model_cases import network_of
from tests.support.plain_networks import (
    LITE_D8,
    LITE_D16,
    LITE_D32,
    MOBILENET_D8,
    MOBILENET_D32,
    VGG_POOLS,
    Heads,
    Rule,
)

pytestmark = pytest.mark.slow

R18 = PSPNetSpec("resnet18", 3, 4, ppm_channels=8, head_channels=8)
R34 = replace(R18, backbone="resnet34")
R50 = replace(R18, backbone="resnet50")
SEMSEG = replace(R50, dilation="full", align_corners=True, stem="semseg")
MOBILE = replace(R18, backbone="mobilenet_v2")
VGG = replace(R18, backbone="vgg16_bn")
LITE = replace(R18, backbone="efficientnet_lite0")
SYMMETRIC = replace(R18, backbone="efficientnet_lite0_symmetric")

NAMES = Heads(("ppm.{}.1", "ppm.{}.2"), ("head.0", "head.1", "head.4"), ("aux.0", "aux.1", "aux.4"))
STEMS = {"torchvision": [("stem.0", "stem.1")]} | dict.fromkeys(("v1c", "semseg"), plain_networks.deep_stem("stem"))
STRIDES = {32: (1, 2, 2, 2), 16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}
CONTRACTED = {32: (1, 1, 1, 1), 16: (1, 1, 1, 1), 8: (1, 1, 1, 2)}
FULL = {32: (1, 1, 1, 1), 16: (1, 1, 1, 2), 8: (1, 1, 2, 4)}
SECOND = {"conv1": "none", "both": "first", "timm": "rest"}
LITES = {32: LITE_D32, 16: LITE_D16, 8: LITE_D8}
MOBILENETS = {32: MOBILENET_D32, 16: Rule((1, 2, 2, 2, 1, 1, 1), (1, 1, 1, 1, 1, 2, 2), (1,) * 7), 8: MOBILENET_D8}


@lru_cache(maxsize=1)
def weights_of(spec):
    """Float64 weights; a whole ResNet of another stride, dilation or grid has the same names and shapes."""
    return network_of(spec).double().state_dict()


def network_with(spec, state):
    with torch.device("meta"):
        network = PSPNet(spec)
    network.load_state_dict(state, assign=True)
    return network.eval()


def plain_features(state, image, spec):
    """Output of each layer of the backbone."""
    stride = 32 if spec.truncated else spec.output_stride
    if spec.backbone == "vgg16_bn":
        return [plain_vgg(state, image, spec, stride)]
    if spec.backbone == "mobilenet_v2":
        rule = MOBILENETS[stride]
        rule = rule if spec.dilation == "contracted" else rule._replace(rest=rule.starts)
        blocks = []
        for layer, (*_, count) in enumerate(checkpoints.MOBILENET, 1):
            names = [f"layer{layer}.{index}" for index in range(count) if f"layer{layer}.0.conv.0.0.weight" in state]
            blocks.append([plain_networks.torchvision_inverted(state, name) for name in names])
        return plain_networks.mobilenet(state, image, ("stem.0", "stem.1"), blocks, rule)
    if "efficientnet" in spec.backbone:
        rule = LITES[stride] if spec.dilation == "contracted" else LITES[stride]._replace(starts=LITES[stride].rest)
        names = plain_networks.lite_of_ours(state)
        return plain_networks.efficientnet_lite(
            state, image, names, rule, tensorflow=not spec.backbone.endswith("symmetric")
        )
    starts = (CONTRACTED if spec.dilation == "contracted" else FULL)[stride]
    rule = Rule(STRIDES[stride], starts, FULL[stride], SECOND[spec.basic_dilation])
    return plain_networks.resnet(state, image, STEMS[spec.stem], "layer{}", rule)


def plain_vgg(state, image, spec, stride):
    """The backbone, by the numbers that torchvision gives to its modules."""
    numbers = ((0, 3), (7, 10), (14, 17, 20), (24, 27, 30), (34, 37, 40))
    ours = {}
    for layer, members in enumerate(numbers, 1):
        for index, number in enumerate(members):
            ours[f"layer{layer}.{1 + 3 * index}"] = f"features.{number}"
            ours[f"layer{layer}.{2 + 3 * index}"] = f"features.{number + 1}"
    split = ((name.rpartition("."), tensor) for name, tensor in state.items() if name.startswith("layer"))
    theirs = {f"{ours[module]}.{part}": tensor for (module, _, part), tensor in split}
    return plain_networks.vgg(
        theirs,
        image,
        33 if spec.truncated and spec.output_stride == 8 else 43,
        VGG_POOLS if stride > 8 else VGG_POOLS[:-1],
    )


def plain_pspnet(state, image, spec):
    features = plain_features(state, image, spec)[-1]
    if spec.head == "smp":
        return plain_networks.smp_scores(state, NAMES, features, image)
    return plain_networks.scores(state, NAMES, features, image, spec.align_corners)


def plain_decoder(state, features, passed):
    """Scores of a decoder: features to few channels, then beside those of finer strides."""

    def stage(x, name, padding):
        x = functional.conv2d(x, state[f"{name}.0.weight"], padding=padding)
        mean, variance, weight, bias = (
            state[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, weight, bias).relu()

    x = stage(features, "decoder.reduce", 0)
    for number, skip in enumerate(passed):
        larger = functional.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
        x = stage(torch.cat([larger, skip], 1), f"decoder.stages.{number}", 1)
    return functional.conv2d(x, state["decoder.last.weight"], state["decoder.last.bias"])


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


LENGTHS = st.integers(5, 50)
POLICIES = st.builds(
    dict,
    output_stride=st.sampled_from((8, 16, 32)),
    dilation=st.sampled_from(("contracted", "full")),
    basic_dilation=st.sampled_from(("conv1", "both", "timm")),
    align_corners=st.booleans(),
)


@pytest.mark.parametrize("base", [R18, replace(R34, stem="v1c"), SEMSEG], ids=["R18", "R34 v1c", "R50 semseg"])
@settings(max_examples=8)
@given(policy=POLICIES, height=LENGTHS, width=LENGTHS)
@torch.inference_mode()
def test_any_resnet_equals_the_plain_network(base, policy, height, width):
    spec, state = replace(base, **policy), weights_of(base)
    image = torch.randn(1, 3, height, width, dtype=torch.float64)
    assert_same(network_with(spec, state)(image), plain_pspnet(state, image, spec))


@pytest.mark.parametrize("spec", [R18, R50, SEMSEG], ids=["R18", "R50", "semseg"])
@torch.inference_mode()
def test_forward_equals_the_plain_network_in_float32(spec):
    network = network_of(spec)
    image = torch.randn(1, 3, 65, 81)
    expected = plain_pspnet(network.state_dict(), image, spec)
    torch.testing.assert_close(network(image), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("dilation", ["contracted", "full"])
@pytest.mark.parametrize("stride", [8, 16, 32])
@torch.inference_mode()
def test_mobilenet_equals_the_plain_network(stride, dilation, truncated):
    spec = replace(MOBILE, output_stride=stride, dilation=dilation, truncated=truncated)
    state, image = weights_of(spec), 50 * torch.randn(1, 3, 67, 50, dtype=torch.float64)  # beyond what ReLU6 lets by
    assert_same(network_with(spec, state)(image), plain_pspnet(state, image, spec))


@lru_cache(maxsize=1)
def lively_weights_of(spec):
    """Float64 weights under which features of any depth have an ordinary scale, some beyond what ReLU6 lets by."""
    network = network_of(spec)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 4 and name.startswith(("stem", "layer")):
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return network.double().state_dict()


@pytest.mark.parametrize("base", [LITE, SYMMETRIC], ids=lambda spec: spec.backbone)
@settings(max_examples=6, deadline=None)
@given(st.sampled_from((8, 16, 32)), st.sampled_from(("contracted", "full")), LENGTHS, LENGTHS)
@torch.inference_mode()
def test_any_efficientnet_lite_equals_the_plain_network(base, stride, dilation, height, width):
    spec, state = replace(base, output_stride=stride, dilation=dilation), lively_weights_of(base)
    image = torch.randn(1, 3, height, width, dtype=torch.float64)
    features, passed = network_with(spec, state).features(image)
    expected = plain_features(state, image, spec)
    assert_same(features, expected[6])
    assert_same(passed[4], expected[4])


@pytest.mark.parametrize("size", range(1, 5))
@torch.inference_mode()
def test_larger_efficientnet_lites_equal_the_plain_networks(size):
    spec = replace(LITE, backbone=f"efficientnet_lite{size}")
    state, image = lively_weights_of(spec), torch.randn(1, 3, 37, 50, dtype=torch.float64)
    assert_same(network_with(spec, state)(image), plain_pspnet(state, image, spec))


@torch.inference_mode()
def test_efficientnet_lite_in_float32_is_the_plain_network_to_1e_6():
    state, image = {name: x.float() for name, x in lively_weights_of(LITE).items()}, torch.randn(1, 3, 64, 65)
    expected = plain_pspnet(state, image, LITE)
    assert expected.std() > 0.05
    torch.testing.assert_close(network_with(LITE, state)(image), expected, atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_a_dilated_symmetric_lite_samples_the_features_of_stride_32_more_often():
    """Each fourth feature at stride 8 is one at 32, for a layer's first block is dilated as the layer before it."""
    state, image = lively_weights_of(SYMMETRIC), torch.randn(1, 3, 96, 65, dtype=torch.float64)
    dense, coarse = (
        network_with(replace(SYMMETRIC, output_stride=stride), state).features(image)[0] for stride in (8, 32)
    )
    assert_same(dense[:, :, ::4, ::4], coarse)


@torch.inference_mode()
def test_lites_of_google_and_timm_share_weights_and_differ_in_padding_and_eps():
    state, image = lively_weights_of(SYMMETRIC), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    google, timm = (network_with(spec, state).features(image)[0] for spec in (LITE, SYMMETRIC))
    assert (google - timm).abs().max() > 0.1 * timm.std()


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("stride", [8, 16])
@torch.inference_mode()
def test_vgg_equals_the_plain_network(stride, truncated):
    spec = replace(VGG, output_stride=stride, truncated=truncated)
    state, image = weights_of(spec), torch.randn(1, 3, 48, 67, dtype=torch.float64)
    assert_same(network_with(spec, state)(image), plain_pspnet(state, image, spec))


SMP = {"head": "smp", "align_corners": True}


@pytest.mark.parametrize(
    "spec",
    [
        replace(R18, truncated=True, **SMP),
        replace(R18, truncated=True, output_stride=16, **SMP),
        replace(R50, truncated=True, **SMP),
        replace(MOBILE, truncated=True, **SMP),
        replace(VGG, truncated=True, output_stride=16, **SMP),
        replace(SYMMETRIC, truncated=True, **SMP),
        replace(LITE, truncated=True, output_stride=16, **SMP),
        replace(R18, dilation="full", basic_dilation="both", **SMP),
    ],
    ids=["R18", "R18 to layer3", "R50", "MobileNetV2", "VGG16", "Lite0 symmetric", "Lite0", "R18 dilated"],
)
@torch.inference_mode()
def test_head_of_smp_equals_the_plain_network(spec):
    state, image = weights_of(spec), torch.randn(2, 3, 64, 48, dtype=torch.float64)
    assert_same(network_with(spec, state)(image), plain_pspnet(state, image, spec))


@pytest.mark.parametrize(
    ("spec", "layer"),
    [(R18, 2), (MOBILE, 4), (LITE, 4)],
    ids=["layer3 of a ResNet", "layer5 of MobileNetV2", "layer5 of EfficientNet-Lite0"],
)
@torch.no_grad()
def test_auxiliary_head_reads_the_layer_before_and_answers_in_training_only(spec, layer):
    spec = replace(spec, auxiliary=True)
    state, image = weights_of(spec), torch.randn(2, 3, 49, 49, dtype=torch.float64)
    network = network_with(spec, state)
    assert_same(network(image), plain_pspnet(state, image, spec))
    network.training = True
    _, auxiliary = network(image)
    tapped = plain_features(state, image, spec)[layer]
    assert_same(auxiliary, plain_networks.head(state, NAMES.aux, tapped, image, spec.align_corners))


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_dropout_takes_whole_channels_of_the_head(share):
    torch.manual_seed(0)
    dropped = PSPNet(replace(R18, dropout=share)).head[3](torch.ones(1, 4000, 3, 3))
    assert torch.equal(dropped.amin((2, 3)), dropped.amax((2, 3)))
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (
            PSPNetSpec("resnet18", 5, 7, stem="v1c", auxiliary=True),
            {
                "stem.0.weight": (32, 5, 3, 3),
                "stem.3.weight": (32, 32, 3, 3),
                "stem.6.weight": (64, 32, 3, 3),
                "stem.7.running_var": (64,),
                "layer1.0.conv1.weight": (64, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer4.1.bn2.bias": (512,),
                "ppm.0.1.weight": (128, 512, 1, 1),
                "ppm.3.2.weight": (128,),
                "head.0.weight": (128, 1024, 3, 3),
                "head.1.weight": (128,),
                "head.4.weight": (7, 128, 1, 1),
                "aux.0.weight": (64, 256, 3, 3),
                "aux.4.bias": (7,),
            },
        ),
        (
            replace(SEMSEG, ppm_channels=512, head_channels=512, auxiliary=True),
            {
                "stem.6.weight": (128, 64, 3, 3),
                "layer1.0.conv1.weight": (64, 128, 1, 1),
                "layer1.0.downsample.0.weight": (256, 128, 1, 1),
                "ppm.2.1.weight": (512, 2048, 1, 1),
                "head.0.weight": (512, 4096, 3, 3),
                "head.4.weight": (4, 512, 1, 1),
                "aux.0.weight": (256, 1024, 3, 3),
            },
        ),
        (
            replace(MOBILE, ppm_channels=512, head_channels=512, auxiliary=True),
            {
                "stem.0.weight": (32, 3, 3, 3),
                "layer1.0.conv.1.weight": (16, 32, 1, 1),
                "layer7.0.conv.2.weight": (320, 960, 1, 1),
                "ppm.0.1.weight": (512, 320, 1, 1),
                "head.0.weight": (512, 2368, 3, 3),
                "aux.0.weight": (256, 96, 3, 3),
            },
        ),
        (
            replace(R50, truncated=True, head="smp", ppm_channels=128, head_channels=512),
            {
                "ppm.0.1.weight": (128, 512, 1, 1),
                "ppm.0.1.bias": (128,),
                "ppm.1.2.weight": (128,),
                "head.0.weight": (512, 1024, 1, 1),
                "head.4.weight": (4, 512, 3, 3),
            },
        ),
    ],
    ids=["mmseg-R18", "semseg-R50", "mmseg-MobileNetV2", "smp-R50"],
)
def test_names_and_shapes_of_the_weights(spec, shapes):
    with torch.device("meta"):
        state = PSPNet(spec).state_dict()
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_layers_of_a_resnet_are_those_of_torchvision(depth):
    with torch.device("meta"):
        state = PSPNet(replace(R18, backbone=f"resnet{depth}")).state_dict()
    published = checkpoints.torchvision_resnet(depth, fc=False)
    shapes = [
        {name: tensor.shape for name, tensor in weights.items() if name.startswith("layer")}
        for weights in (state, published)
    ]
    assert shapes[0] == shapes[1]


SMP_R = {"head": "smp", "truncated": True}
SIZES = [
    # backbone, channels of levels and head, what else, classes, tensors of the backbone, millions of parameters
    ("resnet18", 128, 128, {}, 21, 120, 12.6),
    ("resnet18", 128, 128, {"stem": "v1c"}, 19, 132, 12.64),
    ("resnet34", 128, 128, {"stem": "v1c"}, 19, 228, 22.75),
    ("resnet50", 512, 512, {}, 19, 318, 46.59),
    ("resnet50", 512, 512, {"stem": "v1c"}, 19, 330, 46.6),
    ("resnet50", 512, 512, {"stem": "semseg"}, 21, 330, 46.72),
    ("resnet101", 512, 512, {"stem": "v1c"}, 19, 636, 65.6),
    ("resnet101", 512, 512, {"stem": "semseg"}, 21, 636, 65.71),
    ("resnet152", 512, 512, {"stem": "semseg"}, 21, 942, 81.35),
    ("mobilenet_v2", 512, 512, {}, 19, 306, 13.39),
    ("vgg16_bn", 128, 128, {}, 21, 91, 16.2),
    ("resnet50", 128, 512, SMP_R, 21, 144, 2.3),
]


@pytest.mark.parametrize(("backbone", "levels", "hidden", "other", "classes", "tensors", "parameters"), SIZES)
def test_size_is_the_published_one(backbone, levels, hidden, other, classes, tensors, parameters):
    with torch.device("meta"):
        network = PSPNet(PSPNetSpec(backbone, 3, classes, ppm_channels=levels, head_channels=hidden, **other))
    backbone = [name for name in network.state_dict() if name.startswith(("stem", "layer"))]
    assert len(backbone) == tensors
    found = sum(p.numel() for p in network.parameters()) / 1e6
    assert found == pytest.approx(parameters, abs=0.1 if round(parameters, 1) == parameters else 0.01)


@pytest.mark.parametrize(
    ("size", "blocks", "millions"), [(0, 16, 4.65), (1, 21, 5.42), (2, 21, 6.09), (3, 24, 8.20), (4, 30, 13.01)]
)
@pytest.mark.parametrize("kind", ["", "_symmetric"])
def test_efficientnet_lites_are_as_large_as_published(kind, size, blocks, millions):
    """With the last convolution and the classifier, which are left out here."""
    with torch.device("meta"):
        network = PSPNet(replace(LITE, backbone=f"efficientnet_lite{size}{kind}"))
    state = {name: tensor for name, tensor in network.named_parameters() if name.startswith(("stem", "layer"))}
    assert len({name.rpartition(".conv.")[0] for name in state if ".conv." in name}) == blocks
    last = state["layer7.0.conv.3.bias"].numel()
    rest = 1280 * last + 2 * 1280 + 1281 * 1000
    assert (sum(x.numel() for x in state.values()) + rest) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(
    ("base", "skips"),
    [(R18, (1, 0)), (MOBILE, (2, 1)), (LITE, (2, 1)), (MOBILE, (2, 1, 0)), (LITE, (2, 1, 0))],
    ids=lambda part: str(getattr(part, "backbone", part)),
)
@settings(max_examples=8)
@given(stride=st.sampled_from((8, 16, 32)), height=LENGTHS, width=LENGTHS, align_corners=st.booleans())
@torch.inference_mode()
def test_a_decoder_adds_what_it_reads_from_features_of_strides_8_4_and_2(
    base, skips, stride, height, width, align_corners
):
    channels = (6, 5, 4)[: len(skips)]
    spec = replace(base, output_stride=stride, decoder_channels=channels, align_corners=align_corners)
    state = weights_of(replace(spec, output_stride=8, align_corners=False))
    image = torch.randn(2, 3, height, width, dtype=torch.float64)
    features = plain_features(state, image, spec)
    detail = plain_decoder(state, features[-1], [features[skip] for skip in skips])
    finest = 2 ** (4 - len(skips))
    assert detail.shape[2:] == (-(-height // finest), -(-width // finest))
    coarse = plain_networks.scores(state, NAMES, features[-1], detail, spec.align_corners)
    assert detail.std() > 1e-2
    expected = functional.interpolate(coarse + detail, (height, width), mode="bilinear", align_corners=align_corners)
    assert_same(network_with(spec, state)(image), expected)


@torch.inference_mode()
def test_a_decoder_that_has_learned_nothing_adds_nothing():
    spec = replace(R18, decoder_channels=(6, 5))
    decoded, plain = PSPNet(spec), network_of(R18)
    decoded.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(1, 3, 40, 24)
    coarse = []
    plain.head.register_forward_hook(lambda _, __, scores: coarse.append(scores))
    plain(image)
    decoded.decoder.last.bias.zero_()
    fine = functional.interpolate(coarse[0], (10, 6), mode="bilinear")
    assert_same(decoded.eval()(image), functional.interpolate(fine, (40, 24), mode="bilinear"))


@pytest.mark.parametrize(
    ("spec", "layers", "channels"),
    [
        (replace(R50, truncated=True), 2, 512),
        (replace(R50, truncated=True, output_stride=16), 3, 1024),
        (replace(MOBILE, truncated=True), 3, 32),
        (replace(MOBILE, truncated=True, output_stride=16), 5, 96),
        (replace(LITE, truncated=True), 3, 40),
        (replace(LITE, truncated=True, output_stride=16), 5, 112),
        (replace(VGG, truncated=True), 4, 512),
        (replace(VGG, truncated=True, output_stride=16), 5, 512),
    ],
)
def test_truncated_backbone_ends_where_it_reaches_the_stride(spec, layers, channels):
    with torch.device("meta"):
        network = PSPNet(spec)
        features, _ = network.features(torch.empty(1, 3, 96, 64))
    assert network.layers[-1] == f"layer{layers}"
    assert features.shape == (1, channels, 96 // spec.output_stride, 64 // spec.output_stride)


@pytest.mark.parametrize("spec", [R18, R34, R50, MOBILE, LITE], ids=lambda spec: spec.backbone)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_output_stride_at_odd_sizes(stride, spec):
    with torch.device("meta"):
        network = PSPNet(replace(spec, output_stride=stride)).eval()
        shapes = []
        network.head.register_forward_pre_hook(lambda _, read: shapes.append(read[0].shape[2:]))
        assert network(torch.empty(1, 3, 97, 61)).shape == (1, 4, 97, 61)
    assert shapes == [(-(-97 // stride), -(-61 // stride))]


@pytest.mark.parametrize("stride", [8, 16])
def test_output_stride_of_vgg(stride):
    with torch.device("meta"):
        features, _ = PSPNet(replace(VGG, output_stride=stride)).features(torch.empty(1, 3, 97, 61))
    assert features.shape == (1, 512, 97 // stride, 61 // stride)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": "vgg16_bn", "stem": "v1c"}, "has its own"),
        ({"backbone": "efficientnet_lite0", "stem": "v1c"}, "has its own"),
        ({"backbone": "vgg16_bn", "output_stride": 32}, "strides"),
        ({"bins": ()}, "bins"),
        ({"classes": 0}, "at least 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"truncated": True, "auxiliary": True}, "second head"),
        ({"decoder_channels": (64,)}, "two or three numbers"),
        ({"decoder_channels": (64, 0)}, "two or three numbers"),
        ({"decoder_channels": (64, 48, 32, 16)}, "two or three numbers"),
        ({"decoder_channels": (64, 48, 32)}, "no layer at a stride of 2"),
    ],
)
def test_impossible_specs_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(R18, **change)
