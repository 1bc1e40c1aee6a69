"""Which prediction is compared with which truth: found, opened, and checked against each other."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine import Source
from pipeline.errors import InputError, RequestError
from pipeline.files.walk import expand_pattern, walk
from pipeline.geometry import Grid
from pipeline.geometry.grid import difference
from pipeline.io.address import is_remote, with_paths
from pipeline.io.formats import mask_format
from pipeline.io.mask_files import mask_info
from pipeline.io.opening import open_source
from pipeline.io.suffixes import STORES, is_store, stem_of
from pipeline.io.tables import read_rows
from pipeline.jobs.inputs import find_inputs


@dataclass(frozen=True)
class Pair:
    """A prediction, its truth, and what is known of how the prediction was made."""

    prediction: str
    truth: str
    image: str | None = None
    """What was segmented, for pictures."""
    seconds: float | None = None
    """Time that segmenting it took; None: unknown."""

    def __str__(self) -> str:
        return f"{self.prediction} against {self.truth}"


@dataclass(frozen=True)
class UnpredictedPair:
    """An image that is still to be segmented, and the truth of it."""

    image: str
    truth: str

    def __str__(self) -> str:
        return f"{self.image} against {self.truth}"


@dataclass(frozen=True)
class OpenPair:
    """A pair whose two files are open, on one grid."""

    pair: Pair
    prediction: Source
    truth: Source
    nodata: tuple[int | None, int | None]
    """Values that stand for no observation in prediction and truth, where the file itself has no word for it."""

    @property
    def grid(self) -> Grid:
        """The grid of both."""
        return self.truth.grid


def find_pairs(named: Iterable[str], rule: str) -> tuple[Pair, ...]:
    """The masks that `named` stands for, each with its truth by `rule`: a path in which `{stem}` and `{folder}` stand.

    A folder stands for the masks (`*_mask`, `*_dseg`) below it, a pattern for the files it matches, anything else for
    itself. Raises RequestError where nothing is found, and where a rule without `{stem}` would serve several
    predictions.
    """
    found = tuple(dict.fromkeys(mask for name in named for mask in _masks(name)))
    return tuple(Pair(mask, truth) for mask, truth in zip(found, _truths(found, rule), strict=True))


def find_unpredicted(named: Iterable[str], rule: str) -> tuple[UnpredictedPair, ...]:
    """The inputs that `named` stands for, as `pipeline run` finds them, each with its truth by `rule`, as above."""
    found = find_inputs(named)
    return tuple(UnpredictedPair(image, truth) for image, truth in zip(found, _truths(found, rule), strict=True))


def read_table(path: Path) -> tuple[Pair, ...] | tuple[UnpredictedPair, ...]:
    """The rows of a `.csv` or `.tsv` with the columns `truth`, and `prediction` or `image`; paths are relative to it.

    Pairs if there is a column `prediction` (an `image` beside it is for the pictures), else unpredicted pairs.
    """
    rows = read_rows(path, "--table ")
    if not rows:
        raise RequestError(f"--table {path}: has no rows")
    if "truth" not in rows[0] or not {"prediction", "image"} & set(rows[0]):
        raise RequestError(
            f"--table {path}: has the columns {', '.join(rows[0])}; it needs truth, and prediction or image"
        )
    first = "prediction" if "prediction" in rows[0] else "image"
    for number, row in enumerate(rows, 2):
        if not row[first] or not row["truth"]:
            raise RequestError(f"--table {path}, line {number}: needs both {first} and truth")
    if first == "image":
        return tuple(UnpredictedPair(_under(path, row["image"]), _under(path, row["truth"])) for row in rows)
    return tuple(
        Pair(
            _under(path, row["prediction"]),
            _under(path, row["truth"]),
            _under(path, row["image"]) if row.get("image") else None,
        )
        for row in rows
    )


@contextmanager
def open_pair(pair: Pair) -> Iterator[OpenPair]:
    """Both files of a pair. Raises InputError with the pair if either cannot be read or their grids differ."""
    prediction = _open(pair, pair.prediction, "prediction")
    try:
        truth = _open(pair, pair.truth, "truth")
        try:
            check_grids(str(pair), prediction.grid, truth.grid)
            yield OpenPair(pair, prediction, truth, (_unsaid_nodata(pair.prediction), _unsaid_nodata(pair.truth)))
        finally:
            truth.close()
    finally:
        prediction.close()


@dataclass(frozen=True)
class OpenTruth:
    """A truth that is open."""

    source: Source
    nodata: int | None
    """Value that stands for no observation, where the file itself has no word for it."""


@contextmanager
def open_truth(unpredicted: UnpredictedPair) -> Iterator[OpenTruth]:
    """The truth of an image. Raises InputError with the pair if it cannot be read."""
    source = _open(Pair(unpredicted.image, unpredicted.truth), unpredicted.truth, "truth")
    try:
        yield OpenTruth(source, _unsaid_nodata(unpredicted.truth))
    finally:
        source.close()


def check_unpredicted(unpredicted: UnpredictedPair) -> None:
    """Raise InputError, before anything is computed, unless image and truth can be read and have one grid."""
    pair = Pair(unpredicted.image, unpredicted.truth)
    truth = _open(pair, pair.truth, "truth")
    truth.close()
    image = open_source(unpredicted.image, affine="sform")
    image.close()
    check_grids(str(pair), image.grid, truth.grid)


def check_grids(pair: str, one: Grid, truth: Grid) -> None:
    """Raise InputError with the `pair` unless both grids have the same cells in the same places."""
    if words := difference(one, truth):
        raise InputError(f"{pair}: {words}; resample them to one grid first")


def _masks(name: str) -> Sequence[str]:
    path = Path(name)
    if is_remote(name):
        return [name]
    if path.is_dir() and not is_store(path):
        return _some(sorted(_below(path)), f"{name}: holds no mask; a mask's name ends in _mask or _dseg")
    if glob.has_magic(name) and not path.exists():
        found = expand_pattern(name)
        return _some([item for item in found if _is_mask(Path(item))], f"{name}: no file matches")
    return [name]


def _below(folder: Path) -> Iterator[str]:
    for parent, folders, files in walk(folder, lambda name: Path(name).suffix not in (*STORES, ".partial")):
        masks = [parent / name for name in (*files, *folders)]
        yield from (str(path) for path in masks if _is_mask(path) and stem_of(path).endswith(("_mask", "_dseg")))


def _is_mask(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.suffix == ".partial"
    return not hidden and mask_format(path) is not None


def _truths(paths: Sequence[str], rule: str) -> list[str]:
    unknown = set(re.findall(r"\{[^}]*\}", rule)) - {"{stem}", "{folder}"}
    if unknown:
        raise RequestError(f"--truth {rule}: only {{stem}} and {{folder}} are allowed in braces, not {min(unknown)}")
    truths = [_truth(path, rule) for path in paths]
    shared = next((truth for truth in truths if truths.count(truth) > 1), None)
    if shared is not None:
        raise RequestError(
            f"--truth {rule}: gives the same file, {shared}, for several of {len(paths)}; put {{stem}} in it"
        )
    return truths


def _truth(path: str, rule: str) -> str:
    stem = stem_of(path).removesuffix("_mask")
    return rule.replace("{stem}", stem).replace("{folder}", str(Path(path).parent))


def _under(table: Path, name: str) -> str:
    return with_paths(name, lambda path: str(table.parent / path))


def _open(pair: Pair, path: str, part: str) -> Source:
    try:
        source = open_source(path, affine="sform")
    except InputError as error:
        raise InputError(f"{pair}: cannot read the {part}: {error}") from error
    if source.channels != 1 or source.dtype.kind not in "iufb":
        source.close()
        raise InputError(
            f"{pair}: the {part} has {source.channels} channels of {source.dtype}; expected one channel of labels"
        )
    return source


def _unsaid_nodata(path: str) -> int | None:
    """The nodata of a NIfTI mask, which stands in the JSON beside it; sources of other formats know theirs."""
    found = mask_format(path)
    return None if found is None or found.sidecar is None else mask_info(path).nodata


def _some(found: list[str], otherwise: str) -> list[str]:
    if not found:
        raise RequestError(otherwise)
    return found
