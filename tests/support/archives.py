"""An archive whose masks are made without a network."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from pipeline.archive.archive import Archive
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.archive.place import Place
from pipeline.archive.run import failure_report, run_items
from pipeline.errors import HeldError, InputError
from pipeline.jobs.job import Job
from pipeline.runs.lock import output_lock
from pipeline.runs.observer import RunContext
from pipeline.runs.report import Report
from tests.support.observers import Callbacks

ITEMS = 4


class Folder:
    """An archive whose masks are made by writing a byte: which were made, and how it ended."""

    def __init__(self, root: Path, model: Path, place: Place | None = None) -> None:
        self.root, self.made, self.fails = root, Counter(), set()
        self.place = place or root / "out" / LEDGER_NAME
        (root / "out").mkdir(exist_ok=True)
        self.jobs = []
        for number in range(ITEMS):
            scene = root / f"s{number}.tif"
            scene.write_bytes(bytes([number]))
            self.jobs.append(Job(str(scene), root / "out" / f"s{number}_mask.tif", str(model)))

    def archive(self, wait=0.0, **more):
        return Archive(ArchiveLedger(self.place), wait=wait, **more)

    def run(self, archive=None, during=lambda number: None, observer=None):
        """A whole run; `during` is called while an item is made, with its output held."""
        archive = archive or self.archive()

        def each(work, number, count):
            job, at = work.job, int(Path(work.job.input).stem[1:])
            try:
                with output_lock(self.root / "work", job.output):
                    during(at)
                    if at in self.fails:
                        return failure_report(job, InputError(f"{job.name}: broken"))
                    self.write(job)
                    self.made[at] += 1
            except HeldError as error:
                return failure_report(job, error)
            return Report(job.name, str(job.output), "done", None, 1.0, 9, "scene")

        try:
            return run_items(self.jobs, RunContext(observer=observer or Callbacks()), each, archive)
        finally:
            archive.close()

    def write(self, job):
        job.output.write_bytes(b"mask of " + Path(job.input).read_bytes())

    def mask(self, number):
        return self.jobs[number].output

    def rows(self):
        ledger = ArchiveLedger(self.place)
        try:
            return {int(Path(row.input).stem[1:]): row for row in ledger.rows().values()}
        finally:
            ledger.close()

    def states(self):
        return {number: row.state for number, row in self.rows().items()}


def statuses(reports):
    return [report.status for report in reports]


def overwrite(path, data):
    """Keep the time, as a bad disk does."""
    about = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    overwrite(path, data)
