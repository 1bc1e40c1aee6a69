"""What a catalog says about values: by both versions of STAC's raster extension, and Sentinel-2's flag."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.io.catalog import CatalogValues, catalog_values

S2 = {"scale": 0.0001, "offset": -0.1}
CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], CatalogValues | None]] = {
    "nothing": ({}, [{}], None),
    "false flag alone": ({"earthsearch:boa_offset_applied": False}, [{}], None),
    "one band": ({}, [{"raster:bands": [S2]}], CatalogValues((0.0001,), (-0.1,))),
    "offset alone": ({}, [{"raster:bands": [{"offset": 5}]}], CatalogValues((1.0,), (5.0,))),
    "version 2": (
        {},
        [{"bands": [{"raster:scale": 2, "raster:offset": 3}, {}]}],
        CatalogValues((2.0, 1.0), (3.0, 0.0)),
    ),
    "of the asset": ({}, [{"raster:scale": 2, "raster:offset": 3}], CatalogValues((2.0,), (3.0,))),
    "for bands of the asset": ({}, [{"raster:scale": 2, "bands": [{}, {}]}], CatalogValues((2.0, 2.0), (0.0, 0.0))),
    "two assets": ({}, [{"raster:bands": [S2]}, {}], CatalogValues((0.0001, 1.0), (-0.1, 0.0))),
    "applied": (
        {"earthsearch:boa_offset_applied": True},
        [{"raster:bands": [S2]}],
        CatalogValues((0.0001,), (-0.1,), applied=True),
    ),
    "applied, without a prefix": ({"boa_offset_applied": True}, [{}], CatalogValues((), (), applied=True)),
    "applied by the asset": (
        {"s2:boa_offset_applied": False},
        [{"x:boa_offset_applied": True, "raster:bands": [S2]}],
        CatalogValues((0.0001,), (-0.1,), applied=True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_scale_offset_and_flag_are_found(case: str) -> None:
    item, assets, expected = CASES[case]
    found = catalog_values(item, assets)
    assert found == expected
    if found is not None:
        assert found.left == ((0.0,) * len(found.offset) if found.applied else found.offset)


@pytest.mark.parametrize("value", ["0.0001", [1], True, {}])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="is not a number"):
        catalog_values({}, [{"raster:bands": [{"scale": value}]}])
