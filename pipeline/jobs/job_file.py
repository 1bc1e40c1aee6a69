"""Read job files: requests in TOML, checked key by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import get_args

from pipeline.decoding import did_you_mean, given, read_toml
from pipeline.decoding.readers import one_or_several
from pipeline.engine import WINDOWS
from pipeline.errors import RequestError
from pipeline.files.object_path import is_object
from pipeline.io.address import with_paths
from pipeline.io.places import scheme_in
from pipeline.jobs.job import models_of
from pipeline.jobs.layers import parse_layers
from pipeline.jobs.request import UNKNOWN, Request
from pipeline.models.card import Features, views_of
from pipeline.models.hub.address import is_on_hub
from pipeline.models.inference.tta import TTA

AFFINES = ("strict", "sform", "qform")
FEATURES = get_args(Features)


def read_request(path: Path) -> Request:
    """Read the request in a job file; paths in it are relative to the file.

    Raises:
        RequestError: With the key, its value and what is expected.

    """
    return _resolve_paths(read_toml(Request, path, "job file", unknown=UNKNOWN), path.parent)


def load_request(config: Path | None, options: Request) -> Request:
    """Return the request in the job file `config`, if any, overridden by what `options` gives, and checked.

    Raises:
        RequestError: If a value is not valid.

    """
    request = Request() if config is None else read_request(config)
    request = replace(request, **given(options))
    check(request)
    return request


def check(request: Request) -> None:
    """Raise RequestError for a request that cannot be valid, whatever its inputs are."""
    if not request.input and request.search is None:
        raise RequestError("no input given; give one, e.g. `pipeline run --input scene.tif`")
    if request.bids is not None and request.search is not None:
        raise RequestError("bids and search cannot be used together: a search does not return a dataset")
    if request.bids is not None and is_object(request.output):
        raise RequestError(f"--output {request.output}: the masks of a dataset are written to a folder of this machine")
    check_options(request)


def check_options(request: Request) -> None:
    """Raise RequestError for options that cannot be valid; unlike `check`, inputs may be missing."""
    _check_word("window", request.window, WINDOWS)
    views_of(request.view)
    TTA.of(request.tta)
    parse_layers(request.also)
    _check_word("affine", request.affine, AFFINES)
    _check_word("features", request.features, FEATURES)
    if isinstance(request.volume, int) and request.volume < 0:
        raise RequestError(f"volume {request.volume}: must be 0 or more (volumes are counted from 0), or all")
    _check_target(request)
    _check_patch(request.patch, request.overlap)


def _check_word(what: str, word: str | None, known: Sequence[str]) -> None:
    if word is not None and word not in known:
        raise RequestError(f"unknown {what} {word!r}{did_you_mean(word, known)}; choose one of {', '.join(known)}")


def _check_target(request: Request) -> None:
    if request.like is not None and (request.resolution or request.crs):
        raise RequestError(f"like {request.like} already defines the grid; remove resolution and crs")
    if request.resolution and not all(0 < side < inf for side in request.resolution):
        raise RequestError(f"resolution {request.resolution} must be positive in height and width")


def _check_patch(patch: tuple[int, int] | None, overlap: tuple[int, int] | None) -> None:
    if patch and min(patch) < 1:
        raise RequestError(f"patch {patch} must be at least 1 in height and width")
    if overlap and (min(overlap) < 0 or (patch and any(o >= p for p, o in zip(patch, overlap, strict=True)))):
        limit = f"the patch {patch}" if patch else "the patch"
        raise RequestError(f"overlap {overlap} must be at least 0 and smaller than {limit} in height and width")


def _like(given: str, resolved: str) -> str:
    """Return a resolved output with the slash at its end by which it was given."""
    return resolved + "/" if given.endswith("/") and not resolved.endswith("/") else resolved


def _resolve_paths(request: Request, folder: Path) -> Request:
    def resolve(name: str) -> str:
        return with_paths(name, lambda path: path if path.startswith("/") else str(folder / path))

    def resolve_model(name: str) -> str:
        return resolve(name) if "/" in name and not is_on_hub(name) else name

    model = one_or_several(tuple(map(resolve_model, models_of(request.model)))) or None
    aoi = request.aoi
    if aoi is not None and (folder / aoi).is_file():
        aoi = str(folder / aoi)
    like = None if request.like is None else resolve(request.like)
    output = None if request.output is None else _like(request.output, resolve(request.output))
    inputs = tuple(map(resolve, request.input))
    allow = request.allow and tuple(word if scheme_in(word) else resolve(word) for word in request.allow)
    return replace(request, input=inputs, output=output, model=model, aoi=aoi, like=like, allow=allow)
