"""One input from end to end: prepare, sweep, publish; and go on where an earlier run was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Literal

from numpy.typing import NDArray

from pipeline.runs.view_averaging import average, begin_views
from pipeline.engine import Failure, Source
from pipeline.engine.ledger import Ledger
from pipeline.errors import HeldError, Interrupted, OutputError, PatchError, PipelineError
from pipeline.geometry import Box
from pipeline.runs.lock import clear, held
from pipeline.io.mask_files import remove
from pipeline.io.atomic import clean
from pipeline.sources.passes import slabs
from pipeline.io.zarr import stage_volume
from pipeline.jobs.job import Job, Means
from pipeline.models.card import Normalisation
from pipeline.runs.prepare import prepare
from pipeline.runs.progress import Progress
from pipeline.runs.publish import check_free, create, has_failed, made_otherwise, publish
from pipeline.runs.prepared import Setup
from pipeline.sources.statistics import Foreground, Spread, count_in
from pipeline.sources.percentiles import ends_of, stretch
from pipeline.runs.work_folder import STATISTICS, VOLUME, statistics_of, swept_source

_DRAFT = "volume.new.zarr"
_SHOWN = 5
"""Failed patches that are told one by one."""


@dataclass(frozen=True)
class Report:
    """What became of one item."""

    input: str
    output: str | None
    status: Literal["done", "skipped", "failed"]
    reason: str | None
    """Why it was skipped or failed."""
    seconds: float
    cells: int
    """Cells of the input's grid."""
    model: str | None = None
    code: str | None = None
    """Why it failed, in a word: unreadable, unsuitable, model, output, patch, memory, system, request or error."""
    seam_index: float | None = None
    """Mean disagreement where patches overlap, 0 to 1; None where it was not asked for."""


def segment(job: Job, means: Means = Means(), progress: Progress = Progress(), stop: Event | None = None) -> Report:
    """Segment one input into a mask file of exactly its geometry.

    Work lies in `<output>.partial` until the output is whole; the same call goes on from there after a crash. An output
    that was made by just this job is left alone. Raises PipelineError with the place, both values and the way out;
    PatchError where the network failed on patches, which are nodata in the output until the same call makes them good;
    Interrupted if `stop` is set meanwhile.
    """
    began = time.monotonic()
    setup = prepare(job, means)
    ledger = Ledger(setup.work)
    if ledger.begun and not means.restart:
        setup = _as_begun(setup, means, ledger)
    told = job.name, str(setup.output)
    cells = Box.whole(setup.grid.shape).size
    if _is_made(setup, means, ledger):
        _clear_up(setup, ledger)
        return Report(*told, "skipped", "already made by this very job", 0.0, cells, setup.card.name)
    if job.bands is None and setup.reading.bands is not None:
        progress.note(f"by their names the model takes {', '.join(setup.told_channels)}")
    with held(setup.work, setup.output):
        if ledger.begun:
            clean(setup.output.parent)
        try:
            seams = _make(setup, means, ledger, progress, stop or Event())
        except OSError as error:
            if isinstance(error, PipelineError):
                raise
            raise OutputError(
                f"{setup.output}: the disk of {error.filename or setup.work} fails ({error.strerror or error}); "
                "the same command goes on from what is done"
            ) from error
    return Report(*told, "done", None, time.monotonic() - began, cells, setup.card.name, seam_index=seams)


def _make(setup: Setup, means: Means, ledger: Ledger, progress: Progress, stop: Event) -> float | None:
    """Make the output, or what is left of it; its seam index, if that is asked for."""
    from pipeline.runs.execute import sweep_left  # Dask takes a second, and what is made already needs none

    _open(setup, means, ledger)
    with _tidied(setup):
        setup = _begin(setup, ledger, progress)
        failures = sweep_left(setup, means, progress, stop)
    if setup.averaged:
        if failures:
            raise PatchError(f"{_told(setup, failures)}; nothing is written, and the same command tries them again")
        progress.phase("averaging")
        average(setup, means, stop)
    progress.phase("writing")
    seams = publish(setup, len(failures))
    if failures:
        raise PatchError(
            f"{_told(setup, failures)}; they are nodata in the mask, and the same command tries them again"
        )
    remove(setup.work)
    return seams


def _told(setup: Setup, failures: Sequence[Failure]) -> str:
    """Which patches failed, and why: the first few."""
    places = ", ".join(
        f"{'/'.join(setup.swept.axes)} {'/'.join(f'{a}:{b}' for a, b in zip(patch.start, patch.stop, strict=True))}"
        for patch, _ in failures[:_SHOWN]
    )
    more = f" and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    return (
        f"{setup.job.name}: the network failed twice on {len(failures)} patches ({places}{more}: {failures[0].reason})"
    )


def _clear_up(setup: Setup, ledger: Ledger) -> None:
    """Remove what is left of a run that made its output and ended before it could."""
    if setup.work.exists() and not (ledger.begun and ledger.differences(setup.fingerprint())):
        with suppress(HeldError), held(setup.work, setup.output):
            remove(setup.work)


def _is_made(setup: Setup, means: Means, ledger: Ledger) -> bool:
    """Whether the output is there and was made by this very job; refuses to replace any other unless it may."""
    if means.overwrite:
        return False
    check_free(setup)
    if not setup.output.exists() or (has_failed(setup.output) and _has_gaps(setup, means, ledger)):
        return False
    if differing := made_otherwise(setup, setup.output):
        raise OutputError(
            f"{setup.output}: is there already, made with {differing}; "
            "--overwrite replaces it, or give another --output"
        )
    return all(layer.beside(setup.output).exists() for layer in setup.layers)


def _has_gaps(setup: Setup, means: Means, ledger: Ledger) -> bool:
    """Whether the run that made an output left patches for this one."""
    if not ledger.begun or ledger.differences(setup.fingerprint()):
        return False
    everything = setup.slabs(means)
    return len(ledger.done(everything)) < len(everything)


def _open(setup: Setup, means: Means, ledger: Ledger) -> None:
    """Find the work folder as this very run left it, or make a new one; refuse that of another run."""
    if ledger.begun and not means.restart:
        ledger.check(setup.fingerprint())
        return
    try:
        clear(setup.work)
    except OSError as error:
        raise OutputError(f"{setup.work}: cannot be emptied ({error.strerror}); give another --output") from error


@contextmanager
def _tidied(setup: Setup) -> Iterator[None]:
    """Where something goes wrong before any slab is done, no work folder stays behind."""
    try:
        yield
    except Interrupted:
        raise
    except Exception:
        if not any(Ledger(view.folder).any_done for view in setup.each()):
            remove(setup.work)
        raise


def _as_begun(setup: Setup, means: Means, ledger: Ledger) -> Setup:
    """The setup in the numerics of the run that was begun, unless the user asks for others."""
    begun = {name: ledger.fingerprint.get(name) for name in ("precision", "runtime")}
    asked = {"precision": means.precision, "runtime": means.runtime}
    now = {"precision": setup.numerics.precision, "runtime": setup.numerics.runtime}
    if begun == now or any(asked[name] not in (None, begun[name]) for name in begun):
        return setup
    return prepare(setup.job, replace(means, precision=begun["precision"], runtime=begun["runtime"]))


def _begin(setup: Setup, ledger: Ledger, progress: Progress) -> Setup:
    """Everything in the work folder that the sweep needs and that is not there yet; the ledger comes last.

    The setup as it is to be run: its numerics are tried first.
    """
    from pipeline.runs.warm_up import tried

    _look_through(setup, progress)
    if ledger.begun:
        return setup
    source = swept_source(setup)
    try:
        setup = tried(setup, source, *statistics_of(setup), progress)
    finally:
        source.close()
    create(setup)
    if setup.averaged:
        begin_views(setup)
    ledger.begin(setup.fingerprint())
    return setup


def _look_through(setup: Setup, progress: Progress) -> None:
    """Stage a volume and take its statistics, both in one pass, where either is needed and not there yet."""
    volume, statistics = setup.work / VOLUME, setup.work / STATISTICS
    staging = setup.staged and not volume.exists()
    counting = setup.needs_statistics and not statistics.exists()
    if not (staging or counting):
        return
    progress.phase("reading")
    rule, whole = setup.card.normalisation, replace(setup.reading, windows=None)
    source = whole.open(setup.job.input)
    seen = [Spread(source.dtype) if rule.kind == "percentile" else Foreground() for _ in range(source.channels)]

    def look(values: NDArray[Any]) -> None:
        if counting:
            count_in(seen, values)

    try:
        if staging:
            stage_volume(source, setup.work / _DRAFT, look)
            (setup.work / _DRAFT).rename(volume)
        elif not setup.grid.is_scene:
            for _, pixels in slabs(source, 1):
                look(pixels.values)
        if counting:
            by_channel = [seen[at] for at in setup.reading.windows or range(source.channels)]
            statistics.write_text(json.dumps(_numbers(source, by_channel, rule)), encoding="utf-8")
    finally:
        source.close()


def _numbers(source: Source, seen: Sequence[Foreground | Spread], rule: Normalisation) -> dict[str, Any]:
    """The statistics of each channel of an input as JSON values: of a volume, of what was `seen` of it."""
    if rule.kind != "percentile":
        found = [one for one in seen if isinstance(one, Foreground)]
        return {"mean": [one.mean for one in found], "std": [one.std for one in found]}
    counted = [one for one in seen if isinstance(one, Spread)]
    ends = stretch(source, rule.low, rule.high) if source.grid.is_scene else ends_of(counted, rule.low, rule.high)
    return dict(zip(("shift", "spread"), ends, strict=True))
