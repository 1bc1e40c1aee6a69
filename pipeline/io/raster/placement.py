"""Where the cells of a scene are on the Earth: by its transform, or else by its ground control points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import hypot

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import GCPTransformer

from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.geometry.affine import to_world
from pipeline.io.raster.georeference import parse_crs, transform_of
from pipeline.io.raster.shapes import LONGITUDE_LATITUDE, Points, transform_points

HOW_TO_PLACE = (
    "set the CRS with `gdal_edit.py -a_srs EPSG:...`, or make a north-up scene of one with ground control points or "
    "RPC coefficients with `gdalwarp`"
)
"""What to do about a scene without a place."""
_ALIKE = 0.01
"""Difference between a CRS and the ground up to which lengths of the CRS are taken: UTM has 0.001, Mercator more."""
_FEWEST = 3
"""Ground control points that determine where all cells are."""


@dataclass(frozen=True)
class Placement:
    """The place of a scene: a CRS, and the coordinates of each cell in it."""

    grid: Grid
    crs: str
    points: tuple[GroundControlPoint, ...] = ()
    """Ground control points, for a scene without a transform: a polynomial is fitted to them, as by gdalwarp."""

    def world(self, cells: Points) -> Points:
        """Return the coordinates `(n, 2)`, x and y, of positions `(n, 2)`, rows and columns counted from centers."""
        if not self.points:
            return to_world(self.grid.affine, cells.T).T
        with rasterio.Env(), GCPTransformer(self.points) as fitted:
            return np.column_stack(fitted.xy(cells[:, 0], cells[:, 1])).astype(np.float64)

    @property
    def middle(self) -> Points:
        """The position `(1, 2)` of the middle of the scene."""
        return np.array([[length / 2 for length in self.grid.shape]])

    @cached_property
    def equal_area(self) -> str | None:
        """An equal-area CRS around the middle of the scene, in meters; None where that is not on the Earth."""
        longitude, latitude = transform_points(self.world(self.middle), self.crs, LONGITUDE_LATITUDE)[0]
        if not (np.isfinite(longitude) and np.isfinite(latitude)):
            return None
        return f"+proj=laea +lat_0={latitude:.6f} +lon_0={longitude:.6f} +datum=WGS84 +units=m"

    def to_ground(self, world: Points) -> Points | None:
        """Return coordinates `(n, 2)` in the equal-area CRS, in meters; None where there is none."""
        return None if self.equal_area is None else transform_points(world, self.crs, self.equal_area)

    def measured(self) -> tuple[float, float] | None:
        """Return the height and width, in meters on the ground, of the pixel in the middle; None where unknown."""
        steps = np.array([[0, 0], [1, 0], [0, 1]])
        found = self.to_ground(self.world(self.middle + steps))
        if found is None:
            return None
        height, width = (hypot(*(end - found[0])) for end in found[1:])
        return (height, width) if 0 < height < np.inf and 0 < width < np.inf else None


def placement_of(grid: Grid) -> Placement | None:
    """Return the place of a scene; None without a CRS on the Earth, or without a transform or control points in it."""
    words = grid.reference.get("gdal") or {}
    if grid.crs is not None and transform_of(grid) is not None:
        return _on_earth(Placement(grid, grid.crs))
    points = tuple(GroundControlPoint(*point) for point in words.get("gcps") or ())
    if not words.get("gcps_crs") or len(points) < _FEWEST:
        return None
    fitted = Placement(grid, words["gcps_crs"], points)
    return _on_earth(fitted) if _is_solvable(fitted) else None


def _on_earth(placement: Placement) -> Placement | None:
    known = _known_crs(placement.crs)
    return placement if known is not None and (known.is_geographic or known.is_projected) else None


def _known_crs(words: str) -> CRS | None:
    """Return a CRS; None for words in a file that PROJ does not know."""
    try:
        return parse_crs(words)
    except RequestError:
        return None


def middle_of(grid: Grid) -> tuple[float, float] | None:
    """Return the longitude and latitude of the middle of a scene, in degrees; None where it has no place."""
    found = placement_of(grid)
    if found is None:
        return None
    longitude, latitude = transform_points(found.world(found.middle), found.crs, LONGITUDE_LATITUDE)[0].tolist()
    return (longitude, latitude) if np.isfinite((longitude, latitude)).all() else None


def ground_placement(grid: Grid) -> Placement | None:
    """Return the place of a scene whose cells can be measured in meters on the ground."""
    found = placement_of(grid)
    return None if found is None or found.equal_area is None else found


def ground_spacing(grid: Grid) -> tuple[float, float] | None:
    """Return the height and width of the pixel in the middle of a scene, in meters on the ground; None where unknown.

    Where the CRS differs from the ground by less than 1 %, they are the lengths in the CRS, which are the same for
    neighboring scenes.
    """
    found, nominal = placement_of(grid), _nominal(grid)
    measured = None if found is None else found.measured()
    if measured is None or nominal is None:
        return measured or nominal
    alike = all(abs(one / other - 1) < _ALIKE for one, other in zip(measured, nominal, strict=True))
    return nominal if alike else measured


def assumed_spacing(grid: Grid) -> tuple[float, float] | None:
    """Return `ground_spacing`; without a CRS the spacing of the transform, as if in meters; None without either."""
    if grid.crs is None and transform_of(grid) is not None:
        return grid.spacing[0], grid.spacing[1]
    return ground_spacing(grid)


def ground_size(grid: Grid) -> float | None:
    """Return the mean side of the center pixel of a scene in meters; None where its location is unknown."""
    found = ground_placement(grid)
    measured = None if found is None else found.measured()
    return None if measured is None else sum(measured) / 2


def cell_area(grid: Grid) -> float | None:
    """Return the area of a cell of a scene in square meters, by the lengths of its CRS; None where it has none."""
    if (nominal := _nominal(grid)) is None:
        return None
    height, width = (meters / length for meters, length in zip(nominal, grid.spacing, strict=True))
    return grid.cell_volume * height * width


def _nominal(grid: Grid) -> tuple[float, float] | None:
    """Return the spacing of a grid in meters of its CRS, if this has lengths."""
    known = None if grid.crs is None or transform_of(grid) is None else _known_crs(grid.crs)
    if known is None or known.is_geographic:
        return None
    _, meters = known.units_factor
    height, width = grid.spacing
    return height * meters, width * meters


def _is_solvable(placement: Placement) -> bool:
    try:
        return bool(np.isfinite(placement.world(placement.middle)).all())
    except CPLE_BaseError:
        return False
