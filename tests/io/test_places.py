"""Where the files may lie that an input refers to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.places import is_on_a_server, places_of, scheme_of

ITEM = "/data/scenes/item.json"


@pytest.mark.parametrize(
    ("home", "reference"),
    [
        (ITEM, "/data/scenes/a.tif"),
        (ITEM, "/data/scenes/sub/../a.tif"),
        (ITEM, "file:///data/scenes/a%20b.tif"),
        ("https://host/items/a.json", "https://host/x/a.tif?sig=1"),
        ("https://host/items/a.json", "HTTPS://other/a.tif"),
        ("http://host/items/a.json", "https://host/a.tif"),
        ("s3://bucket/a.json", "/vsis3/bucket/a.tif"),
        ("https://host/a.json", "/vsicurl/https://host/a.tif"),
    ],
)
def test_what_lies_beside_an_input_is_allowed(home, reference):
    places_of(home).locate(reference)


@pytest.mark.parametrize(
    ("home", "reference", "way_out"),
    [
        (ITEM, "/etc/passwd.tif", "--allow /etc"),
        (ITEM, "/data/scenes/../other/a.tif", "--allow /data/other"),
        (ITEM, "/data/scenes-of-others/a.tif", "--allow /data/scenes-of-others"),
        (ITEM, "file:///etc/a.tif", "--allow /etc"),
        (ITEM, "file:///data/scenes/%2e%2e/a.tif", "--allow /data"),
        (ITEM, "https://host/a.tif", "--allow https"),
        (ITEM, "/vsicurl/https://host/a.tif", "--allow https"),
        (ITEM, "/vsicurl_streaming/http://host/a.tif", "--allow http"),
        (ITEM, "/vsis3/bucket/a.tif", "--allow s3"),
        (ITEM, "/vsis3_streaming/bucket/a.tif", "--allow s3"),
        (ITEM, "/vsizip//data/scenes/a.zip/a.tif", "--allow vsizip:"),
        (ITEM, "/vsimem/a.tif", "--allow vsimem:"),
        (ITEM, "vrt:///data/scenes/a.tif", "--allow vrt:"),
        (ITEM, "WMS:https://host/wms", "--allow wms:"),
        (ITEM, 'NETCDF:"/data/scenes/a.nc":x', "--allow netcdf:"),
        (ITEM, "mosaic:/data/**/*.tif", "--allow mosaic:"),
        (ITEM, "stack:a=/data/scenes/a.tif", "--allow stack:"),
        ("https://host/a.json", "http://host/a.tif", "--allow http"),
        ("https://host/a.json", "/etc/a.tif", "--allow /etc"),
        ("https://host/a.json", "file:///etc/a.tif", "--allow /etc"),
        ("https://host/a.json", "s3://bucket/a.tif", "--allow s3"),
    ],
)
def test_what_lies_elsewhere_is_refused_until_it_is_allowed(home, reference, way_out):
    with pytest.raises(ValueError, match="refers to ") as error:
        places_of(home).locate(reference)
    assert way_out in str(error.value)
    word = way_out.removeprefix("--allow ")
    assert places_of(home, [word]).locate(reference)
    assert places_of(home, ["/data/unrelated", "ftp:"]).schemes.isdisjoint({"file"})


@pytest.mark.parametrize(
    "reference", ["<VRTDataset/>", " {}", "a.tif|x=/etc/b.tif", "a\n.tif", "a\x00.tif", "\x1b[2Ja.tif"]
)
def test_what_is_no_name_is_refused_whatever_is_allowed(reference):
    with pytest.raises(ValueError, match="is not the name of a file"):
        places_of(ITEM, ["file", "https", "/"]).locate(reference)


def test_secrets_are_not_told():
    with pytest.raises(ValueError, match=r"refers to https://host/a\.tif; ") as error:
        places_of(ITEM).locate("https://me:Sesam-open@host/a.tif?sig=S1gnature")
    assert "S1gnature" not in str(error.value)


def test_the_environment_allows_too(monkeypatch):
    monkeypatch.setenv("PIPELINE_ALLOW", "https,/data/tiles")
    places = places_of(ITEM)
    assert places.locate("https://host/a.tif") == "https://host/a.tif"
    assert places.locate("/data/tiles/a.tif") == "/data/tiles/a.tif"
    assert places.network


@given(st.lists(st.sampled_from(["..", ".", "a", "scenes", "b.tif", "", "%2e%2e"]), max_size=8))
def test_no_path_leaves_the_folder(parts):
    try:
        found = places_of(ITEM).locate("/".join(parts) or "x", "/data/scenes")
    except ValueError:
        return
    assert (found + "/").startswith("/data/scenes/")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("a.tif", False),
        ("/vsizip/a.zip/a.tif", False),
        ("vrt://a.tif?bands=1", False),
        ("/vsigzip//vsizip/a.zip/a.tif", False),
        ("/vsizip//vsicurl/https://host/a.zip/a.tif", True),
        ("https://host/a.tif", True),
        ("vrt://https://host/a.tif", True),
        ("/vsis3/bucket/a.tif", True),
    ],
)
def test_files_in_archives_are_files(address, network):
    assert is_on_a_server(address) == network
    assert (scheme_of(address) == "") == (address == "a.tif")
