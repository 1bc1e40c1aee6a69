"""Colors and words of classes: as JSON and HTML have them, and the same for ever."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.classes import LabelClass, background_of, class_table_of, hex_color, hue_color, rows_of
from pipeline.evaluation.labels import unnamed_color
from pipeline.models.importing.defaults import palette

COLORS = st.tuples(*[st.integers(0, 255)] * 3)
CLASSES = st.builds(LabelClass, st.integers(0, 65535), st.text(), COLORS)


@given(st.lists(CLASSES).map(tuple))
def test_a_table_comes_back_from_its_rows(table):
    assert class_table_of(rows_of(table)) == table


@given(COLORS)
def test_a_hexadecimal_color_holds_the_three_bytes(color):
    assert hex_color(color)[0] == "#"
    assert tuple(bytes.fromhex(hex_color(color)[1:])) == color


@given(st.floats(0, 300), st.floats(0, 1), st.floats(0, 1))
def test_a_hue_is_a_color_of_that_value(turns, saturation, value):
    color = hue_color(turns, saturation, value)
    assert max(color) == round(255 * value)
    assert min(color) >= 0


@pytest.mark.parametrize(
    ("colors", "first", "digest"),
    [
        (palette(300), [(230, 57, 57), (41, 78, 166), (70, 102, 26)], "cf0726b6648be5b7"),
        ([unnamed_color(number) for number in range(300)], [(230, 92, 92), (92, 132, 230)], "2df4f8de40e6f258"),
    ],
)
def test_classes_without_colors_always_get_the_same_ones(colors, first, digest):
    assert colors[: len(first)] == first
    assert sha256(repr(colors).encode()).hexdigest().startswith(digest)


@pytest.mark.parametrize(
    ("names", "background"),
    [(["background", "liver"], 3), (["liver", "Background"], 4), (["liver", "backgrounds"], None), ([], None)],
)
def test_the_background_is_known_by_its_name(names, background):
    table = tuple(LabelClass(value, name, (0, 0, 0)) for value, name in enumerate(names, 3))
    assert background_of(table) == background
    assert [entry.value for entry in table if entry.is_background] == ([] if background is None else [background])
