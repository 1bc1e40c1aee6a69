"""A file that is not what its name says is told by its first bytes, with what to do about it, wherever it is given."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import rasterio
import SimpleITK
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, ModelError, RequestError
from pipeline.files.signatures import recognize
from pipeline.io.opening import open_source
from pipeline.jobs.inputs import find_inputs
from pipeline.models.catalogue import find_model
from pipeline.models.importing.read import read_checkpoint
from pipeline.models.store import load_model
from tests.support.dicoms import pixels, put_series

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
HTML = b"\xef\xbb\xbf\r\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:\x05graph"


def tiff(folder: Path) -> bytes:
    with rasterio.open(folder / "in.tif", "w", driver="GTiff", width=3, height=2, count=1, dtype="uint8") as out:
        out.write(np.ones((1, 2, 3), np.uint8))
    return (folder / "in.tif").read_bytes()


def nifti(folder: Path) -> bytes:
    return nibabel.Nifti1Image(np.ones((2, 3, 4), np.int16), np.eye(4)).to_bytes()


def by_simpleitk(folder: Path, suffix: str) -> bytes:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((2, 3, 4), np.int16)), str(folder / f"in{suffix}"))
    return (folder / f"in{suffix}").read_bytes()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return out.getvalue()


def tarred(folder: Path, mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        archive.add(folder, "study")
    return out.getvalue()


def checkpoint(folder: Path) -> bytes:
    torch.save({"a": torch.ones(2)}, folder / "in.pth")
    return (folder / "in.pth").read_bytes()


MAKERS = {
    "Git LFS": (lambda folder: LFS, r"is a Git LFS pointer, not the file itself; fetch that with `git lfs pull`"),
    "git-annex": (lambda folder: b"/annex/objects/SHA256E-s9--00.tif\n", "git-annex pointer.*`git annex get`"),
    "page": (lambda folder: HTML, r"is a web page \(HTML\).*; download it again"),
    "XML": (lambda folder: b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "an error of a server"),
    "zeros": (lambda folder: bytes(4096), "is nothing but zeros.*; download it again"),
    "TIFF": (tiff, "is a TIFF; give it the suffix .tif"),
    "NIfTI": (nifti, "is a NIfTI; give it the suffix .nii"),
    "packed NIfTI": (lambda folder: gzip.compress(nifti(folder)), r"is a NIfTI packed.*; give it the suffix .nii.gz"),
    "NRRD": (lambda folder: by_simpleitk(folder, ".nrrd"), "is an NRRD; give it the suffix .nrrd"),
    "MetaImage": (lambda folder: by_simpleitk(folder, ".mha"), "is a MetaImage; give it the suffix .mha"),
    "HDF5": (lambda folder: b"\x89HDF\r\n\x1a\n" + bytes(99), "is HDF5; convert it first"),
    "ONNX": (lambda folder: ONNX, "is an ONNX network"),
    "pickle": (lambda folder: pickle.dumps({"a": 1}), "is a Python pickle"),
    "checkpoint": (checkpoint, "is a PyTorch checkpoint; `pipeline import-weights`"),
    "safetensors": (lambda folder: save({"a": torch.ones(2)}), "safetensors; `pipeline import-weights`"),
    "tar": (lambda folder: tarred(folder, "w"), "is a tar archive; unpack it with `tar -xf`"),
    "tar.gz": (lambda folder: tarred(folder, "w:gz"), "is a tar archive packed with gzip; unpack it with `tar -xzf`"),
    "gzip": (lambda folder: gzip.compress(b"hello"), "packed with gzip; unpack it with `gunzip`"),
    "cut gzip": (lambda folder: gzip.compress(bytes(range(256)) * 99)[:60], "gzip, but damaged or cut off"),
    "zip of a TIFF": (lambda folder: zipped(a__b_tif=tiff(folder)), r"a zip of GeoTIFF; .*: /vsizip/.*/a/b\.tif$"),
    "zip of a NIfTI": (lambda folder: zipped(ct_nii_gz=nifti(folder)), r"zip of volumes \(ct\.nii\.gz\); unzip it"),
    "zip in a zip": (lambda folder: zipped(in_zip=zipped(a=b"")), r"a zip in a zip \(in\.zip\); unzip the outer one"),
    "other zip": (lambda folder: zipped(notes_txt=b"hello"), r"a zip of notes\.txt; unzip it"),
    "empty zip": (lambda folder: zipped(), "a zip of nothing"),
    "cut zip": (lambda folder: zipped(a_tif=tiff(folder))[:-40], "a zip that is cut off; download it again"),
}
"""Contents of a file, and what is said of them."""
OWN = {
    ".tif": {"TIFF", "HDF5"},
    ".nii": {"NIfTI", "packed NIfTI"},
    ".nii.gz": {"NIfTI", "packed NIfTI"},
    ".nrrd": {"NRRD"},
    ".mha": {"MetaImage"},
    ".hdr": {"NIfTI", "packed NIfTI", "TIFF", "HDF5"},
    ".dat": {"TIFF", "HDF5"},
}
"""By suffix: what is read, or has an error of its own."""


@pytest.mark.parametrize("suffix", OWN)
@pytest.mark.parametrize("content", MAKERS)
def test_an_input_that_is_something_else_is_told_by_its_first_bytes(content, suffix, tmp_path):
    make, said = MAKERS[content]
    path = tmp_path / f"input{suffix}"
    path.write_bytes(make(tmp_path))
    if content in OWN[suffix]:
        return
    with pytest.raises(InputError, match=said) as caught:
        open_source(path)
    assert str(caught.value).startswith(f"{path}: is ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.ckpt", "x.bin", "x.safetensors"])
@pytest.mark.parametrize("content", sorted(set(MAKERS) - {"checkpoint", "safetensors", "pickle"}))
def test_weights_that_are_something_else_are_told_by_their_first_bytes(content, name, tmp_path):
    make, said = MAKERS[content]
    (tmp_path / name).write_bytes(make(tmp_path))
    with pytest.raises(ModelError, match=said.partition(";")[0].removeprefix("is ").removesuffix("$")) as caught:
        read_checkpoint(tmp_path / name)
    assert not [word for word in ("weights_only", "torch.load", "Error", "vsizip", "\n") if word in str(caught.value)]


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, world", b"\x80\x02]q\x00(", b"\x80\x04\x95\xff", b"\x08\0\0\0\0\0\0\0{"]
)
def test_no_advice_of_a_library_reaches_the_user(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    ended = CliRunner().invoke(app, ["import-weights", str(tmp_path / name), "--out", str(tmp_path / "model")])
    assert ended.exit_code == 2
    assert f"{name}: " in ended.stderr
    assert not [word for word in ("weights_only", "Unpickling", "torch", "re-running") if word in ended.stderr]


def test_weights_under_another_name_are_read_or_told(tmp_path):
    (tmp_path / "x.pth").write_bytes(save({"a": torch.ones(2)}))
    assert read_checkpoint(tmp_path / "x.pth").tensors["a"].tolist() == [1, 1]
    (tmp_path / "x.safetensors").write_bytes(checkpoint(tmp_path))
    with pytest.raises(ModelError, match=r"it is a PyTorch checkpoint; give it the suffix \.pth"):
        read_checkpoint(tmp_path / "x.safetensors")


def test_the_file_in_a_zip_that_is_named_can_be_given(tmp_path):
    (tmp_path / "scene.zip").write_bytes(zipped(a__b_tif=tiff(tmp_path)))
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / "scene.zip")
    assert open_source(str(caught.value).rpartition(": ")[2]).grid.shape == (2, 3)


@pytest.mark.parametrize("verb", ["run", "plan", "info"])
def test_verbs_say_so(verb, tmp_path):
    (tmp_path / "a.tif").write_bytes(LFS)
    ended = CliRunner().invoke(app, [verb, *(["--input"] if verb != "info" else []), str(tmp_path / "a.tif")])
    assert ended.exit_code == (2 if verb == "info" else 1)
    assert "git lfs pull" in ended.output
    assert "gdal" not in ended.output.lower()


@pytest.mark.parametrize("place", ["mosaic", "stack"])
def test_a_pointer_among_tiles_and_bands_is_told(place, tmp_path):
    tiff(tmp_path)
    (tmp_path / "z.tif").write_bytes(LFS)
    named = {"mosaic": f"mosaic:{tmp_path}", "stack": f"stack:a={tmp_path}/in.tif|b={tmp_path}/z.tif"}[place]
    with pytest.raises(InputError, match=r"z\.tif: is a Git LFS pointer"):
        open_source(named)


def test_pointers_among_slices_are_told_and_not_passed_over(tmp_path):
    """The last slices of a series would be missing without a word."""
    folder = put_series(tmp_path / "s", pixels((4, 3, 3)))
    (folder / "IM0003").write_bytes(LFS)
    with pytest.raises(InputError, match="file IM0003: is a Git LFS pointer"):
        open_source(folder)
    for path in sorted(folder.iterdir()):
        path.rename(path.with_suffix(".dcm")).write_bytes(LFS)
    assert find_inputs([str(tmp_path)]) == (str(folder),)
    with pytest.raises(InputError, match=r"file IM0000\.dcm: is a Git LFS pointer"):
        open_source(folder)


def test_half_of_a_pair_that_is_a_pointer_is_told(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(np.ones((9, 9, 9), np.int16), np.eye(4)), tmp_path / "v.img")
    (tmp_path / "v.img").write_bytes(LFS)
    with pytest.raises(InputError, match=r"v\.img: is a Git LFS pointer"):
        open_source(tmp_path / "v.hdr")


@pytest.mark.parametrize("at", ["card", "weights"])
def test_a_model_of_pointers_is_told(at, tmp_path):
    files = find_model("hippocampus")
    for file in (files.card, files.weights):
        shutil.copy(file, tmp_path / file.name)
    (tmp_path / getattr(files, at).name).write_bytes(LFS)
    with pytest.raises(ModelError, match=r"is a Git LFS pointer.*`git lfs pull`"):
        load_model(tmp_path)


def test_a_table_that_is_a_page_is_told(tmp_path):
    (tmp_path / "inputs.csv").write_bytes(HTML)
    with pytest.raises(RequestError, match=r"inputs\.csv: is a web page"):
        find_inputs([str(tmp_path / "inputs.csv")])


@given(st.binary(max_size=700))
@example(b"PK\x03\x04")
@example(b"\x1f\x8b\x08")
@example(b"\x1f\x8b\x08" + bytes(40))
def test_any_bytes_are_recognized_or_not_and_nothing_else(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    found = recognize(path)
    assert found is None or str(found).startswith("is ")
