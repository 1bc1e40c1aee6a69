"""Decide what to do with each item of an archive by its ledger, and keep the ledger up to date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.archive.ledger import ArchiveLedger, Entry, Row, State
from pipeline.archive.outliers import measure_volumes
from pipeline.archive.status import write_report
from pipeline.decoding import encode
from pipeline.engine.ledger import differences
from pipeline.errors import LASTING, Interrupted, RequestError
from pipeline.io.address import with_paths
from pipeline.io.formats import Input, look
from pipeline.io.opening import content_of, stamp_of
from pipeline.jobs.job import Job, Resources
from pipeline.models.catalogue import load_card
from pipeline.runs.prepare import DEFAULTS
from pipeline.runs.prepared import FORMAT
from pipeline.runs.report import Report

HELD = "held"
"""Code of items that another run is working on."""
Version = tuple[str | None, str | None]
"""Stamp and content of an input."""
_NOT_IN_RECIPE = ("evaluation", "training", "limits", "licence", "credits", "int8")
"""Fields of a card that decide no byte of a mask."""


@contextmanager
def open_archive(ledger: Path | None) -> Iterator[Archive | None]:
    """Open the archive with a ledger, if there is one; on exit, counts and failures are written beside it."""
    if ledger is None:
        yield None
        return
    opened = ArchiveLedger(ledger)
    archive = Archive(opened)
    try:
        yield archive
    finally:
        try:
            write_report(opened)
        finally:
            archive.close()


@dataclass(frozen=True)
class WorkItem:
    """What is to be done with one item."""

    job: Job
    resources: Resources
    """As requested; a mask of an older version of the input may be replaced."""
    report: Report | None = None
    """Its report, if nothing is to be done."""
    stale: bool = False
    """Whether there is a mask of an older version of the input."""


class Archive:
    """An archive and its ledger."""

    def __init__(self, ledger: ArchiveLedger) -> None:
        self._ledger = ledger
        self._recipes: dict[Job, str] = {}
        self._inputs: dict[str, Input] = {}
        self._ahead = ThreadPoolExecutor(1, "read ahead")
        self._read: dict[str, Future[Version]] = {}

    def close(self) -> None:
        """Wait for what is being read ahead, and close the ledger."""
        self._ahead.shutdown(cancel_futures=True)
        self._ledger.close()

    def read_ahead(self, work: WorkItem) -> None:
        """Read the input of the next item to hash its content, so that it is in the page cache when its turn comes."""
        item = work.job.input
        self._read[item] = self._ahead.submit(version_of, self._inputs[item])

    def choose(self, jobs: Sequence[Job], resources: Resources) -> list[WorkItem]:
        """Return what is to be done with each job; new ones are entered as pending.

        Raises:
            RequestError: If finished masks were made with another model or other options.

        """
        rows = self._ledger.rows()
        self._recipes = {}
        self._inputs = {job.input: look(job.input) for job in jobs}
        self._refuse_others(jobs, resources, rows)
        new = [Entry(key_of(job), _output(job), "pending") for job in jobs if key_of(job) not in rows]
        self._ledger.enter(new)
        return [self._work_item(job, resources, rows.get(key_of(job))) for job in jobs]

    @contextmanager
    def running(self, work: WorkItem) -> Iterator[Entry]:
        """Record that an item is running, and that it is pending again if it is stopped. Yields the entry."""
        job = work.job
        stamp, content = self._version(job.input)
        entry = Entry(key_of(job), _output(job), "running", None, None, stamp, content, self._recipe(job))
        entry = replace(entry, stale=work.stale)
        self._ledger.enter([entry])
        try:
            yield entry
        except (Interrupted, KeyboardInterrupt):
            self._ledger.enter([replace(entry, state="pending")])
            raise

    def finish(self, work: WorkItem, running: Entry, report: Report) -> Report:
        """Record how an item ended, and return its report; an item that another run holds is left to that run."""
        if report.code == HELD:
            return replace(report, status="skipped")
        entry = replace(running, state="done", output=report.output, model=report.model, stale=False)
        if report.status == "failed":
            state: State = "quarantined" if report.code in LASTING else "failed"
            entry = replace(entry, state=state, code=report.code, reason=report.reason, stale=work.stale)
        elif stamp_of(self._inputs[work.job.input]) != running.stamp:
            entry = replace(entry, state="stale", reason="changed while it was read", stale=True)
        else:
            entry = replace(entry, cells=report.cells, seconds=report.seconds)
        if entry.state == "done":
            self._ledger.set_volumes(entry.input, measure_volumes(entry.output))
        self._ledger.enter([entry])
        return report

    def _version(self, item: str) -> Version:
        """Return the current version of the input: as it was read ahead, unless it has changed since."""
        ahead, known = self._read.pop(item, None), self._inputs[item]
        version = version_of(known) if ahead is None else ahead.result()
        return version if version[0] == stamp_of(known) else version_of(known)

    def _work_item(self, job: Job, resources: Resources, row: Row | None) -> WorkItem:
        if row is None:
            return WorkItem(job, resources)
        stamp = stamp_of(self._inputs[job.input])
        touched = row.stamp not in (None, stamp)
        if row.state == "done" and not resources.overwrite and row.output is not None and Path(row.output).exists():
            if touched and row.content != content_of(self._inputs[job.input]):
                return WorkItem(job, replace(resources, overwrite=True, restart=True), stale=True)
            if touched:
                self._ledger.enter([_with_stamp(row, stamp)])
            return WorkItem(job, resources, _skipped_report(job, row))
        if row.state == "quarantined" and row.stamp == stamp and row.recipe == self._recipe(job):
            return WorkItem(job, resources, _quarantined_report(job, row, self._ledger.path))
        again = replace(resources, overwrite=resources.overwrite or row.stale, restart=resources.restart or touched)
        return WorkItem(job, again, stale=row.stale)

    def _refuse_others(self, jobs: Sequence[Job], resources: Resources, rows: dict[str, Row]) -> None:
        if resources.overwrite:
            return
        made = [(job, row) for job in jobs if (row := rows.get(key_of(job))) is not None and row.state == "done"]
        other = [what for job, row in made if (what := self._difference(job, row))]
        if other:
            raise RequestError(
                f"{self._ledger.path}: {len(other)} of {len(jobs)} items already exist, made with {other[0]}; "
                "use --overwrite to replace them, or give another --output"
            )

    def _difference(self, job: Job, row: Row) -> str:
        """Return how a job differs from what was done; empty if it does not, or if an older ledger had fewer fields.

        The NIfTI affine does not matter to an item that was done without choosing one.
        """
        if row.recipe in (self._recipe(job), self._recipe(replace(job, affine=None))):
            return ""
        return self._compared(replace(job, input="", output=None), row.recipe)

    @lru_cache(maxsize=64)  # noqa: B019  (an archive lives as long as its run)
    def _compared(self, how: Job, recipe: str | None) -> str:
        return differences(self._ledger.record(recipe or ""), recipe_of(how))

    def _recipe(self, job: Job) -> str:
        """Return the key of a job's recipe: the same for most items of an archive."""
        how = replace(job, input="", output=None)
        if how not in self._recipes:
            self._recipes[how] = self._ledger.recipe(recipe_of(job))
        return self._recipes[how]


def key_of(job: Job) -> str:
    """Return the key of an item in the ledger: an address, or an absolute path."""
    path = with_paths(job.name, lambda path: str(Path(path).absolute()))
    return path if job.volume is None else path + _volume(look(job.input), job.volume)


def _volume(item: Input, number: int) -> str:
    """Return what distinguishes one volume of a file from the others."""
    return f"[{number}]" if item.is_path else ""


def recipe_of(job: Job) -> dict[str, Any]:
    """Return everything that decides a mask except its input, as JSON values."""
    said = asdict(replace(job.plain(), input="", output=None, model=None))
    how = {name: value for name, value in said.items() if value not in (None, "")}
    if job.aoi is not None and Path(job.aoi).is_file():
        how["aoi"] = content_of(job.aoi)
    models = DEFAULTS.values() if job.model is None else (job.model,)
    cards = [encode(load_card(name)) for name in models]
    told = {card["name"]: {name: value for name, value in card.items() if _is_in_recipe(name, value)} for card in cards}
    return {"format": FORMAT, **how, "models": told}


def _is_in_recipe(name: str, value: object) -> bool:
    """Return whether a field of a card is in the recipe: not if it decides nothing or has the older default."""
    return name not in _NOT_IN_RECIPE and (name, value) not in (("values", "raw"), ("view_weights", ()))


def version_of(item: str | Input) -> Version:
    """Return stamp and content hash of an input."""
    known = look(item)
    return stamp_of(known), content_of(known)


def _output(job: Job) -> str | None:
    return None if job.output is None else str(job.output)


def _with_stamp(row: Row, stamp: str | None) -> Entry:
    """Return the entry of a finished item whose input has another date but the same bytes."""
    known = {name: getattr(row, name) for name in Entry.__dataclass_fields__}
    return Entry(**{**known, "stamp": stamp})


def _skipped_report(job: Job, row: Row) -> Report:
    return Report(job.name, row.output, "skipped", "already made by this very job", 0.0, row.cells, row.model)


def _quarantined_report(job: Job, row: Row, ledger: Path) -> Report:
    reason = f"{row.reason} (quarantined: not retried until the input changes, or `pipeline retry {ledger}`)"
    return Report(job.name, row.output, "failed", reason, 0.0, 0, code=row.code)
