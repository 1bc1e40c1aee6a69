"""Sample inputs for the demo, the tests and the benchmarks: an endless aerial scene and a CT phantom.

Both are pure functions of an index range and a seed: nothing is stored, nothing repeats, and nothing depends on how the
range is cut. Randomness is an integer hash of lattice points, and floating-point work is limited to operations that
IEEE 754 rounds in one way only (no sine, no exponential, no matrix product), so every platform makes the same bytes.
May import nothing of the project, and NumPy as the only library.
"""

from __future__ import annotations

from pipeline.samples.phantom import PHANTOM_AFFINE, PHANTOM_CLASSES, phantom_slices
from pipeline.samples.scene import CLASSES, SCENE_CRS, SCENE_TRANSFORM, scene_rows

__all__ = [
    "CLASSES",
    "PHANTOM_AFFINE",
    "PHANTOM_CLASSES",
    "SCENE_CRS",
    "SCENE_TRANSFORM",
    "phantom_slices",
    "scene_rows",
]
