"""Heads of one plane, and names for classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import torch
from torch import Tensor

from pipeline.errors import RequestError
from pipeline.models.card import ClassEntry
from pipeline.models.importing.defaults import Findings, palette

_WEIGHT, _BIAS = "head.4.weight", "head.4.bias"


def as_two_planes(findings: Findings, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """`state`, with a head of one plane (sigmoid) as an exact head of two classes; whether it was one.

    Plane 0 is all zeros, plane 1 the score less the logit of the threshold: the higher plane is class 1 just where the
    probability is above the threshold.
    """
    told = findings.options.threshold
    if len(state[_BIAS]) != 1:
        if told is not None:
            raise RequestError(f"--threshold {told}: is for a head of one plane, but this one has {len(state[_BIAS])}")
        return dict(state), False
    threshold = findings.pick("threshold")
    if not 0 < threshold < 1:
        raise RequestError(f"--threshold {threshold}: must be a probability above 0 and below 1")
    weight, bias = state[_WEIGHT].float(), state[_BIAS].float() - log(threshold / (1 - threshold))
    two = {_WEIGHT: torch.cat([torch.zeros_like(weight), weight]), _BIAS: torch.cat([torch.zeros_like(bias), bias])}
    return {**state, **two}, True


def name_classes(findings: Findings, count: int, *, one_plane: bool) -> tuple[ClassEntry, ...]:
    """Names and colors of `count` classes: those asked for, those in the file, or numbers."""
    said = findings.said_of("classes")
    in_file = (said.classes or ()) if said is not None else ()
    known = in_file if len(in_file) == count else ()
    if (asked := findings.options.classes) is not None:
        _check_names(asked, count)
        findings.tell("classes", asked, "--classes")
        return _entries(asked, [entry.color for entry in known] or palette(count))
    if known and said is not None:
        findings.conclude("classes", known, said.where)
        return known
    if said is not None:
        findings.note(f"{said.where} names {len(in_file)} classes, which are not those of the head")
    findings.tell("classes", count, "their names are not in the file; --classes gives them")
    names = ("background", "foreground") if one_plane else tuple(f"class {value}" for value in range(count))
    return _entries(names, palette(count))


def _check_names(names: Sequence[str], count: int) -> None:
    if len(names) != count or len(set(names)) != count:
        raise RequestError(f"--classes: expected {count} different names, from class 0; got {', '.join(names)}")


def _entries(names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> tuple[ClassEntry, ...]:
    return tuple(ClassEntry(name, color) for name, color in zip(names, colors, strict=True))
