"""Headers from end to end: forms, 4-D files, pairs and text, as a job asks for them."""

from __future__ import annotations

import gzip
import json
import shutil

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension
from typer.testing import CliRunner

from pipeline.archive.recipe import key_of, recipe_of
from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.evaluation.pairs import Pair, open_pair
from pipeline.io.opening import content_of, input_version, stamp_of
from pipeline.jobs.inputs import find_inputs, jobs_of
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.request import Request
from pipeline.masks.check import check
from pipeline.masks.export import export
from pipeline.models import store
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.view_sweep import sweeps_of
from tests.support.inputs import labels_of, listing, pixels

VALUES = pixels((4, 30, 40), seed=3).T.astype(np.int16)
"""(x, y, z)"""
AFFINE = np.array([[-0.9, 0, 0, 20], [0, 1.1, 0, -30], [0, 0, 2.5, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def model(models):
    """The small model of volumes, loaded once for all."""
    loaded = store.load_model(models / "volume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load_model", lambda ref: loaded)
        yield str(models / "volume")


def put(path, values=VALUES, sform=AFFINE, qform=None, kind=nibabel.Nifti1Image):
    image = kind(values, None)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(sform, 1)
    image.set_qform(sform if qform is None else qform, 1)
    nibabel.save(image, path)
    return path


def run(*words, code=0):
    ended = CliRunner().invoke(app, ["run", *map(str, words)])
    assert ended.exit_code == code, ended.output
    return ended


def test_the_form_that_is_asked_for_holds_and_is_recorded(model, tmp_path):
    """The qform mirrors the volume: a network that sees RAS is shown other slices by each form."""
    scan = put(tmp_path / "scan.nii.gz", qform=AFFINE * [[-1], [1], [1], [1]])
    with pytest.raises(InputError, match=r"disagree, by .* mm at the far corner") as caught:
        segment(Job(str(scan), model=model))
    assert caught.value.code == "forms-disagree"
    assert listing(tmp_path) == {"scan.nii.gz"}
    masks = {}
    for affine in ("sform", "qform"):
        alike = put(tmp_path / f"{affine}.nii.gz", sform=getattr(nibabel.load(scan), f"get_{affine}")())
        segment(Job(str(alike), model=model))
        segment(Job(str(scan), tmp_path / f"by_{affine}.nii.gz", model, affine=affine))
        masks[affine] = labels_of(tmp_path / f"by_{affine}.nii.gz")
        assert np.array_equal(masks[affine], labels_of(tmp_path / f"{affine}_mask.nii.gz"))
        header, mask = nibabel.load(scan).header, nibabel.load(tmp_path / f"by_{affine}.nii.gz").header
        assert np.array_equal(mask.get_sform(), header.get_sform())
        assert np.array_equal(mask.get_qform(), header.get_qform())
    assert not np.array_equal(masks["sform"], masks["qform"])
    with pytest.raises(OutputError, match=r"made with affine 'sform' \(now 'qform'\)"):
        segment(Job(str(scan), tmp_path / "by_sform.nii.gz", model, affine="qform"))


def test_each_volume_of_a_4d_file_gets_the_mask_of_that_volume(model, tmp_path):
    several = np.stack([VALUES, np.roll(VALUES, 9, axis=0), 255 - VALUES], axis=-1)
    scan = put(tmp_path / "bold.nii.gz", several)
    refused = run("--input", scan, "--model", model, code=1)
    assert "is 4-D, with 3 volumes; --volume 0 takes the first" in refused.stderr
    run("--input", scan, "--model", model, "--volume", "all")
    assert listing(tmp_path) >= {f"bold_t000{number}_mask.nii.gz" for number in range(3)}
    for number in range(3):
        segment(Job(str(put(tmp_path / "one.nii.gz", several[..., number])), tmp_path / f"m{number}.nii.gz", model))
        mask = nibabel.load(tmp_path / f"bold_t000{number}_mask.nii.gz")
        assert np.array_equal(np.asanyarray(mask.dataobj), labels_of(tmp_path / f"m{number}.nii.gz"))
        assert np.array_equal(mask.affine, nibabel.load(scan).affine)
    again = json.loads(run("--input", scan, "--model", model, "--volume", "all", "--json").stdout)
    assert [item["status"] for item in again["items"]] == ["skipped"] * 3
    run("--input", scan, "--model", model, "--volume", "1")
    assert np.array_equal(labels_of(tmp_path / "bold_mask.nii.gz"), labels_of(tmp_path / "m1.nii.gz"))
    other = run("--input", scan, "--model", model, "--volume", "2", code=1)
    assert "made with volume 1 (now 2)" in other.stderr


def test_all_volumes_of_many_files(tmp_path):
    put(tmp_path / "a.nii.gz", np.stack([VALUES] * 2, axis=-1))
    put(tmp_path / "b.nii.gz")
    (tmp_path / "c.nii.gz").write_text("broken")
    jobs = jobs_of(Request(input=(str(tmp_path),), output=str(tmp_path / "out"), volume="all"))
    assert [(job.output.name, job.volume) for job in jobs] == [
        *(("a_t0000_mask.nii.gz", 0), ("a_t0001_mask.nii.gz", 1), ("b_mask.nii.gz", None), ("c_mask.nii.gz", None))
    ]
    assert len({key_of(job) for job in jobs}) == 4
    with pytest.raises(RequestError, match=r"m\.nii\.gz: is one file, but there are 2 volumes; give a folder"):
        jobs_of(Request(input=(str(tmp_path / "a.nii.gz"),), output=str(tmp_path / "m.nii.gz"), volume="all"))


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_pair_is_one_item_of_a_folder_and_its_voxels_count(model, tmp_path, packed):
    header = tmp_path / f"scan.hdr{packed}"
    voxels = tmp_path / f"scan.img{packed}"
    put(voxels, kind=nibabel.Nifti1Pair)
    (tmp_path / "envi.hdr").write_text("ENVI\n")
    (tmp_path / "envi.img").write_bytes(bytes(400))
    assert find_inputs([str(tmp_path)]) == (str(header),)
    assert find_inputs([str(tmp_path / "scan.*")]) == (str(header),)
    assert find_inputs([str(tmp_path / "scan.img*")]) == (str(voxels),)
    segment(Job(str(header), model=model))
    single = put(tmp_path / "single.nii.gz")
    segment(Job(str(single), model=model))
    assert np.array_equal(labels_of(tmp_path / "scan_mask.nii.gz"), labels_of(tmp_path / "single_mask.nii.gz"))
    before = {ask: ask(str(header)) for ask in (input_version, stamp_of, content_of)}
    voxels.write_bytes(voxels.read_bytes() + b" ")
    assert all(ask(str(header)) != was for ask, was in before.items())


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.zarr"])
def test_text_goes_into_a_mask_on_request_only(model, tmp_path, name):
    scan = put(tmp_path / "scan.nii")
    image = nibabel.load(scan)
    image.header["descrip"], image.header["aux_file"] = b"JANE DOE", b"DOE.dcm"
    image.header.extensions.append(Nifti1Extension(6, b"DOE, of a ward"))
    scan = tmp_path / "noted.nii.gz"
    nibabel.save(image, scan)
    for keep in (None, True):
        segment(Job(str(scan), tmp_path / str(keep) / name, model, keep_header_text=keep))
        written = [path for path in (tmp_path / str(keep)).rglob("*") if path.is_file()]
        content = b"".join(_unpacked(path) for path in written)
        assert (b"DOE" in content) == bool(keep)
    if name.endswith("gz"):
        mask = nibabel.load(tmp_path / "True" / name)
        assert mask.header["descrip"].item() == b"JANE DOE"
        assert mask.header.extensions[0].content.rstrip(b"\0") == b"DOE, of a ward"


def _unpacked(path):
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_a_default_that_is_said_makes_no_other_job(model, tmp_path):
    scan = put(tmp_path / "scan.nii.gz")
    run("--input", scan, "--model", model)
    (tmp_path / "job.toml").write_text('input = "scan.nii.gz"\naffine = "strict"\nkeep_header_text = false\n')
    said = json.loads(run("--config", tmp_path / "job.toml", "--model", model, "--json").stdout)["items"][0]
    assert said["status"] == "skipped"
    assert segment(Job(str(scan), model=model, affine="strict", keep_header_text=False)).status == "skipped"
    assert recipe_of(jobs_of(Request(input=(str(scan),), affine="strict"))[0]) == recipe_of(Job(str(scan)))


@pytest.mark.parametrize("words", [["--nifti-affine", "sform"], ["--nifti-affine", "qform"], ["--volume", "0"]])
def test_what_does_not_matter_to_a_file_makes_no_other_mask(model, tmp_path, words):
    scan = put(tmp_path / "scan.nii.gz")
    run("--input", scan, "--model", model, *words)
    said = json.loads(run("--input", scan, "--model", model, "--json").stdout)["items"][0]
    assert said["status"] == "skipped"


def test_an_archive_goes_on_once_it_is_said_which_form_holds(model, tmp_path):
    (tmp_path / "in").mkdir()
    for name, qform in (("a", None), ("b", AFFINE * [[-1], [1], [1], [1]]), ("c", None)):
        put(tmp_path / "in" / f"{name}.nii.gz", VALUES[:20, :20], qform=qform)
    words = ["--input", tmp_path / "in", "--model", model, "--output", f"{tmp_path}/out/", "--json"]

    def statuses(*more, code=0):
        items = json.loads(run(*words, *more, code=code).stdout)["items"]
        return [(item["status"], item["code"]) for item in items]

    refused = [("done", None), ("failed", "forms-disagree"), ("done", None)]
    assert statuses(code=1) == refused
    assert statuses(code=1) == [("skipped", None), refused[1], ("skipped", None)]
    assert statuses("--nifti-affine", "sform") == [("skipped", None), ("done", None), ("skipped", None)]
    assert statuses("--nifti-affine", "sform") == [("skipped", None)] * 3
    assert "made with affine 'sform' (now 'qform')" in run(*words, "--nifti-affine", "qform", code=2).stderr


def test_a_mask_whose_forms_disagree_is_exported_compared_and_checked(tmp_path):
    """It carries both forms of its input, and whoever has it made has said which holds."""
    scan = put(tmp_path / "scan.nii.gz", (VALUES > 100).astype(np.uint8), qform=np.diag([1, 1, 9, 1]))
    for name in ("mask.zarr", "mask.nii"):
        export(scan, tmp_path / name)
        assert check(str(tmp_path / name), str(scan)) == []
    with open_pair(Pair(str(tmp_path / "mask.nii"), str(scan))) as pair:
        assert pair.prediction.grid == pair.truth.grid


def test_recipes_of_older_ledgers_hold_and_others_differ():
    assert not {"aoi", "affine", "volume", "keep_header_text"} & set(recipe_of(Job("a.nii")))
    recipes = [Job("a.nii"), Job("a.nii", affine="sform"), Job("a.nii", volume=0), Job("a.tif", aoi="1,2,3,4")]
    assert len({json.dumps(recipe_of(job)) for job in (*recipes, Job("a.nii", keep_header_text=True))}) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--nifti-affine", "qfrom"],
            "unknown affine 'qfrom' (did you mean \"qform\"?); choose one of strict, sform, qform",
        ),
        (["--volume", "first"], "--volume 'first': must be the index of a volume (from 0), or all"),
        (["--volume", "-1"], "volume -1: must be 0 or more (volumes are counted from 0), or all"),
    ],
)
def test_a_wrong_word_is_named(tmp_path, words, said):
    assert run("--input", tmp_path / "a.nii", *words, code=2).stderr == f"error: {said}\n"


def test_a_volume_of_what_has_none_is_refused(scene, models):
    ended = run("--input", scene, "--model", models / "scene", "--volume", "0", code=1)
    assert "--volume selects a volume of a 4-D NIfTI file, which this is not" in ended.stderr


def test_info_tells_of_several_volumes_and_of_forms_that_disagree(tmp_path):
    path = put(tmp_path / "a.nii.gz", np.stack([VALUES] * 2, axis=-1), qform=np.diag([1, 1, 9, 1]))
    told = json.loads(CliRunner().invoke(app, ["info", str(path), "--json"]).stdout)["items"][0]
    assert told["volumes"] == 2
    assert "disagree" in told["problem"]
    plain = json.loads(CliRunner().invoke(app, ["info", str(put(tmp_path / "b.nii.gz")), "--json"]).stdout)["items"][0]
    assert not {"volumes", "problem"} & set(plain)


STAGED = [
    ("window", "scan.nii.gz", {}, {}, False),
    ("fixed", "scan.nii.gz", {}, {}, False),
    ("zscore", "scan.nii.gz", {}, {}, False),
    ("zscore", "scan.nii", {}, {}, False),
    ("window", "scan.nii.gz", {"view": "coronal"}, {}, True),
    ("window", "scan.nii", {"view": "coronal"}, {}, True),
    ("window", "scan.nii.gz", {}, {"workers": 2}, True),
    ("window", "scan.nii", {}, {"workers": 2}, False),
]


@pytest.mark.parametrize(("kind", "name", "how", "means", "staged"), STAGED)
def test_a_volume_is_copied_only_where_it_would_be_unpacked_again_and_again(
    models, tmp_path, kind, name, how, means, staged
):
    """As the table in docs/howto/segment-volumes.md says."""
    card = json.loads((models / "volume/card.json").read_text())
    numbers = {"fixed": ("mean", "std"), "window": ("mean", "std", "low", "high"), "zscore": ()}[kind]
    values = {"mean": [0], "std": [100], "low": [-100], "high": [300]}
    card["normalisation"] = {**{name: [] for name in values}, "kind": kind, **{name: values[name] for name in numbers}}
    shutil.copytree(models / "volume", tmp_path / "model")
    (tmp_path / "model/card.json").write_text(json.dumps(card))
    job = Job(str(put(tmp_path / name)), model=str(tmp_path / "model"), **how)
    setup = prepare(job, Resources(**means))
    assert (setup.staged, setup.needs_statistics) == (staged, kind == "zscore")


def test_a_packed_volume_that_is_swept_in_strips_is_copied(model, tmp_path):
    wide = np.zeros((1500, 8, 3), np.int16)
    for name, staged in (("wide.nii.gz", True), ("wide.nii", False)):
        job = Job(str(put(tmp_path / name, wide)), model=model)
        whole = prepare(job, Resources())
        (sweep,) = sweeps_of(whole)
        assert not whole.staged
        assert prepare(job, Resources(memory=sweep.memory() - 1)).staged == staged
        assert not prepare(job, Resources(memory=sweep.memory())).staged


@pytest.mark.parametrize("slices", [50, 4000])
def test_a_volume_takes_the_memory_of_some_slices(model, tmp_path, slices):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((512, 512, slices))
    header.set_sform(AFFINE, 1)
    header["vox_offset"] = 352
    path = tmp_path / "scan.nii"
    path.write_bytes(header.binaryblock + bytes(4))
    with path.open("r+b") as file:
        file.truncate(352 + 2 * 512 * 512 * slices)
    (sweep,) = sweeps_of(prepare(Job(str(path), model=model), Resources()))
    assert sweep.memory() < 150 * 2**20
