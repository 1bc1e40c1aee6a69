"""Workers that sweep the runs of a scene from one storage, event by event.

A worker takes the next run when it is free. It reads ahead, computes, and writes behind as the engine does: as many
slabs in flight as there are readers, and one band. The patches of a lattice row go as one step, at the pace of the
slower one of network and blending. All workers share one storage, of which reading and writing are each first come,
first served at the whole bandwidth, and one scheduler. The encoding of a band counts after its transfer, so that the
storage is asked in the order of time. The main process begins alone, and alone makes the mask of the store at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush

from benchmarks.simulator.costs import Costs
from pipeline.engine.reader import READERS
from pipeline.geometry import Box, Lattice, cut_slabs, split_runs
from pipeline.geometry.partition import patches_of, split_for_workers
from pipeline.geometry.slabs import Run
from pipeline.runs.view_sweep import STRIP

Steps = Generator[float, float, float]
"""Yields the time until which it waits, is sent the time that it is then, and returns the time of its end."""


@dataclass(frozen=True)
class Storage:
    """Bandwidths of all workers together, in millions of bytes a second."""

    read_mbps: float
    write_mbps: float


@dataclass(frozen=True)
class Scene:
    """A square scene as it is swept."""

    lattice: Lattice
    bands: tuple[Box, ...]

    @classmethod
    def of(cls, costs: Costs, side: int, strip: int | None = None) -> Scene:
        """A scene of `side` pixels, in strips of so many columns; None: whole rows."""
        shape = (side, side)
        lattice = Lattice(shape, (costs.patch,) * 2, (costs.overlap,) * 2, (0, 0))
        return cls(lattice, cut_slabs(shape, costs.band, strip))

    def runs(self, workers: int) -> tuple[Run, ...]:
        """Its bands, shared out among workers."""
        return split_for_workers(self.lattice, self.bands, workers, STRIP[2])

    @property
    def mpx(self) -> float:
        """Its size."""
        return _mpx(*self.lattice.shape)


@dataclass(frozen=True)
class Outcome:
    """What came of a number of workers. Shares are of the wall time."""

    workers: int
    runs: int
    recomputed: float
    """Patches that are computed again, as a share of all: they lie across runs, or across strips."""
    wall_s: float
    network: float
    """Share in which the busiest worker computes."""
    reading: float
    """Share in which the storage reads, or the readers of the busiest worker decode, whichever is more."""
    writing: float
    """Share in which the storage writes, or the busiest worker encodes, whichever is more."""
    publish: float
    """Share in which the main process makes the mask."""

    @property
    def busiest(self) -> str:
        """The resource that is busy for most of the time."""
        return max(("network", "reading", "writing", "publish"), key=lambda name: float(getattr(self, name)))


def compare(
    costs: Costs, side: int, storage: Storage, workers: Sequence[int], strip: int | None = None
) -> tuple[Outcome, list[Outcome]]:
    """One worker with whole rows and all bands in one run, to measure others by; and each number of workers."""
    whole, scene = Scene.of(costs, side), Scene.of(costs, side, strip)
    alone = simulate(costs, whole, storage, 1, split_runs(whole.bands, 1))
    shared = ((number, scene.runs(number)) for number in workers)
    return alone, [simulate(costs, scene, storage, number, runs) for number, runs in shared]


def simulate(costs: Costs, scene: Scene, storage: Storage, workers: int, runs: Sequence[Run]) -> Outcome:
    """Play the runs of a scene through."""
    shared = _Shared(storage, iter(runs))
    staff = [_Worker(costs, scene.lattice, shared) for _ in range(workers)]
    publish_s = scene.mpx * (
        costs.publish_s + costs.store_mb / storage.read_mbps + 2 * costs.mask_mb / storage.write_mbps
    )
    wall_s = costs.begin_s + _play([worker.work() for worker in staff]) + publish_s
    return Outcome(
        workers,
        len(runs),
        patches_of(scene.lattice, runs) / len(scene.lattice) - 1,
        wall_s,
        max(worker.computing_s for worker in staff) / wall_s,
        max(shared.reading.busy_s, *(worker.decoding_s / READERS for worker in staff)) / wall_s,
        max(shared.writing.busy_s, *(worker.encoding_s for worker in staff)) / wall_s,
        publish_s / wall_s,
    )


def _mpx(rows: int, columns: int) -> float:
    return rows * columns / 1e6


class _Line:
    """Serves one after the other, first come, first served."""

    def __init__(self) -> None:
        self.busy_s = self._free = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When what is asked for now will be done."""
        self.busy_s += seconds
        self._free = max(self._free, now) + seconds
        return self._free


class _Shared:
    """What all workers share."""

    def __init__(self, storage: Storage, runs: Iterator[Run]) -> None:
        self.storage, self.runs = storage, runs
        self.scheduler, self.reading, self.writing = _Line(), _Line(), _Line()


class _Worker:
    def __init__(self, costs: Costs, lattice: Lattice, shared: _Shared) -> None:
        self._costs, self._lattice, self._shared = costs, lattice, shared
        self.computing_s = self.decoding_s = self.encoding_s = 0.0
        self._patch_s = max(costs.patch_s, _mpx(*lattice.patch) * costs.blend_s)

    def work(self) -> Steps:
        """Sweep one run after the other until none is left."""
        now, start_s = (yield 0.0), self._costs.worker_s
        for run in self._shared.runs:
            now = yield self._shared.scheduler.serve(now, self._costs.task_s) + start_s
            now, start_s = (yield from self._sweep(run, now)), 0.0
        return now

    def _sweep(self, run: Run, now: float) -> Steps:
        rows, columns = self._lattice.touching(Box(run[0].start, run[-1].stop))
        ahead = _Ahead(self._slabs(rows, columns), self, now)
        bands, written = deque(run), now
        for row in rows:
            now = yield from ahead.until(row + self._lattice.patch[0], now)
            while bands[0].stop[0] <= row:
                now = yield max(now, written)
                written = self._write(bands.popleft(), now)
            self.computing_s += len(columns) * self._patch_s
            now = yield now + len(columns) * self._patch_s
        for band in bands:
            now = yield max(now, written)
            written = self._write(band, now)
        return (yield written)

    def _slabs(self, rows: Sequence[int], columns: Sequence[int]) -> Iterator[tuple[int, float]]:
        """Where each slab that is read for patches ends, and its size in Mpx, in whole blocks."""
        (height, width), block = self._lattice.shape, self._costs.block
        left = columns[0] // block * block
        right = min(-(-(columns[-1] + self._lattice.patch[1]) // block) * block, width)
        bottom = min(rows[-1] + self._lattice.patch[0], height)
        for top in range(rows[0] // self._costs.slab * self._costs.slab, bottom, self._costs.slab):
            stop = min(top + self._costs.slab, height)
            yield stop, _mpx(stop - top, right - left)

    def read(self, mpx: float, now: float) -> float:
        """When a slab that is asked for now will be there."""
        decoding_s = mpx * self._costs.decode_s
        self.decoding_s += decoding_s
        return self._shared.reading.serve(now, mpx * self._costs.read_mb / self._shared.storage.read_mbps) + decoding_s

    def _write(self, band: Box, now: float) -> float:
        """When a band that is finished now will be safe."""
        mpx = _mpx(*band.shape)
        encoding_s = mpx * self._costs.write_s
        self.encoding_s += encoding_s
        transfer_s = mpx * self._costs.store_mb / self._shared.storage.write_mbps
        return self._shared.writing.serve(now, transfer_s) + encoding_s


class _Ahead:
    """Slabs that are read ahead of need, by as many readers as the engine has."""

    def __init__(self, slabs: Iterator[tuple[int, float]], worker: _Worker, now: float) -> None:
        self._slabs, self._worker = slabs, worker
        self._coming: deque[tuple[int, float]] = deque()
        self._held = -1
        for _ in range(READERS):
            self._ask(now)

    def until(self, stop: int, now: float) -> Steps:
        """Wait for all rows before `stop`."""
        while self._held < stop and self._coming:
            self._held, ready = self._coming.popleft()
            now = yield max(now, ready)
            self._ask(now)
        return now

    def _ask(self, now: float) -> None:
        if (slab := next(self._slabs, None)) is not None:
            stop, mpx = slab
            self._coming.append((stop, self._worker.read(mpx, now)))


def _play(staff: Sequence[Steps]) -> float:
    """Wake each when its time has come, the earliest first; the time when the last one ends."""
    now, waiting = 0.0, [(next(steps), number) for number, steps in enumerate(staff)]
    while waiting:
        now, number = heappop(waiting)
        with suppress(StopIteration):
            heappush(waiting, (staff[number].send(now), number))
    return now
