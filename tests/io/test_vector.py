"""Vector files are read as GDAL does, and what GDAL remarks on them stays off the screen."""

from __future__ import annotations

import json

import numpy as np
import pyogrio
import pytest
import shapely

from pipeline.io.vector import read_polygons

RING = [[0, 0], [1, 0], [1, 1], [0, 0]]


def feature(ring, **more):
    return {"type": "Feature", "properties": {"a": 1}, "geometry": {"type": "Polygon", "coordinates": [ring]}, **more}


REMARKED = {
    "the same id twice": [feature(RING, id=1), feature(RING, id=1)],
    "more than three coordinates": [feature([[*corner, 1, 2] for corner in RING])],
    "a ring that is not closed": [feature(RING[:-1])],
}


@pytest.mark.parametrize("case", REMARKED)
def test_remarks_on_features_are_no_warnings(case, tmp_path):
    path = tmp_path / "zones.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": REMARKED[case]}))
    assert len(read_polygons(path).rings) == len(REMARKED[case])


def test_the_first_of_several_layers_is_read_without_a_warning(tmp_path):
    shapes = shapely.to_wkb(np.array([shapely.box(0, 0, 1, 1)]))
    how = {"fields": ["a"], "crs": "EPSG:4326", "geometry_type": "Polygon", "driver": "GPKG"}
    for number, layer in enumerate(("one", "two")):
        path, values = tmp_path / "zones.gpkg", [np.array([number])]
        pyogrio.raw.write(path, geometry=shapes, field_data=values, layer=layer, append=number > 0, **how)
    assert read_polygons(tmp_path / "zones.gpkg").table["a"].tolist() == [0]
