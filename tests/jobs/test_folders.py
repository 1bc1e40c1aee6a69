"""What a folder or a pattern stands for, and what is left out of it and told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import rasterio.drivers
from typer.testing import CliRunner

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.cli import app
from pipeline.errors import InputError, NothingFoundError
from pipeline.io.formats import FORMATS
from pipeline.io.opening import open_source
from pipeline.io.suffixes import READ_BY_GDAL
from pipeline.jobs.inputs import find_inputs, jobs_of
from pipeline.jobs.job import Job
from pipeline.jobs.outputs import find_clashes
from pipeline.jobs.request import Request
from tests.support.archives import Folder, statuses
from tests.support.inputs import pixels, put_scene

NO_IMAGES = {"dat", "err", "gen", "gpkg", "gpkg.zip", "gsb", "gtx", "gvb", "hdr", "kml", "kmz", "lbl", "map", "mpl"}
NO_IMAGES |= {"mpr", "pdf", "rda", "sg-grd-z", "sqlite", "xml", "xyz", "cal", "ct1"}
"""Suffixes that GDAL gives to rasters too, but that are mostly something else."""


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def told_of(*named, **more):
    """Names of the inputs below the folder, and what is told."""
    lines = []
    jobs = jobs_of(Request(input=tuple(map(str, named)), **more), lines.append)
    root = Path(str(named[0]).partition("*")[0])
    return [os.path.relpath(job.input, root) for job in jobs], lines


def test_every_raster_that_gdal_reads_is_taken_or_named(tmp_path):
    taken = {suffix for each in FORMATS for suffix in (*each.suffixes, *each.read_only, *each.unsure)}
    known = set(rasterio.drivers.raster_driver_extensions()) - NO_IMAGES
    assert {f".{suffix}" for suffix in known} <= taken | set(READ_BY_GDAL)
    assert not taken & set(READ_BY_GDAL) - {".img"}


def test_geotiffs_are_taken_and_other_formats_are_named_once(tmp_path):
    put(tmp_path, "a.tif", "b.gtif", "c.GTIFF", "d.jp2", "e/f.jp2", "e/g.vrt", "notes.txt", "a.tif.aux.xml")
    found, lines = told_of(tmp_path)
    assert found == ["a.tif", "b.gtif", "c.GTIFF"]
    assert lines == [
        f"{tmp_path}: leaves out 3 files of other formats (2 .jp2, 1 .vrt); a pattern takes them: "
        f"--input '{tmp_path}/**/*.jp2'"
    ]
    assert told_of(f"{tmp_path}/**/*.jp2") == (["d.jp2", "e/f.jp2"], [])


def test_a_folder_of_other_formats_alone_is_refused_with_their_names(tmp_path):
    put(tmp_path, "d.jp2")
    with pytest.raises(
        NothingFoundError, match=r"contains no GeoTIFF.*; leaves out 1 file of other formats \(1 \.jp2\)"
    ):
        find_inputs([str(tmp_path)])


LABELS = [
    "BraTS20_Training_001_seg.nii.gz",
    "BraTS-GLI-00000-000-seg.nii.gz",
    "segmentation.nii.gz",
    "segmentation-0.nii",
    "patient001_frame01_gt.nii.gz",
    "sub-01_probseg.nii.gz",
    "aseg.nii.gz",
    "case.seg.nrrd",
    "case-label.nrrd",
    "labelsTr/la_003.nii.gz",
    "train/Labels/x.nii.gz",
    "SCAN_SEG.NII.GZ",
]
IMAGES = [
    "volume-0.nii",
    "imaging.nii.gz",
    "imagesTr/la_003.nii.gz",
    "segment_of_road.tif",
    "gta.tif",
    "relabelled.tif",
]


@pytest.mark.parametrize("pattern", [False, True])
def test_labels_are_left_out_and_told(tmp_path, pattern):
    put(tmp_path / "labels", *LABELS, *IMAGES)
    named = tmp_path / "labels" / "**" / "*.*" if pattern else tmp_path / "labels"
    found, lines = told_of(named)
    assert found == sorted(IMAGES)
    (line,) = lines
    assert line.startswith(f"{named}: leaves out {len(LABELS)} files of labels, e.g. {tmp_path}/labels/")
    assert line.endswith("; name them to segment them")


def test_labels_that_are_named_are_taken(tmp_path):
    put(tmp_path, "a_seg.nii.gz", "b_seg.nii.gz")
    assert told_of(tmp_path / "*_seg.nii.gz") == (["a_seg.nii.gz", "b_seg.nii.gz"], [])
    assert find_inputs([str(tmp_path / "a_seg.nii.gz")]) == (str(tmp_path / "a_seg.nii.gz"),)
    with pytest.raises(NothingFoundError, match="no file matches; leaves out 2 files of labels"):
        find_inputs([str(tmp_path / "*.nii.gz")])


@pytest.mark.parametrize("bids", [None, "bold"])
def test_phase_images_are_left_out_and_told(tmp_path, bids):
    put(tmp_path, "dataset_description.json")
    parts = [f"sub-01/func/sub-01_task-rest{part}_bold.nii.gz" for part in ("_part-mag", "_part-phase", "_part-imag")]
    put(tmp_path, *parts)
    found, lines = told_of(tmp_path, bids=bids)
    assert found == parts[:1]
    assert lines == [f"{tmp_path}: leaves out 2 phase images, e.g. {tmp_path / parts[2]}; name them to segment them"]


def test_a_linked_folder_is_searched_as_by_a_pattern(tmp_path):
    put(tmp_path, "in/a.tif", "other/b.tif", "other/deep/c.nii.gz")
    (tmp_path / "in/link").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "in")
    expected = ["a.tif", "link/b.tif", "link/deep/c.nii.gz"]
    assert told_of(tmp_path / "in") == (expected, [])
    assert told_of(f"{tmp_path}/in/**/*.*") == (expected, [])


@pytest.fixture
def folder(tmp_path, models):
    return Folder(tmp_path, models / "scene")


def test_inputs_whose_masks_would_have_one_name_fail_and_no_others(folder):
    jobs = [*folder.jobs, Job(f"{folder.jobs[1].input}f", folder.mask(1), folder.jobs[1].model)]
    Path(jobs[-1].input).write_bytes(b"other")
    folder.jobs = jobs
    reports = folder.run()
    assert statuses(reports) == ["done", "failed", "done", "done", "failed"]
    assert [report.code for report in reports if report.missing] == ["same-output"] * 2
    assert reports[1].reason == (
        f"{jobs[1].input}: would have the same output {folder.mask(1)} as {jobs[4].input}; "
        "rename one of them, or segment them into different folders"
    )
    assert not folder.mask(1).exists()
    ledger = ArchiveLedger(folder.root / "out" / LEDGER_NAME)
    assert [row.code for row in ledger.rows(("failed",)).values()] == ["same-output"] * 2
    ledger.close()


def test_masks_beside_their_inputs_may_have_one_name_too(tmp_path):
    put(tmp_path, "a.nii", "a.nii.gz", "b.nii")
    jobs = jobs_of(Request(input=(str(tmp_path),)))
    assert [Path(job.input).name for job in find_clashes(jobs)] == ["a.nii", "a.nii.gz"]
    assert find_clashes(jobs[:1] + jobs[2:]) == {}


def test_a_name_that_is_not_utf8_is_refused_with_the_way_out(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.tif"
    put_scene(tmp_path / "a.tif", pixels((2, 6, 5)))
    os.rename(tmp_path / "a.tif", path)  # noqa: PTH104  (bytes)
    with pytest.raises(InputError, match="its name is not UTF-8, which GDAL needs; rename it") as refused:
        open_source(os.fsdecode(path))
    assert refused.value.code == "unsuitable"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_name_that_is_not_utf8_fails_that_item_alone(tmp_path, models):
    (tmp_path / "in").mkdir()
    for number in range(2):
        put_scene(tmp_path / f"in/s{number}.tif", pixels((2, 60, 50), number))
    os.rename(tmp_path / "in/s0.tif", os.fsencode(tmp_path) + b"/in/caf\xe9.tif")  # noqa: PTH104
    words = ["run", "--input", tmp_path / "in", "--output", f"{tmp_path}/out/", "--model", models / "scene"]
    for expected in ("done", "skipped"):
        ended = CliRunner().invoke(app, [*map(str, words), "--json", "--no-prefect"])
        assert ended.exit_code == 1, ended.output
        broken, fine = json.loads(ended.stdout)["items"]
        assert broken["input"] == rf"{tmp_path}/in/caf\xe9.tif"
        assert broken["code"] == "unsuitable"
        assert fine["status"] == expected
    assert CliRunner().invoke(app, [*map(str, words), "--no-prefect"]).exit_code == 1
