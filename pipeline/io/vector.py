"""Read polygons with their attributes as GDAL does, and write them as GeoPackage, GeoParquet or GeoJSON.

The only module that imports pyogrio and pyarrow.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil, floor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
import pyogrio
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyarrow.parquet import ParquetWriter
from pyogrio.errors import DataLayerError, DataSourceError

from pipeline.errors import InputError, OutputError
from pipeline.files.atomic import atomic_write
from pipeline.io.longitudes import Points, turns, unwrap
from pipeline.io.raster.shapes import LONGITUDE_LATITUDE, projjson, transform_points

Table = Mapping[str, NDArray[Any]]
"""Attributes by name, each with one value for each polygon."""
_NO_REQUESTS = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none", "GML_DOWNLOAD_SCHEMA": "NO", "GML_SKIP_RESOLVE_ELEMS": "ALL"}
_HEAD = 1024
_LAYER = "classes"
_HALF, _WHOLE, _POLE = 180.0, 360.0, 90.0
_EDGE = 1 / 64
"""Longest part of an outline across 180 degrees, as a share of its extent, that is projected as a straight line."""
_DATE = "2000-01-01T00:00:00Z"
"""The date that a GeoPackage records: fixed, so that the same mask gives the same bytes."""


class Polygons(NamedTuple):
    """The polygons of a vector file."""

    rings: list[list[NDArray[np.float64]]]
    """Vertices `(n, 2)`, x and y, of the rings of each polygon, the outer one first."""
    features: list[int]
    """Which feature of the file each polygon belongs to."""
    table: dict[str, NDArray[Any]]
    """Attributes of the features by name."""
    crs: str | None


def read_polygons(path: Path) -> Polygons:
    """Read all polygons of the first layer of any file that GDAL reads.

    Raises:
        InputError: The file cannot be read, or holds no polygons.

    """
    try:
        with _quiet(), _without_network(path):
            about, _, shapes, values = pyogrio.raw.read(path)
    except (DataSourceError, DataLayerError, OSError) as error:
        raise InputError(f"{path}: cannot be read as vectors ({error}); try `ogrinfo` on the file") from error
    parts, features = shapely.get_parts(shapely.force_2d(shapely.from_wkb(shapes, on_invalid="fix")), return_index=True)
    area = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    if not area.any():
        raise InputError(f"{path}: holds no polygons, but {about['geometry_type'] or 'nothing'}")
    rings = [
        [shapely.get_coordinates(ring) for ring in (part.exterior, *part.interiors)] for part in parts[area].tolist()
    ]
    return Polygons(rings, features[area].tolist(), dict(zip(about["fields"], values, strict=True)), about["crs"])


@contextmanager
def _quiet() -> Iterator[None]:
    """GDAL's remarks on a file, which pyogrio gives as warnings, are not for the screen; errors still come through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _without_network(path: Path) -> Iterator[None]:
    """Let a file cause no requests, and open no others."""
    with path.open("rb") as file:
        if b"<OGR" in file.read(_HEAD):
            raise InputError(f"{path}: describes other files or a service; convert it first, e.g. with `ogr2ogr`")
    before = {name: pyogrio.get_gdal_config_option(name) for name in _NO_REQUESTS}
    pyogrio.set_gdal_config_options(_NO_REQUESTS)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)


class Writer(Protocol):
    """A file of polygons that grows."""

    def add(self, shapes: NDArray[Any], table: Table) -> None:
        """Add shapely polygons with their attributes, whose names and types must not change."""
        ...


@contextmanager
def writing_polygons(path: Path, crs: str | None) -> Iterator[Writer]:
    """Open a file of polygons for writing, in the format of its suffix; it appears under its name when complete.

    Raises:
        OutputError: The file cannot be written.

    """
    with atomic_write(path) as draft:
        growing = draft.with_name(draft.name + path.suffix)
        try:
            with _KINDS[path.suffix.lower()](growing, crs) as writer:
                yield writer
            growing.replace(draft)
        except (DataSourceError, DataLayerError, pa.ArrowException) as error:
            raise OutputError(f"{path}: cannot be written ({error})") from error
        finally:
            growing.unlink(missing_ok=True)


class _File:
    """What the formats have in common."""

    def __init__(self, path: Path, crs: str | None) -> None:
        self.path, self._crs = path, crs

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._end()

    def _begin(self) -> None:
        """Open."""

    def _end(self) -> None:
        """Close."""


class _GeoPackage(_File):
    def __init__(self, path: Path, crs: str | None) -> None:
        super().__init__(path, crs)
        self._append = False

    def add(self, shapes: NDArray[Any], table: Table) -> None:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
        try:
            with _quiet():
                pyogrio.raw.write(
                    self.path,
                    geometry=shapely.to_wkb(shapes),
                    field_data=list(table.values()),
                    fields=list(table),
                    crs=self._crs,
                    geometry_type="Polygon",
                    driver="GPKG",
                    layer=_LAYER,
                    append=self._append,
                )
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
        self._append = True


class _GeoParquet(_File):
    _writer: ParquetWriter | None = None

    def add(self, shapes: NDArray[Any], table: Table) -> None:
        columns = {"geometry": pa.array(shapely.to_wkb(shapes), pa.binary())}
        kinds = {name: pa.string() if values.dtype == object else None for name, values in table.items()}
        batch = pa.table(columns | {name: pa.array(values, kinds[name]) for name, values in table.items()})
        if self._writer is None:
            about: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"]}
            about["crs"] = None if self._crs is None else projjson(self._crs)
            geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}
            self._writer = ParquetWriter(self.path, batch.schema.with_metadata({"geo": json.dumps(geo)}))
        self._writer.write_table(batch.replace_schema_metadata(self._writer.schema.metadata))

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _GeoJson(_File):
    """RFC 7946: longitude and latitude where the place is known, outer rings to the left."""

    def _begin(self) -> None:
        self._file = self.path.open("w", encoding="utf-8")
        self._file.write('{"type": "FeatureCollection", "features": [')
        self._before = "\n"

    def add(self, shapes: NDArray[Any], table: Table) -> None:
        shapes = _on_globe(shapes, self._crs or LONGITUDE_LATITUDE)
        rows = zip(*(values.tolist() for values in table.values()), strict=True)
        for shape, values in zip(shapely.to_geojson(shapely.orient_polygons(shapes)), rows, strict=True):
            known = dict(zip(table, values, strict=True))
            feature = {"type": "Feature", "properties": known, "geometry": json.loads(shape)}
            self._file.write(self._before + json.dumps(feature))
            self._before = ",\n"

    def _end(self) -> None:
        self._file.write("\n]}\n")
        self._file.close()


def _on_globe(shapes: NDArray[Any], crs: str) -> NDArray[Any]:
    """Return polygons in longitude and latitude; those that cross 180 degrees are cut there (RFC 7946, 3.1.9)."""
    found: NDArray[Any] = _to_globe(shapes, crs)
    corners, owners = shapely.get_coordinates(found, return_index=True)
    beyond = np.abs(corners[:, 0]) > _HALF
    beyond[1:] |= (np.abs(np.diff(corners[:, 0])) > _HALF) & (np.diff(owners) == 0)
    for index in np.unique(owners[beyond]).tolist():
        found[index] = _cut(shapes[index], found[index], crs)
    return found


def _to_globe(shapes: Any, crs: str) -> Any:  # noqa: ANN401  (of shapely, which has no types)
    return shapely.transform(shapes, lambda points: transform_points(points, crs, LONGITUDE_LATITUDE))


def _cut(shape: Any, found: Any, crs: str) -> Any:  # noqa: ANN401
    """Return a polygon in longitude and latitude, cut at 180 degrees if it crosses them; `found` if it does not.

    Its edges are made short first, so that longitudes that jump can be told from long edges.
    """
    west, south, east, north = shape.bounds
    fine = _to_globe(shapely.segmentize(shape, max(east - west, north - south) * _EDGE), crs)
    outer, *inner = (unwrap(shapely.get_coordinates(ring)) for ring in (fine.exterior, *fine.interiors))
    if np.abs(outer[:, 0]).max() <= _HALF:
        return found
    holes = shapely.union_all([hole for ring in inner for hole in _repeated(ring, outer)])
    whole = shapely.Polygon(outer).difference(holes)
    parts = [_part(whole, *turn) for turn in turns(outer)]
    kept = [polygon for part in parts for polygon in shapely.get_parts(part) if polygon.area > 0]
    return kept[0] if len(kept) == 1 else shapely.MultiPolygon(kept)


def _repeated(ring: Points, outer: Points) -> Iterator[Any]:
    """Yield the polygon of a ring at each turn of the globe at which it may meet another ring."""
    first = ceil((outer[:, 0].min() - ring[:, 0].max()) / _WHOLE)
    last = floor((outer[:, 0].max() - ring[:, 0].min()) / _WHOLE)
    for turn in range(first, last + 1):
        yield shapely.Polygon(np.add(ring, (turn * _WHOLE, 0.0)))


def _part(shape: Any, west: float, east: float, shift: float) -> Any:  # noqa: ANN401
    clipped = shape.intersection(shapely.box(west, -_POLE, east, _POLE))
    return shapely.transform(clipped, lambda points: points - (shift, 0))


_KINDS: dict[str, type[Any]] = {".gpkg": _GeoPackage, ".parquet": _GeoParquet, ".geojson": _GeoJson}
