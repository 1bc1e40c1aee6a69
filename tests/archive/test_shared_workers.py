"""Items of an archive share the workers: one cluster, several items at a time, the same bytes, reports and stops."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from dataclasses import replace

import dask
import pytest

from pipeline.archive.archive import Archive
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger
from pipeline.archive.run import segment_all
from pipeline.errors import Interrupted
from pipeline.jobs.job import Job, Resources
from pipeline.runs.cluster import DaskWorkers
from pipeline.runs.lock import is_held
from pipeline.runs.observer import Observer, RunContext
from pipeline.runs.report import Report
from pipeline.runs.shared_workers import MOST, SharedWorkers
from tests.support.inputs import contents, pixels, put_scene
from tests.support.processes import workers

CPU = Resources(device="cpu", precision="float32", runtime="torch")
TWO = replace(CPU, workers=2)


class Workers:
    """Workers that end a task when they are told to."""

    def __init__(self, slots: int) -> None:
        self.slots, self.unfinished, self.most, self.go = slots, 0, 0, threading.Event()

    def map(self, function, tasks, *, tick, submitted):
        named = tasks(self.slots)
        self.unfinished += len(named)
        submitted()
        while not self.go.wait(0.01):
            tick()
        self.unfinished -= len(named)
        return [function(task) for task in named.values()]

    def close(self) -> None:
        self.go.set()


def together(slots: int, sizes: list[int]) -> tuple[list[int], list[int]]:
    """Items that have begun before any task has ended, and all results."""
    workers, begun = Workers(slots), []

    def call(number: int) -> int:
        begun.append(number)
        tasks = {f"{number} {part}": number for part in range(sizes[number])}
        return sum(shared.map(lambda: workers, int, lambda _: tasks, tick=lambda: None))

    def release() -> None:
        seen = -1
        while seen != len(begun):
            seen = len(begun)
            time.sleep(0.3)
        before.extend(begun)
        workers.go.set()

    before: list[int] = []
    with SharedWorkers() as shared:
        threading.Thread(target=release).start()
        return before, shared.mapped(call, range(len(sizes)))


@pytest.mark.parametrize(
    ("slots", "sizes", "at_once"),
    [
        (4, [1, 1, 1, 1, 1, 1, 1], 5),
        (4, [3, 3, 3], 2),
        (4, [4, 4, 4], 2),
        (4, [5, 1, 1], 1),
        (4, [9, 1, 1], 1),
        (2, [1, 9, 1], 2),
        (64, [1] * 20, MOST),
        (2, [0, 0, 0, 0, 1, 1], 4),
    ],
)
def test_the_next_item_is_prepared_once_no_task_of_those_before_it_waits(slots, sizes, at_once):
    begun, results = together(slots, sizes)
    assert begun == list(range(at_once))
    assert results == [number * size for number, size in enumerate(sizes)]


def test_a_call_that_fails_stops_the_others_and_begins_no_further_one():
    workers, begun = Workers(8), []

    def tick() -> None:
        if shared.stop.is_set():
            raise Interrupted

    def call(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise ValueError("broken")
        shared.map(lambda: workers, int, lambda _: {"one": 1}, tick=tick)

    with pytest.raises((ValueError, Interrupted)), SharedWorkers() as shared:
        shared.mapped(call, range(9))
    assert begun == [0, 1, 2]


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_what_stops_one_item_ends_its_tasks_and_those_of_another_begin_again():
    """As the time limit of a Prefect task does."""
    others: list[int] = []
    with closing(DaskWorkers(workers=2)) as workers:
        quick = threading.Thread(
            target=lambda: others.extend(workers.map(nap, lambda _: {"a": 2.0}, tick=lambda: None)), daemon=True
        )
        quick.start()

        def late() -> None:
            raise Interrupted

        with pytest.raises(Interrupted):
            workers.map(nap, lambda _: {"b": 600.0}, tick=late)
        quick.join(60)
        (again,) = workers.map(nap, lambda _: {"c": 0.0}, tick=lambda: None)
        assert workers.map(dask.config.get, lambda _: {"d": "distributed.worker.profile.enabled"}, tick=int) == [False]
    assert len(others) == 1
    assert again


@pytest.fixture(scope="module")
def jobs(models, tmp_path_factory):
    """Items of one, two and three slabs, of which the second is no image."""
    folder = tmp_path_factory.mktemp("items")
    scenes = [
        put_scene(folder / f"s{n}.tif", pixels((2, rows, 40), seed=n)) for n, rows in enumerate((900, 9, 2100, 1500))
    ]
    scenes[1].write_bytes(b"II*\0no image")
    return [Job(str(path), folder / f"alone/{path.name}", str(models / "scene")) for path in scenes]


@pytest.fixture(scope="module")
def alone(jobs):
    return segment_all(jobs, RunContext(CPU))


def elsewhere(jobs: list[Job], folder) -> list[Job]:
    return [replace(job, output=folder / job.output.name) for job in jobs]


class Noting(Observer):
    """Notes what is reported, and stops all once something is done, if it is told so."""

    def __init__(self, *, stops: bool = False) -> None:
        self.reports: list[Report] = []
        self._stops, self._done = stops, False

    def finished(self, report: Report) -> None:
        self.reports.append(report)

    def advanced(self, cells: float) -> None:
        self._done |= bool(cells)

    def should_stop(self) -> bool:
        return self._stops and self._done


def test_shared_workers_make_the_same_masks_and_reports(jobs, alone, tmp_path, monkeypatch):
    clusters: list[DaskWorkers] = []
    connect = DaskWorkers._connected

    def connected(self):
        if self._client is None:
            clusters.append(self)
        return connect(self)

    monkeypatch.setattr(DaskWorkers, "_connected", connected)
    observer, ledger = Noting(), tmp_path / LEDGER_NAME
    moved = elsewhere(jobs, tmp_path)
    archive = Archive(ArchiveLedger(ledger))
    reports = segment_all(moved, RunContext(TWO, observer), archive)
    assert [report.input for report in reports] == [job.name for job in jobs]
    assert (
        [report.status for report in reports]
        == [report.status for report in alone]
        == ["done", "failed", "done", "done"]
    )
    assert [report.code for report in reports] == [report.code for report in alone]
    assert {report.input for report in observer.reports} == {job.name for job in jobs}
    assert [contents(job.output) for job in moved if job.output.exists()] == [
        contents(job.output) for job in jobs if job.output.exists()
    ]
    assert len(clusters) == 1
    assert dask.config.get("scheduler", None) is None, "a program's own arrays are computed as before"
    archive.close()


def test_a_stop_ends_all_items_in_flight_and_the_same_run_goes_on(jobs, alone, tmp_path):
    moved, ledger = elsewhere(jobs, tmp_path), ArchiveLedger(tmp_path / LEDGER_NAME)
    archive = Archive(ledger)
    with pytest.raises(Interrupted):
        segment_all(moved, RunContext(TWO, Noting(stops=True)), archive)
    assert "running" not in {row.state for row in ledger.rows().values()}
    assert not workers()
    assert not any(is_held(job.output) for job in moved)
    segment_all(moved, RunContext(TWO), archive)
    archive.close()
    done = [number for number, report in enumerate(alone) if report.status == "done"]
    assert [contents(moved[number].output) for number in done] == [contents(jobs[number].output) for number in done]
