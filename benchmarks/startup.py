"""Seconds that `pipeline --help` takes, as a whole process: median of 20.

python -m benchmarks.startup
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    pipeline = [str(Path(sys.executable).parent / "pipeline"), "--help"]
    times = {"help_s": pipeline, "python_s": [sys.executable, "-c", "pass"]}
    print(
        json.dumps(
            {name: round(statistics.median(seconds(call) for _ in range(20)), 3) for name, call in times.items()}
        )
    )
