from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.io.suffixes import stem_of, suffix_of
from pipeline.jobs.inputs import find_inputs
from pipeline.jobs.outputs import name_outputs


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            (path / "zarr.json").write_text("{}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    put(folder, "b.TIF", "a.tiff", "sub/c.nii.gz", "sub/d.nii", "sub/deep/e.tif", "f.zarr/", "f.zarr/c/0.tif")
    put(folder, "b_mask.tif", "sub/c_mask.nii.gz", "f_mask.zarr/", "notes.txt", "t.csv", ".hidden.tif", ".git/x.tif")
    put(folder, "g.tif.partial/mask.zarr/", "g.tif.partial/y.tif", ".h.tif.12.partial")
    return folder


def relative(found, folder):
    return [os.path.relpath(item, folder) for item in found]


def test_a_folder_stands_for_all_that_can_be_segmented_below_it(archive):
    expected = ["a.tiff", "b.TIF", "f.zarr", "sub/c.nii.gz", "sub/d.nii", "sub/deep/e.tif"]
    assert relative(find_inputs([str(archive)]), archive) == expected


@pytest.mark.parametrize("place", [".cache/data", "x.zarr.d", "a.partial.b", "up/../data"])
def test_the_folders_above_do_not_matter(tmp_path, place):
    (tmp_path / "up").mkdir()
    put(tmp_path / place, "scene.tif")
    assert len(find_inputs([str(tmp_path / place)])) == 1


def test_a_folder_may_be_named_from_inside(archive, monkeypatch):
    monkeypatch.chdir(archive / "sub")
    assert find_inputs([".."]) == tuple(sorted(f"../{name}" for name in relative(find_inputs([str(archive)]), archive)))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.tif*", ["a.tiff"]),
        ("**/*.nii*", ["sub/c.nii.gz", "sub/d.nii"]),
        ("*", ["a.tiff", "b.TIF", "f.zarr", "notes.txt", "t.csv"]),
        ("sub/?.nii", ["sub/d.nii"]),
    ],
)
def test_a_pattern_stands_for_files_and_stores(archive, pattern, expected):
    assert relative(find_inputs([str(archive / pattern)]), archive) == expected


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    put(tmp_path, "scan[1].tif", "scan1.tif")
    assert find_inputs([str(tmp_path / "scan[1].tif")]) == (str(tmp_path / "scan[1].tif"),)


def test_a_table_stands_for_its_column(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("\ufeffid,input\n1,a.tif\n2,/data/b.tif\n3,https://host/c.tif\n4,\n5,sub/d.nii.gz\n")
    assert find_inputs([str(table)]) == (
        str(tmp_path / "a.tif"),
        "/data/b.tif",
        "https://host/c.tif",
        str(tmp_path / "sub/d.nii.gz"),
    )
    table.with_suffix(".tsv").write_text("input\tx\ne.tif\t1\n")
    assert find_inputs([str(tmp_path / "list.tsv")]) == (str(tmp_path / "e.tif"),)


def test_each_item_counts_once_and_order_is_kept(archive):
    b, a = str(archive / "b.TIF"), str(archive / "a.tiff")
    assert find_inputs([b, a, b, str(archive / "*.tiff")]) == (b, a)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("empty/", None, "contains no GeoTIFF, NIfTI or Zarr"),
        ("*.tif", None, "no file matches"),
        ("t.csv", "input\n", "has no rows"),
        ("t.csv", "path,x\na,b\n", "has the columns path, x; a column named input is required"),
        ("t.csv", None, "the table cannot be read"),
    ],
)
def test_what_stands_for_nothing_is_refused(tmp_path, name, text, said):
    (tmp_path / "empty").mkdir()
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(RequestError, match=said) as error:
        find_inputs([str(tmp_path / name)])
    assert str(tmp_path / name.strip("/")) in str(error.value)


def test_outputs_in_a_folder_are_named_after_their_inputs(tmp_path):
    root = zarr.create_group(tmp_path / "volume.zarr")
    root.create_array("0", data=np.zeros((2, 3, 4), np.int16), dimension_names=("z", "y", "x"))
    root = zarr.create_group(tmp_path / "scene.zarr")
    root.create_array("0", data=np.zeros((3, 4), np.int16), dimension_names=("y", "x"))
    (tmp_path / "broken.zarr").mkdir()
    items = ["x/a.tif", "b.nii", "c.NII.GZ", "http://h/d.tif", "/vsis3/k/e.vrt"]
    items += [str(tmp_path / f"{name}.zarr") for name in ("volume", "scene", "broken")]
    names = ["a_mask.tif", "b_mask.nii.gz", "c_mask.nii.gz", "d_mask.tif", "e_mask.tif"]
    names += ["volume_mask.nii.gz", "scene_mask.tif", "broken_mask.tif"]
    assert name_outputs(items, "out/") == tuple(Path("out") / name for name in names)


def test_what_a_folder_or_pattern_finds_keeps_its_place_below_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "archive/p1/ct.nii.gz", "archive/p2/ct.nii.gz", "scene.tif")
    expected = (Path("out/p1/ct_mask.nii.gz"), Path("out/p2/ct_mask.nii.gz"))
    for named in ("archive", "archive/**/*.nii.gz", "archive/p?/ct.nii.gz", str(tmp_path / "archive" / "*" / "ct*")):
        assert name_outputs(find_inputs([named]), "out", [named]) == expected
    both = ["scene.tif", "archive"]
    assert name_outputs(find_inputs(both), "out", both) == (Path("out/scene_mask.tif"), *expected)


def test_one_input_may_name_its_file(tmp_path):
    assert name_outputs(["a.tif"], "m.tif") == (Path("m.tif"),)
    assert name_outputs(["a.tif"], str(tmp_path)) == (tmp_path / "a_mask.tif",)
    assert name_outputs(["a.tif", "b.tif"], None) == (None, None)
    assert name_outputs(["a.tif"], "new.tif/") == (Path("new.tif/a_mask.tif"),)


@pytest.mark.parametrize(
    ("items", "output", "said"),
    [
        (["a.tif", "b.tif"], "m.tif", "is one file, but there are 2 inputs; give a folder"),
        (["x/a.tif", "y/a.tif"], "out", "y/a.tif: would have the same output out/a_mask.tif as x/a.tif"),
        (["x/a.tif", "y/a.tiff"], "out", "would have the same output"),
        (["a.tif"], "m.png", "is neither a folder nor one of .tif, .tiff, .nii, .nii.gz, .zarr"),
    ],
)
def test_outputs_that_cannot_be_are_refused(items, output, said):
    with pytest.raises(RequestError, match=said):
        name_outputs(items, output)


def test_a_file_is_no_folder(tmp_path):
    put(tmp_path, "plain")
    with pytest.raises(RequestError, match="neither a folder"):
        name_outputs(["a.tif"], str(tmp_path / "plain"))


@given(st.text("ab.", min_size=1, max_size=6).filter(lambda s: s.strip(".")), st.sampled_from([".tif", ".NII.GZ", ""]))
def test_stem_and_suffix_make_the_name(stem, suffix):
    name = stem + suffix
    assert stem_of(f"folder/{name}").lower() + suffix_of(f"folder/{name}") == Path(name).name.lower()
