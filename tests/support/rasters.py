"""Rasters on disk, as rasterio writes them, with all the places and masks that a raster can have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC

SMALLEST = np.finfo(np.float32).min
NORTH_UP = Affine(10.0, 0.0, 500000.1, 0.0, -10.0, 4100000.7)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'
ROTATED_POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +ellps=sphere"
"""A system that TIFF has no words for: GDAL keeps it in the sidecar."""

POINTS = [GroundControlPoint(r, c, 10 + c / 7, 50 - r / 7, 3.0, str(i)) for i, (r, c) in enumerate([(0, 0), (0, 9)], 1)]
ONE, MANY = [1.0] + [0.0] * 19, [i / 7 for i in range(20)]
COEFFICIENTS = RPC(
    height_off=100.0,
    height_scale=1.5,
    lat_off=47.3,
    lat_scale=0.1,
    long_off=12.1,
    long_scale=0.2,
    line_off=5.0,
    line_scale=2.0,
    line_num_coeff=MANY,
    line_den_coeff=ONE,
    samp_off=6.0,
    samp_scale=3.0,
    samp_num_coeff=MANY,
    samp_den_coeff=ONE,
)
PLACES: dict[str, dict[str, Any]] = {
    "north-up": {"transform": NORTH_UP, "crs": "EPSG:32633"},
    "south-up": {"transform": Affine(10.0, 0.0, 500000.1, 0.0, 10.0, 4000000.3), "crs": "EPSG:32633"},
    "rotated": {"transform": NORTH_UP @ Affine.rotation(33), "crs": "EPSG:32633"},
    "sheared": {"transform": NORTH_UP @ Affine.shear(12, 3), "crs": "EPSG:3857"},
    "degrees": {"transform": Affine(1 / 3600, 0, -17.3, 0, -1 / 3600, 64.1), "crs": "EPSG:4326"},
    "point": {"transform": Affine(1 / 3, 0, 400000.7, 0, -1 / 3, 5000000.1), "crs": "EPSG:25832", "point": True},
    "ground control points": {"gcps": POINTS, "crs": "EPSG:4326"},
    "control points of points": {"gcps": POINTS, "crs": "EPSG:4326", "point": True},
    "coefficients": {"rpcs": COEFFICIENTS},
    "nowhere": {},
    "transform alone": {"transform": NORTH_UP},
    "system alone": {"crs": "EPSG:32633"},
    "local": {"transform": NORTH_UP, "crs": LOCAL},
    "engineering": {
        "transform": NORTH_UP,
        "crs": 'ENGCRS["site",EDATUM["d"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
    },
    "rotated pole": {"transform": Affine(0.1, 0, 2.0, 0, -0.1, 3.0), "crs": CRS.from_proj4(ROTATED_POLE)},
    "compound": {"transform": NORTH_UP, "crs": "EPSG:32633+5773"},
}


def put(path: Path, values: NDArray[Any], *, point: bool = False, rpcs: RPC | None = None, **options: Any) -> Path:
    """Write values `(bands, rows, columns)` as a GeoTIFF."""
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as dataset:
        dataset.write(values)
        if point:
            dataset.update_tags(AREA_OR_POINT="Point")
        if rpcs:
            dataset.rpcs = rpcs
    return path


def pixels(shape: tuple[int, ...], dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    """Small numbers, so that any one of them is there often."""
    return np.random.default_rng(seed).integers(0, 5, shape).astype(dtype)


def _masked(path: Path, *, inside: bool) -> Path:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside):
        put(path, pixels((3, 40, 50)))
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(pixels((40, 50), bool, 7))
    return path


def _lowest() -> NDArray[Any]:
    values = pixels((1, 40, 50), np.float32)
    return np.where(values == 4, SMALLEST, values)


def _wide(path: Path, dtype: str) -> Path:
    """The largest number of a type as nodata, which no float holds; the number before it is observed."""
    end = np.iinfo(dtype).max
    values = pixels((1, 40, 50), dtype)
    values[values == 4], values[values == 3] = end, end - 1
    inner = put(path.with_suffix(".inner.tif"), values)
    kind = {"int64": "Int64", "uint64": "UInt64"}[dtype]
    virtual = path.with_suffix(".vrt")
    virtual.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"><VRTRasterBand dataType="{kind}" band="1">'
        f'<NoDataValue>{end}</NoDataValue><SimpleSource><SourceFilename relativeToVRT="1">{inner.name}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return virtual


def _with_nan(dtype: Any) -> NDArray[Any]:
    values = pixels((2, 40, 50), dtype)
    values[:, :, 11:20][values[:, :, 11:20] == 3] = np.nan
    return values


def _with_alpha(path: Path, bands: int, dtype: Any) -> Path:
    values = pixels((bands, 40, 50), dtype)
    return put(path, values, photometric="RGB" if bands > 2 else "MINISBLACK", alpha="yes")


def _beyond(path: Path) -> Path:
    """A nodata value that the type cannot hold, as some tools write it."""
    put(path, pixels((1, 40, 50)), nodata=200)
    whole = path.read_bytes()
    assert whole.count(b"200\0") == 1
    path.write_bytes(whole.replace(b"200\0", b"-99\0"))
    return path


def _virtual(path: Path, nodata: tuple[float | None, ...], dtype: str = "Byte") -> Path:
    """One file, its bands with a nodata value each."""
    inner = put(path.with_suffix(".inner.tif"), pixels((len(nodata), 40, 50)))
    bands = "".join(
        f'<VRTRasterBand dataType="{dtype if band == 1 else "Byte"}" band="{band}">'
        + ("" if value is None else f"<NoDataValue>{value}</NoDataValue>")
        + f'<SimpleSource><SourceFilename relativeToVRT="1">{inner.name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, value in enumerate(nodata, 1)
    )
    virtual = path.with_suffix(".vrt")
    virtual.write_text(f'<VRTDataset rasterXSize="50" rasterYSize="40">{bands}</VRTDataset>')
    return virtual


MASKS: dict[str, Callable[[Path], Path]] = {
    "no nodata": lambda path: put(path, pixels((2, 40, 50))),
    "nodata": lambda path: put(path, pixels((1, 40, 50)), nodata=3),
    "nodata of three bands": lambda path: put(path, pixels((3, 40, 50)), nodata=3),
    "nodata by band": lambda path: _virtual(path, (1, 2)),
    "nodata of one band": lambda path: _virtual(path, (1, None)),
    "nodata of int16": lambda path: put(path, pixels((2, 40, 50), np.int16) * -9999, nodata=-9999),
    "nodata of float32": lambda path: put(path, pixels((2, 40, 50), np.float32) * np.float32(0.1), nodata=0.3),
    "smallest float32": lambda path: put(path, _lowest(), nodata=SMALLEST),
    "largest float32, rounded": lambda path: put(path, -_lowest(), nodata=3.40282e38),
    "smallest float32, rounded": lambda path: put(path, _lowest(), nodata=-3.40282e38),
    "nodata of int64": lambda path: _wide(path, "int64"),
    "nodata of uint64": lambda path: _wide(path, "uint64"),
    "nodata with a fraction": lambda path: _virtual(path, (3.6,)),
    "nodata of NaN": lambda path: put(path, _with_nan(np.float32)[:1], nodata=np.nan),
    "NaN without nodata": lambda path: put(path, _with_nan(np.float64)),
    "nodata out of range": _beyond,
    "mask inside": lambda path: _masked(path, inside=True),
    "mask beside": lambda path: _masked(path, inside=False),
    "alpha of RGB": lambda path: _with_alpha(path, 4, np.uint8),
    "alpha of grey": lambda path: _with_alpha(path, 2, np.uint8),
    "alpha of 16 bits": lambda path: _with_alpha(path, 4, np.uint16),
    "mixed types": lambda path: _virtual(path, (1, 1), "Float32"),
}
"""By name: what writes a file with such a mask."""
