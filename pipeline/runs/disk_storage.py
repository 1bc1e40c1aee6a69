"""An output on a disk that every worker sees, and what other places of outputs must do in its stead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pipeline.files.atomic import remove
from pipeline.io.mask_files import damage_of, mask_info
from pipeline.runs.lock import clear_work_folder, lock_of, output_lock


def do_nothing(files: Iterable[Path]) -> None:
    """Do nothing with files of a work folder: on a disk, they are where they belong."""


def work_of(output: Path) -> Path:
    """Return the folder of unfinished work, beside an output."""
    return output.with_name(f"{output.name}.partial")


class DiskStorage:
    """An output on a disk, and its work folder beside it: what is written there is there for all."""

    def __init__(self, output: Path) -> None:
        """Open the storage of an output; nothing is looked at yet."""
        self.output, self.work = output, work_of(output)

    def lock(self) -> AbstractContextManager[str | None]:
        """Hold the output, and give what a user must know, if anything; raises HeldError if another run does."""
        return output_lock(self.work, self.output)

    def look(self) -> None:
        """Get to know what is there, before anything is written."""

    def is_left_over(self) -> bool:
        """Return whether an earlier run has left a work folder or a lock."""
        return self.work.exists() or lock_of(self.output).exists()

    def has(self, path: Path) -> bool:
        """Return whether the output, or what is written beside it, is there."""
        return path.exists()

    def provenance(self, path: Path) -> Mapping[str, Any] | None:
        """Return how the output, or a layer, was made; None where that is unknown."""
        return mask_info(path).provenance

    def damage(self, path: Path) -> str:
        """Return why the output, or a layer, cannot be read; empty if it can."""
        return damage_of(path)

    def gather(self, below: Path | None = None) -> None:
        """Get what is in the work folder, or in a folder of it, wherever it was written."""

    def fetch(self, files: Iterable[Path]) -> None:
        """Get files of the work folder that are about to be read, as far as they are there."""

    def save(self) -> None:
        """Make everything in the work folder safe, and known to workers elsewhere."""

    def save_at_times(self) -> None:
        """Make it safe if that was not done for a while."""

    def keep(self, files: Iterable[Path]) -> None:
        """Make files of the work folder safe, which were just written, now or a little later."""

    def drop(self, files: Iterable[Path]) -> None:
        """Delete files of the work folder that are written again, as they are damaged."""

    def clear_work(self) -> None:
        """Make a work folder that is empty."""
        clear_work_folder(self.work)

    def remove_work(self) -> None:
        """Delete the work folder."""
        remove(self.work)

    def publish(self, made: Mapping[str, Any]) -> None:
        """Have the output, which was just written, where users find it; `made` says how it was made."""

    def adopt(self) -> None:
        """Have on record that an output is whole, where an earlier run was killed before it could."""
