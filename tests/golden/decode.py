"""What a file of the pipeline says, by other readers than its own, without what differs from one run to the next."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VARYING = frozenset(
    {"seconds", "megapixels_per_second", "changed", "created", "updated", "seconds_left", "items_per_hour"}
)
"""Names in JSON documents whose values are those of the moment."""


def digest(path: Path) -> str:
    """SHA-256 of what a file or a store says."""
    return _sha256(json.dumps(told(path), sort_keys=True, default=str).encode())


def told(path: Path) -> Any:
    """What a file or a store says, as JSON values; arrays by their digest."""
    if path.suffix == ".zarr":
        return _store(path)
    reader = READERS.get(path.suffix.lower())
    return _sha256(path.read_bytes()) if reader is None else reader(path)


def cells(path: Path) -> str:
    """SHA-256 of the cells of a mask, their place, nodata and classes; nothing that a library words its own way."""
    return _sha256(json.dumps(_cells(path), sort_keys=True).encode())


def _cells(path: Path) -> Any:
    if path.suffix == ".zarr":
        return {name: found for name, found in _store(path).items() if name.endswith(" values")}
    if path.suffix in (".nii", ".gz"):
        import nibabel

        image, beside = nibabel.load(path), _json(Path(_stem(path) + ".json"))
        values = array(np.asanyarray(image.dataobj))
        return [values, image.affine.tolist(), beside["labels"], _how(beside["made"])]
    found = _raster(path)
    same = ("values", "valid", "transform", "nodata", "bands", "names", "colours")
    return {name: found[name] for name in same} | {"made": _how(json.loads(found["tags"][""]["PIPELINE"]))}


def _how(made: dict[str, Any]) -> dict[str, Any]:
    """How a mask was made, without the size of its input, which a library packs."""
    return {name: value for name, value in made.items() if name != "input"}


def _stem(path: Path) -> str:
    return str(path).removesuffix(".gz").removesuffix(".nii")


def array(values: NDArray[Any]) -> list[Any]:
    """Type, shape and digest of an array."""
    return [values.dtype.str, list(values.shape), _sha256(np.ascontiguousarray(values).tobytes())]


def scrubbed(value: Any) -> Any:
    """A JSON value without the values, but with the names, of what varies."""
    if isinstance(value, dict):
        return {name: "some" if name in VARYING else scrubbed(each) for name, each in value.items()}
    return [scrubbed(each) for each in value] if isinstance(value, list) else value


def _raster(path: Path) -> dict[str, Any]:
    import rasterio

    with rasterio.open(path) as dataset:
        spaces = [space for space in dataset.tag_namespaces() if space != "DERIVED_SUBDATASETS"]
        colours = dataset.colormap(1) if _is_paletted(dataset) else {}
        return {
            "values": array(dataset.read()),
            "valid": array(dataset.dataset_mask()),
            "crs": dataset.crs and dataset.crs.to_string(),
            "transform": list(dataset.transform),
            "nodata": repr(dataset.nodata),
            "tags": {space: dataset.tags(ns=space) for space in ("", *spaces)},
            "bands": [dataset.tags(band) for band in dataset.indexes],
            "names": dataset.descriptions,
            "colours": {str(value): colour for value, colour in colours.items()},
            "levels": dataset.overviews(1),
            "blocks": dataset.block_shapes,
        }


def _is_paletted(dataset: Any) -> bool:
    return dataset.colorinterp[0].name == "palette"


def _store(path: Path) -> dict[str, Any]:
    import zarr

    found: dict[str, Any] = {}
    for file in sorted(path.rglob("zarr.json")):
        place = file.parent.relative_to(path).as_posix()
        found[place] = scrubbed(json.loads(file.read_text(encoding="utf-8")))
        if found[place]["node_type"] == "array":
            found[f"{place} values"] = array(np.asarray(zarr.open_array(file.parent, mode="r")[...]))
    return found


def _nifti(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return {"bytes": _sha256(data), "header": data[:352].hex()}


def _json(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return scrubbed(json.loads(text.replace(str(Path.cwd()), "HERE")))


def _picture(path: Path) -> Any:
    import rasterio

    with rasterio.open(path) as dataset:
        return array(dataset.read())


def _geopackage(path: Path) -> dict[str, Any]:
    with sqlite3.connect(path) as base:
        names = [name for (name,) in base.execute("SELECT table_name FROM gpkg_contents ORDER BY 1")]
        return {name: _sha256(repr(base.execute(f'SELECT * FROM "{name}"').fetchall()).encode()) for name in names}


def _parquet(path: Path) -> dict[str, Any]:
    from pyarrow import parquet

    table = parquet.read_table(path)
    about = json.loads(table.schema.metadata[b"geo"]) if b"geo" in (table.schema.metadata or {}) else None
    return {"geo": about, "names": table.column_names, "rows": _sha256(repr(table.to_pylist()).encode())}


def _segmentation(path: Path) -> dict[str, Any]:
    """Of DICOM: everything but identifiers, times and versions, which are new with each file."""
    import pydicom

    made = pydicom.dcmread(path)
    frames = array(made.pixel_array)
    made.walk(_forget)
    made.file_meta.clear()
    return {"frames": frames, "data": _sha256(str(made).encode())}


def _forget(around: Any, element: Any) -> None:
    if element.VR in ("UI", "DA", "TM", "DT") or element.keyword in ("SoftwareVersions", "PixelData"):
        del around[element.tag]


def _table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


READERS: dict[str, Callable[[Path], Any]] = {
    ".tif": _raster,
    ".nii": _nifti,
    ".gz": _nifti,
    ".json": _json,
    ".geojson": _json,
    ".png": _picture,
    ".gpkg": _geopackage,
    ".parquet": _parquet,
    ".dcm": _segmentation,
    ".csv": _table,
}
