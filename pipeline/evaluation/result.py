"""What an evaluation found, in plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal

from pipeline.decoding import Meaning, encode
from pipeline.errors import counted
from pipeline.files.html import escaped, table
from pipeline.io.tables import write_rows

Kind = Literal["scene", "volume"]


@dataclass(frozen=True)
class Estimate:
    """A figure over all items, and its 95 % bootstrap interval."""

    value: float | None
    """None: not defined, for nothing of it is there."""
    low: float | None
    """None: one item only, or no bootstrap."""
    high: float | None


def estimate(value: Any, around: Iterable[Any]) -> Estimate:  # noqa: ANN401  (numbers of NumPy)
    """Return a figure with the ends of its interval; NaN is not defined."""
    low, high = map(plain_number, around)
    return Estimate(plain_number(value), low, high)


def plain_number(value: Any) -> float | None:  # noqa: ANN401  (a number of NumPy)
    """Return a number, or None for NaN."""
    return None if isnan(value) else float(value)


@dataclass(frozen=True)
class ReliabilityBin:
    """The cells of which a model is about as sure."""

    cells: int
    confidence: float | None
    """Their mean confidence; None: there are none."""
    accuracy: float | None
    """Share of them that is right."""


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be trusted."""

    ece: Estimate
    """Expected calibration error: how far confidence and accuracy are apart, on average over cells."""
    nll: Estimate
    """Mean negative log-likelihood of the true classes."""
    classes: Mapping[str, Estimate]
    """Expected calibration error of the cells that are predicted as each class."""
    bins: tuple[ReliabilityBin, ...]
    """Bins of confidence, of the same width, from 0 to 1."""


@dataclass(frozen=True)
class Calibration:
    """The temperature of a model, and what it does."""

    temperature: float
    now: Reliability
    before: Reliability | None
    """Without the temperature; None: it is 1."""


@dataclass(frozen=True)
class AtResolution:
    """Figures of the same scenes with pixels of another size."""

    factor: float
    """Side of a pixel, as a multiple of the scene's own."""
    ground: tuple[float, float] | None
    """Smallest and largest side of a pixel in meters on the ground; None: unknown."""
    figures: Mapping[str, Estimate]
    """Accuracy and mean IoU."""
    classes: Mapping[str, Estimate]
    """IoU of each class, by name."""


@dataclass(frozen=True)
class ClassOfItem:
    """A class in one item."""

    value: int
    name: str
    truth_cells: int
    predicted_cells: int
    figures: Mapping[str, float | None]


@dataclass(frozen=True)
class ItemResult:
    """One prediction against its truth."""

    prediction: str | None
    """None: it was made for this evaluation only."""
    truth: str
    image: str | None
    """What was segmented, where it is known."""
    cells: int
    counted: int
    """Cells whose truth is neither ignored nor nodata."""
    missed: int
    """Counted cells where the prediction is nodata or an ignored value."""
    seconds: float | None
    """Time that segmenting it took; None: it was there."""
    figures: Mapping[str, float | None]
    """Accuracy, and means over classes."""
    classes: tuple[ClassOfItem, ...]


@dataclass(frozen=True)
class ClassResult:
    """A class over all items."""

    value: int
    name: str
    color: Annotated[tuple[int, int, int], Meaning("Red, green and blue, 0 to 255.", name="colour")]
    truth_cells: int
    predicted_cells: int
    items: int
    """Items that have it in truth or prediction."""
    one_sided: int
    """Items that have it in one of the two only: no distance is defined there."""
    figures: Mapping[str, Estimate]


@dataclass(frozen=True)
class Overall:
    """All items together."""

    kind: Kind
    items: int
    cells: int
    counted: int
    missed: int
    seconds: float | None
    """Time that segmenting took; None: nothing was segmented."""
    megapixels_per_second: float | None
    figures: Mapping[str, Estimate]
    """Accuracy, and means over classes."""
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Cells by class of the truth (rows) and of the prediction (columns; the last: not predicted)."""
    settings: Mapping[str, Any]
    """Ignored values, tolerance, distance, draws and seed."""
    calibration: Annotated[Calibration | None, Meaning("How far probabilities can be trusted.", sparse=True)] = None
    """None: not measured."""
    resolutions: Annotated[
        tuple[AtResolution, ...] | None, Meaning("Figures with pixels of other sizes.", sparse=True)
    ] = None
    """None: not measured."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

    items: tuple[ItemResult, ...]
    overall: Overall

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values; what is not defined is None."""
        return encode(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the figures of each class over all items."""
        names = list(self.overall.classes[0].figures) if self.overall.classes else []
        rows = [(one.name, [one.figures[name].value for name in names]) for one in self.overall.classes]
        rows.append(("mean", [_mean(self.overall, name) for name in names]))
        cells = (
            [escaped(name), *("-" if value is None else f"{value:.3f}" for value in found)] for name, found in rows
        )
        return table(cells, (counted(self.overall.items, "item"), *map(escaped, names)))


def _mean(overall: Overall, name: str) -> float | None:
    found = overall.figures.get(f"mean_{name}")
    return None if found is None else found.value


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Figures over all items as JSON values, each with its interval: `[value, low, high]`, and None where undefined."""
    return summary_of(evaluation.overall)


def summary_of(overall: Overall) -> dict[str, Any]:
    """Return the same of all items together."""
    return {
        "items": overall.items,
        "counted": overall.counted,
        "megapixels_per_second": _rounded(overall.megapixels_per_second),
        "figures": _triples(overall.figures),
        "classes": {entry.name: _triples(entry.figures) for entry in overall.classes},
        "settings": dict(overall.settings),
        **({} if overall.calibration is None else {"calibration": _calibration(overall.calibration)}),
        **({} if overall.resolutions is None else {"resolutions": [_resolution(one) for one in overall.resolutions]}),
    }


def _resolution(found: AtResolution) -> dict[str, Any]:
    return {
        "factor": found.factor,
        "ground": None if found.ground is None else [_rounded(side) for side in found.ground],
        "figures": _triples(found.figures),
        "classes": {name: {"iou": _triple(one)} for name, one in found.classes.items()},
    }


def _calibration(found: Calibration) -> dict[str, Any]:
    before = {} if found.before is None else {"before": _reliability(found.before)}
    return {"temperature": found.temperature, **_reliability(found.now), **before}


def _reliability(found: Reliability) -> dict[str, Any]:
    """Return the figures; a bin is `[cells, confidence, accuracy]`."""
    return {
        **_triples({"ece": found.ece, "nll": found.nll}),
        "classes": {name: _triple(one) for name, one in found.classes.items()},
        "bins": [[one.cells, _rounded(one.confidence), _rounded(one.accuracy)] for one in found.bins],
    }


def _triples(figures: Mapping[str, Estimate]) -> dict[str, list[float | None]]:
    return {name: _triple(one) for name, one in figures.items()}


def _triple(one: Estimate) -> list[float | None]:
    return [_rounded(end) for end in (one.value, one.low, one.high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


RANKED_BY = {"scene": "mean_iou", "volume": "mean_case_dice"}
"""By kind: the figure by which items are better or worse."""


def ranked(evaluation: Evaluation) -> list[ItemResult]:
    """The items from the best to the worst; those without a class to compare are left out."""
    name = RANKED_BY[evaluation.overall.kind]
    scored = [(score, item) for item in evaluation.items if (score := item.figures[name]) is not None]
    return [item for _, item in sorted(scored, key=lambda pair: -pair[0])]


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write one row for each class of each item, then one for each class over all items, under no name."""
    names = list(evaluation.overall.classes[0].figures)
    columns = ["prediction", "image", "truth", "value", "class", "truth_cells", "predicted_cells", *names]
    of_items = [
        [item.prediction, item.image, item.truth, *_cells(entry), *map(entry.figures.get, names)]
        for item in evaluation.items
        for entry in item.classes
    ]
    of_all = [
        ["", "", "", *_cells(total), *(total.figures[name].value for name in names)]
        for total in evaluation.overall.classes
    ]
    write_rows(path, columns, [*of_items, *of_all], line_end="\r\n")


def _cells(entry: ClassOfItem | ClassResult) -> tuple[int, str, int, int]:
    return entry.value, entry.name, entry.truth_cells, entry.predicted_cells
