"""What a user asks to be compared, what to measure, and what to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pipeline.decoding import Meaning
from pipeline.decoding.readers import NUMBERS, ONE_OR_SEVERAL, TEXTS, WHOLES
from pipeline.errors import RequestError

_FINEST, _COARSEST = 0.125, 64.0


@dataclass(frozen=True)
class EvaluationRequest:
    """Where predictions come from: masks, or inputs and a model, or a table of either."""

    predictions: Annotated[
        tuple[str, ...],
        TEXTS,
        Meaning("Masks: file, folder (of *_mask files) or quoted pattern; may be repeated."),
    ] = ()
    inputs: Annotated[
        tuple[str, ...],
        TEXTS,
        Meaning(
            "Inputs to segment first, as for `pipeline run`; may be repeated.", name="input", short="-i", role="input"
        ),
    ] = ()
    table: Annotated[
        Path | None,
        Meaning(
            "Table (.csv, .tsv) with the columns truth, and prediction or image; with both, image is for the pictures."
        ),
    ] = None
    truth: Annotated[
        str | None,
        Meaning(
            "Path of each truth: {stem} is the name of the prediction or input without suffix and _mask, {folder} its "
            "folder, e.g. labels/{stem}.tif."
        ),
    ] = None
    model: Annotated[
        str | tuple[str, ...] | None,
        ONE_OR_SEVERAL,
        Meaning(
            "Name or path of a model, see `pipeline models`; may be repeated: the scores of several are averaged.",
            unset="landcover for scenes, hippocampus for volumes",
            short="-m",
            role="model",
        ),
    ] = None
    how: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the `Job` of each input, such as its view."""
    output: Annotated[
        Path | None, Meaning("Folder in which the masks of --input are kept.", unset="they are removed", short="-o")
    ] = None


@dataclass(frozen=True)
class Measures:
    """What is measured, and how."""

    ignore: Annotated[
        tuple[int, ...], WHOLES, Meaning("Values of the truth that are not counted: 255,0.", unset="none")
    ] = ()
    tolerance: Annotated[float, Meaning("Tolerance of the surface Dice of volumes, in millimeters.")] = 1.0
    boundary: Annotated[float, Meaning("Tolerance of the boundary F1 of scenes, in pixels.")] = 3.0
    bootstrap: Annotated[int, Meaning("Bootstrap resamples over items; 0: no confidence intervals.")] = 1000
    seed: Annotated[int, Meaning("Random seed of the bootstrap.")] = 0
    reliability: Annotated[
        bool,
        Meaning(
            "Also measure how far probabilities can be trusted: expected calibration error, by bins of confidence."
        ),
    ] = False

    resolutions: Annotated[
        tuple[float, ...],
        NUMBERS,
        Meaning(
            "Also evaluate scenes with pixels of other sizes, given as multiples of their own: 0.5,1,2,4.", unset="none"
        ),
    ] = ()

    def __post_init__(self) -> None:
        if any(not _FINEST <= factor <= _COARSEST for factor in self.resolutions):
            told = ",".join(f"{factor:g}" for factor in self.resolutions)
            raise RequestError(
                f"--resolutions {told}: must be multiples of the size of a pixel, from {_FINEST:g} to {_COARSEST:g}"
            )
        for name in ("tolerance", "boundary", "bootstrap", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise RequestError(f"--{name} {getattr(self, name)}: must be 0 or more, and finite")


@dataclass(frozen=True)
class EvaluationOutputs:
    """What is kept of an evaluation, beside what is shown."""

    csv: Annotated[Path | None, Meaning("Table to write with the figures of each item and class (.csv).")] = None
    pictures: Annotated[
        Path | None,
        Meaning("Folder to write the confusion matrix and the best, median and worst item to, as pictures."),
    ] = None
    calibrate: Annotated[
        bool,
        Meaning(
            "First fit the temperature of --model, so that its probabilities hold for these items, and write it into "
            "its card; use items for validation, not those of the test."
        ),
    ] = False
    record: Annotated[str | None, Meaning("Name under which the figures go into the card of --model, e.g. test.")] = (
        None
    )
