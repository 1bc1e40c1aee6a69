"""Metadata of the QGIS plugin Deepness, in an ONNX file: what it takes by itself when it opens the file.

It divides values by 255, then takes off the mean and divides by the standard deviation.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pipeline.models.card import Card, Normalization, Pair

SEGMENTOR = "Segmentor"
_CLASSES = ("class_names", "names")
_TILES = ("tiles_size", "tile_size")
"""The first is in its documentation, the second in its code."""
_OWN = ("model_type", "resolution", "tiles_overlap", "seg_thresh", "standardization_mean", *_TILES)
"""Keys of which any shows that the file is for Deepness."""
_FULL = 255.0


@dataclass(frozen=True)
class Deepness:
    """What the metadata of a file say; None: nothing that can be used."""

    kind: str | None = None
    """Segmentor, Regressor, Detector and so on."""
    classes: tuple[str, ...] | None = None
    resolution: float | None = None
    """Meters on the ground of a pixel."""
    patch: Pair | None = None
    overlap: Pair | None = None
    threshold: float | None = None
    normalization: Normalization | None = None


def read_deepness(metadata: Mapping[str, str], channels: int) -> Deepness | None:
    """Return what the metadata of a file with so many channels say; None: it is not for Deepness."""
    if not any(key in metadata for key in (*_OWN, _CLASSES[0])):
        return None
    found = {key: _value(text) for key, text in metadata.items()}
    patch = _patch(_number(_first(found, _TILES)))
    threshold = _number(found.get("seg_thresh"))
    return Deepness(
        kind=str(found["model_type"]).capitalize() if "model_type" in found else None,
        classes=_classes(_first(found, _CLASSES)),
        resolution=_meters(_number(found.get("resolution"))),
        patch=patch,
        overlap=_overlap(patch, _number(found.get("tiles_overlap"))),
        threshold=threshold if threshold is not None and 0 < threshold < 1 else None,
        normalization=_normalization(found, channels),
    )


def deepness_of(card: Card) -> dict[str, str]:
    """Return the metadata with which Deepness runs a model for scenes that gives probabilities.

    What it has no words for is left out: values that are clipped, or scaled by each scene.
    """
    words: dict[str, Any] = {
        "model_type": SEGMENTOR,
        "class_names": {str(value): entry.name for value, entry in enumerate(card.classes)},
        **dict.fromkeys(_TILES, card.patch[0]),
        "tiles_overlap": round(100 * card.overlap[0] / card.patch[0]),
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    if card.spacing is not None:
        words["resolution"] = round(100 * card.spacing[0], 6)
    if card.normalization.kind == "fixed":
        words["standardization_mean"] = [value / _FULL for value in card.normalization.mean]
        words["standardization_std"] = [value / _FULL for value in card.normalization.std]
    return {key: json.dumps(value) for key, value in words.items()}


def _first(found: Mapping[str, Any], keys: Sequence[str]) -> Any:  # noqa: ANN401
    return next((found[key] for key in keys if key in found), None)


def _patch(side: float | None) -> Pair | None:
    return None if side is None or side < 1 else (int(side), int(side))


def _meters(centimeters: float | None) -> float | None:
    return None if centimeters is None or centimeters <= 0 else centimeters / 100


def _value(text: str) -> Any:  # noqa: ANN401  (what JSON or a literal of Python holds)
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _number(value: object) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]


def _classes(value: object) -> tuple[str, ...] | None:
    """Names by number from 0; of several outputs, those of the only one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    names = {str(key): str(name) for key, name in value.items()}
    ordered = tuple(names[str(number)] for number in range(len(names)) if str(number) in names)
    return ordered if len(ordered) == len(names) == len(set(ordered)) > 0 else None


def _overlap(patch: Pair | None, percent: float | None) -> Pair | None:
    if patch is None or percent is None or not 0 <= percent < 100:
        return None
    return int(patch[0] * percent / 100), int(patch[1] * percent / 100)


def _normalization(found: Mapping[str, Any], channels: int) -> Normalization:
    mean, std = (_numbers(found.get(f"standardization_{word}"), channels) for word in ("mean", "std"))
    if mean is None or std is None or min(std) <= 0:
        mean, std = (0.0,) * channels, (1.0,) * channels
    return Normalization("fixed", tuple(_FULL * value for value in mean), tuple(_FULL * value for value in std))


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    numbers = [_number(item) for item in value] if isinstance(value, list) else []
    known = tuple(number for number in numbers if number is not None)
    return known if len(known) == len(numbers) == count else None
