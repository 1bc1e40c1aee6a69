"""What gives access to an address is sent to no other origin."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.io.http import origin_of, version_at
from pipeline.io.raster import RasterSource
from tests.support.rasters import put
from tests.support.remote import served


@pytest.fixture
def servers(tmp_path):
    """A server that leads to another one, which has a scene."""
    for name in ("first", "other"):
        (tmp_path / name).mkdir()
    put(tmp_path / "other/a.tif", np.ones((1, 8, 8), np.uint8))
    with served(tmp_path / "first") as first, served(tmp_path / "other") as other:
        first.leads_to = other.address
        yield first, other


def sent(server, name):
    return [headers[name] for headers in server.headers if name in headers]


def test_a_password_is_not_sent_on(servers):
    first, other = servers
    address = f"{first.address}/a.tif".replace("http://", "http://me:Sesam-open@")
    assert version_at(address)["bytes"] > 0
    assert sent(first, "Authorization")
    assert other.headers
    assert not sent(other, "Authorization")


def test_a_password_is_sent_within_an_origin(servers):
    first, _ = servers
    put(first.folder / "b.tif", np.ones((1, 8, 8), np.uint8))
    first.leads_to, first.leads_once = first.address, True
    address = f"{first.address}/b.tif".replace("http://", "http://me:Sesam-open@")
    assert version_at(address)["bytes"] > 0
    assert len(sent(first, "Authorization")) == 2


def test_no_redirect_leads_to_a_file(servers, tmp_path):
    first, _ = servers
    (tmp_path / "secret").write_text("x")
    for leads_to in (f"file://{tmp_path}/secret#", "ftp://127.0.0.1:9"):
        first.leads_to = leads_to
        assert version_at(f"{first.address}/a.tif") == {}


@pytest.mark.parametrize("how", ["GDAL_HTTP_HEADERS", "GDAL_HTTP_HEADER_FILE"])
def test_headers_of_gdal_are_not_sent_on(servers, monkeypatch, tmp_path, how):
    first, other = servers
    (tmp_path / "headers").write_text("X-Api-Key: Sesam-open\n")
    monkeypatch.setenv(how, "X-Api-Key: Sesam-open" if how.endswith("S") else str(tmp_path / "headers"))
    with pytest.raises(InputError, match=r"a\.tif: leads to http://127\.0\.0\.1:\d+, and GDAL would send it"):
        RasterSource(f"{first.address}/a.tif")
    assert sent(first, "X-Api-Key")
    assert not other.headers
    first.leads_to = None
    put(first.folder / "c.tif", np.ones((1, 8, 8), np.uint8))
    RasterSource(f"{first.address}/c.tif").close()


@pytest.mark.parametrize("name", ["GDAL_HTTP_BEARER", "GDAL_HTTP_USERPWD"])
def test_credentials_of_gdal_are_not_sent_on(servers, monkeypatch, name):
    first, other = servers
    monkeypatch.setenv(name, "me:Sesam-open")
    monkeypatch.setenv("GDAL_HTTP_AUTH", "BEARER" if name.endswith("BEARER") else "BASIC")
    RasterSource(f"{first.address}/a.tif").close()
    assert sent(first, "Authorization")
    assert other.headers
    assert not sent(other, "Authorization")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://host/a", "https://HOST:443/b", True),
        ("https://host/a", "http://host/a", False),
        ("http://host/a", "http://host:8080/a", False),
        ("http://host/a", "http://host.evil/a", False),
        ("http://u:p@host/a", "http://host/a", True),
    ],
)
def test_origins(one, other, same):
    assert (origin_of(one) == origin_of(other)) == same
