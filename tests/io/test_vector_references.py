"""Vector files cause no requests, and open no other files."""

from __future__ import annotations

import pyogrio
import pytest

from pipeline.errors import InputError
from pipeline.io.vector import read_polygons
from tests.support.remote import served

SQUARE = (
    '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": '
    '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}]}'
)


def described(source: str) -> str:
    layer = f'<OGRVRTLayer name="a"><SrcDataSource>{source}</SrcDataSource></OGRVRTLayer>'
    return f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>"


@pytest.mark.parametrize("name", ["a.gpkg", "a.vrt", "a.geojson"])
def test_a_description_is_refused(tmp_path, name):
    (tmp_path / "elsewhere.geojson").write_text(SQUARE)
    with served(tmp_path) as server:
        for source in (f"/vsicurl/{server.address}/elsewhere.geojson", str(tmp_path / "elsewhere.geojson")):
            (tmp_path / name).write_text(described(source))
            with pytest.raises(InputError, match="describes other files or a service"):
                read_polygons(tmp_path / name)
        (tmp_path / name).write_text(f"<OGRWFSDataSource><URL>{server.address}/wfs</URL></OGRWFSDataSource>")
        with pytest.raises(InputError, match="describes other files or a service"):
            read_polygons(tmp_path / name)
        assert not server.headers


def test_settings_of_others_are_kept(tmp_path):
    (tmp_path / "a.geojson").write_text(SQUARE)
    pyogrio.set_gdal_config_options({"GML_DOWNLOAD_SCHEMA": "YES"})
    try:
        assert len(read_polygons(tmp_path / "a.geojson").rings) == 1
        assert pyogrio.get_gdal_config_option("GML_DOWNLOAD_SCHEMA") == "YES"
        assert pyogrio.get_gdal_config_option("CPL_VSIL_CURL_ALLOWED_FILENAME") is None
    finally:
        pyogrio.set_gdal_config_options({"GML_DOWNLOAD_SCHEMA": None})
