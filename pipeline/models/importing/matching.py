"""Weights under our names, held against a network name by name and shape by shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from pipeline.errors import ModelError, first_of
from pipeline.models.importing.detect import detect_family
from pipeline.models.importing.families import Family
from pipeline.models.importing.options import Preset
from pipeline.models.importing.read import Checkpoint
from pipeline.models.importing.shapes import Shapes


@dataclass(frozen=True)
class MatchedCheckpoint:
    """A file of weights, and the family that it is taken to be of."""

    checkpoint: Checkpoint
    family: Family
    preset: Preset
    nearest: str
    """Which preset fits best, for a message."""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by our names, of all tensors that have one."""
        return {name: tuple(self.checkpoint.tensors[theirs].shape) for name, theirs in self._theirs.items()}

    @cached_property
    def left_out(self) -> list[str]:
        """Names of tensors that the family has and a network here does not, such as a classifier."""
        return [name for name in self.checkpoint.tensors if self.family.leaves_out(name)]

    def state(self, expected: Shapes, *, truncated: bool = False) -> dict[str, Tensor]:
        """The tensors by our names, which have exactly the names and shapes `expected`.

        Layers beyond the last one expected are left out of a `truncated` network. Raises ModelError with the first ten
        names, as the file has them, that are unknown, missing or of another shape, and the nearest preset.
        """
        used = {ours: name for ours, name in self._theirs.items() if not (truncated and _is_beyond(ours, expected))}
        faults = self._faults(used, expected)
        if said := [f"{len(found)} {what}: {first_of(found)}" for what, found in faults.items() if found]:
            raise ModelError(
                f"{self.checkpoint.path}: the weights are not those of a network of {self.preset}. {'. '.join(said)}. "
                f"{self.nearest}"
            )
        return {ours: self.checkpoint.tensors[name] for ours, name in used.items()}

    def _faults(self, used: Mapping[str, str], expected: Shapes) -> dict[str, list[str]]:
        """What is wrong with the tensors `used`, by our names, in a network of the names and shapes `expected`."""
        tensors = self.checkpoint.tensors
        dropped = set(self.left_out) | (set(self._theirs.values()) - set(used.values()))
        unknown = [name for name in tensors if name not in dropped and used.get(self._ours(name)) != name]
        return {
            "unknown": [*unknown, *(name for ours, name in used.items() if ours not in expected)],
            "missing": [self.family.naming.theirs(name) or name for name in expected if name not in used],
            "of another shape": [
                f"{name} is {self.shapes[ours]}, the network's is {expected[ours]}"
                for ours, name in used.items()
                if ours in expected and self.shapes[ours] != expected[ours]
            ],
            "no floating-point numbers": [
                f"{name} is {tensors[name].dtype}" for name in used.values() if not tensors[name].is_floating_point()
            ],
        }

    @cached_property
    def _theirs(self) -> dict[str, str]:
        """The file's names by ours."""
        found = {self._ours(name): name for name in self.checkpoint.tensors if not self.family.leaves_out(name)}
        return {ours: name for ours, name in found.items() if ours}

    def _ours(self, name: str) -> str:
        return self.family.naming.ours(name) or ""


def match_checkpoint(checkpoint: Checkpoint, preset: Preset | None) -> MatchedCheckpoint:
    """The file with the family that it is of, among those of `preset` if that is given; else ModelError."""
    family, nearest = detect_family(checkpoint, preset)
    return MatchedCheckpoint(checkpoint, family, preset or family.presets[0], nearest)


def _is_beyond(name: str, expected: Mapping[str, object]) -> bool:
    """Whether our tensor `name` is of a layer that the network ends before."""
    layer = re.match(r"layer[1-7]\.", name)
    return layer is not None and not any(other.startswith(layer[0]) for other in expected)
