"""Where things are: boxes, grids, the lattice of patches, slabs and runs, as frozen values.

May import errors, classes and files, and NumPy as the only library.
"""

from pipeline.geometry.blocks import Block, Blocks, Cut, padded_shape
from pipeline.geometry.box import Box
from pipeline.geometry.grid import Grid
from pipeline.geometry.lattice import Lattice, reflect
from pipeline.geometry.region import Region
from pipeline.geometry.slabs import covered, cut_across, cut_slabs, split_runs

__all__ = [
    "Block",
    "Blocks",
    "Box",
    "Cut",
    "Grid",
    "Lattice",
    "Region",
    "covered",
    "cut_across",
    "cut_slabs",
    "padded_shape",
    "reflect",
    "split_runs",
]
