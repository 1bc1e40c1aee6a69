"""Decide what to do with each item of an archive by its ledger, and keep the ledger up to date."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import get_args
from uuid import uuid4

from pipeline.archive.copied_ledger import fetched_ledger, send_ledger
from pipeline.archive.holder import Holder
from pipeline.archive.ledger import MASK_CHANGED, ArchiveLedger, Entry, Row, Written
from pipeline.archive.outputs import TOUCHED, compare, describe_fault, path_in, renewed, written
from pipeline.archive.place import Opened, Place
from pipeline.archive.recipe import key_of, recipe_of
from pipeline.archive.stamps import Stamps, files_of
from pipeline.archive.status import check_report_path, write_report
from pipeline.archive.tables import State
from pipeline.archive.volumes import measure_volumes
from pipeline.engine.ledger import differences
from pipeline.errors import CHANGED, LASTING, RequestError, counted
from pipeline.files.object_path import output_path
from pipeline.files.process import this_process
from pipeline.io.address import as_utf8
from pipeline.io.formats import Input, look
from pipeline.io.opening import content_of, stamp_of
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.outputs import expected_output
from pipeline.models.card import Features
from pipeline.runs.members import way_back
from pipeline.runs.report import HELD, Report
from pipeline.runs.storage import is_being_written, is_there

WAIT = 30.0
"""Seconds to wait at the end for the items that other runs are working on, from the last that became free."""
Version = tuple[str | None, str | None]
"""Stamp and content of an input."""
_PART = 1000
"""Items whose rows are read at a time."""
_CHANGED = "changed while it was read; run the same command again"


@contextmanager
def open_archive(ledger: Place | None, *, verify: bool = False, wait: float = WAIT) -> Iterator[Archive | None]:
    """Open the archive with a ledger, if there is one; on exit, counts and failures are written beside its file.

    Args:
        ledger: Its file, or the address of a database, or an object: then its file is in the state folder of the user,
            and the object is a copy, which is fetched where there is no such file, and sent on exit. None: no archive.
        verify: Whether the bytes of finished masks are read and compared, not only their size and time.
        wait: Seconds to wait at the end for items that other runs are working on.

    Raises:
        OutputError: If those counts would replace a file of something else.

    """
    if ledger is None:
        yield None
        return
    here = fetched_ledger(ledger)
    check_report_path(here)
    opened = ArchiveLedger(here)
    archive = Archive(opened, verify=verify, wait=wait)
    try:
        yield archive
    finally:
        try:
            write_report(opened)
        finally:
            archive.close()
            send_ledger(here, ledger)


@dataclass(frozen=True)
class WorkItem:
    """What is to be done with one item."""

    job: Job
    resources: Resources
    """As requested; a mask of an older version of the input may be replaced."""
    report: Report | None = None
    """Its report, if nothing is to be done."""
    stale: bool = False
    """Whether there is a mask of an older version of the input, or one that is not as it was written."""
    why: str | None = None
    """What is wrong with the mask that is replaced."""


@dataclass(frozen=True)
class Claim:
    """An item that is running here, and its entry in the ledger."""

    work: WorkItem
    entry: Entry


class Archive:
    """An archive and its ledger."""

    def __init__(self, ledger: ArchiveLedger, *, verify: bool = False, wait: float = WAIT) -> None:
        self.wait = wait
        self._ledger, self._folder, self._verify = ledger, ledger.folder, verify
        self._holder = Holder(this_process(), uuid4().hex[:8])
        self._life = ExitStack()
        self._life.enter_context(ledger.beating(self._holder.run))
        self._resources = Resources()
        self._recipes: dict[Job, str] = {}
        self._inputs: dict[str, Input] = {}
        self._stamps = Stamps()
        self._ahead = ThreadPoolExecutor(1, "read ahead")
        self._read: dict[str, Future[Version]] = {}

    def close(self) -> None:
        """Wait for what is being read ahead, and close the ledger."""
        self._ahead.shutdown(cancel_futures=True)
        self._life.close()
        self._ledger.close()

    def read_ahead(self, work: WorkItem) -> None:
        """Read the input of the next item to hash its content, so that it is in the page cache when its turn comes."""
        item = work.job.input
        if not self._inputs[item].remote:
            self._read[item] = self._ahead.submit(version_of, self._inputs[item])

    def choose(self, jobs: Sequence[Job], resources: Resources) -> list[WorkItem]:
        """Return what is to be done with each job; new ones are entered as pending.

        Raises:
            RequestError: If finished masks were made with another model or other options.

        """
        self._recipes, self._resources = {}, resources
        if not resources.overwrite:
            recipes = self._ledger.recipes()
            jobs = [self._as_begun(job, recipes) for job in jobs]
        self._inputs = {job.input: look(job.input) for job in jobs}
        parts = [jobs[at : at + _PART] for at in range(0, len(jobs), _PART)]
        self._refuse([what for part in parts for what in self._differences(part)], len(jobs))
        with self._stamps.listed(jobs if self._ledger.counts() else ()):
            return [work for part in parts for work in self._choose(part)]

    def _choose(self, jobs: Sequence[Job]) -> list[WorkItem]:
        keys = list(map(key_of, jobs))
        rows, outputs = self._ledger.rows_of(keys), self._ledger.outputs(keys)
        new = [Entry(key, _output(job), "pending") for job, key in zip(jobs, keys, strict=True) if key not in rows]
        if new:
            self._ledger.add(new)
        return [self._work_item(job, rows.get(key), outputs.get(key, ())) for job, key in zip(jobs, keys, strict=True)]

    def claim(self, work: WorkItem) -> Claim | Report:
        """Record that an item is running here; what is to be done with it is decided anew.

        Returns its report if another run has done it since it was chosen, or is working on it.

        Raises:
            RequestError: If another run has made it with another model or other options.

        """
        job, key = work.job, key_of(work.job)
        version = self._version(job.input)
        while True:
            row = self._ledger.row(key)
            self._refuse([] if row is None else self._differences([job], {key: row}), 1)
            work = self._work_item(job, row, self._ledger.outputs([key]).get(key, ()), version)
            if work.report is not None:
                return work.report
            if row is not None and (reason := self._who_holds(row)):
                return Report(job.name, row.output, "skipped", reason, 0.0, 0, code=HELD)
            entry = Entry(key, _output(job), "running", None, None, *version, self._recipe(job))
            entry = replace(entry, stale=work.stale, holder=str(self._holder))
            if self._ledger.claim(entry, row):
                return Claim(work, entry)

    def refuse(self, job: Job, report: Report) -> None:
        """Record that an item is not made, unless it is done."""
        self._ledger.settle(Entry(key_of(job), _output(job), "failed", report.code, report.reason))

    @contextmanager
    def running(self, claim: Claim) -> Iterator[None]:
        """Record that an item is pending again if it is stopped."""
        try:
            yield
        except BaseException:
            self._ledger.leave(claim.entry.input, claim.entry.holder)
            raise

    def is_free(self, work: WorkItem) -> bool:
        """Return whether no other run is working on an item any more, or may have done it."""
        row = self._ledger.row(key_of(work.job))
        held = row is not None and self._who_holds(row)
        return not (held or is_being_written(expected_output(work.job)))

    def finish(self, claim: Claim, report: Report) -> Report:
        """Record how an item ended, and return its report; an item that another run holds is left to that run."""
        work, running = claim.work, claim.entry
        if report.code == HELD:
            self._ledger.leave(running.input, running.holder)
            return report
        entry = replace(running, state="done", output=report.output, model=report.model, stale=False, holder=None)
        if report.status == "failed":
            state: State = "quarantined" if report.code in LASTING else "failed"
            entry = replace(entry, state=state, code=report.code, reason=report.reason, stale=work.stale)
        elif self._has_changed(work.job.input, running):
            entry = replace(entry, state="stale", reason=_CHANGED, stale=True)
            report = replace(report, status="failed", code=CHANGED, reason=f"{report.input}: {_CHANGED}")
        else:
            entry = replace(entry, cells=report.cells, seconds=report.seconds)
        if entry.state != "done":
            mine = self._ledger.settle(entry, holder=running.holder)
            return report if mine else self._report_of_another(report, running)
        files = () if entry.output is None else written(files_of(work.job, output_path(entry.output)), self._folder)
        self._ledger.settle(entry, files, measure_volumes(entry.output))
        return report if work.why is None else replace(report, reason=f"made again: {work.why}")

    def _report_of_another(self, report: Report, running: Entry) -> Report:
        """Return the report of an item that failed here while another run finished it, or has taken it over."""
        row = self._ledger.row(running.input)
        if row is not None and (held := self._who_holds(row)):
            return replace(report, status="skipped", code=HELD, reason=held)
        return replace(report, status="skipped", reason="made by another run meanwhile", code=None)

    def _who_holds(self, row: Row) -> str | None:
        """Return which other run is working on an item, in words."""
        holder = Holder.of(row.holder) if row.state == "running" else None
        if holder is None or holder == self._holder or not self._is_alive(holder, row):
            return None
        return f"{row.output or row.input}: is being made by another run, {holder.process}"

    def _is_alive(self, holder: Holder, row: Row) -> bool:
        """Return whether a run still works on an item: by its heartbeat, or else by its process and the output."""
        if (living := self._ledger.living()) is not None:
            return holder.run in living
        here = holder.process.machine == self._holder.process.machine
        held = row.output is not None and is_being_written(output_path(row.output))
        return not holder.process.has_ended and (here or held)

    def _has_changed(self, item: str, running: Entry) -> bool:
        """Return whether an input changed while its mask was made; of one at an address, the run has seen to that."""
        known = self._inputs[item]
        return not known.remote and stamp_of(known) != running.stamp

    def _version(self, item: str) -> Version:
        """Return the current version of the input: as it was read ahead, unless it has changed since."""
        ahead, known = self._read.pop(item, None), self._inputs[item]
        if ahead is None:
            return version_of(known)
        version = ahead.result()
        return version if version[0] == stamp_of(known) else version_of(known)

    def _work_item(
        self, job: Job, row: Row | None, outputs: Sequence[Written], version: Version | None = None
    ) -> WorkItem:
        resources = self._resources
        if row is None:
            return WorkItem(job, resources)
        stamp = self._stamps.of_input(job, self._inputs[job.input]) if version is None else version[0]
        touched = row.stamp not in (None, stamp)
        if row.state == "done" and not resources.overwrite and row.output is not None:
            return self._finished(job, row, outputs, stamp)
        if row.state == "quarantined" and row.stamp == stamp and row.recipe == self._recipe(job):
            return WorkItem(job, resources, _quarantined_report(job, row, self._ledger.place))
        again = replace(resources, overwrite=resources.overwrite or row.stale, restart=resources.restart or touched)
        return WorkItem(job, again, stale=row.stale, why=row.reason if row.code == MASK_CHANGED else None)

    def _finished(self, job: Job, row: Row, outputs: Sequence[Written], stamp: str | None) -> WorkItem:
        """Return what is to be done with a finished item: nothing, unless its input or its mask has changed."""
        touched, resources = row.stamp not in (None, stamp), self._resources
        if touched and row.content != content_of(self._inputs[job.input]):
            return WorkItem(job, replace(resources, overwrite=True, restart=True), stale=True)
        if why := self._fault(row, outputs):
            there = is_there(output_path(row.output or ""))
            again = replace(resources, overwrite=there, restart=resources.restart or touched)
            return WorkItem(job, again, stale=there, why=why)
        if touched:
            self._ledger.enter([_with_stamp(row, stamp)])
        return WorkItem(job, self._resources, _skipped_report(job, row))

    def _fault(self, row: Row, outputs: Sequence[Written]) -> str | None:
        """Return what is wrong with the mask of a finished item; where nothing is recorded, whether it is there."""
        if not outputs:
            path = output_path(row.output or "")
            return None if is_there(path) else describe_fault(path, "missing")
        compared = [(one, self._compare(one)) for one in outputs]
        found = [
            describe_fault(path_in(self._folder, one.path), str(what))
            for one, what in compared
            if what not in (None, TOUCHED)
        ]
        if not found and any(what == TOUCHED for _, what in compared):
            self._ledger.set_outputs(row.input, [renewed(one, self._folder) for one in outputs])
        return "; ".join(found) or None

    def _compare(self, one: Written) -> str | None:
        return compare(one, self._folder, verify=self._verify, stamp_there=self._stamps.of_mask)

    def _differences(self, jobs: Sequence[Job], rows: Mapping[str, Row] | None = None) -> list[str]:
        """Return how finished items were made otherwise, unless they are to be replaced."""
        if self._resources.overwrite:
            return []
        known = self._ledger.rows_of(list(map(key_of, jobs))) if rows is None else rows
        made = [(job, row) for job in jobs if (row := known.get(key_of(job))) is not None and row.state == "done"]
        return [what for job, row in made if (what := self._difference(job, row))]

    def _refuse(self, other: Sequence[str], count: int) -> None:
        """Raise RequestError if some of `count` items were made otherwise."""
        if other:
            items = f"{len(other)} of {counted(count, 'item')}"
            raise RequestError(
                f"{self._ledger.place}: {items} already exist, made with {other[0]}; "
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
        made = self._ledger.record(recipe or "")
        differing = differences(made, recipe_of(how))
        return differing + way_back(made, how.models) if differing else ""

    def _as_begun(self, job: Job, recipes: Collection[str | None]) -> Job:
        """Return a job with features as in what is done, unless it asks for others: a model's default may change."""
        if job.features is not None or self._recipe(job) in recipes:
            return job
        others = (replace(job, features=features) for features in get_args(Features))
        return next((other for other in others if self._recipe(other) in recipes), job)

    def _recipe(self, job: Job) -> str:
        """Return the key of a job's recipe: the same for most items of an archive."""
        how = replace(job, input="", output=None)
        if how not in self._recipes:
            self._recipes[how] = self._ledger.recipe(recipe_of(job))
        return self._recipes[how]


def version_of(item: str | Input) -> Version:
    """Return stamp and content hash of an input; of an object, its stamp has an ETag, which is one of its content."""
    known = look(item)
    stamp = stamp_of(known)
    return stamp, stamp if known.remote else content_of(known)


def _output(job: Job) -> str | None:
    return None if job.output is None else as_utf8(str(job.output))


def _with_stamp(row: Row, stamp: str | None) -> Entry:
    """Return the entry of a finished item whose input has another date but the same bytes."""
    known = {name: getattr(row, name) for name in Entry.__dataclass_fields__}
    return Entry(**{**known, "stamp": stamp})


def _skipped_report(job: Job, row: Row) -> Report:
    return Report(job.name, row.output, "skipped", "already made by this very job", 0.0, row.cells, row.model)


def _quarantined_report(job: Job, row: Row, ledger: Opened) -> Report:
    reason = f"{row.reason} (quarantined: not retried until the input changes, or `pipeline retry {ledger}`)"
    return Report(job.name, row.output, "failed", reason, 0.0, 0, code=row.code)
