"""Print what is measured of masks, and whether they are what they should be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli.tables import print_json, print_table, table_of
from pipeline.files.visible import visible

if TYPE_CHECKING:
    from pipeline.masks.areas import Area
    from pipeline.masks.check import Difference
    from pipeline.masks.structures import Structure


def print_areas(areas: Sequence[Area], *, as_json: bool) -> None:
    """Print a line for each class of each zone, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(area) for area in areas]})
        return
    table = table_of("zone", "class", "cells", f"area, {areas[0].unit}" if areas else "area", "share")
    for area in areas:
        figures = (f"{area.cells:,}", f"{area.area:,.1f}", f"{area.share:.2%}")
        table.add_row(area.zone, f"{area.value} {area.name}", *figures)
    print_table(table)


def print_structures(found: Sequence[Structure], *, as_json: bool) -> None:
    """Print a line for each structure, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(structure) for structure in found]})
        return
    table = table_of("structure", "voxels", "ml", "mean", "median", "")
    for row in found:
        intensities = ("" if number is None else f"{number:.6g}" for number in (row.mean, row.median))
        cut = "touches the border" if row.touches_border else ""
        table.add_row(f"{row.value} {row.name}", f"{row.voxels:,}", f"{row.ml:,.3f}", *intensities, cut)
    print_table(table)


def print_differences(
    mask: str, like: str, found: Sequence[Difference], tolerance: float = 0.0, *, as_json: bool
) -> None:
    """Print whether a mask is on the grid of an input, with a line for each difference; or one object."""
    if as_json:
        print_json({"mask": mask, "like": like, "same": not found, "differences": [asdict(one) for one in found]})
        return
    to = f", to {tolerance:g} cells" if tolerance else ""
    line = f"{mask}: {'is not' if found else 'is' if to else 'is exactly'} on the grid of {like}{to}"
    sys.stdout.write(f"{visible(line)}\n")
    for one in found:
        apart = "" if one.apart is None else f"; {one.apart:.4g} apart at the farthest corner"
        sys.stdout.write(visible(f"  {one.what}: {one.mask} in the mask, {one.input} in the input{apart}") + "\n")
