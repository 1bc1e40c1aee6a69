"""The lock on an object: an object beside it, put on condition that there is none, with a heartbeat."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from uuid import uuid4

from pipeline.errors import HeldError, OutputError
from pipeline.files.object_path import ObjectPath
from pipeline.files.process import Process, this_process
from pipeline.io.objects.bucket import Bucket, Entry, Taken, bucket_of

BEAT, PATIENCE = 10.0, 60.0
"""Seconds between two signs of life of a holder, and without one after which its lock may be taken over."""
_TRIES, _MOMENT = 8, 2.0
_holding = set[str]()
"""The runs of this process that hold locks."""
_heeding = set[Bucket]()
"""Buckets whose store was seen to heed conditions."""


@dataclass(frozen=True)
class _Holder:
    """What the object of a lock says."""

    process: int
    machine: str
    started: float
    since: str
    run: str
    kernel: str
    """What distinguishes the machine, or container, from others of that name; empty where that is unknown."""
    beat: int = 0

    @classmethod
    def read(cls, content: bytes) -> _Holder | None:
        """Return the holder; None if the object says something else."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return None

    @property
    def content(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @property
    def has_ended(self) -> bool:
        """Whether it is certain that the process has ended: of one elsewhere it never is."""
        if not self.kernel or self.kernel != _kernel():
            return False
        process = Process(self.process, self.machine, self.started)
        return process.has_ended or (process == this_process() and self.run not in _holding)

    def __str__(self) -> str:
        return f"process {self.process} on {self.machine} since {self.since}"


class ObjectLock:
    """The lock on an output, held by one run; a thread renews it until it is released."""

    def __init__(self, output: ObjectPath) -> None:
        """Take the lock.

        Raises:
            HeldError: If another run has it.
            OutputError: If the store cannot be used.

        """
        now, this = datetime.now(UTC).isoformat(timespec="seconds"), this_process()
        self._output, self._bucket, self._key = output, bucket_of(output), lock_of(output).key
        self._mine = _Holder(os.getpid(), socket.gethostname(), this.started, now, output.run or uuid4().hex, _kernel())
        self._edition = self._take()
        _holding.add(self._mine.run)
        self._lost: str | None = None
        self._beating = Lock()
        self._end = Event()
        self._thread = Thread(target=self._renew, name="heartbeat", daemon=True)
        self._thread.start()

    def remark(self) -> str | None:
        """Return what a user must know: that the store does as if there were no conditions; None if it heeds them."""
        if self._bucket in _heeding:
            return None
        with suppress(Taken):
            self._edition = self._bucket.create(self._key, self._mine.content)
            return (
                f"warning: {self._output}: its store ignores conditional writes (If-None-Match), so a second run would "
                "not be noticed; see that only one writes it at a time"
            )
        _heeding.add(self._bucket)
        return None

    def check(self) -> None:
        """Raise HeldError if the lock was taken over, or removed, as far as that is known."""
        if self._lost is not None:
            raise HeldError(
                f"{self._output}: this run lost its lock ({self._lost}), so it stops and writes nothing more; what is "
                "done is kept, and the same command continues from it"
            )

    def confirm(self) -> None:
        """Renew the lock; raises HeldError if it was taken over."""
        self.check()
        self._beat()
        self.check()

    def release(self) -> None:
        """Delete the lock, if it is still held and the store answers."""
        self._end.set()
        self._thread.join(_MOMENT)
        _holding.discard(self._mine.run)
        if self._thread.is_alive():
            return
        with suppress(OutputError):
            found = self._bucket.get(self._key)
            holder = None if found is None else _Holder.read(found[0])
            if holder is not None and holder.run == self._mine.run:
                self._bucket.delete([self._key])

    def _take(self) -> str:
        for _ in range(_TRIES):
            try:
                return self._bucket.create(self._key, self._mine.content)
            except Taken:
                if (edition := self._take_over()) is not None:
                    return edition
        raise HeldError(f"{self._output}: its lock {self._output.with_name(self._key)} changes hands all the time")

    def _take_over(self) -> str | None:
        """Take the lock from a holder that has ended; None if it is to be tried again."""
        if (found := self._bucket.get(self._key)) is None:
            return None
        content, entry = found
        holder = _Holder.read(content)
        if holder is not None and holder.run == self._mine.run:
            return entry.edition  # the answer to an earlier try was lost
        if not (holder is not None and holder.has_ended):
            self._check_silent(holder, entry)
        with suppress(Taken):
            return self._bucket.update(self._key, self._mine.content, entry.edition)
        return None

    def _check_silent(self, holder: _Holder | None, entry: Entry) -> None:
        """Raise HeldError unless a holder has given no sign of life for so long that it must have ended."""
        silent = _age(self._bucket, entry)
        if silent <= PATIENCE:
            raise HeldError(
                f"{self._output}: is being written by {holder or 'another run'}, which gave a sign of life "
                f"{silent:.0f} s ago; wait for it, stop it, or give another --output; if it has ended without a "
                f"trace, the same command takes over {PATIENCE:.0f} s after its last sign"
            )

    def _renew(self) -> None:
        while not self._end.wait(BEAT) and self._lost is None:
            with suppress(OutputError):  # the store does not answer: once it does, it tells who holds the lock
                self._beat()

    def _beat(self) -> None:
        with self._beating:
            beaten = replace(self._mine, beat=self._mine.beat + 1)
            try:
                self._edition = self._bucket.update(self._key, beaten.content, self._edition)
            except Taken:
                self._look(beaten)
            self._mine = beaten

    def _look(self, beaten: _Holder) -> None:
        """See who holds the lock: this run, if the answer to an earlier try was lost."""
        found = self._bucket.get(self._key)
        holder = None if found is None else _Holder.read(found[0])
        if found is None or holder is None or holder.run != beaten.run:
            self._lost = "it was removed" if found is None else f"it was taken over by {holder or 'another run'}"
        else:
            self._edition = found[1].edition


def lock_of(output: ObjectPath) -> ObjectPath:
    """Return the object that is the lock on an output."""
    return output.with_name(f".{output.name}.lock")


def check_lock(output: ObjectPath) -> None:
    """Raise HeldError unless the run of an output holds its lock: for workers, which do not renew it."""
    found = bucket_of(output).get(lock_of(output).key)
    holder = None if found is None else _Holder.read(found[0])
    if holder is None or holder.run != output.run:
        raise HeldError(
            f"{output}: the run of this worker has ended or lost its lock to {holder or 'nobody'}; nothing more is "
            "written"
        )


def is_locked(output: ObjectPath) -> bool:
    """Return whether a run is writing an output at the moment."""
    bucket = bucket_of(output)
    if (found := bucket.get(lock_of(output).key)) is None:
        return False
    holder = _Holder.read(found[0])
    return not (holder is not None and holder.has_ended) and _age(bucket, found[1]) <= PATIENCE


def _age(bucket: Bucket, entry: Entry) -> float:
    """Return the seconds since an object was put, by the clock of the store: that of this machine may be wrong."""
    probe = f"{entry.key}.{uuid4().hex[:8]}"
    bucket.put(probe, b"what time is it")
    try:
        now = bucket.head(probe)
        return 0.0 if now is None else (now.changed - entry.changed).total_seconds()
    finally:
        bucket.delete([probe])


def _kernel() -> str:
    """What distinguishes this machine, or container, from others that may have its name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  (a name, not a path)
    except OSError:
        return ""
