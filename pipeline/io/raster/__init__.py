"""Read scenes with GDAL, and write GeoTIFF.

The only package that imports rasterio. May import the modules of `pipeline.io`, but no other format's package.
"""

from pipeline.io.raster.assemble import assemble_cog
from pipeline.io.raster.files import files_of
from pipeline.io.raster.source import RasterSource
from pipeline.io.raster.write import write_cog, write_layer, write_png, write_scene

__all__ = ["RasterSource", "assemble_cog", "files_of", "write_cog", "write_layer", "write_png", "write_scene"]
