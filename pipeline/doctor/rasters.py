"""GDAL and PROJ: which formats can be read, and whether places are known."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pipeline.doctor.finding import Finding, broken, ok, remark
from pipeline.io.raster.gdal import drivers, gdal_version
from pipeline.io.raster.georeference import parse_crs

NEEDED = {"GTiff": "scenes and masks", "COG": "masks", "VRT": "scenes of several files", "MEM": "reprojection"}
"""By driver: what it is needed for; nothing works without these."""
WANTED = {
    "JP2OpenJPEG": "Sentinel-2 (.jp2)",
    "netCDF": "climate and satellite products (.nc)",
    "HDF5": "satellite products (.h5)",
    "HFA": "ERDAS Imagine (.img)",
    "NITF": "NITF (.ntf)",
    "PNG": "pictures (.png)",
    "JPEG": "pictures, and JPEG in GeoTIFF",
    "WEBP": "WebP, and WebP in GeoTIFF",
    "GPKG": "GeoPackages of images (.gpkg)",
    "MRF": "MRF (.mrf)",
    "GRIB": "weather models (.grb)",
}
"""By driver: what can be read with it; Zarr, NIfTI, DICOM and NRRD are read without GDAL."""


def check_drivers() -> Iterator[Finding]:
    """Look at GDAL's drivers."""
    there = drivers()
    facts = {"gdal": gdal_version(), "drivers": len(there)}
    missing = {name: use for name, use in NEEDED.items() if name not in there}
    for name, use in missing.items():
        yield broken(
            "GDAL", f"has no {name}, for {use}", "pip install --force-reinstall rasterio; unset GDAL_SKIP", **facts
        )
    known = {name: use for name, use in {**NEEDED, **WANTED}.items() if name in there}
    yield ok("GDAL", f"{gdal_version()} with {len(there)} drivers, such as {', '.join(known)}", **facts, known=known)
    lacking = {name: use for name, use in WANTED.items() if name not in there}
    if lacking:
        told = ", ".join(f"{name} for {use}" for name, use in lacking.items())
        yield remark(
            "GDAL",
            f"has no {told}",
            "convert such files elsewhere, or build rasterio with a GDAL that has it",
            missing=list(lacking),
        )


def check_crs() -> Iterator[Finding]:
    """Look up a CRS, which fails where another library's database is found."""
    said = {name: os.environ[name] for name in ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA") if name in os.environ}
    told = ", ".join(f"{name} is {value}" for name, value in said.items())
    try:
        parse_crs("EPSG:32633")
    except ValueError as error:
        advice = f"unset {' '.join(said)}" if said else "pip install --force-reinstall rasterio"
        yield broken("PROJ", f"{error}" + (f"; {told}" if told else ""), advice, environment=said)
    else:
        yield ok("PROJ", "knows coordinate systems" + (f"; {told}" if told else ""), environment=said)
