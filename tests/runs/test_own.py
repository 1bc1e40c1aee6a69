"""Inputs, networks and outputs that a program brings itself, beside the same run from files."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import nibabel
import numpy as np
import pytest
import rasterio
import rioxarray

import pipeline
from pipeline.engine import Pixels
from pipeline.engine.ledger import Ledger
from pipeline.errors import InputError, Interrupted, ModelError, OutputError, PatchError, RequestError
from pipeline.geometry import Box, Grid
from pipeline.io.mask_files import mask_info
from pipeline.jobs.job import Job, Resources
from pipeline.masks.export import export
from pipeline.runs.observer import Observer
from pipeline.runs.segment import segment
from pipeline.sources.arrays import ArraySource, DataArraySource
from tests.support.inputs import PLACE, pixels, put_scene, put_volume

CRS = "EPSG:32633"
SHAPE = (1100, 40)
GRID = Grid.from_transform(SHAPE, PLACE, CRS)
FLAT = Grid.from_transform((150, 40), PLACE, CRS)
VALUES = pixels((2, *SHAPE))
VALUES[:, 900:1060, 20:35] = 0


def labels_in(path: Path) -> np.ndarray:
    with rasterio.open(path) as mask:
        return mask.read(1)


def place_of(path: Path) -> tuple[Any, ...]:
    with rasterio.open(path) as mask:
        return mask.transform, mask.crs, mask.shape


@dataclass
class Brightest:
    """A network that finds the channel with the highest value, whatever is around it."""

    version: str | None = None
    calls: int = 0
    patch: ClassVar = (64, 48)
    classes: ClassVar = 2
    batch: ClassVar = 3
    threads: ClassVar = 2
    names: ClassVar = ("dark", "bright")

    def __call__(self, values, valid):
        self.calls += len(values)
        return values.astype(np.float64)


@dataclass
class Kept:
    """A sink in memory that knows what it was given."""

    labels: np.ndarray
    given: list[Box] = field(default_factory=list)
    finished: set[Box] = field(default_factory=set)
    others: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Kept:
        return cls(np.full(shape, 254, np.uint8))

    def write(self, slab, values, *, whole=True):
        self.given.append(slab)
        self.labels[slab.slices] = values[0]
        self.others += values[1:]
        if whole:
            self.finished.add(slab)

    def done(self, slabs):
        return self.finished


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a scene and its mask, both as files."""
    folder = tmp_path_factory.mktemp("made")
    put_scene(folder / "scene.tif", VALUES, nodata=0)
    segment(Job(str(folder / "scene.tif"), folder / "mask.tif"), predictor=Brightest())
    return folder


class Plain:
    """Not a `Source`, but what one has."""

    grid, channels, dtype, block, nodata = GRID, 2, VALUES.dtype, (16, 40), 0

    def read(self, box):
        values = VALUES[(slice(None), *box.slices)]
        return Pixels(values, values.any(axis=0))

    def close(self):
        raise AssertionError("it is not the run's to close")


def data_array(folder: Path) -> DataArraySource:
    return DataArraySource(rioxarray.open_rasterio(folder / "scene.tif", chunks={"y": 256}))


SOURCES = {
    "a NumPy array": lambda folder: ArraySource(VALUES, GRID, nodata=0),
    "a DataArray": data_array,
    "an object that reads": lambda folder: Plain(),
}


@pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")
@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_gives_the_mask_of_its_file(kind, made, tmp_path):
    source = SOURCES[kind](made)
    report = segment(Job("a scene", tmp_path / "mask.tif"), source=source, predictor=Brightest())
    assert (report.status, report.input) == ("done", "a scene")
    np.testing.assert_array_equal(labels_in(report.output), labels_in(made / "mask.tif"))
    assert place_of(report.output) == place_of(made / "mask.tif")


def test_a_model_does_with_an_array_what_it_does_with_a_file(models, tmp_path):
    file = put_scene(tmp_path / "scene.tif", VALUES[:, 900:1100], nodata=0)
    job = Job(str(file), tmp_path / "a.tif", str(models / "scene"))
    segment(job)
    source = ArraySource(VALUES[:, 900:1100], Grid.from_transform((200, 40), PLACE, CRS), nodata=0)
    segment(replace(job, input="array", output=tmp_path / "b.tif"), source=source)
    np.testing.assert_array_equal(labels_in(tmp_path / "a.tif"), labels_in(tmp_path / "b.tif"))


def test_a_source_of_a_volume_gives_the_mask_of_its_file(models, tmp_path):
    values = pixels((4, 20, 30), 3)
    file = put_volume(tmp_path / "v.nii.gz", values.T.astype(np.int16), np.diag([0.9, 1.1, 2.5, 1]))
    model = str(models / "volume")
    segment(Job(str(file), tmp_path / "a.nii.gz", model))
    with closing(pipeline.open_source(file)) as opened:
        source = ArraySource(values.astype(np.int16), opened.grid)
    segment(Job("scan", tmp_path / "b.nii.gz", model), source=source)
    one, other = (nibabel.load(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz"))
    np.testing.assert_array_equal(one.get_fdata(), other.get_fdata())
    np.testing.assert_array_equal(one.affine, other.affine)


@pytest.mark.parametrize(
    "source",
    [None, ArraySource(VALUES[:, 850:1000], Grid.from_transform((150, 40), PLACE), nodata=0)],
    ids=["a file", "an array"],
)
def test_a_predictor_decides_the_labels(source, tmp_path):
    file = put_scene(tmp_path / "scene.tif", VALUES[:, 850:1000], nodata=0)
    report = segment(Job(str(file), tmp_path / "mask.tif"), source=source, predictor=Brightest())
    expected = np.where(VALUES.any(axis=0), VALUES.argmax(axis=0), 255)[850:1000]
    np.testing.assert_array_equal(labels_in(tmp_path / "mask.tif"), expected)
    assert report.model == "Brightest"
    assert [entry.name for entry in mask_info(tmp_path / "mask.tif").classes] == ["dark", "bright"]


def test_a_mask_of_an_own_predictor_has_a_stac_item_without_a_model(made, tmp_path):
    export(made / "mask.tif", tmp_path / "mask.json")
    assert "mlm:" not in (tmp_path / "mask.json").read_text()


def test_a_predictor_sees_the_slices_beside_those_of_a_volume(tmp_path):
    """With a margin, values have three axes, of which the network returns the middle."""

    class Middle(Brightest):
        margin, classes, names, patch = 1, 2, None, 16

        def __call__(self, values, valid):
            assert values.shape[2:] == (3, 16, 16)
            return np.concatenate([values[:, :, 1:2], 255.0 - values[:, :, 1:2]], axis=1)

    values = np.random.default_rng(0).integers(0, 256, (5, 20, 24)).astype(np.uint8)
    grid = Grid(values.shape, ((0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1)), ("z", "y", "x"))
    segment(Job("v", tmp_path / "m.nii"), source=ArraySource(values, grid), predictor=Middle())
    np.testing.assert_array_equal(nibabel.load(tmp_path / "m.nii").get_fdata().T, values < 128)


def test_a_sink_gets_what_the_mask_has(made):
    sink = Kept.of(SHAPE)
    report = segment(Job(str(made / "scene.tif"), also="confidence"), predictor=Brightest(), sink=sink)
    assert (report.status, report.output, report.mask) == ("done", None, None)
    np.testing.assert_array_equal(sink.labels, labels_in(made / "mask.tif"))
    assert [slab.stop[0] - slab.start[0] for slab in sink.given] == [1024, 76]
    assert [other.shape for other in sink.others] == [slab.shape for slab in sink.given]


@pytest.mark.parametrize("view", ["axial", "sagittal"])
def test_a_sink_gets_a_volume_in_its_own_axes(view, models, tmp_path):
    file = put_volume(tmp_path / "v.nii", pixels((4, 10, 14), 3).T.astype(np.int16), np.diag([-0.9, 1.1, 2.5, 1]))
    job = Job(str(file), tmp_path / "m.nii", str(models / "volume"), view=view)
    segment(job)
    sink = Kept.of((4, 10, 14))
    segment(replace(job, output=None), sink=sink)
    np.testing.assert_array_equal(sink.labels, nibabel.load(tmp_path / "m.nii").get_fdata().T)


def test_a_sink_that_knows_what_is_done_is_not_given_it_again(made):
    job, sink = Job(str(made / "scene.tif")), Kept.of(SHAPE)
    segment(job, predictor=Brightest(), sink=sink)
    whole = sink.labels.copy()
    sink.labels[1024:] = 254
    sink.finished.remove(Box((1024, 0), (1100, 40)))
    sink.given.clear()
    segment(job, predictor=Brightest(), sink=sink)
    assert sink.given == [Box((1024, 0), (1100, 40))]
    np.testing.assert_array_equal(sink.labels, whole)
    segment(job, predictor=Brightest(), sink=sink)
    assert len(sink.given) == 1


def test_what_a_program_brings_stays_open(made, tmp_path):
    source = pipeline.open_source(made / "scene.tif")
    segment(Job("a", tmp_path / "a.tif"), source=source, predictor=Brightest())
    assert source.read(Box((0, 0), (1, 1))).values.shape == (2, 1, 1)
    source.close()


class StopAfterFirst(Observer):
    """Stops a run once a slab is written."""

    def __init__(self) -> None:
        self.stopped = Event()

    def slab_done(self, slab):
        self.stopped.set()

    def should_stop(self):
        return self.stopped.is_set()


TALL = ArraySource(pixels((2, 2100, 40)), Grid.from_transform((2100, 40), PLACE, CRS), version="1")


def stopped_after_one_slab(job: Job, source: ArraySource, predictor: Brightest) -> None:
    """Stop a run after its first slab: its network waits for that before it goes on with the second."""
    observer = StopAfterFirst()

    class Waiting(Brightest):
        name = "Brightest"

        def __call__(self, values, valid):
            assert self.calls < 30 or observer.stopped.wait(30)
            return super().__call__(values, valid)

    with pytest.raises(Interrupted):
        segment(job, observer=observer, source=source, predictor=Waiting(predictor.version))
    assert Ledger(job.output.with_name("mask.tif.partial")).any_done


def test_a_version_lets_a_run_resume_and_skip(tmp_path):
    job = Job("scene", tmp_path / "mask.tif")
    stopped_after_one_slab(job, TALL, Brightest("a"))
    rest, every = Brightest("a"), Brightest("a")
    assert segment(job, source=TALL, predictor=rest).status == "done"
    segment(replace(job, output=tmp_path / "whole.tif"), source=TALL, predictor=every)
    assert 0 < rest.calls < every.calls
    assert (tmp_path / "mask.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert segment(job, source=TALL, predictor=Brightest("a")).status == "skipped"


def test_without_a_version_an_unfinished_run_starts_over(tmp_path):
    job, again = Job("scene", tmp_path / "mask.tif"), Brightest()
    stopped_after_one_slab(job, TALL, Brightest())
    segment(job, source=TALL, predictor=again)
    assert again.calls == -(-(2100 - 64) // 48) + 1


FEW = VALUES[:, :150]
CHANGED = {
    "another version of the input": (ArraySource(FEW, FLAT, version="2"), Brightest("a")),
    "another version of the network": (ArraySource(FEW, FLAT, version="1"), Brightest("b")),
    "no version of the input": (ArraySource(FEW, FLAT), Brightest("a")),
    "no version of the network": (ArraySource(FEW, FLAT, version="1"), Brightest()),
}


@pytest.fixture(scope="module")
def of_versions(tmp_path_factory) -> Path:
    """A mask of version 1 of an input and version a of a network."""
    path = tmp_path_factory.mktemp("versions") / "mask.tif"
    segment(Job("scene", path), source=ArraySource(FEW, FLAT, version="1"), predictor=Brightest("a"))
    return path


@pytest.mark.parametrize("what", CHANGED)
def test_a_mask_of_something_else_is_not_taken_for_this_one(what, of_versions):
    source, predictor = CHANGED[what]
    with pytest.raises(OutputError, match=r"mask\.tif: already exists"):
        segment(Job("scene", of_versions), source=source, predictor=predictor)


def test_a_mask_of_something_without_a_version_is_replaced_if_that_is_allowed(tmp_path):
    job, source = Job("scene", tmp_path / "mask.tif"), ArraySource(FEW, FLAT)
    for _ in range(2):
        assert segment(job, Resources(overwrite=True), source=source, predictor=Brightest()).status == "done"


class Short(Plain):
    def read(self, box):
        values, valid = super().read(box)
        return Pixels(values[:1], valid)


class Loose(Plain):
    def read(self, box):
        values, valid = super().read(box)
        return Pixels(values, valid.astype(np.uint8))


class NoPatch:
    classes, batch, threads = 2, 1, 1


class Flat(Brightest):
    def __call__(self, values, valid):
        return values[:, 0].astype(np.float32)


class Labelled(Brightest):
    def __call__(self, values, valid):
        return values


class Nameless(Brightest):
    names: ClassVar = ("only one",)


ARRAY = ArraySource(VALUES[:, :150], FLAT)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "values of other channels": ({"source": Short()}, {}, InputError, r"values of shape and type \(1, .* says \(2,"),
    "validity that is no truth": ({"source": Loose()}, {}, InputError, "valid of shape and type .* uint8.* bool"),
    "no patch": ({"source": ARRAY, "predictor": NoPatch()}, {}, RequestError, "NoPatch: has no patch"),
    "no plane for each class": (
        {"source": ARRAY, "predictor": Flat()},
        {},
        ModelError,
        r"Flat: returns .*float32 for values.*2, 64, 48",
    ),
    "labels for scores": ({"source": ARRAY, "predictor": Labelled()}, {}, ModelError, "uint8 .* float32 are needed"),
    "names for other classes": ({"source": ARRAY, "predictor": Nameless()}, {}, RequestError, "1 given.* has 2"),
    "turns": ({"source": ARRAY, "predictor": Brightest()}, {"tta": "flips"}, RequestError, "tta: is for networks of"),
    "a model as well": ({"source": ARRAY, "predictor": Brightest()}, {"model": "x"}, RequestError, "model: is for"),
    "a sink and a file": ({"source": ARRAY, "sink": Kept.of((9, 9))}, {}, RequestError, "labels go to the sink"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_words(what, models, tmp_path):
    brought, options, error, words = REFUSED[what]
    model = {} if "predictor" in brought else {"model": str(models / "scene")}
    with pytest.raises(error, match=words):
        segment(Job("scene", tmp_path / "mask.tif", **{**model, **options}), **brought)
    assert not list(tmp_path.iterdir())


def test_workers_cannot_have_what_a_program_brings(tmp_path):
    with pytest.raises(RequestError, match="workers: are other processes"):
        segment(Job("scene", tmp_path / "m.tif"), Resources(workers=2), source=ARRAY, predictor=Brightest())
    with pytest.raises(RequestError, match="workers: are other processes"):
        segment(Job("scene.tif"), Resources(workers=2), sink=Kept.of((9, 9)))


def test_a_sink_of_several_views_is_refused(models, tmp_path):
    file = put_volume(tmp_path / "v.nii", pixels((4, 10, 14), 3).T.astype(np.int16), np.diag([0.9, 1.1, 2.5, 1]))
    with pytest.raises(RequestError, match="labels of one view, and this job has axial, coronal"):
        segment(Job(str(file), model=str(models / "volume"), view="axial,coronal"), sink=Kept.of((4, 10, 14)))


def test_a_patch_that_fails_is_told_and_its_slab_is_not_whole():
    class Failing(Brightest):
        def __call__(self, values, valid):
            if len(values) == 1 and (values == 7).all():
                raise ArithmeticError("seven")
            assert not (values == 7).all((1, 2, 3)).any()
            return super().__call__(values, valid)

    values = pixels((2, 150, 40))
    values[:, :64, :48] = 7
    sink = Kept.of((150, 40))
    with pytest.raises(PatchError, match=r"failed twice on 1 patch \(ArithmeticError: seven\)"):
        segment(Job("scene"), source=ArraySource(values, FLAT), predictor=Failing(), sink=sink)
    assert sink.given
    assert not sink.finished
    assert (sink.labels == 255).any()
