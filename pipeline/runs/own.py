"""What a program brings to a run itself: an input, or a network, in place of those that a job names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import PlainSource, Predictor, Source, as_source
from pipeline.engine.arrays import HasArrays
from pipeline.errors import ModelError, OutputError, RequestError
from pipeline.files.object_path import OutputPath
from pipeline.io.formats import Input, look
from pipeline.io.formats.own import own_input
from pipeline.jobs.job import Job, Resources
from pipeline.models.card import FORMAT, Card, ClassEntry, Normalization
from pipeline.models.importing.defaults import palette
from pipeline.models.spec import PSPNetSpec
from pipeline.runs.members import Member
from pipeline.runs.observer import RunContext
from pipeline.runs.storage import is_there

_NEEDED = ("classes", "patch", "batch", "threads")
_ONLY_OF_MODELS = ("model", "tta", "features")
"""Options of a job that are done by networks of this project."""


@dataclass(frozen=True)
class OwnNetwork:
    """What a fingerprint says of a network that a program brings."""

    in_channels: int
    classes: int
    version: str | None
    """A word that changes whenever its scores do; None: it has none, so that its runs are not resumed."""

    def takes(self, size: tuple[int, int]) -> bool:
        """Whether it computes patches of a height and width: of any."""
        return True


class CheckedPredictor:
    """A predictor whose scores are held against what it says of itself."""

    def __init__(self, predictor: Predictor, margin: int) -> None:
        self._predictor, self._margin = predictor, margin
        self.classes, self.batch, self.threads = predictor.classes, predictor.batch, predictor.threads

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Return the scores of a batch.

        Raises:
            ModelError: They have another shape than those of its classes, or are no real numbers.

        """
        scores = np.asarray(self._predictor(values, valid))
        seen = values.shape[2:]
        wanted = (len(values), self.classes, *(seen if len(seen) == 2 else (seen[0] - 2 * self._margin, *seen[1:])))
        if scores.shape != wanted or scores.dtype.kind != "f":
            raise ModelError(
                f"{_name(self._predictor)}: returns scores of shape and type {scores.shape} {scores.dtype} for values "
                f"{values.shape}, and {wanted} float32 are needed; test it with pipeline.testing.PredictorContract"
            )
        return scores.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Own:
    """What a program brings itself; None: what the job names."""

    source: Source | None = None
    predictor: Predictor | None = None

    @classmethod
    def of(cls, source: Source | PlainSource | None, predictor: Predictor | None) -> Own:
        """Return what is brought.

        Raises:
            RequestError: The predictor lacks what a run needs to know of it.

        """
        missing = [] if predictor is None else [name for name in _NEEDED if not hasattr(predictor, name)]
        if missing:
            raise RequestError(
                f"predictor {_name(predictor)}: has no {', '.join(missing)}; a predictor needs {', '.join(_NEEDED)}"
            )
        return cls(None if source is None else as_source(source), predictor)

    @property
    def any(self) -> bool:
        """Whether anything is brought."""
        return self.source is not None or self.predictor is not None

    @property
    def versioned(self) -> bool:
        """Whether all that is brought has a version, so that it is known whether a run goes on with the same."""
        known = (self.source is None or self.source.info.version, self.predictor is None or _version(self.predictor))
        return all(known)

    def input_of(self, job: Job) -> Input:
        """Return the input of a job."""
        return look(job.input) if self.source is None else own_input(job.input, self.source)

    def run_of(self, run: RunContext) -> RunContext:
        """Return how a run is computed with what is brought: what has no version starts over.

        Raises:
            RequestError: It has workers, which are other processes.

        """
        if self.any:
            check_alone(run)
        return run if self.versioned else replace(run, resources=replace(run.resources, restart=True))

    def check_output(self, output: OutputPath, resources: Resources) -> None:
        """Raise OutputError if a file would be taken for the mask of what has no version."""
        if not self.versioned and is_there(output) and not resources.overwrite:
            raise OutputError(
                f"{output}: already exists, and without a version of the input or network it is not known whether it "
                "is their mask; give them a version, or use --overwrite"
            )

    def members_of(self, source: Source, job: Job) -> tuple[Member, ...]:
        """Return the network that is brought, as the only model of a job; none if the job names models.

        Raises:
            RequestError: The job asks for what only networks of this project do.

        """
        if self.predictor is None:
            return ()
        asked = [name for name in _ONLY_OF_MODELS if getattr(job, name) not in (None, "patch")]
        if asked:
            raise RequestError(f"{', '.join(asked)}: is for networks of this project; leave it out with your predictor")
        card = _card_of(self.predictor, source)
        return (Member(card.name, card),)

    def predictor_of(self, card: Card) -> Predictor | None:
        """Return the network that is brought; its scores are checked, unless they are on a device."""
        if self.predictor is None or isinstance(self.predictor, HasArrays):
            return self.predictor
        return CheckedPredictor(self.predictor, card.margin)


def check_alone(run: RunContext) -> None:
    """Raise RequestError if a run has workers: what a program brings is in its own process."""
    if run.workers is not None or run.resources.workers or run.resources.scheduler:
        raise RequestError(
            "workers: are other processes, which cannot have an input, a network or an output of this one; leave them "
            "out (this process alone uses all cores)"
        )


NOTHING = Own()
"""Nothing is brought: all is as the job names it."""


def _name(predictor: object) -> str:
    return str(getattr(predictor, "name", None) or getattr(predictor, "__name__", type(predictor).__name__))


def _version(predictor: object) -> str | None:
    version = getattr(predictor, "version", None)
    return None if version is None else str(version)


def _card_of(predictor: Any, source: Source) -> Card:  # noqa: ANN401  (with attributes that a Predictor may lack)
    """Return the card of a network: what it says of itself, and defaults."""
    name, scene = _name(predictor), source.grid.is_scene
    patch = _pair(predictor.patch)
    margin = int(getattr(predictor, "margin", 0))
    channels = tuple(getattr(predictor, "channels", None) or (f"channel {at + 1}" for at in range(source.channels)))
    network = OwnNetwork(len(channels) * (2 * margin + 1), int(predictor.classes), _version(predictor))
    try:
        return Card(
            format=FORMAT,
            name=name,
            kind="scene" if scene else "volume",
            classes=_classes_of(predictor),
            network=cast("PSPNetSpec", network),  # of which a run asks for its channels and classes alone
            patch=patch,
            overlap=_pair(getattr(predictor, "overlap", (patch[0] // 4, patch[1] // 4))),
            channels=channels,
            margin=margin,
            normalization=Normalization("fixed", (0.0,) * len(channels), (1.0,) * len(channels)),
            spacing=None,
            orientation=None if scene else "RAS",
            views=() if scene else ("axial",),
            averaging=getattr(predictor, "averaging", "logits"),
            window="gaussian",
            weights_sha256="",
            license="",
            credits="",
            evaluation={},
        )
    except ValueError as error:
        raise RequestError(f"predictor {name}: {error}") from error


def _classes_of(predictor: Any) -> tuple[ClassEntry, ...]:  # noqa: ANN401
    names = getattr(predictor, "names", None) or [f"class {value}" for value in range(predictor.classes)]
    return tuple(ClassEntry(str(name), color) for name, color in zip(names, palette(len(names)), strict=True))


def _pair(sides: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return a height and a width, of one number or of two."""
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return int(height), int(width)
