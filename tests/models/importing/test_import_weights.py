"""Weights of other projects: what is in the file never runs, what does not fit is refused, and origins are told."""

from __future__ import annotations

import json
import os
import pickle
import stat
import sys
import types
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import ModelError, OutputError, RequestError
from pipeline.files.atomic import temporary_name
from pipeline.models.card import Normalization
from pipeline.models.catalogue import find_model
from pipeline.models.importing import ImportOptions, import_weights
from pipeline.models.importing import read as read_module
from pipeline.models.importing.defaults import Defaults, Findings, palette
from pipeline.models.importing.detect import detect_family
from pipeline.models.importing.families import FAMILIES
from pipeline.models.importing.first_conv import InputLayer, adapt_channels
from pipeline.models.importing.heads import as_two_planes
from pipeline.models.importing.input_layer import volume_input_layer
from pipeline.models.importing.mmseg import meta_defaults, name_defaults, read_config
from pipeline.models.importing.read import Checkpoint, read_checkpoint
from pipeline.models.importing.satellite import LEVEL_1C, LEVEL_2A, SOURCES, find_source
from pipeline.models.importing.shapes import read_top, read_trunk, shapes_of, truncation_strides
from pipeline.models.networks.efficientnet_lite import LITES
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.networks.resnet import BLOCKS
from pipeline.models.pretrained import load_backbone
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import load_model, save_model
from tests.support import checkpoints
from tests.support.model_cases import CARD_2D, network_of

CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=18, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), norm_cfg=norm_cfg,
                  style='pytorch', contract_dilation=True),
    decode_head=dict(type='PSPHead', pool_scales=(1, 2, 3, 6), dropout_ratio=0.2, align_corners=True),
    test_cfg=dict(mode='slide', crop_size=(769, 769), stride=(513, 513)))
img_norm_cfg = dict(mean=[1.5, 2, 3], std=[4, 5, 6], to_rgb=False)
"""


@pytest.fixture(scope="module")
def mmseg_state():
    return checkpoints.mmseg_resnet(18, classes=3, channels=4, seed=0)


@pytest.fixture(scope="module")
def mmseg(tmp_path_factory, mmseg_state):
    path = tmp_path_factory.mktemp("mmseg") / "pspnet_r18.pth"
    return checkpoints.mmseg_file(path, mmseg_state, ("road", "house", "tree"), CONFIG)


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    path = tmp_path_factory.mktemp("torchvision") / "resnet18-f37072fd.pth"
    torch.save(checkpoints.torchvision_resnet(18, seed=0), path)
    return path


def saved(path: Path, found: object, **how: object) -> Path:
    torch.save(found, path, **how)
    return path


def refusal(path: Path, *, out: Path | None = None, options: ImportOptions = ImportOptions()) -> str:  # noqa: B008  (frozen)
    """What is said of a file that is refused; nothing is left behind."""
    out = path.parent / "refused" if out is None else out
    with pytest.raises(ModelError) as caught:
        import_weights(path, out, options)
    assert not out.exists()
    return str(caught.value)


# Nothing runs


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def pickled(path: Path, found: object, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(found, protocol))
    return path


WAYS = {
    "zip": lambda path, found: saved(path, found),
    "legacy": lambda path, found: saved(path, found, _use_new_zipfile_serialization=False),
    "pickle 2": lambda path, found: pickled(path, found, 2),
    "pickle 5": lambda path, found: pickled(path, found, 5),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["state_dict", "meta", "bare"])
def test_a_crafted_pickle_runs_nothing_and_its_global_is_named(way, place, tmp_path):
    mark = tmp_path / "ran"
    found = {"state_dict": {}, place: Evil(mark)} if place != "bare" else Evil(mark)
    path = WAYS[way](tmp_path / "evil.pth", found)
    said = refusal(path)
    assert not mark.exists()
    assert "needs the global posix.system" in said
    assert "nothing was loaded" in said
    assert "torch.save(" in said


@pytest.mark.parametrize("way", ["pickle 2", "pickle 5"])
def test_the_crafted_pickle_would_have_run(way, tmp_path):
    path = WAYS[way](tmp_path / "evil.pth", Evil(tmp_path / "ran"))
    pickle.loads(path.read_bytes())
    assert (tmp_path / "ran").exists()


def test_a_configuration_runs_nothing(tmp_path):
    mark = tmp_path / "ran"
    text = (
        f"import os\nos.system('touch {mark}')\nx = os.system('touch {mark}')\ny = [i for i in (1, 2)]\nz = -3\nw = z"
    )
    assert read_config(text) == {"x": None, "y": None, "z": -3, "w": -3}
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    ["model = (", "x = " + "(" * 100_000, "x = " + "-" * 200_000 + "1", "x = " + "[" * 90 + "]" * 90, "\0", 7, None],
    ids=["cut off", "parentheses", "signs", "lists", "zero byte", "number", "nothing"],
)
def test_a_configuration_that_is_none_says_nothing(text):
    assert set(read_config(text)) <= {"x"}


def test_a_training_file_of_mmseg_1_is_refused_with_its_global_and_a_way_out(tmp_path, monkeypatch):
    home = types.ModuleType("mmengine.logging.history_buffer")
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, home.__name__, home)
    home.HistoryBuffer = type("HistoryBuffer", (), {"__module__": home.__name__})
    loss = {"loss": home.HistoryBuffer()}
    path = saved(tmp_path / "iter_80000.pth", {"state_dict": {"a": torch.ones(1)}, "message_hub": loss})
    said = refusal(path)
    assert "mmengine.logging.history_buffer.HistoryBuffer" in said
    assert "weights_only=False" in said
    assert "'cfg'" in said


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which old files are of
def test_a_whole_network_and_torchscript_are_refused(tmp_path):
    assert "torch.nn.modules.linear.Linear" in refusal(saved(tmp_path / "a.pth", torch.nn.Linear(2, 2)))
    path = tmp_path / "b.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2), check_trace=False), path)
    assert "TorchScript" in refusal(path)


# Damaged and hostile files


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.pth"
    return saved(path, {"state_dict": {"a.weight": torch.arange(6.0), "b": torch.ones(2, 2)}, "epoch": 3}).read_bytes()


@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(small, tmp_path_factory, data):
    wrong = bytearray(small)
    for _ in range(data.draw(st.integers(0, 4))):
        wrong[data.draw(st.integers(0, len(wrong) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wrong)) | st.just(len(wrong)))
    path = tmp_path_factory.mktemp("damaged") / "x.pth"
    path.write_bytes(wrong[:cut])
    try:
        read_checkpoint(path)
    except ModelError as error:
        assert str(path) in str(error)  # noqa: PT017  (either is right)


@pytest.mark.parametrize("part", ["data.pkl", "data/0", "data/1"])
def test_any_flipped_bit_of_a_checkpoint_is_refused(part, tmp_path):
    path = saved(tmp_path / "x.pth", {"state_dict": {"a.weight": torch.arange(600.0), "b": torch.ones(20, 20)}})
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"x/{part}")
        start = entry.header_offset + 30 + len(entry.filename)
    whole = path.read_bytes()
    start = whole.index(archive_bytes(path, part), start)
    for at in range(start, start + entry.file_size, 97):
        wrong = bytearray(whole)
        wrong[at] ^= 1 << at % 8
        path.write_bytes(wrong)
        with pytest.raises(ModelError, match=rf"x\.pth: is damaged: x/{part} in it .*; fetch it again"):
            read_checkpoint(path)


def archive_bytes(path, part):
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"x/{part}")


def test_a_checkpoint_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "x.pth", {"a.weight": torch.ones(2)})
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_checkpoint(path).tensors["a.weight"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "cannot be read"), (b"hello, world", "cannot be read"), (b"PK\x03\x04cut", "cannot be read")],
)
def test_what_is_no_checkpoint_is_refused(content, said, tmp_path):
    for name in ("x.pth", "x.safetensors"):
        (tmp_path / name).write_bytes(content)
    assert said in refusal(tmp_path / "x.pth")
    assert "not a whole safetensors file" in refusal(tmp_path / "x.safetensors")


def test_a_truncated_checkpoint_is_refused(mmseg, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes(mmseg.read_bytes()[:-5000])
    assert "cut off" in refusal(path)


FEW = 200
"""Names that a file may hold here, instead of as many as the largest networks have."""


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "holds no weights"),
        ({"state_dict": {}}, "holds no weights"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({"a": torch.ones(1), "epoch": 3}, r"1 entries are not tensors: epoch (int)"),
        ({"a": torch.zeros(1).expand(10**12)}, "not stored in full: a"),
        ({"a": torch.zeros(3, device="meta")}, "not stored in full: a"),
        ({f"a{i}": torch.ones(()) for i in range(FEW + 1)}, f"holds {FEW + 1} entries"),
        ({f"a{i}": torch.ones(()) for i in range(FEW)}, "of an unknown family"),
        ({3: torch.ones(1), None: torch.ones(1)}, "of an unknown family"),
    ],
    ids=["nothing", "no weights", "list", "tensor", "others", "expanded", "meta", "too many", "many", "odd names"],
)
def test_what_holds_no_weights_is_refused(found, said, tmp_path, monkeypatch):
    monkeypatch.setattr(read_module, "MOST_NAMES", FEW)
    assert said in refusal(saved(tmp_path / "x.pth", found))


def test_a_compressed_archive_is_refused(tmp_path):
    import zipfile

    plain = saved(tmp_path / "x.pth", {"a": torch.zeros(10**6)})
    packed = tmp_path / "y.pth"
    with zipfile.ZipFile(plain) as inside, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in inside.infolist():
            archive.writestr(entry.filename, inside.read(entry))
    assert "claims 4" in refusal(packed)


def test_whole_numbers_and_what_is_not_finite_are_no_weights(mmseg_state, tmp_path):
    name = "decode_head.conv_seg.bias"
    whole = {**mmseg_state, name: torch.tensor([1, 2, 3])}
    assert f"no floating-point numbers: {name} is torch.int64" in refusal(saved(tmp_path / "x.pth", whole))
    wrong = {**mmseg_state, name: torch.tensor([1, torch.nan, 3])}
    with pytest.raises(ModelError, match=r"not finite there: head\.4\.bias"):
        import_weights(saved(tmp_path / "y.pth", wrong), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "no such file"),
        (lambda path: path.mkdir() or path, "has no model.safetensors"),
    ],
)
def test_a_path_without_weights_is_refused(make, said, tmp_path):
    assert said in refusal(make(tmp_path / "x"))


# Names


MAKERS = {
    "semseg": ("semseg", lambda: checkpoints.semseg(50)),
    "mmseg": ("mmseg", lambda: checkpoints.mmseg_resnet(18)),
    "mmseg b": ("mmseg-b", lambda: checkpoints.mmseg_resnet(50, stem="b")),
    "mmseg mnv2": ("mmseg-mnv2", lambda: checkpoints.mmseg_mobilenet()),
    "mmseg alone": ("mmseg", lambda: checkpoints.mmseg_backbone(50)),
    "smp resnet": ("smp", lambda: checkpoints.smp("resnet18")),
    "smp mobilenet": ("smp", lambda: checkpoints.smp("mobilenet_v2")),
    "smp vgg": ("smp", lambda: checkpoints.smp("vgg16_bn")),
    "smp timm": ("smp", lambda: {n.replace("encoder.", "encoder.model."): 0 for n in checkpoints.smp("resnet34")}),
    "torchvision": ("torchvision", lambda: checkpoints.torchvision_resnet(50)),
    "torchvision mobilenet": ("torchvision", lambda: checkpoints.torchvision_mobilenet()),
    "torchvision vgg": ("torchvision", lambda: checkpoints.torchvision_vgg()),
    "smp lite": ("smp", lambda: checkpoints.smp("timm-tf_efficientnet_lite0")),
    "smp timm lite": ("smp", lambda: checkpoints.smp("tu-tf_efficientnet_lite3")),
    "timm lite": ("timm", lambda: checkpoints.timm_lite(2)),
    **{f"Lite{n}": ("efficientnet-pytorch", partial(checkpoints.efficientnet_pytorch, n)) for n in checkpoints.LITE},
    "moco": ("ssl4eo", lambda: checkpoints.moco(18)),
    "satlas": ("satlas", lambda: checkpoints.satlas(50)),
    "satlas, twice": ("satlas", lambda: checkpoints.satlas(50, prefix="backbone.backbone.")),
}


def named(state: dict[str, torch.Tensor]) -> list[str]:
    """The names that a file shows, without the counters and the prefix of data-parallel modules."""
    return [name.removeprefix("module.") for name in state if not name.endswith("num_batches_tracked")]


@pytest.mark.parametrize("case", MAKERS)
def test_a_family_is_told_by_its_names_and_names_are_mapped_there_and_back(case):
    preset, make = MAKERS[case]
    names = named(make())
    family, nearest = detect_family(Checkpoint(Path("x"), dict.fromkeys(names, torch.ones(1))), None)
    assert family.presets[0] == preset
    assert f"{preset}, which knows {len(names)} of the {len(names)}" in nearest
    taken = [name for name in names if not family.leaves_out(name)]
    ours = [family.naming.ours(name) for name in taken]
    assert None not in ours
    assert len(set(ours)) == len(taken)
    assert [family.naming.theirs(name) for name in ours if name is not None] == taken


@pytest.mark.parametrize("case", MAKERS)
def test_the_order_of_names_tells_nothing(case):
    preset, make = MAKERS[case]
    for names in (sorted(named(make())), sorted(named(make()), reverse=True)):
        family, _ = detect_family(Checkpoint(Path("x"), dict.fromkeys(names, torch.ones(1))), None)
        assert family.presets[0] == preset


SPECS = {
    "resnet18": PSPNetSpec("resnet18", 3, 2),
    "resnet101": PSPNetSpec("resnet101", 3, 2, stem="semseg"),
    "mobilenet_v2": PSPNetSpec("mobilenet_v2", 3, 2),
    "vgg16_bn": PSPNetSpec("vgg16_bn", 3, 2),
    "efficientnet_lite1": PSPNetSpec("efficientnet_lite1", 3, 2),
    "smp": PSPNetSpec("resnet18", 3, 2, head="smp", truncated=True),
}


@pytest.mark.parametrize("case", SPECS)
def test_our_own_names_are_known(case):
    with torch.device("meta"):
        names = named(PSPNet(SPECS[case]).state_dict())
    family, _ = detect_family(Checkpoint(Path("x"), dict.fromkeys(names, torch.ones(1))), None)
    assert family.presets == ("own",)
    assert [family.naming.ours(name) for name in names] == names


@given(
    st.sampled_from([*BLOCKS, *LITES, "mobilenet_v2", "vgg16_bn"]),
    st.sampled_from(["torchvision", "v1c", "semseg"]),
    st.tuples(*[st.integers(1, 7)] * 4),
    st.booleans(),
)
@settings(max_examples=15)
def test_shapes_tell_the_network_that_they_are_of(backbone, stem, counts, is_smp):
    stem = stem if backbone in BLOCKS else "torchvision"
    channels, classes, ppm, head = counts
    kind = "smp" if is_smp else "pspnet"
    spec = PSPNetSpec(
        backbone, channels, classes, stem=stem, ppm_channels=ppm, head_channels=head, head=kind, truncated=is_smp
    )
    shapes = shapes_of(spec)
    trunk, top = read_trunk(shapes), read_top(shapes)
    assert (trunk.stem, trunk.in_channels, shapes[trunk.first][1]) == (stem, channels, channels)
    assert (top.classes, top.ppm_channels, top.head_channels, top.is_smp) == (classes, ppm, head, is_smp)
    assert shapes_of(replace(spec, backbone=trunk.backbone)) == shapes
    assert not is_smp or spec.output_stride in truncation_strides(spec, shapes)


def test_timm_names_a_mobilenet_as_it_does():
    family = next(f for f in FAMILIES if f.naming.ours("blocks.2.1.conv_pwl.weight") and f.kind == "backbone")
    with torch.device("meta"):
        ours = [name for name in named(PSPNet(SPECS["mobilenet_v2"]).state_dict()) if name.startswith(("stem", "lay"))]
    theirs = [family.naming.theirs(name) or "" for name in ours]
    assert [family.naming.ours(name) for name in theirs] == ours
    assert theirs[:6] == [
        *("conv_stem.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"),
        "blocks.0.0.conv_dw.weight",
    ]
    assert len(set(theirs)) == len(ours)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("master_branch.0.stages.0.1.weight", "bubbliiiing"),
        ("conv_last.0.weight", "CSAIL"),
        ("cbr_final.cbr_unit.0.weight", "Caffe"),
        ("fcn.layer1.conv1.conv.weight", "Caffe"),
        ("final_block.conv1.conv.weight", "pytorchcv"),
        ("backbone.backbone.features.1.0.attn.qkv.weight", "Swin"),
    ],
)
def test_networks_that_are_not_built_are_refused_by_name(name, said, tmp_path):
    found = {name: torch.ones(1), "x.weight": torch.ones(1)}
    assert said in refusal(saved(tmp_path / "x.pth", {"state_dict": found}))


def test_a_resnet_d_is_refused_by_name(tmp_path):
    path = saved(tmp_path / "resnet50d.pth", checkpoints.timm_resnet_d(18, seed=0))
    assert "ResNet-D" in refusal(path)


@pytest.mark.parametrize(
    "name",
    ["_blocks.0._se_reduce.weight", "blocks.1.0.se.conv_reduce.weight", "encoder.model.blocks.1.0.se.fc1.weight"],
)
def test_squeeze_and_excitation_is_refused_by_name(name, tmp_path):
    path = saved(tmp_path / "b0.pth", {**checkpoints.timm_lite(seed=0), name: torch.ones(1)})
    assert "EfficientNet or a MobileNetV3 with squeeze-and-excitation" in refusal(path)


# What does not fit


def test_unknown_missing_and_misshapen_names_are_listed_as_the_file_has_them(mmseg_state, tmp_path):
    wrong = {name: x for name, x in mmseg_state.items() if ".layer4.1." not in name}
    wrong |= {f"odd{i:02}.weight": torch.ones(1) for i in range(12)}
    wrong["decode_head.conv_seg.weight"] = torch.ones(3, 5, 1, 1)
    said = refusal(saved(tmp_path / "x.pth", wrong))
    assert "12 unknown: odd00.weight" in said
    assert "odd09.weight; ..." in said
    assert "odd10" not in said
    assert "10 missing: backbone.layer4.1.conv1.weight" in said
    assert "1 of another shape: decode_head.conv_seg.weight is (3, 5, 1, 1), the network's is (3, 4, 1, 1)" in said
    assert "nearest preset: mmseg" in said


@pytest.mark.parametrize(
    "name", ["decode_head.conv_seg.weight", "decode_head.bottleneck.conv.weight", "backbone.stem.0.weight"]
)
@pytest.mark.parametrize("shape", [None, (), (0, 4, 1, 1), (7,)], ids=str)
def test_the_tensors_that_shapes_are_read_from_may_be_wrong_too(name, shape, mmseg_state, tmp_path):
    wrong = {key: x for key, x in mmseg_state.items() if key != name}
    if shape is not None:
        wrong[name] = torch.ones(shape)
    assert name in refusal(saved(tmp_path / "x.pth", wrong))


def test_a_wrong_preset_names_the_right_one(mmseg):
    assert "nearest preset: mmseg, which knows" in refusal(mmseg, options=ImportOptions(preset="semseg"))


def test_two_names_for_one_tensor_are_refused(mmseg_state, tmp_path):
    wrong = {**mmseg_state, "backbone.stem.00.weight": torch.ones(1)}
    assert "1 unknown: backbone.stem.00.weight" in refusal(saved(tmp_path / "x.pth", wrong))


# What the file and its home say


def told(made: object, what: str) -> str:
    """The line on `what`, and whether it was concluded."""
    lines = [f"concluded {line}" for line in made.concluded] + [f"told {line}" for line in made.told]
    return next(line for line in lines if line.split(" ", 1)[1].startswith(what))


def test_a_configuration_in_the_file_is_believed_and_named(mmseg, tmp_path):
    made = import_weights(mmseg, tmp_path / "m")
    spec = made.card.network
    assert (spec.output_stride, spec.dilation, spec.basic_dilation, spec.align_corners) == (
        8,
        "contracted",
        "conv1",
        True,
    )
    assert (spec.dropout, made.card.patch, made.card.overlap) == (0.2, (769, 769), (256, 256))
    assert made.card.channels == ("blue", "green", "red")
    assert made.card.normalization == Normalization("fixed", (1.5, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert [entry.name for entry in made.card.classes] == ["road", "house", "tree"]
    assert made.card.classes[2].color == (2, 253, 128)
    assert made.card.averaging == "logits"
    assert told(made, "align corners") == "concluded align corners: yes (the file's meta)"
    assert told(made, "basic dilation").startswith("told basic dilation: conv1 (usual in mmseg")


def test_an_option_goes_before_the_file_and_says_so(mmseg, tmp_path):
    options = ImportOptions(
        align_corners=False,
        output_stride=16,
        patch=(64, 96),
        classes=("a", "b", "c"),
        name="n",
        license="MIT",
        credits="me",
    )
    made = import_weights(mmseg, tmp_path / "m", options)
    assert (made.card.network.align_corners, made.card.network.output_stride) == (False, 16)
    assert (made.card.patch, made.card.overlap) == ((64, 96), (21, 32))
    assert [entry.name for entry in made.card.classes] == ["a", "b", "c"]
    assert made.card.classes[2].color == (2, 253, 128)
    assert (made.card.name, made.card.license, made.card.credits) == ("n", "MIT", "me")
    assert told(made, "align corners") == "told align corners: no (--align-corners, but the file's meta differs)"


@pytest.mark.parametrize(
    ("name", "stride", "align", "patch"),
    [
        ("pspnet_r50-d8_769x769_40k_cityscapes_20200606_112725-86638686", 8, True, (769, 769)),
        ("pspnet_r50-d32_512x1024_80k_cityscapes_20220316-4643d2c1", 32, False, (512, 1024)),
        ("pspnet_r101-d8_4xb2-80k_cityscapes-769x769", 8, True, (769, 769)),
        ("weights", None, None, None),
    ],
)
def test_the_name_of_a_published_file_tells(name, stride, align, patch):
    said = name_defaults(name)
    assert (said.output_stride, said.align_corners, said.patch) == (stride, align, patch)


def test_a_configuration_of_mmseg_1_is_read():
    config = """
crop_size = (512, 1024)
data_preprocessor = dict(type='SegDataPreProcessor', mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True, size=(512, 1024))
model = dict(backbone=dict(type='MobileNetV2', strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 4, 4)),
             decode_head=dict(threshold=0.4), test_cfg=dict(mode='whole'))
"""
    data = {"classes": ("a", "b"), "palette": [[1, 2, 3], [4, 5, 6]]}
    said = meta_defaults({"cfg": config, "dataset_meta": data}, "x")
    assert (said.output_stride, said.dilation, said.patch, said.overlap) == (8, "contracted", (512, 1024), None)
    assert (said.threshold, said.channels) == (0.4, ("red", "green", "blue"))
    assert [(entry.name, entry.color) for entry in said.classes or ()] == [("a", (1, 2, 3)), ("b", (4, 5, 6))]


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("type='ResNetV1c', depth=50", (32, "full")),
        ("type='ResNetV1c', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)", (16, "full")),
        ("type='MobileNetV2'", (32, "contracted")),
    ],
)
def test_a_backbone_in_a_configuration_tells_stride_and_dilation(backbone, expected):
    said = meta_defaults({"config": f"model = dict(backbone=dict({backbone}))"}, "x")
    assert (said.output_stride, said.dilation) == expected


@pytest.mark.parametrize("backbone", ["style='caffe'", "strides=(1, 2, 1, 1), dilations=(1, 1, 1, 1)"])
def test_a_backbone_that_is_not_built_is_refused(backbone):
    with pytest.raises(ModelError, match="its backbone has"):
        meta_defaults({"config": f"model = dict(backbone=dict({backbone}))"}, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "config": JSON
            | st.sampled_from(["model = 3", "model = dict(backbone=4, decode_head=[], test_cfg=dict(stride=3))"]),
            "cfg": JSON,
            "CLASSES": JSON,
            "PALETTE": JSON,
            "dataset_meta": JSON,
        },
    )
)
def test_whatever_lies_in_meta_is_read_without_a_fault(meta):
    said = meta_defaults(meta, "x")
    if said.classes is not None:
        assert all(len(entry.color) == 3 and min(entry.color) >= 0 <= max(entry.color) <= 255 for entry in said.classes)


@given(st.integers(0, 256))
def test_generated_colours_differ(count):
    assert len(set(palette(count))) == count


def test_a_number_of_names_that_does_not_fit_is_not_taken(mmseg_state, tmp_path):
    made = import_weights(checkpoints.mmseg_file(tmp_path / "x.pth", mmseg_state, ("a", "b")), tmp_path / "m")
    assert [entry.name for entry in made.card.classes] == ["class 0", "class 1", "class 2"]
    assert any("names 2 classes" in line for line in made.told)
    with pytest.raises(RequestError, match="expected 3 different names"):
        import_weights(tmp_path / "x.pth", tmp_path / "n", ImportOptions(classes=("a", "b")))


# segmentation-models-pytorch


@pytest.fixture(scope="module")
def smp_state():
    return checkpoints.smp("resnet18", classes=1, psp_out_channels=4, seed=0)


def smp_folder(tmp_path: Path, state: dict[str, torch.Tensor], **config: object) -> Path:
    return checkpoints.save_pretrained(tmp_path / "roofs", state, checkpoints.smp_config("resnet18", **config))


def test_a_folder_of_smp_becomes_its_own_kind_of_network(tmp_path, smp_state):
    made = import_weights(smp_folder(tmp_path, smp_state, classes=1), tmp_path / "m")
    spec = made.card.network
    assert (spec.head, spec.truncated, spec.output_stride, spec.align_corners) == ("smp", True, 8, True)
    assert (made.card.name, spec.classes, spec.dropout) == ("roofs", 2, 0.2)
    assert [entry.name for entry in made.card.classes] == ["background", "foreground"]
    file = tmp_path / "roofs" / "model.safetensors"
    assert import_weights(file, tmp_path / "n").card == made.card
    (tmp_path / "roofs" / "config.json").unlink()
    assert import_weights(file, tmp_path / "o").card.network == replace(spec)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"_model_class": "Unet"}, "names the model Unet"),
        ({"encoder_depth": 4}, "encoder_depth 4, but by its pyramid the encoder ends at stride 8"),
        ({"encoder_depth": "x"}, "encoder_depth 'x'"),
    ],
)
def test_a_configuration_of_smp_that_does_not_fit_is_refused(config, said, tmp_path, smp_state):
    assert said in refusal(smp_folder(tmp_path, smp_state, **config))


def test_a_broken_config_json_is_refused(tmp_path, smp_state):
    folder = smp_folder(tmp_path, smp_state)
    (folder / "config.json").write_text("[" * 100_000)
    assert "not the configuration of a model" in refusal(folder)


def test_an_encoder_that_ends_early_cannot_be_dilated(tmp_path, smp_state):
    with pytest.raises(RequestError, match="ends at stride 8"):
        import_weights(smp_folder(tmp_path, smp_state), tmp_path / "m", ImportOptions(output_stride=16))


@given(st.floats(0.01, 0.99), st.floats(-8, 8))
def test_one_plane_becomes_two_that_decide_alike(threshold, score):
    state = {"head.4.weight": torch.ones(1, 1, 1, 1), "head.4.bias": torch.zeros(1)}
    findings = Findings(ImportOptions(threshold=threshold), (), Defaults("usual"))
    two, one_plane = as_two_planes(findings, state)
    assert one_plane
    planes = torch.nn.functional.conv2d(torch.full((1, 1, 1, 1), score), two["head.4.weight"], two["head.4.bias"])
    probability = torch.sigmoid(torch.tensor(score, dtype=torch.float64)).item()
    if abs(probability - threshold) > 1e-5:
        assert planes.argmax(1).item() == (probability > threshold)
    assert planes[0, 0].item() == 0


def test_a_threshold_is_for_one_plane_and_a_probability(mmseg, tmp_path, smp_state):
    with pytest.raises(RequestError, match="is for a head of one plane, but this one has 3"):
        import_weights(mmseg, tmp_path / "m", ImportOptions(threshold=0.5))
    with pytest.raises(RequestError, match="above 0 and below 1"):
        import_weights(smp_folder(tmp_path, smp_state), tmp_path / "m", ImportOptions(threshold=1.0))


# Channels


RGB = InputLayer(
    ("red", "green", "blue"), Normalization("fixed", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), torch.randn(5, 3, 3, 3)
)
IMAGE = torch.randn(2, 3, 9, 9)
NAMES = st.lists(st.sampled_from(["red", "green", "blue", "nir", "swir"]), min_size=1, unique=True).map(tuple)


def features(taken: InputLayer, image: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(image, taken.filters)


@given(NAMES)
def test_zero_keeps_what_the_network_computes_from_the_channels_that_it_has(names):
    after = adapt_channels(RGB, ImportOptions(for_channels=names, extend="zero"))
    known = {name: IMAGE[:, i] for i, name in enumerate(RGB.channels)}
    wide = torch.stack([known.get(name, torch.full((2, 9, 9), 99.0)) for name in names], dim=1)
    kept = torch.stack([x if name in names else torch.zeros_like(x) for name, x in known.items()], dim=1)
    assert after.channels == names
    assert torch.allclose(features(after, wide), features(RGB, kept), atol=1e-4)
    for name, mean, std in zip(names, after.normalization.mean, after.normalization.std, strict=True):
        i = RGB.channels.index(name) if name in RGB.channels else None
        assert (mean, std) == ((2.0, 5.0) if i is None else (i + 1.0, i + 4.0))


@given(st.integers(1, 9))
def test_tile_is_what_smp_and_timm_do(count):
    names = tuple(f"c{i}" for i in range(count))
    if count == 3:
        names = RGB.channels
    filters = adapt_channels(RGB, ImportOptions(for_channels=names, extend="tile")).filters
    tiled = RGB.filters.repeat(1, 3, 1, 1)[:, :count] * 3 / count
    assert torch.allclose(filters, RGB.filters.sum(1, keepdim=True) if count == 1 else tiled)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ImportOptions(for_channels=("red", "nir")), "nir is not among the file's channels"),
        (ImportOptions(drop_channels=("gren",)), 'unknown channel gren (did you mean "green"?)'),
        (ImportOptions(drop_channels=("red", "green", "blue")), "expected different names"),
        (ImportOptions(for_channels=("red", "red")), "expected different names"),
    ],
)
def test_channels_that_nobody_knows_are_refused(options, said):
    with pytest.raises(RequestError) as caught:
        adapt_channels(RGB, options)
    assert said in str(caught.value)


def test_channels_and_scaling_that_the_file_cannot_tell_have_to_be_told(tmp_path):
    path = saved(tmp_path / "x.pth", checkpoints.torchvision_resnet(18, in_channels=4, fc=False, seed=0))
    with pytest.raises(RequestError, match="takes 4 channels, and their names are unknown; give --channels"):
        import_weights(path, tmp_path / "m")
    names = ("red", "green", "blue", "nir")
    with pytest.raises(RequestError, match="give --mean and --std, 4 numbers each"):
        import_weights(path, tmp_path / "m", ImportOptions(channels=names))
    for mean, std in (((0.0,), (1.0,)), (None, (1.0,) * 4), ((0.0,) * 4, (0.0,) * 4)):
        with pytest.raises(RequestError, match="expected 4 numbers each"):
            import_weights(path, tmp_path / "m", ImportOptions(channels=names, mean=mean, std=std))
    assert not (tmp_path / "m").exists()
    made = import_weights(path, tmp_path / "m", ImportOptions(channels=names, mean=(0.0,) * 4, std=(255.0,) * 4))
    assert made.card.channels == names
    assert made.card.normalization == Normalization("fixed", (0.0,) * 4, (255.0,) * 4)


@torch.inference_mode()
def test_a_model_for_another_channel_computes_what_it_did(mmseg, tmp_path):
    import_weights(mmseg, tmp_path / "m")
    made = import_weights(
        mmseg,
        tmp_path / "n",
        ImportOptions(for_channels=("nir", "red", "green", "blue"), extend="zero", patch=(48, 48)),
    )
    assert made.card.network.in_channels == 4
    image = torch.randn(1, 3, 33, 33)
    wide = torch.cat([torch.randn(1, 1, 33, 33), image.flip(1)], dim=1)
    plain = load_model(tmp_path / "m").network(image)
    assert torch.allclose(load_model(tmp_path / "n").network(wide), plain, atol=1e-5)


def test_a_network_for_slices(mmseg, tmp_path):
    options = ImportOptions(kind="volume", orientation="RAS", view="axial", patch=(96, 96))
    card = import_weights(mmseg, tmp_path / "m", options).card
    assert (card.kind, card.margin, card.normalization.kind) == ("volume", 1, "zscore")
    assert (card.orientation, card.views, len(card.channels)) == ("RAS", ("axial",), 1)
    for wrong in (
        replace(options, view=None),
        replace(options, drop_channels=("red",)),
        replace(options, channels=("a", "b", "c")),
        ImportOptions(orientation="RAS"),
    ):
        with pytest.raises(RequestError):
            import_weights(mmseg, tmp_path / "n", wrong)


@pytest.mark.parametrize("count", [2, 4])
def test_a_network_does_not_see_an_even_number_of_slices(count):
    options = ImportOptions(kind="volume", orientation="RAS", view="axial")
    with pytest.raises(RequestError, match=f"takes {count} channels"):
        volume_input_layer(Findings(options, (), Defaults("usual")), torch.ones(1, count, 3, 3))


# Backbones


@pytest.mark.parametrize(
    ("name", "channels", "preset", "bands", "scale"),
    [
        ("resnet50_sentinel2_all_moco-df8b932e", 13, None, LEVEL_1C, (0.0, 10000.0)),
        ("B13_rn50_softcon", 13, None, LEVEL_1C, (1612.9, 791.0)),
        ("x", 13, None, LEVEL_1C, (0.0, 10000.0)),
        ("resnet50_sentinel2_rgb_moco-2b57ba8b", 3, None, ("B4", "B3", "B2"), (0.0, 10000.0)),
        ("resnet50_sentinel1_all_moco-906e4356", 2, None, ("VV", "VH"), (-12.59, 5.26)),
        ("sentinel2_resnet50_si_rgb-45fc6972", 3, None, ("B4", "B3", "B2"), (0.0, 255.0)),
        (
            "sentinel2_resnet50_mi_ms-da5413d2",
            9,
            None,
            ("B4", "B3", "B2", "B5", "B6", "B7", "B8", "B11", "B12"),
            (0.0, 255.0),
        ),
        ("resnet50_landsat_etm_sr_moco-1266cde3", 6, None, ("B1", "B2", "B3", "B4", "B5", "B7"), (0.0, 255.0)),
        ("resnet50_seco-eco-90ec322f", 12, None, LEVEL_2A, (0.0, 10000.0)),
        ("x", 3, "satlas", ("B4", "B3", "B2"), (0.0, 255.0)),
    ],
)
def test_bands_and_scaling_of_satellite_backbones(name, channels, preset, bands, scale):
    source = find_source(name, channels, preset)
    assert source is not None
    assert source.defaults.channels == bands
    rule = source.defaults.normalization
    assert (rule.mean[0], rule.std[0]) == scale


@pytest.mark.parametrize(("name", "channels"), [("resnet50-11ad3fa6", 3), ("x", 9), ("x", 4), ("x", 2)])
def test_no_satellite_is_guessed(name, channels):
    assert find_source(name, channels, None) is None


def test_every_source_scales_each_of_its_bands():
    for source in SOURCES:
        source.defaults.normalization.check(len(source.defaults.channels))


def test_seco_scales_between_two_quantiles_and_then_as_imagenet():
    rule = find_source("resnet50_sentinel2_rgb_seco-018bf397", 3, None).defaults.normalization
    for i, (low, high, mean, std) in enumerate(((3, 88, 0.485, 0.229), (2, 103, 0.456, 0.224), (0, 129, 0.406, 0.225))):
        value = 50
        assert (value - rule.mean[i]) / rule.std[i] == pytest.approx(((value - low) / (high - low) - mean) / std)
        assert (rule.low[i], rule.high[i]) == (low, high)


def test_raw_files_of_satellite_backbones(tmp_path):
    moco = saved(tmp_path / "checkpoint_0099.pth.tar", {"epoch": 99, "state_dict": checkpoints.moco(18, seed=0)})
    made = import_weights(moco, tmp_path / "moco", ImportOptions(drop_channels=("B10",)))
    assert (made.preset, made.card.channels, made.card.license) == ("ssl4eo", LEVEL_2A, "CC-BY-4.0")
    assert not any("drop-channels B10" in line for line in made.told)
    state = torch.load(moco)["state_dict"]["module.encoder_q.conv1.weight"]
    kept = [i for i in range(13) if i != 10]
    assert torch.equal(load_backbone(tmp_path / "moco").state["stem.0.weight"], state[:, kept])
    satlas = saved(tmp_path / "x.pth", checkpoints.satlas(18, in_channels=9, seed=0))
    card = import_weights(satlas, tmp_path / "satlas").card
    assert (card.normalization.kind, card.normalization.high[2:4]) == ("window", (255.0, 8160.0))
    assert card.license == "ODC-By-1.0"


INCEPTION = Normalization("fixed", (127.5,) * 3, (127.5,) * 3)
IMAGENET = Normalization("fixed", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@pytest.mark.parametrize(
    ("make", "file", "config", "padding", "kind", "rule", "said"),
    [
        (
            checkpoints.efficientnet_pytorch,
            "efficientnet-lite0-57934424.pth",
            None,
            None,
            "efficientnet_lite0",
            Normalization("fixed", (127.0,) * 3, (128.0,) * 3),
            "told padding: same (usual in efficientnet-pytorch",
        ),
        (
            checkpoints.timm_lite,
            "tf_efficientnet_lite0-0aa007d2.pth",
            None,
            None,
            "efficientnet_lite0",
            INCEPTION,
            "concluded padding: same (the file's name)",
        ),
        (
            checkpoints.timm_lite,
            "efficientnet_lite0_ra-37913777.pth",
            None,
            None,
            "efficientnet_lite0_symmetric",
            IMAGENET,
            "concluded padding: symmetric (the file's name)",
        ),
        (
            checkpoints.timm_lite,
            "pytorch_model.bin",
            "efficientnet_lite0",
            None,
            "efficientnet_lite0_symmetric",
            IMAGENET,
            "concluded padding: symmetric (config.json)",
        ),
        (
            checkpoints.timm_lite,
            "mine.pth",
            None,
            None,
            "efficientnet_lite0",
            INCEPTION,
            "told padding: same (usual in timm, not in the file; --padding changes it)",
        ),
        (
            checkpoints.timm_lite,
            "tf_efficientnet_lite0.pth",
            None,
            "symmetric",
            "efficientnet_lite0_symmetric",
            IMAGENET,
            "told padding: symmetric (--padding, but the file's name differs)",
        ),
    ],
    ids=["Google", "timm's tf_", "timm's own", "config.json", "no name", "asked for"],
)
def test_the_kind_of_an_efficientnet_lite_is_told_by_its_home(make, file, config, padding, kind, rule, said, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    if config is not None:
        (folder / "config.json").write_text(json.dumps({"architecture": config}))
    made = import_weights(saved(folder / file, make(seed=0)), tmp_path / "b", ImportOptions(padding=padding))
    assert (made.card.backbone, made.card.normalization) == (kind, rule)
    assert told(made, "padding").startswith(said)
    assert f"concluded backbone: {kind}" in told(made, "backbone")


@pytest.mark.parametrize(
    ("encoder", "config", "kind"),
    [
        ("timm-tf_efficientnet_lite0", True, "efficientnet_lite0_symmetric"),
        ("timm-tf_efficientnet_lite0", False, "efficientnet_lite0_symmetric"),
        ("tu-tf_efficientnet_lite0", True, "efficientnet_lite0"),
        ("tu-tf_efficientnet_lite0", False, "efficientnet_lite0"),
        ("tu-efficientnet_lite0", True, "efficientnet_lite0_symmetric"),
    ],
)
def test_the_kind_of_an_encoder_of_smp_is_told_by_how_smp_builds_it(encoder, config, kind, tmp_path):
    state = checkpoints.smp(encoder, psp_out_channels=4, seed=0)
    folder = checkpoints.save_pretrained(tmp_path / "smp", state, checkpoints.smp_config(encoder))
    if not config:
        (folder / "config.json").unlink()
    spec = import_weights(folder / "model.safetensors", tmp_path / "m").card.network
    assert (spec.backbone, spec.truncated, spec.output_stride) == (kind, True, 8)


def test_padding_is_for_an_efficientnet_lite(resnet18, mmseg, tmp_path):
    for path, backbone in ((resnet18, "resnet18"), (mmseg, "resnet18")):
        with pytest.raises(RequestError, match=f"--padding same: is for an EfficientNet-Lite, .* is {backbone}"):
            import_weights(path, tmp_path / "m", ImportOptions(padding="same"))
    assert not (tmp_path / "m").exists()


def test_a_lite_of_the_other_kind_does_not_start_a_network(tmp_path):
    path = saved(tmp_path / "efficientnet_lite0_ra-37913777.pth", checkpoints.timm_lite(seed=0))
    import_weights(path, tmp_path / "b")
    backbone = load_backbone(tmp_path / "b")
    backbone.start(PSPNet(PSPNetSpec("efficientnet_lite0_symmetric", 3, 2, output_stride=16)))
    with pytest.raises(ModelError, match=r"is efficientnet_lite0_symmetric with .* the network is efficientnet_lite0 "):
        backbone.start(PSPNet(PSPNetSpec("efficientnet_lite0", 3, 2)))


def test_a_backbone_starts_a_network_and_is_no_model(resnet18, tmp_path):
    made = import_weights(resnet18, tmp_path / "b")
    assert (made.preset, made.card.backbone, made.card.source) == ("torchvision", "resnet18", "torchvision")
    for path in (tmp_path / "b", tmp_path / "b" / "backbone.json", tmp_path / "b" / "backbone.safetensors"):
        with pytest.raises(ModelError, match="is a backbone to train from"):
            find_model(path)
    assert "already" in refusal(tmp_path / "b", out=tmp_path / "refused")
    pretrained = load_backbone(tmp_path / "b")
    theirs = torch.load(resnet18)
    for spec in (
        PSPNetSpec("resnet18", 3, 4, output_stride=16),
        PSPNetSpec("resnet18", 3, 4, head="smp", truncated=True),
    ):
        network = PSPNet(spec)
        head = network.head[4].weight.clone()
        pretrained.start(network)
        assert torch.equal(network.stem[0].weight, theirs["conv1.weight"])
        assert torch.equal(network.layer2[1].bn2.running_var, theirs["layer2.1.bn2.running_var"])
        assert torch.equal(network.head[4].weight, head)
    for spec in (PSPNetSpec("resnet34", 3, 4), PSPNetSpec("resnet18", 4, 4), PSPNetSpec("resnet18", 3, 4, stem="v1c")):
        with pytest.raises(ModelError, match="backbone resnet18-f37072fd: is resnet18 with stem torchvision for 3"):
            pretrained.start(PSPNet(spec))


@pytest.mark.parametrize("fault", ["gone", "card", "weights", "no weights"])
def test_a_damaged_backbone_is_refused(fault, resnet18, tmp_path):
    folder = tmp_path / "b"
    if fault != "gone":
        import_weights(resnet18, folder)
    if fault == "card":
        (folder / "backbone.json").write_text('{"format": 1}')
    if fault == "weights":
        with (folder / "backbone.safetensors").open("ab") as file:
            file.write(b"x")
    if fault == "no weights":
        (folder / "backbone.safetensors").unlink()
    with pytest.raises(ModelError, match=r"backbone\.(json|safetensors): "):
        load_backbone(folder)


# Files


@torch.inference_mode()
def test_weights_come_back_exactly_and_half_of_them_nearly(mmseg, mmseg_state, tmp_path):
    import_weights(mmseg, tmp_path / "m")
    import_weights(mmseg, tmp_path / "h", ImportOptions(half=True))
    name = "backbone.layer3.1.conv2.weight"
    assert torch.equal(load_model(tmp_path / "m").network.layer3[1].conv2.weight, mmseg_state[name])
    assert {x.dtype for x in load_file(tmp_path / "m" / "model.safetensors").values()} == {torch.float32}
    assert {x.dtype for x in load_file(tmp_path / "h" / "model.safetensors").values()} == {torch.float16}


def test_safetensors_and_other_wrappings_are_the_same_weights(mmseg_state, tmp_path):
    save_file(mmseg_state, tmp_path / "a.safetensors")
    saved(tmp_path / "b.pth", {"model": checkpoints.parallel(mmseg_state)})
    saved(tmp_path / "c.pth", {"model_state": {f"model.{name}": x for name, x in mmseg_state.items()}})
    saved(tmp_path / "d.pth", mmseg_state, _use_new_zipfile_serialization=False)
    made = {import_weights(tmp_path / name, tmp_path / f"{name}.d").card.weights_sha256 for name in (
        "a.safetensors", "b.pth", "c.pth", "d.pth"
    )}  # fmt: skip
    assert len(made) == 1


WRAPPINGS = {
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "net": lambda state: {"net": state, "acc": 91.2, "epoch": 3},
    "module": lambda state: {"module": state, "global_steps": 7},
    "weights": lambda state: {"weights": state},
    "unknown key": lambda state: {"segmentor": state, "scheduler": {"last_epoch": 3}, "scores": {"a": torch.ones(1)}},
    "two tables deep": lambda state: {"state": {"model": state, "step": 1}, "config": {"lr": 0.1}},
    "loss": lambda state: {**before("model.", state), "criterion.weight": torch.ones(19)},
    "loss in a table": lambda state: {"state_dict": {**before("model.", state), "criterion.weight": torch.ones(19)}},
    "prefix net": lambda state: before("net.", state),
    "prefix of two": lambda state: {"state_dict": before("module.network.", state)},
    "unknown prefix": lambda state: {**before("student.core.", state), "step": torch.ones(())},
    "averaged in a table": lambda state: {"state_dict": state, "state_dict_ema": other(state)},
    "averaged beside": lambda state: {"model": state, "ema": {"module": other(state), "decay": 0.99}},
    "averaged in one table": lambda state: {**before("model.", state), **before("ema.", other(state))},
    "averaged model": lambda state: {**before("model.", state), **before("ema_model.module.", other(state))},
    "averaged by mmcv": lambda state: {"state_dict": {**state, **flat(other(state))}},
    "counted by swa": lambda state: {**before("module.", state), "n_averaged": torch.tensor(7)},
    "only averaged": lambda state: {"ema": state},
    "only averaged names": lambda state: {**before("model_ema.", state), "criterion.weight": torch.ones(19)},
}  # fmt: skip
"""Ways in which projects wrap a state_dict."""
AVERAGED = [name for name in WRAPPINGS if name.startswith("averaged")]


def before(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def flat(state):
    return {f"ema_{name.replace('.', '_')}": tensor for name, tensor in state.items()}


def other(state):
    return {name: tensor * 2 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("way", WRAPPINGS)
def test_the_network_is_found_however_it_is_wrapped(way, ema, small_state, tmp_path):
    path = saved(tmp_path / "x.pth", WRAPPINGS[way](small_state))
    if ema and "averaged" not in way.replace("only ", ""):
        with pytest.raises(ModelError, match="holds no averaged"):
            read_checkpoint(path, ema=True)
        return
    found = read_checkpoint(path, ema=ema)
    expected = other(small_state) if ema and way in AVERAGED else small_state
    expected = {name: x for name, x in expected.items() if not name.endswith(".num_batches_tracked")}
    assert found.tensors.keys() == expected.keys()
    assert all(torch.equal(found.tensors[name], x) for name, x in expected.items())
    assert found.has_ema == ("averaged" in way and not ema)


@pytest.fixture(scope="module")
def small_state(mmseg_state):
    """The names of a network of mmseg, with a number for each tensor."""
    numbered = enumerate(mmseg_state.items(), 1)
    return {name: torch.full((1,) * tensor.ndim, float(number)) for number, (name, tensor) in numbered}


def test_what_is_left_out_is_told_and_ema_is_a_switch(mmseg_state, tmp_path):
    averaged = other(mmseg_state)
    whole = {**before("model.", mmseg_state), **before("ema.", averaged), "criterion.weight": torch.ones(19)}
    path = saved(tmp_path / "x.pth", {"state_dict": whole})
    plain = import_weights(path, tmp_path / "plain")
    assert "left out: 8 tensors, such as criterion.weight (no use for them here)" in plain.concluded
    assert "note: the file holds averaged (EMA) weights as well; --ema takes them" in plain.told
    ema = import_weights(path, tmp_path / "ema", ImportOptions(ema=True))
    name = "backbone.layer1.0.conv1.weight"
    assert torch.equal(load_model(ema.path).network.layer1[0].conv1.weight, averaged[name])
    assert torch.equal(load_model(plain.path).network.layer1[0].conv1.weight, mmseg_state[name])


def test_a_part_of_an_unknown_network_is_not_taken_for_a_backbone(tmp_path):
    decoder = {f"decoder.up{i}.weight": torch.ones(2, 2, 3, 3) for i in range(9)}
    encoder = before("image_encoder.", checkpoints.torchvision_resnet(18, seed=None))
    encoder = {name: torch.ones(tensor.shape) for name, tensor in encoder.items()}
    said = refusal(saved(tmp_path / "x.pth", {**encoder, **decoder}))
    assert "of an unknown family" in said
    assert read_checkpoint(saved(tmp_path / "y.pth", {**encoder, "loss.weight": torch.ones(3)})).dropped == (
        "loss.weight",
    )


def test_our_own_weights_come_back(tmp_path):
    spec = replace(CARD_2D.network, output_stride=8)
    network = network_of(replace(spec, auxiliary=True))
    path = saved(tmp_path / "mine.pt", network.state_dict())
    options = ImportOptions(channels=("a", "b"), mean=(0.0, 0.0), std=(1.0, 1.0))
    made = import_weights(path, tmp_path / "m", options)
    assert (made.preset, made.card.network) == ("own", spec)
    for name, x in load_model(tmp_path / "m").network.state_dict().items():
        assert torch.equal(x, network.state_dict()[name]), name


def test_a_model_that_is_there_is_not_replaced(mmseg, resnet18, tmp_path):
    out = tmp_path / "m"
    first = import_weights(mmseg, out)
    with pytest.raises(OutputError, match=r"holds card\.json and model\.safetensors already; --overwrite"):
        import_weights(mmseg, out, ImportOptions(name="other"))
    assert load_model(out).card == first.card
    assert import_weights(mmseg, out, ImportOptions(name="other", overwrite=True)).card == load_model(out).card
    with pytest.raises(OutputError, match="of something else"):
        import_weights(resnet18, out, ImportOptions(overwrite=True))
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "model.safetensors"]
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "m"):
        with pytest.raises(OutputError, match="file"):
            import_weights(mmseg, wrong)
    with pytest.raises(ModelError, match="of this project already"):
        import_weights(out, tmp_path / "n")


def test_files_have_the_usual_permissions(resnet18, mmseg, tmp_path):
    before = os.umask(0o022)
    try:
        import_weights(resnet18, tmp_path / "b")
        import_weights(mmseg, tmp_path / "m")
    finally:
        os.umask(before)
    for path in (*(tmp_path / "b").iterdir(), *(tmp_path / "m").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, path


def test_weights_that_cannot_be_read_or_written_are_named(tmp_path):
    save_model(tmp_path / "m", CARD_2D, network_of(CARD_2D.network))
    temporary_name(tmp_path / "m" / "model.safetensors").mkdir()
    with pytest.raises(OutputError, match="m: cannot be written"):
        save_model(tmp_path / "m", CARD_2D, network_of(CARD_2D.network))
    assert load_model(tmp_path / "m").card.name == CARD_2D.name


# Command line


RUNNER = CliRunner()


def test_the_verb_prints_what_was_concluded_and_told(mmseg, tmp_path):
    words = ["import-weights", str(mmseg), "--out", str(tmp_path / "m"), "--no-align-corners", "--classes", "a, b,c"]
    ended = RUNNER.invoke(app, [*words, "--mean", "0,0,0", "--std", "255,255,255", "--patch", "96,64", "--json"])
    assert ended.exit_code == 0, ended.output
    (item,) = json.loads(ended.stdout)["items"]
    assert (item["input"], item["output"], item["preset"]) == (str(mmseg), str(tmp_path / "m"), "mmseg")
    assert "align corners: no (--align-corners, but the file's meta differs)" in item["told"]
    card = load_model(tmp_path / "m").card
    assert (card.patch, card.normalization.std) == ((96, 64), (255.0, 255.0, 255.0))
    assert [entry.name for entry in card.classes] == ["a", "b", "c"]
    ended = RUNNER.invoke(app, [*words, "--overwrite"])
    assert ended.exit_code == 0, ended.output
    assert "concluded  family: mmseg (names)" in ended.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--preset", "mmsg"], "--preset 'mmsg' (did you mean \"mmseg\"?): choose one of semseg,"),
        (["--output-stride", "4"], "--output-stride 4: choose one of 8, 16, 32"),
        (["--dilation", "ful"], "did you mean"),
        (["--view", "x"], "axial"),
        (["--mean", "a,b"], "must be numbers with commas"),
        (["--mean", "nan,1,1"], "must be numbers with commas"),
        (["--channels", "a,,b"], "must be words with commas"),
        (["--patch", "0"], "--patch (0, 0): must be at least 1"),
        (["--overlap", "9999"], "overlap"),
    ],
)
def test_wrong_options_end_with_2_and_write_nothing(words, said, mmseg, tmp_path):
    ended = RUNNER.invoke(app, ["import-weights", str(mmseg), "--out", str(tmp_path / "m"), *words])
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr
    assert not (tmp_path / "m").exists()


def test_a_refused_file_ends_with_2_and_an_output_in_the_way_with_1(tmp_path, mmseg):
    path = saved(tmp_path / "evil.pth", Evil(tmp_path / "ran"))
    ended = RUNNER.invoke(app, ["import-weights", str(path), "--out", str(tmp_path / "m")])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "posix.system" in ended.stderr
    (tmp_path / "m").touch()
    assert RUNNER.invoke(app, ["import-weights", str(mmseg), "--out", str(tmp_path / "m")]).exit_code == 1
