"""Which values were observed: nodata as GDAL's mask band has it, and no number that is none."""

from __future__ import annotations

from itertools import accumulate, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from pipeline.sources.validity import LARGEST, is_nodata, is_plausible, valid_mask

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ENDS = {kind: float(np.finfo(kind).max) for kind in ("float32", "float64")}
ROUNDED = {
    "float32": ("3.40282e+38", "3.4028235e+38", "3.402823e38", "3.40282346638528860e+38", "1e20", "-9999.1", "0.1"),
    "float64": ("1.79769e+308", "1.7976931348623157e+308", "3.40282e+38", "3.4028235e+38", "-9999.1", "0.1"),
}
"""By type: nodata values as tools write them, with fewer digits than the type has."""


def around(kind: str, value: float) -> np.ndarray:
    """A value, its neighbors on both sides, and numbers far from it."""
    one = np.dtype(kind).type
    with np.errstate(all="ignore"):
        near = [list(accumulate(repeat(one(end), 6), np.nextafter, initial=one(value))) for end in (np.inf, -np.inf)]
        far = [value * 0.99, value * 0.5, value * 2, -value, 0, np.nan, np.inf, -np.inf, ENDS[kind], -ENDS[kind]]
        return np.array([[*near[0], *near[1], *map(one, far)]], kind)


def by_gdal(values: np.ndarray, nodata: float) -> tuple[np.ndarray, float]:
    """Which values GDAL masks, and the nodata value as it is told."""
    with MemoryFile() as file:
        shape = {"height": 1, "width": values.shape[1], "count": 1, "dtype": values.dtype}
        with file.open(driver="GTiff", nodata=nodata, **shape) as dataset:
            dataset.write(values, 1)
        with file.open() as dataset:
            return dataset.read_masks(1) == 0, dataset.nodata


@pytest.mark.parametrize(
    ("kind", "words"), [(kind, sign + words) for kind in ROUNDED for words in ROUNDED[kind] for sign in ("", "-")]
)
def test_rounded_nodata_masks_what_gdal_masks(kind: str, words: str) -> None:
    value = float(words.replace("--", ""))
    value = max(-ENDS[kind], min(value, ENDS[kind]))  # rasterio writes no other
    values = around(kind, value)
    expected, told = by_gdal(values, value)
    np.testing.assert_array_equal(is_nodata(values, told), expected)
    assert expected.any()


@given(
    kind=st.sampled_from(sorted(ENDS)),
    value=st.floats(allow_nan=False, allow_infinity=False),
    digits=st.sampled_from([3, 6, 9, 17]),
)
def test_nodata_with_any_number_of_digits_masks_what_gdal_masks(kind: str, value: float, digits: int) -> None:
    nodata = max(-ENDS[kind], min(float(f"{value:.{digits}g}"), ENDS[kind]))
    values = around(kind, value)
    expected, told = by_gdal(values, nodata)
    np.testing.assert_array_equal(is_nodata(values, told), expected)


@pytest.mark.parametrize("nodata", [255.0, 254.6, 0.4, float("nan"), float("inf")])
def test_nodata_of_integers_is_cut_to_a_whole_number(nodata: float) -> None:
    values = np.arange(256, dtype=np.uint8)[None]
    expected = values == int(nodata) if np.isfinite(nodata) else np.zeros(values.shape, bool)
    np.testing.assert_array_equal(is_nodata(values, nodata), expected)


@pytest.mark.parametrize("kind", sorted(ENDS))
def test_real_numbers_beyond_any_measurement_are_not_observed(kind: str) -> None:
    good = [0, -1, 65535, 1e15, np.nextafter(np.dtype(kind).type(LARGEST), 0), -1e19, 5e-324]
    bad = [np.nan, np.inf, -np.inf, ENDS[kind], -ENDS[kind], 1e20, -1e20, 9.96921e36, -3.40282e38, -1e34]
    values = np.array([[*good, *bad]], kind)
    expected = np.array([*[True] * len(good), *[False] * len(bad)])
    np.testing.assert_array_equal(is_plausible(values)[0], expected)
    np.testing.assert_array_equal(valid_mask(values), expected)
    assert valid_mask(values[:, : len(good)]) is None


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint64", "int64"])
def test_all_integers_can_be_observed(kind: str) -> None:
    ends = np.iinfo(kind)
    assert valid_mask(np.array([[ends.min, 0, ends.max]], kind)) is None
