"""One run of the pipeline or of a peer, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    """What all runs share, and where their masks go."""

    folder: Path
    scene: Path
    model: Path
    overlap: int
    """Pixels by which patches overlap."""
    computed: tuple[tuple[str, str], ...] = ()
    """How the pipeline computes, by option: features, precision, runtime."""

    @property
    def options(self) -> list[str]:
        """As `pipeline run` takes them."""
        given = (("overlap", str(self.overlap)), *self.computed)
        return [word for name, value in given for word in (f"--{name}", value)]

    def mask(self, name: str) -> Path:
        """The mask that `name` makes."""
        return self.folder / f"{name}.tif"


class FailedError(Exception):
    """A process ended without figures; says why."""


def pipeline_peak(files: Files) -> int:
    """Bytes that a run of the pipeline takes above its interpreter and loaded network."""
    how = json.dumps({"overlap": (files.overlap, files.overlap), **dict(files.computed)})
    found = _figures("benchmarks.memory", "--measure", files.scene, files.mask("memory"), files.model, how)
    return int(found["peak"] - found["before"])


def peer_run(module: str, files: Files) -> tuple[float, int]:
    """Seconds and bytes, likewise, of a peer."""
    given = (module, files.scene, files.mask(module), files.model, str(files.overlap))
    found = _figures("benchmarks.peers.child", *given)
    return found["seconds"], int(found["peak"] - found["before"])


def _figures(module: str, *arguments: str | Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise FailedError(f"ended by signal {-done.returncode}")
    if done.returncode:
        raise FailedError(done.stderr.strip().rpartition("\n")[2])
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
