"""Bands by number and by name, and models whose channels lie otherwise in a file than in their card."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Box
from pipeline.io.band_names import RasterBand, bands_named, listed
from pipeline.io.opening import open_source
from pipeline.io.raster import RasterSource
from pipeline.jobs.job import Job, Resources, parse_bands
from pipeline.models.card import Normalization
from pipeline.models.store import save_model
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.training.config import Data, read_training
from pipeline.training.dataset import TrainingPatches, close_all
from pipeline.training.dataset_statistics import collect_statistics, normalization_of
from pipeline.training.items import Item
from tests.support.inputs import SCENE_CARD, labels_of, pixels, undecided
from tests.support.model_cases import network_of
from tests.support.observers import Callbacks
from tests.support.rasters import put
from tests.support.trainings import SCENES, TOML, truth

RGB = ("red", "green", "blue")
WAYS = ("description", "colour", "tag")


def put_bands(path, values, names, way="description"):
    """A file whose bands are named, or not where a name is None; GDAL's own guess of colours is undone."""
    put(path, values)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(values) - 1)
        if way == "colour":
            dataset.colorinterp = [ColorInterp[name] if name else ColorInterp.undefined for name in names]
        for number, name in enumerate(names, 1):
            if name and way == "description":
                dataset.set_band_description(number, name)
            if name and way == "tag":
                dataset.update_tags(number, common_name=name)
    return path


@pytest.fixture(scope="module")
def rgb(tmp_path_factory):
    """A model of red, green and blue, to which they are not alike."""
    card = replace(
        SCENE_CARD,
        name="rgb",
        channels=RGB,
        network=replace(SCENE_CARD.network, in_channels=3),
        normalization=Normalization("fixed", (100.0, 90.0, 110.0), (50.0, 40.0, 60.0)),
    )
    folder = tmp_path_factory.mktemp("models") / "rgb"
    save_model(folder, card, undecided(network_of(card.network)))
    return str(folder)


NAMES = st.lists(st.sampled_from(["red", "green", "blue", "nir", "B04", "swir16"]), min_size=1, unique=True)


def disguised(name, how):
    """The same name as others write it."""
    return {"upper": name.upper(), "spaced": f" {name[0]} {name[1:]}", "dashed": "-".join(name), "plain": name}[how]


@given(NAMES.flatmap(st.permutations), st.data())
def test_a_name_is_the_band_that_is_called_so(names, data):
    about = [RasterBand((disguised(name, data.draw(st.sampled_from(["upper", "spaced", "plain"]))),)) for name in names]
    for number, name in enumerate(names, 1):
        said = disguised(name, data.draw(st.sampled_from(["upper", "spaced", "plain", "dashed"])))
        assert bands_named(about, said) == (number,)
    assert bands_named(about, "thermal") == ()


def test_zeros_in_the_number_of_a_band_do_not_count():
    about = [RasterBand(("B4",)), RasterBand(("B8A",)), RasterBand(("B10",)), RasterBand(("B1",))]
    assert [bands_named(about, name) for name in ("B04", "b8a", "B010", "B01")] == [(1,), (2,), (3,), (4,)]


def test_what_is_said_of_a_band_goes_before_its_colour():
    about = [RasterBand((name,), colour) for name, colour in zip(reversed(RGB), RGB, strict=True)]
    assert [bands_named(about, name) for name in RGB] == [(3,), (2,), (1,)]
    assert [band.name for band in about] == ["blue", "green", "red"]


@pytest.mark.parametrize("way", WAYS)
def test_bands_are_read_by_name_and_number_in_the_order_asked_for(tmp_path, way):
    values = pixels((4, 30, 40))
    path = put_bands(tmp_path / "a.tif", values, ["blue", "nir", "red", None], way)
    source = open_source(path, bands=[4, "RED", 2, "Blue"])
    np.testing.assert_array_equal(source.read(Box.whole((30, 40))).values, values[[3, 2, 1, 0]])
    assert source.bands == (4, 3, 2, 1)


def test_what_is_no_band_or_several_is_told_with_all_that_there_are(tmp_path):
    path = put_bands(tmp_path / "a.tif", pixels((4, 9, 9)), ["red", "nir", "NIR", None])
    with pytest.raises(InputError, match=r"a\.tif: there is no band blue; it has the bands 1 red, 2 nir, 3 NIR, 4$"):
        RasterSource(path, ["red", "blue"])
    with pytest.raises(InputError, match=r"a\.tif: the bands 2, 3 are all named nir; give the number of one"):
        RasterSource(path, ["nir"])
    with pytest.raises(InputError, match="there is no band selected; it has"):
        RasterSource(path, [])


def test_bands_of_a_command_line_are_numbers_and_names():
    assert parse_bands("4, red,nir08") == (4, "red", "nir08")
    with pytest.raises(ValueError, match=r"'4,,2' must be bands separated by commas, e.g. 4,3,2 or red,green,blue"):
        parse_bands("4,,2")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0, None), (None, 0, 1, 2)])
def test_a_file_of_another_order_has_the_mask_of_its_twin(rgb, tmp_path, way, order):
    image = pixels((3, 140, 110))
    values = np.stack([pixels((140, 110), 7) if channel is None else image[channel] for channel in order])
    names = [None if channel is None else RGB[channel] for channel in order]
    twin = put(tmp_path / "rgb.tif", image)
    other = put_bands(tmp_path / "other.tif", values, names, way)
    notes = []
    for path in (twin, other):
        segment(Job(str(path), tmp_path / f"{path.stem}_mask.tif", rgb), observer=Callbacks(note=notes.append))
    expected = labels_of(tmp_path / "rgb_mask.tif")
    np.testing.assert_array_equal(labels_of(tmp_path / "other_mask.tif"), expected)
    assert len(np.unique(expected)) > 1
    told = plan(Job(str(other), None, rgb), probe=False).channels
    assert told == tuple(f"{name} (band {names.index(name) + 1})" for name in RGB)
    assert plan(Job(str(twin), None, rgb), probe=False).channels == RGB
    assert [note for note in notes if "by name" in note] == [f"bands chosen by name: {', '.join(told)}"]


def test_only_the_numbers_of_bands_make_another_run(rgb, tmp_path):
    path = put_bands(tmp_path / "bgr.tif", pixels((3, 40, 40)), ["blue", "green", "red"])
    job = Job(str(path), tmp_path / "mask.tif", rgb)
    assert segment(job).status == "done"
    for said in (RGB, (3, 2, 1), ("red", 2, 1), (3, "GREEN", "blue")):
        assert segment(replace(job, bands=said)).status == "skipped"
        assert prepare(replace(job, bands=said), Resources()).fingerprint()["bands"] == (3, 2, 1)
    plain = put(tmp_path / "rgb.tif", pixels((3, 40, 40)))
    assert prepare(Job(str(plain), None, rgb), Resources()).fingerprint()["bands"] is None


ORDERS = [order for order in permutations((1, 2, 3)) if order != (1, 2, 3)]


@pytest.mark.parametrize("order", [*ORDERS, (1, 1, 1), (3, 3, 3)])
def test_numbers_that_contradict_names_are_refused_and_can_be_insisted_on(rgb, tmp_path, order):
    path = put_bands(tmp_path / "a.tif", pixels((3, 40, 40)), RGB, "colour")
    with pytest.raises(InputError) as refused:
        prepare(Job(str(path), None, rgb, bands=order), Resources())
    said = str(refused.value)
    first = next(at for at, number in enumerate(order) if number != at + 1)
    assert f"the model rgb would take band {order[first]}, named {RGB[order[first] - 1]}, as {RGB[first]}" in said
    assert "; --bands red,green,blue takes them by name; --bands " in said
    assert refused.value.code == "unsuitable"
    insisted = parse_bands(said.split("; --bands ")[2].split()[0])
    assert prepare(Job(str(path), None, rgb, bands=insisted), Resources()).reading.bands == order


def test_bands_without_a_name_are_taken_by_place_and_those_with_one_are_not(rgb, tmp_path):
    image = pixels((3, 40, 40))
    for names in ([None, None, None], ["red", None, None], ["nir", "red edge", None], ["red", "red", "blue"]):
        path = put_bands(tmp_path / "a.tif", image, names)
        assert prepare(Job(str(path), None, rgb), Resources()).reading.bands is None
    with pytest.raises(InputError, match="would take band 1, named blue, as red; --bands blue,2,3 keeps this order"):
        prepare(Job(str(put_bands(tmp_path / "b.tif", image, ["blue", None, None])), None, rgb), Resources())
    path = put_bands(tmp_path / "b.tif", image, ["blue", None, None])
    assert prepare(Job(str(path), None, rgb, bands=(3, 2, 1)), Resources()).reading.bands == (3, 2, 1)


def test_bands_that_fit_no_channel_are_listed(rgb, tmp_path):
    path = put_bands(tmp_path / "a.tif", pixels((4, 40, 40)), ["nir", "red edge", "swir", None])
    with pytest.raises(InputError, match=r"--bands 1,2,3; it has the bands 1 nir, 2 red edge, 3 swir, 4$"):
        prepare(Job(str(path), None, rgb), Resources())


def test_a_false_colour_picture_may_be_asked_for(rgb, tmp_path):
    path = put_bands(tmp_path / "a.tif", pixels((4, 40, 40)), [*RGB, "nir"], "colour")
    assert prepare(Job(str(path), None, rgb, bands=("nir", "red", "green")), Resources()).reading.bands == (4, 1, 2)
    with pytest.raises(InputError, match="would take band 1, named red, as green"):
        prepare(Job(str(path), None, rgb, bands=(4, 1, 2)), Resources())


def test_tiles_of_another_order_are_refused(rgb, tmp_path):
    (tmp_path / "t").mkdir()
    for name, order in (("a", RGB), ("b", RGB[::-1])):
        put_bands(tmp_path / f"t/{name}.tif", pixels((3, 9, 9)), order)
    for asked in (None, [1, 2, 3], ["red"]):
        with pytest.raises(InputError, match=r"b\.tif has the bands 1 blue, 2 green, 3 red, but .*a\.tif has 1 red, 2"):
            open_source(f"mosaic:{tmp_path / 't'}", bands=asked)


def test_tiles_that_are_named_by_their_day_are_one_scene(tmp_path):
    (tmp_path / "t").mkdir()
    where = rasterio.Affine(1, 0, 0, 0, -1, 0)
    for name in ("a", "b"):
        put(tmp_path / f"t/{name}.tif", pixels((2, 9, 9)), transform=where, crs="EPSG:32633")
        with rasterio.open(tmp_path / f"t/{name}.tif", "r+") as dataset:
            dataset.descriptions = (f"red of day {name}", f"nir of day {name}")
    assert open_source(f"mosaic:{tmp_path / 't'}").channels == 2


def test_the_command_line_tells_names_and_takes_them(rgb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_bands(tmp_path / "a.tif", pixels((4, 40, 40)), ["nir", *RGB[::-1]])
    (tmp_path / "job.toml").write_text(f'input = "a.tif"\nmodel = "{rgb}"\nbands = ["red", 3, "Blue"]\n')
    run = CliRunner().invoke
    (told,) = json.loads(run(app, ["info", "a.tif", "--json"]).stdout)["items"]
    assert told["bands"] == ["1 nir", "2 blue", "3 green", "4 red"]
    by_file = run(app, ["plan", "--config", "job.toml", "--no-probe", "--json"])
    by_option = run(
        app, ["plan", "-i", "a.tif", "-m", rgb, "--bands", "4,green,2", "--no-probe", "--json"], catch_exceptions=False
    )
    for ended in (by_file, by_option):
        assert json.loads(ended.stdout)["items"][0]["channels"] == ["red (band 4)", "green (band 3)", "blue (band 2)"]


def test_a_training_takes_bands_by_name_as_a_run_does(tmp_path):
    values = pixels((2, 64, 64)) // np.array([1, 3], np.uint8)[:, None, None]
    put(tmp_path / "label.tif", truth((64, 64), 3)[None])
    put_bands(tmp_path / "twin.tif", values, ["red", "green"])
    put_bands(tmp_path / "other.tif", values[::-1], ["green", "red"])
    found = {}
    for name, asked in (("twin", None), ("other", None), ("other", ("red", "green"))):
        training = replace(SCENES, data=Data("", "", bands=asked))
        item = Item(str(tmp_path / f"{name}.tif"), str(tmp_path / "label.tif"), "train")
        gathered = collect_statistics(training, [item])
        samples = TrainingPatches(training, gathered, normalization_of(training, gathered), range(3))
        found[name, asked] = [sample.image.numpy() for sample in samples]
        close_all()
    assert all(np.array_equal(found["twin", None], images) for images in found.values())
    (tmp_path / "a.toml").write_text(TOML.replace("[data]", '[data]\nbands = ["red", 2]'))
    assert read_training(tmp_path / "a.toml").data.bands == ("red", 2)
    (tmp_path / "a.toml").write_text(TOML.replace("[data]", "[data]\nbands = [1.5]"))
    with pytest.raises(RequestError, match=r"data.bands\[0\]: expected a whole number, got 1.5"):
        read_training(tmp_path / "a.toml")
    with pytest.raises(InputError, match=r'data\.bands = \["red", "green"\] takes them by name'):
        collect_statistics(replace(SCENES, data=Data("", "", bands=(1, 2))), [item])


def test_every_colour_of_gdal_is_a_name_but_those_that_tell_nothing():
    kinds = [kind for kind in ColorInterp if kind != ColorInterp.palette]
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=len(kinds), height=2, width=2, dtype="int16") as dataset:
            dataset.colorinterp = kinds
        told = listed(RasterSource(memory.name).band_info)
    unnamed = {ColorInterp.undefined, ColorInterp.gray, ColorInterp.alpha}
    assert [" " in text for text in told] == [kind not in unnamed for kind in kinds]
