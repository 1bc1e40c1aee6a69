"""Find the grid that a job asks for, if it is not the scene's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.io.formats import Input, look
from pipeline.io.opening import open_source
from pipeline.io.raster.target_grids import in_crs, resized
from pipeline.jobs.job import Job


def find_target_grid(job: Job, item: Input | None = None) -> Grid | None:
    """Return the grid that `like`, `crs` and `resolution` of a job define; None: the scene's own.

    Reads headers only.

    Args:
        job: The job.
        item: Its input, if it was recognized already.

    Raises:
        InputError: If a file cannot be opened.
        RequestError: If there is no such grid.

    """
    allow = job.allow or ()
    if job.like is not None:
        if job.resolution or job.crs:
            raise RequestError(f"--like {job.like}: already defines the grid; remove --resolution and --crs")
        return _read_grid(job.like, allow)
    if job.crs is not None:
        known = item or look(job.input)
        return in_crs(
            [_grid_of(scene, "--crs", allow) for scene in known.format.scenes(known)], job.crs, job.resolution
        )
    if job.resolution is not None:
        return resized(_grid_of(item or job.input, "--resolution", allow), job.resolution)
    return None


def _read_grid(path: str, allow: Sequence[str]) -> Grid:
    """Return the grid of a raster, without the coefficients that only describe that raster itself."""
    grid = _grid_of(path, "--like", allow)
    words = grid.reference.get("gdal")
    if words is None:
        return grid
    if words["transform"] is None:
        raise RequestError(f"--like {path}: has no transform, so it cannot be used as a grid")
    return replace(grid, reference={"gdal": {name: word for name, word in words.items() if name != "rpcs"}})


def _grid_of(path: str | Input, option: str, allow: Sequence[str]) -> Grid:
    source = open_source(path, allow=allow)
    source.close()
    if not source.grid.is_scene:
        raise RequestError(f"{option} is only for scenes; {path} is a volume")
    return source.grid
