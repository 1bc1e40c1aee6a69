"""BIDS: images of a dataset in, a derivative that the standard's own validator accepts out."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.archive.ledger import LEDGER_NAME
from pipeline.cli import app
from pipeline.errors import NothingFoundError, RequestError
from pipeline.evaluation.pairs import find_pairs
from pipeline.jobs.inputs import find_inputs, jobs_of
from pipeline.jobs.job_file import check as check_request
from pipeline.jobs.outputs import find_clashes, folder_of
from pipeline.jobs.request import Request, Search
from pipeline.masks.check import check
from tests.support.inputs import labels_of, listing, pixels, put_volume

pytestmark = pytest.mark.slow

IMAGES = (
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
    "sub-01/ses-2/anat/sub-01_ses-2_run-1_T1w.nii",
    "sub-02/anat/sub-02_T1w.nii.gz",
)
MASKS = (
    "sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz",
    "sub-01/ses-2/anat/sub-01_ses-2_run-1_dseg.nii.gz",
    "sub-02/anat/sub-02_dseg.nii.gz",
)
OTHERS = ("sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz", "derivatives/other/sub-02/anat/sub-02_T1w.nii.gz")


def put_dataset(folder: Path) -> Path:
    folder.mkdir()
    words = {"Name": "Drawn", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0", "Authors": ["Nobody"]}
    (folder / "dataset_description.json").write_text(json.dumps(words))
    (folder / "README.md").write_text("Two drawn subjects, to see what becomes of them. " * 5)
    (folder / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\n")
    for number, name in enumerate((*IMAGES, *OTHERS)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put_volume(folder / name, pixels((4, 30, 40), seed=number).astype(np.int16), np.diag([1.0, 1, 2, 1]))
    return folder


def run(*words: object, code: int = 0) -> str:
    ended = CliRunner().invoke(app, ["run", *map(str, words)])
    assert ended.exit_code == code, ended.output
    return ended.output


@pytest.fixture
def dataset(tmp_path):
    return put_dataset(tmp_path / "study")


@pytest.fixture(scope="module")
def model(models):
    return str(models / "volume")


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """A dataset, and the derivative of its T1w images."""
    dataset = put_dataset(tmp_path_factory.mktemp("bids") / "study")
    before = listing(dataset)
    run("--input", dataset, "--bids", "T1w", "--model", models / "volume", "-q")
    assert {name for name in listing(dataset) - before if not name.startswith("derivatives")} == set()
    return dataset


def faults(dataset: Path) -> list[str]:
    """What the standard's own validator finds wrong in a dataset."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    words = [program, dataset, "--format", "json", "--ignoreWarnings"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    said = json.loads(ended.stdout)
    assert said["summary"]["totalFiles"] > 0
    return [f"{issue['code']} {issue.get('location')}" for issue in said["issues"]["issues"]]


def test_masks_take_the_names_and_places_of_a_derivative(made):
    root = made / "derivatives" / "pipeline"
    for image, mask in zip(IMAGES, MASKS, strict=True):
        assert check(root / mask, made / image) == []
        said = json.loads((root / mask).with_name(Path(mask).name.replace(".nii.gz", ".json")).read_text())
        assert said["Sources"] == [f"bids:raw:{image}"]
        assert said["SpatialReference"] == "orig"
        with (root / mask).with_name(Path(mask).name.replace(".nii.gz", ".tsv")).open() as file:
            table = list(csv.DictReader(file, delimiter="\t"))
        assert [int(row["index"]) for row in table] == [row["value"] for row in said["labels"]]
        assert {int(row["index"]) for row in table} >= set(np.unique(labels_of(root / mask)))
        assert all(len(row["color"]) == 7 for row in table)
    assert len([name for name in listing(root) if name.endswith("_dseg.nii.gz")]) == 3
    assert (root / LEDGER_NAME).is_file()


def test_the_validator_accepts_derivative_and_dataset(made):
    assert faults(made) == []
    root = made / "derivatives" / "pipeline"
    assert faults(root) == []
    (root / MASKS[2]).with_name("sub-02_colour-red_dseg.nii.gz").write_bytes((root / MASKS[2]).read_bytes())
    assert faults(root), "a validator that finds nothing wrong in a wrong name says nothing of right ones"
    (root / MASKS[2]).with_name("sub-02_colour-red_dseg.nii.gz").unlink()


def test_layers_beside_masks_are_no_part_of_the_derivative(made, model, tmp_path):
    dataset = shutil.copytree(made, tmp_path / "study", ignore=shutil.ignore_patterns("derivatives"))
    said = json.loads(run("--input", dataset, "--bids", "T1w", "--model", model, "--layers", "scores", "-q", "--json"))
    root = dataset / "derivatives" / "pipeline"
    for item in said["items"]:
        layer = item["output"].replace("_dseg", "_dseg_scores")
        assert check(layer, item["output"]) == []
    assert faults(dataset) == faults(root) == []


def test_masks_of_another_suffix_in_the_same_folder_have_names_of_their_own(made, model, tmp_path):
    dataset = shutil.copytree(made, tmp_path / "study")
    root = dataset / "derivatives" / "pipeline"
    before = {name: (root / name).read_bytes() for name in MASKS}
    said = json.loads(run("--input", dataset, "--bids", "T2w", "--model", model, "-q", "--json"))
    (item,) = said["items"]
    assert (item["status"], Path(item["output"]).name) == ("done", "sub-01_ses-1_desc-T2w_dseg.nii.gz")
    assert {name: (root / name).read_bytes() for name in MASKS} == before
    for suffix, count in (("T1w", 3), ("T2w", 1)):
        again = run("--input", dataset, "--bids", suffix, "--model", model, "-q", "--json")
        assert [each["status"] for each in json.loads(again)["items"]] == ["skipped"] * count
    assert faults(root) == []


def test_the_same_command_again_does_nothing_and_another_folder_takes_its_own(made, model, tmp_path):
    again = run("--input", made, "--bids", "T1w", "--model", model, "-q", "--json")
    assert [item["status"] for item in json.loads(again)["items"]] == ["skipped"] * 3
    run("--input", made, "--bids", "T2w", "--model", model, "-q", "--output", tmp_path / "t2")
    mask = tmp_path / "t2" / "sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz"
    said = json.loads(mask.with_name("sub-01_ses-1_dseg.json").read_text())
    assert said["Sources"] == ["bids:raw:sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz"]
    links = json.loads((tmp_path / "t2" / "dataset_description.json").read_text())["DatasetLinks"]
    assert (tmp_path / "t2" / links["raw"]).resolve() == made.resolve()


def test_what_a_derivative_says_of_itself_is_left_to_its_owner(dataset, model, tmp_path):
    for said, source in (({"DatasetLinks": {"study": "../study"}}, "bids:study:sub-02"), ([], None)):
        root = tmp_path / f"derivative{source is None}"
        root.mkdir()
        (root / "dataset_description.json").write_text(json.dumps(said))
        mask = root / "sub-02/anat/sub-02_dseg.nii.gz"
        run("--input", dataset / IMAGES[2], "--model", model, "--output", mask, "-q")
        assert json.loads((root / "dataset_description.json").read_text()) == said
        told = json.loads(mask.with_name("sub-02_dseg.json").read_text()).get("Sources")
        assert told == (source and [f"bids:study:{IMAGES[2]}"])


def test_a_table_that_is_not_ours_is_kept(dataset, model, tmp_path):
    mask = tmp_path / "derivative" / "sub-02/anat/sub-02_dseg.nii.gz"
    table = mask.with_name("sub-02_dseg.tsv")
    table.parent.mkdir(parents=True)
    table.write_text("index\tvoxels\n1\t77\n")
    told = run("--input", dataset / IMAGES[2], "--model", model, "--output", mask, "-q", code=1)
    assert f"{table}: already exists and would be overwritten" in told
    assert listing(table.parent) == {table.name}
    assert "77" in table.read_text()


def test_a_derivative_behind_a_link_finds_its_dataset(dataset, model, tmp_path):
    (tmp_path / "mnt" / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "scratch").symlink_to(tmp_path / "mnt" / "deep" / "deeper")
    root = tmp_path / "scratch" / "out"
    run("--input", dataset, "--bids", "T2w", "--model", model, "--output", root, "-q")
    link = json.loads((root / "dataset_description.json").read_text())["DatasetLinks"]["raw"]
    assert (root.resolve() / link).resolve() == dataset.resolve()
    said = json.loads((root / "sub-01/ses-1/anat/sub-01_ses-1_dseg.json").read_text())
    assert said["Sources"] == [f"bids:raw:{OTHERS[0]}"]


def test_evaluate_finds_the_masks_of_a_derivative(made):
    root = made / "derivatives" / "pipeline"
    assert len(find_pairs([str(root)], "{folder}/{stem}.nii.gz")) == 3


def test_masks_of_other_places_and_names_are_no_derivatives(dataset, model, tmp_path):
    (tmp_path / "sub-09_T1w.nii.gz").write_bytes((dataset / IMAGES[2]).read_bytes())
    places = (
        (dataset / IMAGES[2], tmp_path / "plain_dseg.nii.gz"),
        (dataset / IMAGES[2], tmp_path / "out" / "sub-02" / "sub-02_mask.nii.gz"),
        (tmp_path / "sub-09_T1w.nii.gz", tmp_path / "sub-09" / "sub-09_dseg.nii.gz"),
    )
    for image, mask in places:
        run("--input", image, "--model", model, "--output", mask, "-q")
        assert not list(tmp_path.glob("**/*.tsv")) or list(tmp_path.glob("**/*.tsv")) == [dataset / "participants.tsv"]
    assert not list(tmp_path.glob("*/dataset_description.json"))[1:]


def test_masks_of_a_dataset_are_no_inputs_of_a_folder(made):
    assert not [item for item in find_inputs([str(made)]) if "_dseg" in item]


def test_what_is_no_dataset_or_has_no_such_image_is_told(dataset, tmp_path):
    with pytest.raises(NothingFoundError, match=r"study: has no image with the BIDS suffix bold; it has T1w, T2w$"):
        jobs_of(Request(input=(str(dataset),), bids="bold"))
    with pytest.raises(RequestError, match=r"is not a BIDS dataset: it has no dataset_description\.json"):
        jobs_of(Request(input=(str(dataset / "sub-01"),), bids="T1w"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "dataset_description.json").write_text("{}")
    with pytest.raises(RequestError, match="it has no NIfTI images"):
        jobs_of(Request(input=(str(tmp_path / "empty"),), bids="T1w"))
    with pytest.raises(RequestError, match="takes one dataset and writes one mask per image; got 2 inputs"):
        jobs_of(Request(input=(str(dataset), str(dataset)), bids="T1w"))
    with pytest.raises(RequestError, match="got --volume all"):
        jobs_of(Request(input=(str(dataset),), bids="T1w", volume="all"))
    for output in ("mask.nii.gz", str(dataset), str(dataset / IMAGES[2])):
        with pytest.raises(RequestError, match="masks of a dataset need a folder of their own"):
            jobs_of(Request(input=(str(dataset),), bids="T1w", output=output))
    with pytest.raises(RequestError, match="bids and search cannot be used together"):
        check_request(Request(bids="T1w", search=Search("https://example.com")))
    put_volume(dataset / IMAGES[2].replace(".nii.gz", ".nii"), np.zeros((2, 3, 4), np.int16), np.eye(4))
    clashes = find_clashes(jobs_of(Request(input=(str(dataset),), bids="T1w")))
    assert [Path(job.input).name for job in clashes] == ["sub-02_T1w.nii", "sub-02_T1w.nii.gz"]


def test_the_ledger_lies_in_the_derivative(dataset, tmp_path):
    for output in (None, str(tmp_path / "out")):
        request = Request(input=(str(dataset),), output=output, bids="T1w")
        assert folder_of(request, jobs_of(request)) == Path(output or dataset / "derivatives" / "pipeline")
