"""Describe a mask as a STAC Item: its location, its classes and the model that made it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classes import hex_color
from pipeline.geometry import Grid
from pipeline.io.longitudes import Points, bounds, cut, unwrap
from pipeline.io.mask import Mask, model_records
from pipeline.io.raster.placement import ground_size, placement_of
from pipeline.io.raster.shapes import LONGITUDE_LATITUDE, authority_code, transform_points, wkt2
from pipeline.io.suffixes import stem_of, suffix_of

_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".zarr": "application/vnd.zarr; version=3",
}
_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
_OF_MODELS = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_EDGE = 16
"""Points of each side of a footprint."""
_SETTINGS = ("patch", "overlap", "window", "normalisation", "spacing", "zoom", "tta", "precision", "hub")
"""Fields of a mask's record that say how its model was used."""
_TASK = "semantic-segmentation"
Record = Mapping[str, Any]
"""What the record of a mask says of a model."""


def build_item(mask: Mask, at: Path, path: Path) -> dict[str, Any]:
    """Return the mask at the path `at` as a STAC 1.1 Item for a file at `path`.

    The geometry is null if the mask has no place, neither by a transform nor by ground control points. It is cut where
    it crosses 180 degrees (RFC 7946).
    """
    grid = mask.grid
    models = [record for record in model_records(mask.provenance) if record.get("weights_sha256")]
    properties: dict[str, Any] = {
        "datetime": _when(mask.provenance),
        "proj:shape": list(grid.shape),
        "proj:code": None if grid.crs is None else authority_code(grid.crs),
        "proj:wkt2": None if grid.crs is None else wkt2(grid.crs),
        "processing:software": {"pipeline": version("pipeline")},
        "processing:lineage": _lineage(mask.provenance, models),
    }
    words = grid.reference.get("gdal", {}).get("transform")
    if words is not None:
        properties["proj:transform"] = words
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": stem_of(at),
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {"classes": _labels_of(mask, at, path)},
    }
    if models:
        item["stac_extensions"].append(_OF_MODELS)
        properties |= _model_of(mask, models)
        item["assets"] |= {_asset(number): _weights_of(model) for number, model in enumerate(models, 1)}
    footprint = _footprint(grid)
    if footprint is not None:
        item["geometry"] = _geometry(footprint)
        item["bbox"] = list(bounds(footprint))
    return item


def _labels_of(mask: Mask, at: Path, path: Path) -> dict[str, Any]:
    point = mask.grid.reference.get("gdal", {}).get("area_or_point", "Area")
    band = {
        "name": "class",
        "nodata": mask.nodata,
        "data_type": mask.labels.dtype.name,
        "raster:sampling": "point" if point == "Point" else "area",
    }
    size = ground_size(mask.grid)
    if size is not None:
        band["raster:spatial_resolution"] = round(size, 6)
    asset: dict[str, Any] = {
        "href": _href(at, path),
        "type": _TYPES.get(suffix_of(at), "application/octet-stream"),
        "roles": ["data"],
        "title": "classes",
        "bands": [band],
        "classification:classes": _classes_of(mask),
    }
    if at.is_file():
        asset["file:size"] = at.stat().st_size
    return asset


def _lineage(provenance: Record, models: Sequence[Record]) -> str:
    name = provenance.get("input", {}).get("name", "?")
    if len(models) > 1:
        return f"Semantic segmentation of {name} with the mean scores of {_listed(_names(models))}"
    network = "an ONNX network" if any(map(_is_onnx, models)) else "PSPNet"
    return f"Semantic segmentation with {network} of {name}"


def _model_of(mask: Mask, models: Sequence[Record]) -> dict[str, Any]:
    """Return the models in the terms of the machine-learning extension; networks take patches of any size."""
    network = models[0]["network"]
    sides = ["batch", "channel", "height", "width"]
    scores = {"shape": [-1, network["classes"], -1, -1], "dim_order": sides, "data_type": "float32"}
    seen = {"shape": [-1, network["in_channels"], -1, -1], "dim_order": sides, "data_type": "float32"}
    # the extension goes by classification 1.1, which has no titles
    classes = [{name: one[name] for name in ("value", "name", "color_hint")} for one in _classes_of(mask)]
    return {
        "mlm:name": _model_name(_listed(_names(models))),
        "mlm:architecture": _listed(map(_architecture, models)),
        "mlm:framework": _listed("ONNX" if _is_onnx(model) else "PyTorch" for model in models),
        "mlm:tasks": [_TASK],
        "mlm:input": [{"name": "patch", "bands": [], "input": seen}],
        "mlm:output": [{"name": "scores", "tasks": [_TASK], "result": scores, "classification:classes": classes}],
        "mlm:hyperparameters": _settings(models),
    }


def _settings(models: Sequence[Record]) -> dict[str, Any]:
    """Return how the first model was used and, under `others`, what is of each other model."""
    first, *others = ({name: model[name] for name in _SETTINGS if model.get(name) is not None} for model in models)
    named = [{"model": name, **used} for name, used in zip(_names(models)[1:], others, strict=True)]
    return {**first, "others": named} if named else first


def _names(models: Sequence[Record]) -> list[str]:
    return [model["model"] for model in models]


def _listed(words: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(words))


def _architecture(model: Record) -> str:
    return "ONNX network" if _is_onnx(model) else f"PSPNet ({model['network']['backbone']})"


def _asset(number: int) -> str:
    return "model" if number == 1 else f"model-{number}"


def _weights_of(model: Record) -> dict[str, Any]:
    """Return the weights by their digest (RFC 6920), wherever a copy of them is."""
    digest = bytes.fromhex(model["weights_sha256"])
    kind = "onnx" if _is_onnx(model) else "safetensors"
    return {
        "href": f"ni:///sha-256;{base64.urlsafe_b64encode(digest).decode().rstrip('=')}",
        "type": f"application/octet-stream; application={kind}",
        "roles": ["mlm:model", "mlm:weights"],
        "title": model["model"],
        "mlm:artifact_type": kind,
        "file:checksum": f"1220{digest.hex()}",
    }


def _is_onnx(model: Record) -> bool:
    return bool(model["network"].get("family") == "onnx")


def _classes_of(mask: Mask) -> list[dict[str, Any]]:
    return [
        {
            "value": c.value,
            "name": "".join(letter if letter.isalnum() else "_" for letter in c.name),
            "title": c.name,
            "color_hint": hex_color(c.color).lstrip("#").upper(),
        }
        for c in mask.classes
    ]


def _model_name(name: str) -> str:
    """Return a name that the machine-learning extension accepts: at least three characters, a letter first."""
    word = re.sub(r"[^A-Za-z0-9_.\- ]", "_", name).rstrip("_.- ")
    return word if re.fullmatch(r"[A-Za-z][\w.\- ]+[A-Za-z0-9]", word) else f"model-{word or 0}"


def _footprint(grid: Grid) -> Points | None:
    """Return the outline of a grid in longitude and latitude, with continuous longitudes."""
    place = placement_of(grid)
    if place is None:
        return None
    rows, columns = (np.linspace(-0.5, size - 0.5, _EDGE + 1) for size in grid.shape)
    top, bottom = np.full(_EDGE + 1, rows[0]), np.full(_EDGE + 1, rows[-1])
    left, right = np.full(_EDGE + 1, columns[0]), np.full(_EDGE + 1, columns[-1])
    sides = [(rows, left), (bottom, columns), (rows[::-1], right), (top, columns[::-1])]
    at = np.concatenate([np.column_stack(side)[:-1] for side in sides])
    at = np.concatenate([at, at[:1]])
    points = transform_points(place.world(at), place.crs, LONGITUDE_LATITUDE).round(9)
    return unwrap(points) if np.isfinite(points).all() else None


def _geometry(footprint: Points) -> dict[str, Any]:
    """Return an outline as GeoJSON, counterclockwise."""
    rings = [[_counterclockwise(part).tolist()] for part in cut(footprint)]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _counterclockwise(ring: Points) -> Points:
    x, y = ring[:-1].T
    return ring[::-1] if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0 else ring


def _when(provenance: Mapping[str, Any]) -> str:
    """Return when the input was last changed, by the mask's provenance: the same whenever the Item is written."""
    changed = provenance.get("input", {}).get("changed_ns", 0)
    return datetime.fromtimestamp(changed / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _href(mask: Path, item: Path) -> str:
    near = mask.absolute().parent == item.absolute().parent
    return f"./{mask.name}" if near else str(mask.absolute())
