"""The door of scenes: anything that GDAL opens comes in, GeoTIFF goes out. Only this folder knows rasterio."""

from pipeline.io.raster.source import RasterSource
from pipeline.io.raster.write import write_cog, write_layer, write_png, write_scene

__all__ = ["RasterSource", "write_cog", "write_layer", "write_png", "write_scene"]
