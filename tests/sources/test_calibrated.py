"""Scale and offset: what the network sees is what its card says, whatever the file stores."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from pipeline.archive.recipe import recipe_of
from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.geometry import Box
from pipeline.io.opening import open_source
from pipeline.io.raster import RasterSource
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.job_file import read_request
from pipeline.models.card import Normalization
from pipeline.models.store import save_model
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.sources.calibrated import CalibratedSource, Calibration
from pipeline.testing import SourceContract
from pipeline.training.config import Data
from pipeline.training.dataset import TrainingPatches, close_all
from pipeline.training.dataset_statistics import collect_statistics, normalization_of
from pipeline.training.items import Item
from pipeline.training.run import card_of
from tests.support.inputs import SCENE_CARD, labels_of, pixels, put_volume, undecided
from tests.support.model_cases import network_of
from tests.support.rasters import put
from tests.support.trainings import SCENES, VOLUMES, truth

SHAPE = (70, 90)
SCALES, OFFSETS = (0.0001, 0.5), (-0.1, 3.0)


def put_scaled(path, values, scales=SCALES, offsets=OFFSETS, **more):
    put(path, values, **more)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = scales, offsets
    return path


def stored(dtype="uint16", seed=0):
    return (pixels((2, 150, 120), seed).astype(np.float64) * 37).astype(dtype)


def physical(values):
    return np.stack([(v.astype(float) * s + o) for v, s, o in zip(values, SCALES, OFFSETS, strict=True)])


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two models with the same weights: of stored values, and of physical ones."""
    folder = tmp_path_factory.mktemp("models")
    network = undecided(network_of(SCENE_CARD.network))
    mean, std = np.array([3700.0, 3700.0]), np.array([1850.0, 1850.0])
    for name, scale, offset in (("raw", (1.0, 1.0), (0.0, 0.0)), ("physical", SCALES, OFFSETS)):
        rule = Normalization("fixed", tuple(map(float, mean * scale + offset)), tuple(map(float, std * scale)))
        save_model(folder / name, replace(SCENE_CARD, name=name, values=name, normalization=rule), network)
    return folder


@pytest.fixture(scope="module", params=["uint8", "int16", "uint16", "float32", "float64"])
def scaled(request, tmp_path_factory):
    values = pixels((2, *SHAPE)).astype(request.param)
    return put_scaled(
        tmp_path_factory.mktemp("in") / "a.tif", values, nodata=7, tiled=True, blockxsize=32, blockysize=16
    )


class TestContract(SourceContract):
    @pytest.fixture
    def source(self, scaled):
        return CalibratedSource(RasterSource(scaled), Calibration(SCALES, OFFSETS))

    def test_its_values_are_float32(self, source):
        assert source.dtype == np.float32


def test_physical_values_are_those_of_numpy_and_nodata_is_that_of_the_file(scaled):
    source = CalibratedSource(RasterSource(scaled), Calibration(SCALES, OFFSETS))
    found, seen = source.read(Box.whole(SHAPE))
    with rasterio.open(scaled) as dataset:
        raw, valid = dataset.read(), dataset.dataset_mask() > 0
    np.testing.assert_array_equal(found, physical(raw).astype(np.float32))
    np.testing.assert_array_equal(True if seen is None else seen, valid)


def test_a_model_of_physical_values_sees_them_in_any_file(places, tmp_path):
    values = stored()
    values[:, 20:60, 30:90] = 1
    files = {
        "tagged": put_scaled(tmp_path / "tagged.tif", values, nodata=1),
        "bare": put(tmp_path / "bare.tif", values, nodata=1),
        "ready": put(tmp_path / "ready.tif", np.where(values == 1, -9, physical(values)).astype("float32"), nodata=-9),
    }
    said = {"bare": {"scale": SCALES, "offset": OFFSETS}}
    for name, path in files.items():
        segment(Job(str(path), tmp_path / f"{name}_mask.tif", str(places / "physical"), **said.get(name, {})))
    segment(Job(str(files["tagged"]), tmp_path / "raw_mask.tif", str(places / "raw")))
    expected = labels_of(tmp_path / "tagged_mask.tif")
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(labels_of(tmp_path / "bare_mask.tif"), expected)
    np.testing.assert_array_equal(labels_of(tmp_path / "ready_mask.tif"), expected)
    assert (labels_of(tmp_path / "raw_mask.tif") == expected).mean() > 0.99, "the same network, and the same numbers"


def test_sentinel_2_before_and_after_baseline_4_has_the_same_mask(places, tmp_path):
    before, after = put(tmp_path / "before.tif", stored()), put(tmp_path / "after.tif", stored() + 1000)
    model = str(places / "raw")
    segment(Job(str(before), tmp_path / "one.tif", model))
    segment(Job(str(after), tmp_path / "two.tif", model, offset=(-1000.0,)))
    segment(Job(str(after), tmp_path / "other.tif", model))
    np.testing.assert_array_equal(labels_of(tmp_path / "two.tif"), labels_of(tmp_path / "one.tif"))
    assert (labels_of(tmp_path / "other.tif") != labels_of(tmp_path / "one.tif")).mean() > 0.05


def test_the_numbers_are_in_the_fingerprint_and_nothing_is_where_there_are_none(places, tmp_path):
    path = put_scaled(tmp_path / "a.tif", stored())
    raw, job = Job(str(path), None, str(places / "raw")), Job(str(path), tmp_path / "m.tif", str(places / "physical"))

    def noted(job):
        return prepare(job, Resources()).fingerprint()["calibration"]

    assert noted(raw) is noted(replace(raw, scale=(1.0,), offset=(0.0, 0.0))) is None
    assert noted(job) == {"scale": SCALES, "offset": OFFSETS}
    assert noted(replace(job, bands=(2, 1))) == {"scale": SCALES[::-1], "offset": OFFSETS[::-1]}
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("b", "a")
    assert noted(job) == {"scale": SCALES[::-1], "offset": OFFSETS[::-1]}
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("a", "b")
    assert noted(replace(raw, scale=(2.0,))) == {"scale": (2.0, 2.0), "offset": (0.0, 0.0)}
    segment(job)
    assert segment(replace(job, scale=SCALES, offset=OFFSETS)).status == "skipped"
    with pytest.raises(OutputError, match=r"calibration.offset \[-0.1, 3.0\] \(now \[0.0, 0.0\]\)"):
        segment(replace(job, scale=SCALES))


def test_integers_that_nobody_explains_are_no_physical_values(places, tmp_path):
    bare = Job(str(put(tmp_path / "a.tif", stored())), None, str(places / "physical"))
    with pytest.raises(
        InputError, match=r"a\.tif: the model physical takes physical values, but these are uint16 with"
    ):
        prepare(bare, Resources())
    assert prepare(replace(bare, scale=(1.0,)), Resources()).reading.calibration is None
    ready = Job(str(put(tmp_path / "b.tif", stored("float32"))), None, str(places / "physical"))
    assert prepare(ready, Resources()).reading.calibration is None


@pytest.mark.parametrize(
    ("scale", "offset", "said"),
    [
        ((1.0, 2.0, 3.0), None, "scale has 3 numbers for 2 channels"),
        (None, (1.0,) * 4, "offset has 4 numbers for 2 channels"),
        ((0.0,), None, "scales must be finite and not 0"),
        ((1.0, -0.0), None, "scales must be finite and not 0"),
        ((float("nan"),), None, "scales must be finite and not 0"),
        ((float("inf"),), None, "scales must be finite and not 0"),
        ((1e-320,), None, "scales must be finite and not 0"),
        (None, (float("-inf"),), "scales must be finite and not 0"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(places, tmp_path, scale, offset, said):
    path = put(tmp_path / "a.tif", stored())
    with pytest.raises(InputError, match=rf"a\.tif: {said}.*; give one scale and one offset for all channels"):
        prepare(Job(str(path), None, str(places / "raw"), scale=scale, offset=offset), Resources())


def test_tags_that_are_no_numbers_are_refused(places, tmp_path):
    path = put_scaled(tmp_path / "a.tif", stored(), (np.nan, 1.0))
    with pytest.raises(InputError, match=r"a\.tif: scales must be finite and not 0"):
        prepare(Job(str(path), None, str(places / "physical")), Resources())


def test_volumes_are_scaled_by_their_headers_alone(models, tmp_path):
    path = put_volume(tmp_path / "a.nii.gz", pixels((20, 20, 4)).astype(np.int16), np.eye(4))
    with pytest.raises(RequestError, match="--scale and --offset are for scenes; this is a volume"):
        prepare(Job(str(path), None, str(models / "volume"), offset=(1.0,)), Resources())
    with pytest.raises(ValueError, match="are for scenes; this is for volumes"):
        replace(VOLUMES, data=replace(VOLUMES.data, scale=(2.0,)))


def test_tiles_whose_numbers_mean_different_things_are_no_scene(tmp_path):
    (tmp_path / "t").mkdir()
    for name, offset in (("a", 0.0), ("b", -0.1)):
        put_scaled(tmp_path / f"t/{name}.tif", stored(), (1e-4, 1e-4), (offset, offset))
    with pytest.raises(InputError, match=r"b\.tif has the scales and offsets .*-0\.1.*, but .*a\.tif has "):
        open_source(f"mosaic:{tmp_path / 't'}")


def test_a_training_learns_from_physical_values_and_its_card_says_so(tmp_path):
    put(tmp_path / "label.tif", truth((150, 120), 3)[None])
    files = {
        "tagged": put_scaled(tmp_path / "a.tif", stored()),
        "ready": put(tmp_path / "b.tif", physical(stored()).astype("float32")),
        "bare": put(tmp_path / "c.tif", stored()),
    }
    found = {}
    for name, path in files.items():
        given_ = {"scale": SCALES, "offset": OFFSETS} if name == "bare" else {}
        training = replace(SCENES, data=Data("", "", **given_), samples=replace(SCENES.samples, values="physical"))
        gathered = collect_statistics(training, [Item(str(path), str(tmp_path / "label.tif"), "train")])
        rule = normalization_of(training, gathered)
        found[name] = (
            rule.mean,
            [sample.image.numpy() for sample in TrainingPatches(training, gathered, rule, range(3))],
        )
        assert card_of(training, rule, {}).values == "physical"
        close_all()
    means, images = found["ready"]
    assert means == pytest.approx(physical(stored()).mean((1, 2)), rel=1e-5)
    for name in ("tagged", "bare"):
        assert found[name][0] == means
        assert all(map(np.array_equal, found[name][1], images))


def test_ledgers_from_before_know_their_masks(places, tmp_path):
    job = Job("a.tif", None, str(places / "raw"))
    assert not {"scale", "offset"} & recipe_of(job).keys()
    assert "values" not in recipe_of(job)["models"]["raw"]
    assert recipe_of(replace(job, scale=(2.0,)))["scale"] == (2.0,)
    assert recipe_of(replace(job, model=str(places / "physical")))["models"]["physical"]["values"] == "physical"


def test_options_and_job_files_tell_scale_and_offset(places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_scaled(tmp_path / "a.tif", stored())
    run = CliRunner().invoke
    (told,) = json.loads(run(app, ["info", "a.tif", "--json"]).stdout)["items"]
    assert (tuple(told["scale"]), tuple(told["offset"])) == (SCALES, OFFSETS)
    words = ["plan", "-i", "a.tif", "-m", str(places / "raw"), "--no-probe", "--json"]
    ended = run(app, [*words, "--scale", "0.0001", "--offset", "-0.1,0"])
    assert json.loads(ended.stdout)["items"][0]["values"] == "scale 0.0001, offset -0.1,0"
    assert json.loads(run(app, words).stdout)["items"][0]["values"] == "as stored"
    assert plan(Job("a.tif", None, str(places / "physical")), probe=False).values == "scale 0.0001,0.5, offset -0.1,3"
    (tmp_path / "job.toml").write_text("scale = 2\noffset = [1, -0.5]\n")
    request = read_request(tmp_path / "job.toml")
    assert (request.scale, request.offset) == ((2.0,), (1.0, -0.5))
    (tmp_path / "job.toml").write_text("scale = 'big'\n")
    with pytest.raises(RequestError, match="scale = 'big' must be a number or a list of numbers"):
        read_request(tmp_path / "job.toml")
