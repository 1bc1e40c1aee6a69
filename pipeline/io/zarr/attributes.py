"""Attributes of a Zarr array: CF and GeoZarr for scenes, OME-Zarr for volumes, and our own exact record."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.classes import ClassTable, hex_color, rows_of
from pipeline.geometry import Grid
from pipeline.geometry.affine import offset, to_geotransform, to_transform

Attributes = dict[str, Any]

OURS = "pipeline"
"""Key of our own record in the attributes of the root group."""

_OME = "0.5"
"""Version of OME-Zarr."""
_CONVENTIONS = {
    "proj": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "spatial": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
}


def root_attributes(
    grid: Grid, array: str, nodata: int | None, classes: ClassTable, provenance: Mapping[str, Any]
) -> Attributes:
    """Return the attributes of the group that holds the mask `array`; `provenance` says how it was made."""
    record = own_record(grid, array, nodata, classes, provenance)
    return {**record, **({} if grid.is_scene else {"ome": _image(grid, array, "mask")})}


def layer_attributes(
    grid: Grid, name: str, nodata: int | None, provenance: Mapping[str, Any], *, channels: bool
) -> Attributes:
    """Return the attributes of the group that holds the array `name` of a layer, whose first axis may be `channels`."""
    record = own_record(grid, name, nodata, (), provenance)
    return {**record, **({} if grid.is_scene else {"ome": _image(grid, name, name, channels=channels)})}


def own_record(
    grid: Grid,
    array: str,
    nodata: float | None = None,
    classes: ClassTable = (),
    provenance: Mapping[str, Any] = MappingProxyType({}),
) -> Attributes:
    """Return our own record alone, for a store that stays internal."""
    record = {
        "version": 1,
        "array": array,
        "grid": grid_to_json(grid),
        "nodata": nodata,
        "classes": rows_of(classes),
        "made": dict(provenance),
    }
    return {OURS: record}


def labels_attributes(name: str) -> Attributes:
    """Return the attributes of the group `labels` of OME-Zarr, which lists its only label."""
    return {"ome": {"version": _OME, "labels": [name]}}


def label_attributes(root: Attributes, array: str, classes: ClassTable, nodata: int | None) -> Attributes:
    """Return the attributes of the label itself, two groups below `root`: those of `root` with names and colors."""
    (image,) = root["ome"]["multiscales"]
    (level,) = image["datasets"]
    ome = {
        "version": _OME,
        "multiscales": [{**image, "datasets": [{**level, "path": array}]}],
        "image-label": _label(classes, nodata),
    }
    return {OURS: {**root[OURS], "array": array}, "ome": ome}


def array_attributes(grid: Grid, nodata: int | None, classes: ClassTable) -> Attributes:
    """Return the attributes of the mask array itself."""
    meaning = {
        "flag_values": [c.value for c in classes],
        "flag_meanings": " ".join(c.name.replace(" ", "_") for c in classes),
        "flag_colors": " ".join(hex_color(c.color) for c in classes),
    }
    named = meaning if classes else {}
    missing = {} if nodata is None else {"_FillValue": nodata}
    return {**named, **missing, **(_scene(grid) if grid.is_scene else {})}


def spatial_ref(grid: Grid) -> Attributes:
    """Return the CF grid mapping: the CRS and GDAL's transform, as rioxarray and GDAL read them."""
    wkt = {} if grid.crs is None else {"crs_wkt": grid.crs, "spatial_ref": grid.crs}
    return {**wkt, "GeoTransform": " ".join(map(repr, to_geotransform(_corner(grid))))}


def grid_to_json(grid: Grid) -> Attributes:
    """Return a grid as JSON values, exactly."""
    return {
        "shape": list(grid.shape),
        "affine": [list(row) for row in grid.affine],
        "axes": list(grid.axes),
        "crs": grid.crs,
        "reference": dict(grid.reference),
    }


def grid_from_json(values: Mapping[str, Any]) -> Grid:
    """Return the grid that `grid_to_json` described."""
    affine = tuple(tuple(float(value) for value in row) for row in values["affine"])
    return Grid(tuple(values["shape"]), affine, tuple(values["axes"]), values["crs"], values["reference"])


def _scene(grid: Grid) -> Attributes:
    geozarr = {
        "zarr_conventions": [
            {
                "name": name,
                "uuid": uuid,
                "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
                "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
            }
            for name, uuid in _CONVENTIONS.items()
        ],
        "spatial:dimensions": list(grid.axes),
        "spatial:transform": _corner(grid),
        "spatial:shape": list(grid.shape),
        "spatial:registration": "pixel",
    }
    crs = {} if grid.crs is None else {"proj:wkt2": _wkt2(grid.crs), "_CRS": {"wkt": grid.crs}}
    return {"grid_mapping": "spatial_ref", **geozarr, **crs}


def _wkt2(crs: str) -> str:
    from pipeline.io.raster.shapes import wkt2  # only for scenes: rasterio takes a moment to import

    return wkt2(crs)


def _corner(grid: Grid) -> list[float]:
    """GDAL's transform of the pixel corners: its own words where the grid came from GDAL."""
    words = grid.reference.get("gdal") or {}
    return words.get("transform") or to_transform(grid.affine)


def _image(grid: Grid, array: str, title: str, *, channels: bool = False) -> Attributes:
    """OME-Zarr: scale and translation are all that it can say; the full affine is in our record and as NIfTI."""
    translation = offset(grid.affine)[::-1].tolist()
    place = [
        {"type": "scale", "scale": [1.0] * channels + list(grid.spacing)},
        {"type": "translation", "translation": [0.0] * channels + translation},
    ]
    lead = [{"name": "c", "type": "channel"}] * channels
    multiscale = {
        "name": title,
        "axes": [*lead, *({"name": name, "type": "space", "unit": "millimeter"} for name in grid.axes)],
        "datasets": [{"path": array, "coordinateTransformations": place}],
    }
    return {"version": _OME, "multiscales": [multiscale]}


def _label(classes: ClassTable, nodata: int | None) -> Attributes:
    label: Attributes = {
        "version": _OME,
        "source": {"image": "../../"},
        "colors": [
            *({"label-value": c.value, "rgba": [*c.color, 255]} for c in classes),
            {"label-value": nodata, "rgba": [0, 0, 0, 0]},
        ],
    }
    if classes:
        names: dict[int | None, str] = {**{c.value: c.name for c in classes}, nodata: "nodata"}
        label["properties"] = [{"label-value": value, "name": name} for value, name in names.items()]
    return label
