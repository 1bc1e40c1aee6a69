"""Read what mmsegmentation writes next to its weights: configurations, parsed as literals and never executed."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Any

from pipeline.errors import ModelError
from pipeline.models.card import ClassEntry, Normalization
from pipeline.models.importing.defaults import Defaults, fixed, palette

_LONGEST = 1 << 20
_RESNETS = {
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
    32: ((1, 2, 2, 2), (1, 1, 1, 1)),
}
"""Strides and dilations of the layers, by output stride; those of 32 are mmseg's defaults."""
_MOBILENETS = {
    8: ((1, 2, 2, 1, 1, 1, 1), (1, 1, 1, 2, 2, 4, 4)),
    16: ((1, 2, 2, 2, 1, 1, 1), (1, 1, 1, 1, 1, 2, 2)),
    32: ((1, 2, 2, 2, 1, 2, 1), (1, 1, 1, 1, 1, 1, 1)),
}


def meta_defaults(meta: Mapping[str, Any], place: str) -> Defaults:
    """What the entry `meta` of a checkpoint says, of 0.x (`config`, CLASSES, PALETTE) or 1.x (`cfg`, `dataset_meta`).

    Raises ModelError where the configuration describes a network that is not built here.
    """
    config = read_config(meta.get("config") or meta.get("cfg"))
    model = _table(config.get("model"))
    test = _table(model.get("test_cfg")) or _table(config.get("test_cfg"))
    head = _table(model.get("decode_head"))
    before = _table(model.get("data_preprocessor")) or _table(config.get("data_preprocessor"))
    stride, dilation = _backbone(_table(model.get("backbone")), place)
    patch = _pair(test.get("crop_size")) or _pair(config.get("crop_size")) or _pair(before.get("size"))
    step = _pair(test.get("stride"))
    pixels = _table(config.get("img_norm_cfg")) or before
    return Defaults(
        "the file's meta",
        output_stride=stride,
        dilation=dilation,
        align_corners=_of(bool, head.get("align_corners")),
        patch=patch,
        overlap=None if patch is None or step is None else (max(0, patch[0] - step[0]), max(0, patch[1] - step[1])),
        classes=_classes(meta),
        channels=_channels(pixels),
        normalization=_normalization(pixels),
        bins=_whole(head.get("pool_scales")),
        dropout=_of(float, head.get("dropout_ratio")),
        threshold=_of(float, head.get("threshold")),
    )


def name_defaults(name: str) -> Defaults:
    """What the name of a published file says, such as `pspnet_r50-d8_769x769_40k_cityscapes`."""
    side = re.search(r"(?<![\dx])(\d{3,4})x(\d{3,4})(?!\d)", name)
    depth = re.search(r"[-_]d(8|16|32)[-_]", name + "_")
    patch = None if side is None else (int(side[1]), int(side[2]))
    strides: dict[str, Any] = {"8": 8, "16": 16, "32": 32}
    return Defaults(
        "the file's name",
        output_stride=None if depth is None else strides[depth[1]],
        align_corners=None if patch is None else all(side % 8 == 1 for side in patch),
        patch=patch,
    )


def read_config(text: object) -> dict[str, Any]:
    """Top-level values of a configuration in Python: literals, `dict(...)` and earlier names; the rest is left out."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return {}
    known: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
        for line in body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                known[line.targets[0].id] = _value(line.value, known)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return known


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:  # noqa: ANN401  (a value of a configuration)
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return known.get(name)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return tuple(_value(part, known) for part in parts)
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {key.value: _value(value, known) for key, value in pairs if isinstance(key, ast.Constant)}
        case ast.Call(func=ast.Name(id="dict"), keywords=keywords):
            return {word.arg: _value(word.value, known) for word in keywords if word.arg is not None}
    return None


def _backbone(backbone: Mapping[str, Any], place: str) -> tuple[Any, Any]:
    """Output stride and rule of dilation; ModelError where no network here has them."""
    if not backbone:
        return None, None
    if backbone.get("style", "pytorch") != "pytorch":
        raise ModelError(f"{place}: its backbone has style {backbone['style']!r}; only 'pytorch' is supported")
    built = _MOBILENETS if "MobileNet" in str(backbone.get("type")) else _RESNETS
    strides = _whole(backbone.get("strides")) or built[32][0]
    dilations = _whole(backbone.get("dilations")) or built[32][1]
    for output_stride, (there, dilated) in built.items():
        if (strides, dilations) == (there, dilated):
            contracted = built is _MOBILENETS or backbone.get("contract_dilation")
            return output_stride, "contracted" if contracted else "full"
    raise ModelError(f"{place}: its backbone has strides {strides} and dilations {dilations}; no network here has both")


def _classes(meta: Mapping[str, Any]) -> tuple[ClassEntry, ...] | None:
    data = _table(meta.get("dataset_meta"))
    names, colors = (meta.get(old) or data.get(new) for old, new in (("CLASSES", "classes"), ("PALETTE", "palette")))
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(
        ClassEntry(name, color)
        for name, color in zip(names, _palette(colors, len(names)) or palette(len(names)), strict=True)
    )


def _palette(colors: object, count: int) -> list[tuple[int, int, int]] | None:
    if not isinstance(colors, (list, tuple)) or len(colors) != count:
        return None
    found = [_whole(color) for color in colors]
    return [
        (color[0], color[1], color[2])
        for color in found
        if color is not None and len(color) == 3 and all(0 <= part <= 255 for part in color)
    ]


def _channels(pixels: Mapping[str, Any]) -> tuple[str, ...] | None:
    swapped = pixels.get("to_rgb", pixels.get("bgr_to_rgb"))
    if swapped is None:
        return None
    return ("red", "green", "blue") if swapped else ("blue", "green", "red")


def _normalization(pixels: Mapping[str, Any]) -> Normalization | None:
    mean, std = _numbers(pixels.get("mean")), _numbers(pixels.get("std"))
    return None if mean is None or std is None or len(mean) != len(std) or min(std) <= 0 else fixed(mean, std)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _of(kind: type, value: object) -> Any:  # noqa: ANN401  (of `kind`)
    return value if type(value) is kind else None


def _numbers(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, (list, tuple)) or not value:
        return None
    return None if any(type(part) not in (int, float) for part in value) else tuple(map(float, value))


def _whole(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, (list, tuple)) or any(type(part) is not int for part in value):
        return None
    return tuple(value)


def _pair(value: object) -> tuple[int, int] | None:
    sides = (value, value) if type(value) is int else _whole(value)
    return None if sides is None or len(sides) != 2 or min(sides) < 1 else (sides[0], sides[1])
