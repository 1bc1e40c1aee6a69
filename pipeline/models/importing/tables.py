"""Which table of a checkpoint is the network's, and what stands before its names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from torch import Tensor

from pipeline.models.importing.families import FAMILIES, Family
from pipeline.models.importing.unsupported import is_unsupported

WRAPPERS = ("state_dict", "model_state", "model", "model_state_dict", "net", "network", "module", "weights", "params")
"""Keys below which projects keep the table of tensors, next to epoch, optimizer and the like."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What data-parallel, compiled and Lightning modules put before every name."""
_AVERAGED = re.compile(r"(^|[._])(ema|swa|shadow|averaged?_model)([._]|$)")
"""Keys and prefixes of weights that were averaged while training went on."""
_FLAT = "ema_"
"""Before names of averaged weights whose dots became underscores (mmcv)."""
_KERNEL = 4
"""Axes of the weights of a convolution."""
_DEEPEST = 4
"""Tables in tables, down from that of the file."""


class Unwrapped(NamedTuple):
    """The table of tensors in a checkpoint."""

    table: Mapping[Any, Any]
    beside: Mapping[str, Any]
    """The entries next to it, such as epoch and optimizer."""


@dataclass(frozen=True)
class Table:
    """The tensors of a network, and what the file holds besides."""

    tensors: Mapping[str, Tensor]
    """By name, without what stands before all of them."""
    prefix: str = ""
    """What stood before each of their names."""
    dropped: tuple[str, ...] = field(default=())
    """Names of tensors of something else, such as a loss."""


def has_averaged(found: Mapping[Any, Any], depth: int = _DEEPEST) -> bool:
    """Return whether a checkpoint holds averaged weights, in a table of their own or under names of their own."""
    return any(_is_averaged(key) and _size(value) for key, value in found.items()) or any(
        has_averaged(value, depth - 1) for value in found.values() if isinstance(value, Mapping) and depth
    )


def unwrapped(found: Mapping[Any, Any], *, ema: bool, depth: int = _DEEPEST) -> Unwrapped:
    """Return the table of tensors in a checkpoint, and what lies beside it; of two, the averaged one if `ema`."""
    key = _wrapper(found, ema=ema) if depth else None
    if key is None:
        return Unwrapped(found, {})
    inner = unwrapped(found[key], ema=ema and not _is_averaged(key), depth=depth - 1)
    beside = {str(name): value for name, value in found.items() if name != key}
    return Unwrapped(inner.table, {**inner.beside, **beside})


def _wrapper(found: Mapping[Any, Any], *, ema: bool) -> object:
    """The key of the table to look into; None where `found` is the table itself."""
    tables = [key for key, value in found.items() if isinstance(value, Mapping)]
    averaged = list(filter(_is_averaged, tables))
    if ema and averaged:
        return _largest(found, averaged)
    if known := [key for key in WRAPPERS if key in tables]:
        return known[0]
    return None if any(isinstance(value, Tensor) for value in found.values()) else _likely(found, tables)


def _likely(found: Mapping[Any, Any], tables: Sequence[Any]) -> object:
    """The key of the largest table with tensors, of averaged ones only if there are no others; None without any."""
    filled = [key for key in tables if _size(found[key])]
    return _largest(found, [key for key in filled if not _is_averaged(key)] or filled)


def _is_averaged(key: object) -> bool:
    return any(_AVERAGED.search(part) for part in str(key).split(".")[:2])


def _largest(found: Mapping[Any, Any], keys: Sequence[Any]) -> object:
    return max(keys, key=lambda key: _size(found[key]), default=None)


def _size(found: object, depth: int = _DEEPEST) -> int:
    """How many tensors have names in a table, or in the largest table in it; 1 of a tensor."""
    if not isinstance(found, Mapping) or not depth:
        return int(isinstance(found, Tensor))
    named = [value for name, value in found.items() if isinstance(name, str)]
    inner = [_size(value, depth - 1) for value in named if isinstance(value, Mapping)]
    return max([sum(isinstance(value, Tensor) for value in named), *inner])


def network_in(tensors: Mapping[str, Tensor], *, ema: bool) -> Table:
    """Return the tensors of the network in a table that may hold others, such as a loss and averaged weights.

    What stands before its names is the prefix that at least half of them have, and after which a family knows most.
    """
    averaged = {name: tensor for name, tensor in tensors.items() if _is_averaged(name)}
    plain = {name: tensor for name, tensor in tensors.items() if name not in averaged}
    flat = {name.removeprefix(_FLAT): x for name, x in averaged.items() if name.startswith(_FLAT) and "." not in name}
    if ema and flat:
        named = {name: flat[name.replace(".", "_")] for name in plain if name.replace(".", "_") in flat}
        return _without_prefix(named)
    return _without_prefix(averaged if averaged and (ema or _is_rest(plain)) else plain)


def _is_rest(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors are of no network: none is the weight of a convolution."""
    return not any(tensor.ndim == _KERNEL for tensor in tensors.values())


def _without_prefix(tensors: Mapping[str, Tensor]) -> Table:
    prefix, table = "", dict(tensors)
    while common := next((p for p in PREFIXES if table and all(name.startswith(p) for name in table)), ""):
        prefix, table = prefix + common, {name.removeprefix(common): tensor for name, tensor in table.items()}
    best = _prefix_of(table)
    dropped = tuple(prefix + name for name in table if not name.startswith(best))
    return Table(_after(best, table), prefix + best, dropped)


def _prefix_of(table: Mapping[str, Tensor]) -> str:
    """The prefix of at least half of the names after which a family knows most of them; the shortest of several."""
    parts = Counter(prefix for name in table for prefix in _prefixes(name))
    usual = sorted((prefix for prefix, count in parts.items() if 2 * count >= len(table)), key=len)
    if not usual or any(map(is_unsupported, table)):
        return ""
    known = {"": _best("", table)[0]}
    for prefix in usual:
        known[prefix], family = _best(prefix, table)
        rest = {name: tensor for name, tensor in table.items() if not name.startswith(prefix)}
        if family.kind == "backbone" and not _is_rest(rest):
            del known[prefix]
    return max(known, key=lambda prefix: known[prefix])


def _best(prefix: str, table: Mapping[str, Tensor]) -> tuple[int, Family]:
    names = list(_after(prefix, table))
    family = max(FAMILIES, key=lambda family: family.share(names))
    return family.share(names), family


def _after(prefix: str, table: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in table.items() if name.startswith(prefix)}


def _prefixes(name: str) -> Iterator[str]:
    """`a.`, `a.b.` and so on."""
    *modules, _ = name.split(".")
    return accumulate(f"{module}." for module in modules)
