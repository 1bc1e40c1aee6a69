"""Inputs below prefixes of an object store, and by patterns of names: as in folders, and each with its own mask."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError, NothingFoundError, RequestError
from pipeline.files.case import ignores_case
from pipeline.io.address import name_of, redact_url
from pipeline.io.opening import input_version
from pipeline.io.suffixes import stem_of, suffix_of
from pipeline.jobs.folders import root_of
from pipeline.jobs.inputs import find_inputs, jobs_of
from pipeline.jobs.job import Job
from pipeline.jobs.outputs import find_clashes, name_outputs
from pipeline.jobs.request import Request

KEYS = [
    "scans/b.nii.gz",
    "scans/p1/a.nii",
    "scans/p1/a_mask.nii.gz",
    "scans/p1/seg.nii.gz",
    "scans/p1/labelsTr/a.nii.gz",
    "scans/p2/a.nrrd",
    "scans/p2/.hidden.nii",
    "scans/.trash/a.nii",
    "scans/x.tif.partial/0/c/0",
    "scans/p2/ome.zarr/zarr.json",
    "scans/p2/ome.zarr/0/a.nii",
    "scans/p2/series.zip",
    "scans/p2/notes.txt",
    "scans/p2/look.png",
    "scans/scene.TIF",
    "scans/sub-1_part-phase_T1w.nii.gz",
    "scans",
    "scansB/other.nii",
]
HEADER = (348).to_bytes(4, "little") + bytes(344)


@pytest.fixture
def bucket(store):
    for key in KEYS:
        store.put(key, b"x")
    return store


def test_a_prefix_stands_for_its_inputs(bucket):
    lines = []
    jobs = jobs_of(Request(input=(f"{bucket.place}scans/",), output="out/"), lines.append)
    known = ["b.nii.gz", "p1/a.nii", "p2/a.nrrd", "p2/ome.zarr", "p2/series.zip", "scene.TIF"]
    assert [job.input.removeprefix(f"{bucket.place}scans/") for job in jobs] == known
    told = "\n".join(lines)
    assert f"{bucket.place}scans/: leaves out 2 files of labels, e.g. {bucket.place}scans/p1/labelsTr/a.nii.gz" in told
    assert f"leaves out 1 phase image, e.g. {bucket.place}scans/sub-1_part-phase_T1w.nii.gz" in told
    assert f"1 file of other formats (1 .png); a pattern takes them: --input '{bucket.place}scans/**/*.png'" in told
    made = ["b_mask.nii.gz", "p1/a_mask.nii.gz", "p2/a_mask.nii.gz", "p2/ome_mask.tif", "p2/series_mask.nii.gz"]
    assert [str(job.output) for job in jobs] == [f"out/{name}" for name in [*made, "scene_mask.tif"]]


PATTERNS = {
    "scans/**/*.nii.gz": ["b.nii.gz"],
    "scans/*.nii*": ["b.nii.gz"],
    "scans/*/a.n*": ["p1/a.nii", "p2/a.nrrd"],
    "scans/p?/a.nii": ["p1/a.nii"],
    "scans/p[2-9]/*.zarr": ["p2/ome.zarr"],
    "scans/.trash/*": [".trash/a.nii"],
    "scans/**/seg.nii.gz": ["p1/seg.nii.gz"],
    "scans/p[12]/*": ["p1/a.nii", "p2/a.nrrd", "p2/look.png", "p2/notes.txt", "p2/ome.zarr", "p2/series.zip"],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_stands_for_the_objects_that_match(bucket, pattern):
    found = find_inputs([f"{bucket.place}{pattern}"])
    assert [item.removeprefix(f"{bucket.place}scans/") for item in found] == PATTERNS[pattern]


def test_the_patterns_match_what_those_of_files_match(bucket, tmp_path):
    for key in KEYS:
        if key != "scans":
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(b"x")
    for pattern in PATTERNS:
        here = find_inputs([f"{tmp_path}/{pattern}"])
        there = find_inputs([f"{bucket.place}{pattern}"])
        assert [item.removeprefix(f"{tmp_path}/") for item in here] == [
            item.removeprefix(f"{bucket.place}") for item in there
        ]


def test_an_object_goes_before_a_prefix_and_a_pattern(bucket):
    place = bucket.place
    bucket.put("in/a[1].nii", b"x")
    assert find_inputs([f"{place}in/a[1].nii"]) == (f"{place}in/a[1].nii",)
    assert find_inputs([f"{place}scans"]) == (f"{place}scans",)
    assert find_inputs([f"{place}scansB"]) == (f"{place}scansB/other.nii",)
    assert find_inputs([f"{place}none"]) == (f"{place}none",)


def test_a_bucket_is_a_prefix(store):
    store.put("a.nii", b"x")
    assert find_inputs([f"s3://{store.place.bucket}"]) == (f"{store.place}a.nii",)


def test_what_stands_for_nothing_is_told(bucket):
    place = bucket.place
    with pytest.raises(NothingFoundError, match=rf"^{place}none/: there is no GeoTIFF, NIfTI.* below this prefix$"):
        find_inputs([f"{place}none/"])
    with pytest.raises(NothingFoundError, match=r"\*\.mha: no object matches"):
        find_inputs([f"{place}scans/*.mha"])
    with pytest.raises(InputError, match=r"s3://b-none/in: cannot be listed: there is no such bucket"):
        find_inputs(["s3://b-none/in/"])
    with pytest.raises(RequestError, match="has wildcards in the name of its bucket"):
        root_of("s3://b-*/in/a.nii")
    bucket.proxy.inject(lambda request: 403)
    with pytest.raises(InputError, match="cannot be listed: these credentials may not do this"):
        find_inputs([f"{place}scans/"])


@pytest.mark.parametrize("odd", ["a//b.nii", "a/../b.nii"])
def test_names_that_no_store_library_takes_are_told(store, odd):
    store.put(odd, b"x")
    with pytest.raises(InputError, match=r"cannot be listed: the name '.*' has an empty part, or . or .. as one"):
        find_inputs([f"{store.place}"])


def test_a_header_is_an_input_where_it_is_nifti(store):
    for stem, header in (("nifti", HEADER), ("envi", b"ENVI\n")):
        store.put(f"{stem}.hdr", header)
        store.put(f"{stem}.img", b"x")
    lines = []
    jobs = jobs_of(Request(input=(f"{store.place}",), output="out/"), lines.append)
    assert [job.input for job in jobs] == [f"{store.place}nifti.hdr"]
    assert "1 file of other formats (1 .img)" in lines[0]


def test_masks_go_to_a_store_below_the_prefix(bucket):
    (output,) = name_outputs([f"{bucket.place}scans/p1/a.nii"], "s3://to/masks/", [f"{bucket.place}scans/**/*.nii"])
    assert f"{output}" == "s3://to/masks/p1/a_mask.nii.gz"


def test_names_in_other_letters_clash_where_the_disk_ignores_them(tmp_path):
    """A link to a folder by its name in capitals makes its disk look like one."""
    names = ["s3://b/in/A.nii", "s3://b/in/a.nii"]
    for folder, clashes in (("exact", 0), ("lax", 2)):
        (tmp_path / folder / "out").mkdir(parents=True)
        if clashes:
            (tmp_path / folder / "OUT").symlink_to(tmp_path / folder / "out")
        outputs = name_outputs(names, f"{tmp_path}/{folder}/out/")
        jobs = [Job(name, output) for name, output in zip(names, outputs, strict=True)]
        told = find_clashes(jobs)
        assert len(told) == clashes
    assert "as its disk does not distinguish capital letters" in told[jobs[0]]
    assert ignores_case(tmp_path / "lax" / "out")


@pytest.mark.parametrize("name", ["a b.nii", "100%20.nii", "q?v=1.nii", "a#b.nii", "ü.nii"])
def test_a_name_is_shown_as_the_store_has_it(name):
    address = f"s3://bucket/in/{name}"
    assert (name_of(address), redact_url(address)) == (name, address)
    assert (stem_of(address), suffix_of(address)) == (name.removesuffix(".nii"), ".nii")


def test_a_name_that_gdal_alone_takes_is_left_to_it(store, tmp_path):
    address = "s3://bucket/a//b.tif"
    (job,) = jobs_of(Request(input=(address,), output=f"{tmp_path}/out/"))
    assert (job.input, job.output) == (address, tmp_path / "out/b_mask.tif")
    assert input_version(address) == {"name": address}
