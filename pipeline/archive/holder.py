"""Who is working on an item: a process, and which of its runs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipeline.files.process import Process


@dataclass(frozen=True)
class Holder:
    """A run that is working on an item."""

    process: Process
    run: str
    """Name of the run, which differs from those of other runs of the same process."""

    @classmethod
    def of(cls, text: str | None) -> Holder | None:
        """Return the holder that a row names; None if it names none, as those of earlier versions."""
        try:
            told = json.loads(text or "{}")
            return cls(Process(int(told["process"]), str(told["machine"]), float(told["started"])), str(told["run"]))
        except (ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        process = self.process
        told = {"process": process.number, "machine": process.machine, "started": process.started, "run": self.run}
        return json.dumps(told)
