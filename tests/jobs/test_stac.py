"""STAC items as inputs: from a file, an address, and a search."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipeline.archive.recipe import recipe_of
from pipeline.errors import InputError, NothingFoundError, RequestError
from pipeline.jobs.inputs import find_inputs, jobs_of
from pipeline.jobs.job import Resources
from pipeline.jobs.job_file import read_request
from pipeline.jobs.outputs import find_clashes, folder_of
from pipeline.jobs.request import Request, Search
from pipeline.models.store import save_model
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from tests.support.inputs import SCENE_CARD, pixels
from tests.support.model_cases import network_of
from tests.support.observers import Callbacks
from tests.support.rasters import put as put_raster
from tests.support.remote import served
from tests.support.stac import api, item

PLAIN = Resources(precision="float32", runtime="torch")


def collection(*items):
    return {"type": "FeatureCollection", "features": list(items)}


@pytest.fixture
def put(tmp_path):
    def write(said, name="items.json"):
        (tmp_path / name).write_text(said if isinstance(said, str) else json.dumps(said))
        return str(tmp_path / name)

    return write


def jobs(place, allow=("file", "https", "s3"), **more):
    return [(job.input, job.output) for job in jobs_of(Request(input=(place,), allow=allow, **more))]


def test_each_item_is_an_input_and_names_its_mask(put, tmp_path):
    place = put(collection(item("S2A_31TFJ_20260501"), item("b", {"visual": {"href": "https://h/b/tci.tif?sig=x"}})))
    near, far = f"{tmp_path}/tci.tif", "https://h/b/tci.tif?sig=x"
    out = tmp_path / "out"
    assert jobs(place, output=f"{out}/") == [(near, out / "S2A_31TFJ_20260501_mask.tif"), (far, out / "b_mask.tif")]
    assert jobs(place) == [(near, tmp_path / "S2A_31TFJ_20260501_mask.tif"), (far, Path("b_mask.tif"))]
    assert jobs(put(item("single"), "item.geojson"))[0][0] == near
    request = Request(input=(place,), output=f"{out}/", allow=("https",))
    assert folder_of(request, jobs_of(request)) == out
    assert find_inputs([put(collection(item("a")))] * 2) == (near,)


def test_hrefs_are_relative_to_where_the_item_says_it_lies(put):
    at = item("a", {"visual": {"href": "../x/tci.tif"}})
    at["links"] = [{"rel": "self", "href": "https://host/items/a.json"}]
    assert jobs(put(collection(at)))[0][0] == "https://host/x/tci.tif"


@pytest.mark.parametrize("identity", ["../../etc/evil", "/etc/evil", "..", "a/../../b", "\\..\\x", ".hidden"])
def test_no_name_leaves_the_folder_of_the_masks(put, tmp_path, identity):
    ((_, output),) = jobs(put(collection(item(identity))), output=f"{tmp_path}/out/")
    assert output.parent == tmp_path / "out"
    assert output.name.endswith("_mask.tif")
    assert not output.name.startswith(".")


TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.mark.parametrize(
    ("assets", "asked", "chosen"),
    [
        ({"B04": {"href": "/4.tif"}, "visual": {"href": "/v.tif"}}, None, "/v.tif"),
        ({"B04": {"href": "/4.tif"}, "visual": {"href": "/v.tif"}}, "B04", "/4.tif"),
        (
            {"thumbnail": {"href": "/t.png", "type": "image/png"}, "cog": {"href": "/c.tif", "type": TIFF}},
            None,
            "/c.tif",
        ),
        ({"image": {"href": "s3://bucket/i.tif"}}, None, "s3://bucket/i.tif"),
    ],
)
def test_an_asset_is_chosen(put, assets, asked, chosen):
    assert jobs(put(collection(item("a", assets))), asset=asked)[0][0] == chosen


BANDS = {
    "B04": {"href": "/4.tif", "type": TIFF, "eo:bands": [{"name": "B04", "common_name": "red"}]},
    "B04-jp2": {"href": "/4.jp2", "type": "image/jp2", "eo:bands": [{"name": "B04", "common_name": "red"}]},
    "swir16": {"href": "https://h/11.tif?sig=x,y", "type": TIFF, "bands": [{"eo:common_name": "swir16"}]},
    "B8A": {"href": "/8a.tif", "type": TIFF, "bands": [{"name": "B8A", "eo:common_name": "nir08"}]},
    "again": {"href": "/8b.tif", "type": TIFF, "bands": [{"name": "again", "eo:common_name": "nir08"}]},
    "rgb": {"href": "/rgb.tif", "type": TIFF, "eo:bands": [{"common_name": "green"}, {"common_name": "blue"}]},
}


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("B04", "/4.tif"),
        ("red", "/4.tif"),
        ("RED", "/4.tif"),
        ("red,swir16", "stack:red=/4.tif|swir16=https://h/11.tif?sig=x,y"),
        ("swir16, B8A,B04-jp2", "stack:swir16=https://h/11.tif?sig=x,y|B8A=/8a.tif|B04-jp2=/4.jp2"),
    ],
)
def test_assets_are_chosen_by_name_and_by_common_name(put, asked, chosen):
    assert [found for found, _ in jobs(put(item("a", BANDS)), asset=asked)] == [chosen]


def test_assets_that_are_several_or_none_are_told(put):
    place = put(item("a", BANDS))
    with pytest.raises(RequestError, match="STAC item a: nir08 matches several assets: B8A, again; name one of them"):
        jobs(place, asset="red,nir08")
    with pytest.raises(RequestError, match=r"has the assets B04 \(red\), B04-jp2 \(b04, red\), swir16, .* not green"):
        jobs(place, asset="red,green")


def test_assets_of_two_grids_are_one_scene(put, models, tmp_path):
    for name, side, cell in (("red", 64, 10), ("nir", 32, 20)):
        where = Affine(cell, 0, 500_000, 0, -cell, 5_600_000)
        put_raster(tmp_path / f"{name}.tif", pixels((1, side, side)), transform=where, crs="EPSG:32632")
    place = put(item("S2A", {name: {"href": f"./{name}.tif", "type": TIFF} for name in ("red", "nir")}))
    (job,) = jobs_of(Request(input=(place,), asset="red,nir", model=str(models / "scene"), output=f"{tmp_path}/out/"))
    assert segment(job).output == f"{tmp_path}/out/S2A_mask.tif"
    with rasterio.open(tmp_path / "out/S2A_mask.tif") as mask, rasterio.open(tmp_path / "red.tif") as red:
        assert (mask.shape, mask.transform, mask.crs) == (red.shape, red.transform, red.crs)


def test_what_cannot_be_chosen_is_told_with_what_there_is(put):
    two = put(collection(item("a", {"B04": {"href": "/4.tif", "type": TIFF}, "B08": {"href": "/8.tif", "type": TIFF}})))
    with pytest.raises(RequestError, match="STAC item a: has the assets B04, B08; choose one with --asset"):
        jobs(two)
    with pytest.raises(RequestError, match="has the assets B04, B08"):
        jobs(two, asset="B02")


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"type": "Feature"}', '{"features": 3}', '{"features": [1]}'])
def test_what_is_no_item_is_named(put, said):
    with pytest.raises(InputError, match=r"items\.json: cannot be read as a STAC Item or ItemCollection"):
        jobs(put(said))


def test_nothing_found_is_said(put, tmp_path):
    with pytest.raises(NothingFoundError, match=r"items\.json: has no items"):
        jobs(put(collection()))
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        jobs(str(tmp_path / "none.json"))


def test_two_items_of_one_name_clash(put, tmp_path):
    place = put(collection(item("a"), item("a", {"visual": {"href": "other.tif"}})))
    request = Request(input=(place,), output=f"{tmp_path}/out/")
    reasons = find_clashes(jobs_of(request)).values()
    assert len(reasons) == 2
    assert all("would have the same output" in reason for reason in reasons)


def test_a_collection_at_an_address_is_read(put, tmp_path):
    put(collection(item("a")))
    with served(tmp_path) as server:
        assert jobs(f"{server.address}/items.json") == [(f"{server.address}/tci.tif", Path("a_mask.tif"))]


def test_a_search_finds_clear_items_oldest_first():
    items = [
        item(str(day), {"visual": {"href": f"/{day}.tif"}}, clouds, day) for day, clouds in ((3, 9), (1, 5), (2, 60))
    ]
    items.append(item("unsaid", {"visual": {"href": "/u.tif"}}))
    with api(items) as (address, asked):
        search = Search(address, ("s2",), (5.0, 43.0, 6.0, 44.0), days=10.0, cloud_cover=20.0)
        found = jobs_of(Request(search=search, output="out/"))
    assert [(job.input, job.output) for job in found] == [
        (f"{address}/1.tif", Path("out/1_mask.tif")),
        (f"{address}/3.tif", Path("out/3_mask.tif")),
    ]
    (words,) = asked
    assert words["collections"] == ["s2"]
    assert words["bbox"] == [5.0, 43.0, 6.0, 44.0]
    assert words["query"] == {"eo:cloud_cover": {"lte": 20.0}}
    since, until = (datetime.fromisoformat(time) for time in words["datetime"].split("/"))
    assert timedelta(days=9.9) < until - since < timedelta(days=10.1)
    assert abs(datetime.now(UTC) - until) < timedelta(minutes=5)


def test_clouds_are_looked_at_where_the_server_cannot():
    with api([item("a", None, 90), item("b", {"visual": {"href": "/b.tif"}}, 10)], conforms=()) as (address, asked):
        found = jobs_of(Request(search=Search(address, cloud_cover=20.0)))
    assert [job.input for job in found] == [f"{address}/b.tif"]
    assert "query" not in asked[0]


def test_a_search_that_fails_or_finds_nothing_says_so():
    with api([]) as (address, _), pytest.raises(NothingFoundError, match="found no items"):
        jobs_of(Request(search=Search(address)))
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9: the search failed"):
        jobs_of(Request(search=Search("http://127.0.0.1:9")))


OUTSIDE = [
    "/etc/passwd.tif",
    "../other/a.tif",
    "file:///etc/a.tif",
    "vrt:///etc/a.tif",
    "/vsicurl/https://host/a.tif",
    "/vsizip//etc/a.zip/a.tif",
    "https://host/a.tif",
    "s3://bucket/a.tif",
    "stack:a=/etc/a.tif",
    "WMS:host",
    "./a.tif|b=/etc/passwd.tif",
]


@pytest.mark.parametrize("href", OUTSIDE)
@pytest.mark.parametrize("asset", ["visual", "visual,other"])
def test_an_item_in_a_file_refers_to_its_folder_alone(put, href, asset):
    place = put(item("a", {"visual": {"href": href}, "other": {"href": "./b.tif"}}))
    with pytest.raises(InputError, match="STAC item a: the asset visual refers to "):
        jobs(place, asset=asset, allow=None)


@pytest.mark.parametrize("href", ["mosaic:/etc/*.tif", "<VRTDataset/>"])
def test_what_means_more_than_a_path_is_only_a_path_in_an_item(put, tmp_path, href):
    assert jobs(put(item("a", {"visual": {"href": href}})), allow=None)[0][0].startswith(f"{tmp_path}/")


def test_where_an_item_says_it_lies_allows_nothing(put):
    for said in ("https://host/items/a.json", "/etc/a.json", "file:///etc/a.json"):
        at = item("a")
        at["links"] = [{"rel": "self", "href": said}]
        with pytest.raises(InputError, match=r"refers to .*; --allow "):
            jobs(put(at), allow=None)


ELSEWHERE = ["file:///etc/a.tif", "vrt:///etc/a.tif", "/vsizip//etc/a.zip", "s3://bucket/a.tif", "./a.tif|b=/etc/a.tif"]


@pytest.mark.parametrize("href", ELSEWHERE)
def test_an_item_at_an_address_refers_to_addresses_alone(href):
    with (
        api([item("a", {"visual": {"href": href}})]) as (address, _),
        pytest.raises(InputError, match="STAC item a: the asset visual refers to "),
    ):
        jobs_of(Request(search=Search(address)))


def test_a_path_in_an_item_at_an_address_is_one_of_its_server():
    with api([item("a", {"visual": {"href": "/etc/a.tif"}})]) as (address, _):
        assert jobs_of(Request(search=Search(address)))[0].input == f"{address}/etc/a.tif"


def test_a_job_file_allows_folders_beside_it(put, tmp_path):
    request = read_request(Path(put('allow = ["https", "tiles", "/data"]', "job.toml")))
    assert request.allow == ("https", f"{tmp_path}/tiles", "/data")


SEARCH = """
[search]
url = "https://host/v1"
collections = "s2"
bbox = [5, 43, 6, 44.5]
days = 7
cloud_cover = 20
"""


def test_a_job_file_has_a_search(put):
    request = read_request(Path(put('model = "landcover"\nasset = "visual"\n' + SEARCH, "job.toml")))
    assert request.asset == "visual"
    assert request.search == Search("https://host/v1", ("s2",), (5.0, 43.0, 6.0, 44.5), 7.0, None, 20.0)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('url = "https://host/v1"', "", "search.url is missing"),
        ("days = 7", 'days = 7\ndatetime = "2026"', "search.days and datetime cannot be used together"),
        ("days", "day", 'search.unknown key day (did you mean "days"?)'),
        ("44.5", "99", "search.bbox = [5, 43, 6, 99] must be [west, south, east, north] in degrees"),
        ("[search]", "search = 3\n[x]", "search = 3 must be a table"),
    ],
)
def test_a_search_is_checked_key_by_key(put, before, after, said):
    with pytest.raises(RequestError) as error:
        read_request(Path(put(SEARCH.replace(before, after), "job.toml")))
    assert said in str(error.value)


@pytest.fixture(scope="module")
def physical(tmp_path_factory):
    """A model of physical values of two channels."""
    folder = tmp_path_factory.mktemp("models")
    card = replace(SCENE_CARD, name="physical", values="physical")
    save_model(folder / "physical", card, network_of(card.network))
    return str(folder / "physical")


S2 = {"scale": 0.0001, "offset": -0.1}
APPLIED = {"earthsearch:boa_offset_applied": True}


@pytest.fixture
def reflectance(put, tmp_path):
    """Jobs of an item of two assets of 16 bits, with what it says about them, and with tags in the files or not."""

    def make(said, flag, tags=None, **more):
        for name in ("red", "nir"):
            path = put_raster(tmp_path / f"{name}.tif", pixels((1, 50, 60)).astype(np.uint16) * 20)
            if tags is not None:
                with rasterio.open(path, "r+") as dataset:
                    dataset.scales, dataset.offsets = ((number,) for number in tags)
        assets = {name: {"href": f"./{name}.tif", "type": TIFF, **said} for name in ("red", "nir")}
        told = item("S2A", assets)
        told["properties"] |= flag
        (job,) = jobs_of(Request(input=(put(told),), asset="red,nir", output=f"{tmp_path}/out/", **more))
        return job

    return make


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("said", "flag", "tags", "expected"),
    [
        ({"raster:bands": [S2]}, {}, None, (0.0001, -0.1)),
        ({"raster:bands": [S2]}, APPLIED, None, (0.0001, 0.0)),
        ({"raster:bands": [S2]}, APPLIED, (0.0001, -0.1), (0.0001, 0.0)),
        ({"raster:bands": [S2]}, {}, (0.0002, -0.2), (0.0002, -0.2)),
        ({}, APPLIED, (0.0001, -0.1), (0.0001, 0.0)),
        ({"bands": [{"raster:scale": 0.0001, "raster:offset": -0.1}]}, APPLIED, None, (0.0001, 0.0)),
    ],
)
def test_an_offset_of_a_catalog_is_applied_once_and_told(reflectance, physical, said, flag, tags, expected):
    notes = []
    job = reflectance(said, flag, tags, model=physical)
    prepared = prepare(job, Resources())
    assert prepared.fingerprint()["calibration"] == {"scale": (expected[0],) * 2, "offset": (expected[1],) * 2}
    assert segment(job, PLAIN, Callbacks(note=notes.append)).status == "done"
    told = f"values by the catalog of the input: scale {expected[0]:g}, offset {expected[1]:g}"
    assert [note for note in notes if "catalog" in note] == [
        told + ("; the offset is in the stored values already and is not applied again" if flag else "")
    ]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("given_", [(-0.1,), (0.0, -1000.0)])
def test_an_offset_that_would_be_applied_twice_is_refused(reflectance, models, physical, given_):
    for model in (physical, str(models / "scene")):
        job = reflectance({"raster:bands": [S2]}, APPLIED, model=model, scale=(0.0001,), offset=given_)
        with pytest.raises(InputError, match=r"boa_offset_applied.* would apply it again; leave out --offset"):
            prepare(job, Resources())
    job = reflectance({"raster:bands": [S2]}, APPLIED, model=physical, scale=(0.0001,))
    assert prepare(job, Resources()).values_description == "scale 0.0001, offset 0"
    job = reflectance({"raster:bands": [S2]}, {}, model=physical, scale=(0.0001,), offset=(-0.1,))
    assert prepare(job, Resources()).values_description == "scale 0.0001, offset -0.1"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_a_catalog_says_changes_no_recipe_and_nothing_of_a_model_of_stored_values(reflectance, models):
    plain, told = (reflectance(*said, model=str(models / "scene")) for said in (({}, {}), ({"raster:bands": [S2]}, {})))
    assert plain.catalog is None
    assert told.catalog is not None
    assert recipe_of(plain) == recipe_of(told)
    assert prepare(told, Resources()).fingerprint() == prepare(plain, Resources()).fingerprint()


def test_a_scale_that_is_no_number_is_refused_with_the_item(reflectance):
    with pytest.raises(RequestError, match="STAC item S2A: scale or offset 'x' is not a number"):
        reflectance({"raster:bands": [{"scale": "x"}]}, {})
