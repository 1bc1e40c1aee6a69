"""ONNX files that cannot be used are refused with a clear word, before anything is computed or taken into memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from pipeline.errors import ModelError, RequestError
from pipeline.models.exchange.graph import check_operators, read_graph
from pipeline.models.importing import ImportOptions, import_weights
from tests.support.inputs import listing
from tests.support.onnx_files import node, put_convolution, put_network, put_unet

TOLD = ImportOptions(mean=(0.0,) * 3, std=(1.0,) * 3, patch=(32, 32))


def edited(path, change):
    """A file of which a field was changed in the protocol buffer."""
    model = onnx.load_model(path, load_external_data=False)
    change(model)
    onnx.save_model(model, path)
    return path


def place(name=None, **words):
    """Weights that are said to be elsewhere."""

    def change(model):
        (tensor,) = model.graph.initializer
        told = {entry.key: entry.value for entry in tensor.external_data}
        told |= {**words, **({} if name is None else {"location": name})}
        del tensor.external_data[:]
        for key, value in told.items():
            tensor.external_data.add(key=key, value=value)

    return change


def beside(folder, change=lambda model: None):
    return edited(put_convolution(folder / "net.onnx", beside="net.data"), change)


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def put_bytes(path, content):
    path.write_bytes(content)
    return path


def linked_out(folder):
    beside(folder)
    (folder.parent / "elsewhere").write_bytes((folder / "net.data").read_bytes())
    (folder / "net.data").unlink()
    (folder / "net.data").symlink_to(folder.parent / "elsewhere")
    return folder / "net.onnx"


def without_data(folder):
    beside(folder)
    (folder / "net.data").unlink()
    return folder / "net.onnx"


def with_short_data(folder):
    beside(folder)
    cut(folder / "net.data", 0.5)
    return folder / "net.onnx"


def too_large(folder):
    with (folder / "net.onnx").open("wb") as file:
        file.write(b"\x08\x08\x12\x05")
        file.truncate(4 << 30)
    return folder / "net.onnx"


def pickled(folder):
    torch.save({"w": torch.zeros(2)}, folder / "net.onnx")
    return folder / "net.onnx"


CONSTANT = {"w": np.zeros((3, 3, 1, 1), np.float32)}
REFUSED = {
    "unknown operator": (lambda f: put_network(f / "net.onnx", [node("Foo", "x", "y")]), "not in ONNX: Foo"),
    "operator of another domain": (
        lambda f: put_network(f / "net.onnx", [node("Roi", "x", "y", domain="mmdeploy")], domains=["mmdeploy"]),
        "not in ONNX: mmdeploy:Roi",
    ),
    "opset of the future": (
        lambda f: put_network(f / "net.onnx", [node("Relu", "x", "y")], opset=99),
        r"its opset is newer than \d+; export it again with opset_version=\d+ or less",
    ),
    "opset of the past": (
        lambda f: put_network(f / "net.onnx", [node("Relu", "x", "y")], opset=3),
        "is of opset 3, but ONNX Runtime computes 7 and later",
    ),
    "version of the future": (
        lambda f: edited(put_convolution(f / "net.onnx"), lambda model: setattr(model, "ir_version", 99)),
        "Unsupported model IR version: 99",
    ),
    "several outputs": (
        lambda f: put_network(f / "net.onnx", [node("Relu", "x", "y"), node("Abs", "x", "aux")], outputs=["y", "aux"]),
        r"has 2 outputs; choose the scores with --output-name: y \(float\); aux \(float\)",
    ),
    "several inputs": (
        lambda f: edited(
            put_convolution(f / "net.onnx"),
            lambda model: model.graph.input.append(onnx.helper.make_tensor_value_info("p", TensorProto.FLOAT, [2])),
        ),
        r"takes 2 inputs, not one image: x .*; p \(float: 2\)",
    ),
    "int8": (
        lambda f: put_network(f / "net.onnx", [node("Cast", "x", "y", to=1)], kind=TensorProto.INT8),
        r"takes x \(int8: n, 3, h, w\), but images are given as .* float, .*weights may be in int8",
    ),
    "no image": (
        lambda f: put_network(f / "net.onnx", [node("Relu", "x", "y")], shape=["n", 10]),
        r"takes x \(float: n, 10\), but images are given as \(batch, channels, height, width\)",
    ),
    "no planes": (
        lambda f: put_network(f / "net.onnx", [node("GlobalAveragePool", "x", "a"), node("Flatten", "a", "y")]),
        r"its output y has the shape 1, 3, not \(batch, planes, height, width\)",
    ),
    "cells that fit no patch": (
        lambda f: put_network(f / "net.onnx", [node("Conv", "x w", "y")], {"w": np.ones((3, 3, 5, 5), np.float32)}),
        "has the shape 1, 3, 28, 28: its cells are no whole part of the patch",
    ),
    "scores that are not finite": (
        lambda f: put_network(f / "net.onnx", [node("Log", "x", "y")]),
        "has values that are not finite for noise",
    ),
    "a patch that it cannot compute": (
        lambda f: put_convolution(f / "net.onnx", shape=("n", 5, "h", "w")),
        "cannot compute patches of 32 x 32",
    ),
    "missing data": (without_data, "has weights in net.data, which is not there; put that file into"),
    "data cut off": (with_short_data, "which has 162 bytes of the 324 that it needs; it is cut off"),
    "a path up": (lambda f: beside(f, place("../net.data")), r"'\.\./net\.data', which is not in its folder"),
    "an absolute path": (lambda f: beside(f, place("/etc/passwd")), "'/etc/passwd', which is not in its folder"),
    "a path of Windows": (lambda f: beside(f, place("C:\\net.data")), "which is not in its folder"),
    "a link out of the folder": (linked_out, "a link out of its folder; put the file itself there"),
    "the name of the card": (lambda f: beside(f, place("card.json")), "is the name of another file of a model"),
    "a place before the file": (lambda f: beside(f, place(offset="-4")), "is said to be 324 bytes from -4"),
    "too few bytes": (lambda f: beside(f, place(length="8")), "takes 324 bytes, but is said to be 8 bytes from 0"),
    "no number of bytes": (lambda f: beside(f, place(length="many")), "is no number"),
    "4 GB": (too_large, "has 4 GiB, but a file of ONNX has at most 2 GiB"),
    "cut off": (lambda f: cut(put_unet(f / "net.onnx"), 0.6), "damaged, cut off or something else"),
    "empty": (lambda f: put_bytes(f / "net.onnx", b""), "is empty"),
    "a web page": (lambda f: put_bytes(f / "net.onnx", b"<!DOCTYPE html><html>"), "is a web page"),
    "a Git LFS pointer": (
        lambda f: put_bytes(f / "net.onnx", b"version https://git-lfs.github.com/spec/v1\n"),
        "is a Git LFS pointer.*git lfs pull",
    ),
    "a pickle": (pickled, "is a PyTorch checkpoint, not an ONNX network"),
    "something else": (lambda f: put_bytes(f / "net.onnx", b"\x08\x08\x12\x05" + bytes(range(200))), "damaged"),
    "no graph": (
        lambda f: put_bytes(f / "net.onnx", onnx.ModelProto(ir_version=8, producer_name="x").SerializeToString()),
        "it has no graph of operators",
    ),
    "a detector": (
        lambda f: put_convolution(f / "net.onnx", metadata={"model_type": "Detector"}),
        "is a Detector by its metadata",
    ),
    "no such file": (lambda f: f / "net.onnx", "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(case, tmp_path):
    make, words = REFUSED[case]
    (tmp_path / "in").mkdir()
    file = make(tmp_path / "in")
    with pytest.raises((ModelError, RequestError), match=words):
        import_weights(file, tmp_path / "out", TOLD)
    assert "out" not in listing(tmp_path)


def test_links_of_the_cache_of_a_hub_are_followed_within_their_repository(tmp_path):
    """Its client keeps what files hold in `blobs`, and links to it from the folder of each commit."""
    repository = tmp_path / "models--me--mine"
    folder = repository / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (repository / "blobs").mkdir()
    file = beside(folder)
    for name in ("net.onnx", "net.data"):
        (folder / name).rename(repository / "blobs" / name)
        (folder / name).symlink_to(Path("..", "..", "blobs", name))
    assert read_graph(file).data == ("net.data",)
    (repository / "blobs" / "net.data").rename(tmp_path / "elsewhere")
    (repository / "blobs" / "net.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="a link out of its folder"):
        read_graph(file)


def test_4_gb_beside_the_file_are_accepted_by_their_place(tmp_path):
    """The file of data has a hole; nothing of it is read."""
    file = beside(tmp_path, place(length=str(4 << 30)))
    model = onnx.load_model(file, load_external_data=False)
    model.graph.initializer[0].dims[:] = [1 << 30]
    onnx.save_model(model, file)
    with pytest.raises(ModelError, match=r"has 324 bytes of the 4,294,967,296 that it needs"):
        read_graph(file)
    with (tmp_path / "net.data").open("ab") as data:
        data.truncate(4 << 30)
    graph = read_graph(file)
    assert graph.data == ("net.data",)
    assert graph.size > 4 << 30


def test_weights_in_branches_and_constants_are_looked_at_too(tmp_path):
    """A path out of the folder in a constant of a branch is as bad as in a weight."""
    far = onnx.helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    far.ClearField("float_data")
    far.data_location = TensorProto.EXTERNAL
    far.external_data.add(key="location", value="../far")
    value = onnx.helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branch = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["z"], value=far)], "b", [], [value])
    test = node("If", "t", "y", then_branch=branch, else_branch=branch)
    file = put_network(tmp_path / "net.onnx", [test], {"t": np.array(True)})
    with pytest.raises(ModelError, match="not in its folder"):
        read_graph(file)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return put_unet(tmp_path_factory.mktemp("sound") / "net.onnx", metadata={"class_names": {"0": "a"}}).read_bytes()


@settings(max_examples=12)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_words(sound, tmp_path_factory, data):
    """Whatever bytes are in it, nothing else is raised, and it ends."""
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        place, length = data.draw(st.integers(0, 700)), data.draw(st.integers(0, 3))
        damaged[place : place + length] = data.draw(st.binary(max_size=3))
    file = put_bytes(tmp_path_factory.getbasetemp() / "damaged.onnx", bytes(damaged))
    with suppress(ModelError):
        check_operators(read_graph(file))


def test_a_graph_that_runs_in_a_circle_ends(tmp_path):
    file = put_network(tmp_path / "net.onnx", [node("Identity", "y", "y"), node("Relu", "x", "z")])
    assert read_graph(file).last == {"y": ""}
