"""An input is asked once what it is: by one table of formats, and by nothing else."""

from __future__ import annotations

import ast
import cProfile
import pickle
import pstats
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError, RequestError
from pipeline.files.object_path import as_output, is_object
from pipeline.io.address import name_of, with_paths
from pipeline.io.formats import FORMATS, look, mask_format, mask_suffixes
from pipeline.io.opening import open_source
from pipeline.io.suffixes import names_folder, suffix_of, with_stem
from pipeline.jobs.inputs import find_inputs, jobs_of
from pipeline.jobs.job import Job
from pipeline.jobs.job_file import Request
from pipeline.runs.segment import segment
from tests.support.dicoms import pixels, put_series
from tests.support.inputs import put_volume

ROOT = Path(__file__).parents[2]
QUESTIONS = frozenset(
    ["is_mosaic", "is_stack", "is_remote", "is_path", "is_series", "is_volume", "is_dicom", "halves", "suffix_of"]
)
"""What a name can be asked about the kind of its input."""
ASKING = ("pipeline.io.address", "pipeline.io.suffixes", "pipeline.io.formats", "pipeline.io.volume.nifti_pairs")
"""Where these are asked: the table of formats, and the modules that it asks."""
ELSEWHERE = {
    "pipeline.evaluation.pairs": 1,
    "pipeline.io.mask_files": 1,
    "pipeline.io.opening": 1,
    "pipeline.io.raster.gdal": 1,
    "pipeline.io.volume.nifti": 1,
    "pipeline.jobs.inputs": 2,
    "pipeline.jobs.outputs": 2,
    "pipeline.masks.export": 1,
    "pipeline.masks.sidecars": 1,
    "pipeline.masks.stac_item": 1,
}
"""How often each other module may ask, of outputs and of what a user names."""


def questions(texts: dict[str, str]) -> Counter[str]:
    """How often each module asks a name what it is, but for those that are there to be asked."""
    return Counter(
        {
            module: count
            for module, text in texts.items()
            if not any(module == room or module.startswith(f"{room}.") for room in ASKING)
            if (count := questions_in(text))
        }
    )


@cache
def questions_in(text: str) -> int:
    calls = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return sum(isinstance(called, ast.Name) and called.id in QUESTIONS for called in calls)


def sources() -> dict[str, str]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text()
        for folder in ("pipeline", "flows")
        for path in (ROOT / folder).rglob("*.py")
    }


def test_names_are_asked_by_the_table_and_hardly_elsewhere():
    asked = questions(sources())
    assert asked == ELSEWHERE
    assert asked.total() <= 12


@pytest.mark.parametrize(
    "text", ["is_mosaic(name)", "x = [suffix_of(p) for p in paths]", "def f():\n    is_series(job.input)"]
)
def test_a_planted_question_is_seen(text):
    texts = sources()
    module = "pipeline.runs.prepare"
    assert questions({**texts, module: f"{texts[module]}\n{text}\n"}) == Counter({**ELSEWHERE, module: 1})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mosaic:tiles", "mosaic"),
        ("mosaic:a.nii.gz", "mosaic"),
        ("stack:red=a.tif|nir=b.nii", "stack"),
        ("a.tif", "raster"),
        ("a.jp2", "raster"),
        ("a.img", "raster"),
        ("none", "raster"),
        ("https://h/a.tif?token=b.nii", "raster"),
        ("a.NII", "NIfTI"),
        ("a.nii.gz", "NIfTI"),
        ("https://h/a.nii.gz", "NIfTI"),
        ("a.nrrd", "NRRD"),
        ("a.nhdr", "NRRD"),
        ("a.mha", "MetaImage"),
        ("a.mgz", "unsupported"),
        ("a.dcm", "unsupported"),
        ("https://h/a.zarr/b", "Zarr"),
    ],
)
def test_a_name_says_the_format(name, expected):
    item = look(name)
    assert (item.text, item.format.name, str(item)) == (name, expected, name)
    assert look(item) is item


def test_a_first_look_at_the_files_says_it_where_the_name_does_not(tmp_path):
    folder = put_series(tmp_path / "a.nii.gz", pixels((3, 4, 5)))
    (tmp_path / "store").mkdir()
    put_volume(tmp_path / "pair.hdr", np.zeros((3, 4, 5), np.int16), np.eye(4))
    found = [look(path).format.name for path in (folder, tmp_path / "store", tmp_path / "pair.hdr", tmp_path / "a.img")]
    assert found == ["DICOM", "Zarr", "NIfTI", "raster"]


def test_a_stack_is_looked_at_with_its_parts(tmp_path):
    item = look("stack:red=a.tif|nir=https://u:p@h/b.tif")
    assert [(name, part.text, part.remote, part.is_path) for name, part in item.parts] == [
        ("red", "a.tif", False, True),
        ("nir", "https://u:p@h/b.tif", True, False),
    ]
    assert item.name == "stack:red=a.tif|nir=https://h/b.tif"
    with pytest.raises(RequestError, match="each raster of a stack needs a name"):
        look("stack:a.tif")


def test_masks_are_written_in_five_formats():
    assert mask_suffixes() == (".tif", ".tiff", ".nii", ".nii.gz", ".zarr", ".nrrd", ".seg.nrrd", ".mha")
    assert mask_suffixes("scene") == (".tif", ".tiff", ".zarr")
    assert mask_suffixes("volume") == (".nii", ".nii.gz", ".zarr", ".nrrd", ".seg.nrrd", ".mha")
    for suffix in mask_suffixes():
        assert mask_format(f"a{suffix}") is not None
        assert (mask_format(f"a{suffix}", "scene") is not None) == (suffix in mask_suffixes("scene"))
    assert mask_format("a.jp2") is None
    assert mask_format("a.mhd") is None


def test_no_suffix_is_that_of_two_formats():
    suffixes = [suffix for each in FORMATS for suffix in each.suffixes]
    assert len(set(suffixes)) == len(suffixes)


NAMES = st.text(st.characters(codec="ascii", exclude_characters="|=:?#\0", categories=("L", "N", "P")), min_size=1)


@given(NAMES)
def test_paths_are_changed_wherever_they_stand_and_addresses_are_not(name):
    def below(path):
        return f"below/{path}"

    assert with_paths(name, below) == f"below/{name}" or name.startswith("/vsi")
    assert with_paths(f"mosaic:{name}", below) == f"mosaic:{with_paths(name, below)}"
    changed = with_paths(name, below)
    assert with_paths(f"stack:a={name}|b=https://h/{name}", below) == f"stack:a={changed}|b=https://h/{name}"


@given(NAMES)
def test_only_a_name_without_a_suffix_names_a_folder(name):
    path = Path("/nowhere") / name
    assert names_folder(path) == (not suffix_of(path))
    assert suffix_of(with_stem(path, "b")) == suffix_of(path)


def test_what_a_folder_of_dicom_is_is_asked_once_and_its_headers_are_read_once(tmp_path, models):
    folder, masks = put_series(tmp_path / "s", pixels((9, 20, 20))), tmp_path / "mask.nii.gz"
    job = Job(str(folder), masks, str(models / "volume"), view=("axial", "coronal"))
    with cProfile.Profile() as profile:
        assert segment(job).status == "done"
    calls = Counter({name: count for (_, _, name), (count, *_) in pstats.Stats(profile).stats.items()})
    assert (calls["is_dicom"], calls["slices_of"], calls["read_partial"]) == (1, 1, 9)


def test_an_input_goes_to_other_processes_with_the_headers_that_were_read(tmp_path):
    item = look(put_series(tmp_path / "s", pixels((3, 4, 5))))
    slices = item.header
    sent = pickle.loads(pickle.dumps(item))
    assert (sent, sent.format, vars(sent)["header"]) == (item, item.format, slices)
    assert open_source(sent).grid == open_source(item).grid


def test_a_folder_found_by_its_content_is_named_as_a_volume(tmp_path):
    folder = put_series(tmp_path / "in" / "s.1", pixels((3, 4, 5)))
    (job,) = jobs_of(Request(input=(str(tmp_path / "in"),), output=str(tmp_path / "out")))
    assert (job.input, job.output) == (str(folder), tmp_path / "out" / "s.1_mask.nii.gz")


def test_options_of_other_formats_are_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(RequestError, match="--volume selects a volume of a 4-D NIfTI file, which this is not"):
        open_source(tmp_path / "a.tif", volume=0)
    with pytest.raises(RequestError, match="--series is for folders of DICOM files, which this is not"):
        open_source(tmp_path / "a.tif", series="1.2")
    with pytest.raises(InputError, match=r"MINC is not supported; convert it to NIfTI first, e\.g\. with `mnc2nii`"):
        open_source(put_bytes(tmp_path / "a.mnc"), volume=0, series="1.2")


def put_bytes(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


def test_paths_in_a_table_are_relative_to_it_in_a_stack_or_mosaic_too(tmp_path):
    rows = ["input", "a.tif", "/b.tif", "mosaic:tiles", "stack:red=a.tif|nir=https://h/b.tif", "https://h/c.tif"]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    assert find_inputs([str(tmp_path / "table.csv")]) == (
        f"{tmp_path}/a.tif",
        "/b.tif",
        f"mosaic:{tmp_path}/tiles",
        f"stack:red={tmp_path}/a.tif|nir=https://h/b.tif",
        "https://h/c.tif",
    )


@given(st.lists(st.sampled_from(["a", "B.x", ".", "..", "/", ".tif", "2", " "])).map("".join))
def test_names_and_suffixes_of_files_are_those_of_pathlib(text):
    assert name_of(text) == name_of(Path(text)) == Path(text).name
    suffix = Path(text).suffix.lower()
    assert suffix_of(text) == ("" if suffix[1:].isdecimal() else suffix)


@pytest.mark.parametrize("text", ["s3:/a", "s3:/bucket/a.tif", "s3x:/a/b", "x/s3:/a", "s3:", "masks", "az:/c/d/"])
def test_a_path_that_was_made_of_an_address_is_one(text):
    """And so is the address itself."""
    named = text.removesuffix("/").replace(":/", "://") if text[:4] in ("s3:/", "az:/") else text
    assert f"{as_output(Path(text))}".rstrip("/") == named
    assert f"{as_output(named)}".rstrip("/") == (named if is_object(named) else f"{Path(named)}")
