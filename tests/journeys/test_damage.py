"""A work folder that was damaged: the same command ends with the bytes of a run that was left alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted, OutputError
from pipeline.io.zarr import labels
from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment
from tests.support.inputs import contents, listing, pixels, put_scene, put_volume
from tests.support.observers import Callbacks

pytestmark = pytest.mark.slow

PLAIN = Resources(precision="float32", runtime="torch")


def stop_after(job: Job, marks: int) -> Path:
    """Run a job until so many slabs are marked; return its work folder."""
    mark, made = Ledger.mark, list[object]()

    def mark_or_stop(ledger, slab, digests):
        if len(made) == marks:
            raise Interrupted
        made.append(slab)
        mark(ledger, slab, digests)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "mark", mark_or_stop)
        with pytest.raises(Interrupted):
            segment(job, PLAIN)
    return job.output.with_name(job.output.name + ".partial")


class Begun:
    """A job that was stopped midway, kept as it was, and what it makes if it is left alone."""

    def __init__(self, job: Job, marks: int) -> None:
        whole = replace(job, output=job.output.parent / "whole" / job.output.name)
        segment(whole, PLAIN)
        self.expected = contents(whole.output)
        self.job, self.work = job, stop_after(job, marks)
        self.kept = shutil.copytree(self.work, job.output.parent / "kept")

    def ends_the_same_after(self, damage: Callable[[Path], object]) -> list[str]:
        """Damage the work folder, run the job, and return what was told."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.job.output, ignore_errors=True)
        self.job.output.unlink(missing_ok=True)
        shutil.copytree(self.kept, self.work)
        damage(self.work)
        notes: list[str] = []
        assert segment(self.job, PLAIN, Callbacks(note=notes.append)).status == "done"
        assert contents(self.job.output) == self.expected
        return notes


@pytest.fixture(scope="module", params=["mask.tif", "mask.zarr"])
def scene(request, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    path = put_scene(folder / "tall.tif", pixels((2, 2101, 25)), nodata=0)
    return Begun(Job(str(path), folder / "out" / request.param, str(models / "scene")), 2)


@pytest.fixture(scope="module")
def volume(models, tmp_path_factory):
    """Swept coronally, so from a staged copy, by its own mean."""
    folder = tmp_path_factory.mktemp("volume")
    scan = put_volume(folder / "scan.nii.gz", pixels((20, 40, 80)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    return Begun(Job(str(scan), folder / "out" / "mask.nii", str(models / "volume"), view="coronal,axial"), 1)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def swap(folder: Path, one: str, other: str) -> None:
    kept = (folder / one).read_bytes()
    (folder / one).write_bytes((folder / other).read_bytes())
    (folder / other).write_bytes(kept)


def fill(file: Path, content: bytes) -> None:
    file.write_bytes(content)


CHUNKS = "mask.zarr/mask/c"
SCENE_FAULTS: dict[str, Callable[[Path], object]] = {
    "a chunk is gone": lambda work: (work / CHUNKS / "0/0").unlink(),
    "a chunk is cut": lambda work: cut(work / CHUNKS / "1/0"),
    "a chunk is another": lambda work: shutil.copy(work / CHUNKS / "1/0", work / CHUNKS / "0/0"),
    "a bit is flipped": lambda work: flip(work / CHUNKS / "0/0"),
    "all chunks are gone": lambda work: shutil.rmtree(work / "mask.zarr"),
}


@pytest.mark.parametrize("fault", SCENE_FAULTS)
def test_a_damaged_chunk_is_computed_again(scene, fault):
    (note,) = scene.ends_the_same_after(SCENE_FAULTS[fault])
    assert "mask.zarr: finished slabs are not as they were written and are computed again: " in note


OVERVIEW = "mask.zarr/overview"
OVERVIEW_FAULTS: dict[str, Callable[[Path], object]] = {
    "a tile of the overview is gone": lambda work: (work / OVERVIEW / "c/0/0").unlink(),
    "a bit of the overview is flipped": lambda work: flip(work / OVERVIEW / "c/1/0"),
    "edges of a block are another's": lambda work: swap(work / "mask.zarr/edges/c", "0/0", "1/0"),
    "the overview is gone": lambda work: shutil.rmtree(work / OVERVIEW),
}


@pytest.mark.parametrize("scene", ["mask.tif"], indirect=True)
@pytest.mark.parametrize("fault", OVERVIEW_FAULTS)
def test_a_damaged_overview_is_made_again(scene, fault):
    (note,) = scene.ends_the_same_after(OVERVIEW_FAULTS[fault])
    assert "mask.zarr: finished slabs are not as they were written and are computed again: " in note


@pytest.mark.parametrize("scene", ["mask.tif"], indirect=True)
def test_a_work_folder_without_an_overview_goes_on(scene):
    """As earlier versions began it."""

    def begin_without(work: Path) -> None:
        shutil.rmtree(work)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(labels, "overview_arrays", lambda _: {})
            stop_after(scene.job, 1)
        assert not (work / OVERVIEW).exists()

    assert scene.ends_the_same_after(begin_without) == []


def test_finished_chunks_are_published_as_they_are(scene):
    """Without their checksums; nothing is compressed again."""
    chunks = [file for file in (scene.kept / CHUNKS).rglob("*") if file.is_file()]
    published = list(scene.expected.values())
    assert chunks
    assert all(any(file.read_bytes()[:-4] in content for content in published) for file in chunks)


def emptied(name: str, content: bytes = b"") -> Callable[[Path], object]:
    return lambda work: fill(work / name, content)


LEDGER_FAULTS: dict[str, Callable[[Path], object]] = {
    "run.json is empty": emptied("run.json"),
    "run.json is cut": lambda work: cut(work / "run.json"),
    "run.json is a list": emptied("run.json", b"[]"),
    "run.json has a flipped bit": lambda work: flip(work / "run.json"),
    "files of a file manager and of NFS": lambda work: [(work / "done" / n).touch() for n in (".DS_Store", ".nfs01")],
    "done is gone": lambda work: shutil.rmtree(work / "done"),
}


@pytest.mark.parametrize("scene", ["mask.tif"], indirect=True)
@pytest.mark.parametrize("fault", LEDGER_FAULTS)
def test_a_damaged_ledger_is_mended(scene, fault):
    assert scene.ends_the_same_after(LEDGER_FAULTS[fault]) == []


def test_a_work_folder_of_which_nothing_is_known_is_told(scene):
    def damage(work):
        emptied("run.json")(work)
        emptied("mask.zarr/zarr.json")(work)

    with pytest.raises(OutputError, match=r"run\.json: is damaged .* start over with --restart"):
        scene.ends_the_same_after(damage)
    assert segment(scene.job, replace(PLAIN, restart=True)).status == "done"


VOLUME_FAULTS: dict[str, Callable[[Path], object]] = {
    "a flipped bit in the copy": lambda work: flip(work / "volume.zarr/0/c/0/0/0"),
    "a chunk of the copy is gone": lambda work: (work / "volume.zarr/0/c/0/0/1").unlink(),
    "digests of the copy are gone": lambda work: (work / "volume.json").unlink(),
    "statistics are empty": emptied("statistics.json"),
    "statistics are a list": emptied("statistics.json", b"[1, 2]"),
    "statistics have a flipped bit": lambda work: flip(work / "statistics.json"),
    "scores of a view are cut": lambda work: cut(work / "coronal/scores.zarr/scores/c/0/0/0/0"),
}


@pytest.mark.parametrize("fault", VOLUME_FAULTS)
def test_a_damaged_copy_or_score_is_made_again(volume, fault):
    volume.ends_the_same_after(VOLUME_FAULTS[fault])


def test_damage_during_a_run_is_computed_again(scene):
    """The first slab is damaged while later ones are computed."""
    work, done = scene.work, list[object]()

    def slab_done(slab):
        done.append(slab)
        if len(done) == 1:
            cut(work / CHUNKS / "0/0")

    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(scene.job.output, ignore_errors=True)
    scene.job.output.unlink(missing_ok=True)
    segment(scene.job, PLAIN, Callbacks(slab_done=slab_done))
    assert contents(scene.job.output) == scene.expected


def test_a_copy_that_is_damaged_while_it_is_read_is_made_again(volume):
    chunk = volume.work / "volume.zarr/0/c/0/0/1"
    phases = list[str]()

    def phase(name):
        phases.append(name)
        if phases.count("segmenting") == 1 and chunk.exists():
            chunk.unlink()

    shutil.rmtree(volume.work, ignore_errors=True)
    volume.job.output.unlink(missing_ok=True)
    segment(volume.job, PLAIN, Callbacks(phase=phase))
    assert contents(volume.job.output) == volume.expected
    assert phases.count("reading") == 2


@pytest.mark.parametrize("scene", ["mask.zarr"], indirect=True)
def test_a_published_store_has_no_checksums_and_no_temporary_files(scene):
    def damage(work):
        (work / CHUNKS / "0/0.3f2b.partial").write_bytes(b"x")
        (work / "mask.zarr/mask/.DS_Store").touch()

    assert scene.ends_the_same_after(damage) == []
    assert "crc32c" not in (scene.job.output / "mask/zarr.json").read_text()
    assert not [name for name in listing(scene.job.output) if "partial" in name or ".DS" in name]
    np.testing.assert_array_equal(zarr.open(scene.job.output)["mask"].shape, (2101, 25))
