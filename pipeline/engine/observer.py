"""What follows a sweep, and may stop it."""

from __future__ import annotations

from pipeline.errors import Interrupted
from pipeline.geometry import Box


class SweepObserver:
    """Observer of a sweep, which may stop it. Every method does nothing here; threads of the sweep call them."""

    def patches_done(self, count: int) -> None:
        """Receive the number of patches that were just computed."""

    def patches_repeated(self, count: int) -> None:
        """Receive how many of the patches that are done were not computed, for their values were seen before."""

    def slab_done(self, slab: Box) -> None:
        """Receive a slab that has just been written."""

    def should_stop(self) -> bool:
        """Return whether the sweep should end with `Interrupted` before the next patch."""
        return False


NO_OBSERVER = SweepObserver()


def check_stop(observer: SweepObserver) -> None:
    """Raise Interrupted if the sweep, or the run that it is part of, is to stop."""
    if observer.should_stop():
        raise Interrupted
