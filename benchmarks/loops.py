"""Loops of the tests at full length: more kills, faults at every moment, and all 48 orientations of a volume.

    python -m benchmarks.loops [kills] [faults] [orientations]

The tests make a few of each; here the same tests take hours, with pytest's report at the end.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from tests.journeys import test_faults, test_kills, test_orientations

LOOPS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "kills": (test_kills, {"KILLS": 200}),
    "faults": (test_faults, {"MOMENTS": 10_000}),
    "orientations": (test_orientations, {"SOME": test_orientations.WORDS}),
}


def main(names: list[str]) -> int:
    """Run the tests of these loops, or of all; return pytest's exit code."""
    chosen = [LOOPS[name] for name in names or LOOPS]
    for module, sizes in chosen:
        vars(module).update(sizes)
    return int(pytest.main(["-v", *(str(module.__file__) for module, _ in chosen)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
