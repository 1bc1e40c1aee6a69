"""Every file of a folder, as a user would segment it: done, or refused with a reason; no traceback, no hang.

    python -m benchmarks.volume_zoo FOLDER ZOO ... [--report TABLE.md]

Each file below a ZOO, or each folder of DICOM files, is segmented by a process of its own, with limits of time and
memory and a model of random weights; what comes of it lies in FOLDER. A file that is refused as 4-D, or because its
forms disagree, is tried again by the way out that the message names. A mask must lie exactly on its input's grid
(`pipeline check`), and what is refused may leave nothing behind. Prints and writes a table, and ends with 1 where
anything else happened.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import random_model
from pipeline.jobs.inputs import find_inputs
from pipeline.masks.check import check

_HEAD = "# Every odd volume\n\nMade by `python -m benchmarks.volume_zoo`, which tells what is meant.\n"
SECONDS, BYTES = 180, 8 << 30
WAYS_OUT = {"4d": ["--volume", "0"], "forms-disagree": ["--nifti-affine", "sform"]}
"""By code: the words that a refusal names."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file."""

    what: str
    """done, refused, or what should not be."""
    code: str
    seconds: float
    reason: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("zoo", type=Path, nargs="+")
    parser.add_argument("--report", type=Path)
    said = parser.parse_args()
    model = said.folder / "model"
    random_model.write_volume(model, "zscore", patch=128, overlap=16)
    counts: Counter[str] = Counter()
    rows = ["| file | outcome | code | s | reason |", "|---|---|---|---|---|"]
    print("\n".join(rows))
    for path, name in (found for zoo in said.zoo for found in items(zoo)):
        outcome = attempt(path, said.folder / "masks" / name, model)
        counts[outcome.what] += 1
        rows.append(f"| {name} | {outcome.what} | {outcome.code} | {outcome.seconds:.1f} | {outcome.reason} |")
        print(rows[-1], flush=True)
    if said.report is not None:
        said.report.write_text("\n".join([_HEAD, json.dumps(counts), "", *rows]) + "\n", encoding="utf-8")
    print(json.dumps(counts), file=sys.stderr)
    return int(bool(set(counts) - {"done", "refused", "done by the way out", "refused by the way out"}))


def items(zoo: Path) -> Iterator[tuple[Path, Path]]:
    """Files, and folders that `run` takes as a DICOM series, below a folder; each with its name there."""
    series = {Path(found) for found in find_inputs([str(zoo)]) if Path(found).is_dir()}
    for parent, folders, files in os.walk(zoo):
        folders.sort()
        found = [Path(parent)] if Path(parent) in series else [Path(parent, file) for file in sorted(files)]
        yield from ((path, Path(zoo.name, os.path.relpath(path, zoo))) for path in found)


def attempt(path: Path, folder: Path, model: Path) -> Outcome:
    first = run(path, folder, model, [])
    if first.code not in WAYS_OUT:
        return first
    words = WAYS_OUT[first.code]
    second = run(path, folder, model, words)
    return Outcome(f"{second.what} by the way out", first.code, first.seconds + second.seconds, " ".join(words))


def run(path: Path, folder: Path, model: Path, words: list[str]) -> Outcome:
    """Segment one file, and look at what came of it."""
    mask = folder / "mask.nii.gz"
    call = [sys.executable, "-m", "pipeline.cli", "run", "--input", str(path), "--output", str(mask), *words]
    began = time.perf_counter()
    try:
        ended = subprocess.run(
            [*call, "--model", str(model), "--no-prefect", "--precision", "float32", "--overwrite", "--json"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES)),
        )
    except subprocess.TimeoutExpired:
        return Outcome("hangs", "", SECONDS, "")
    seconds = time.perf_counter() - began
    if "Traceback" in ended.stderr or ended.returncode not in (0, 1):
        return Outcome("crashes", f"{ended.returncode}", seconds, ended.stderr[-300:].replace("\n", " "))
    item = json.loads(ended.stdout)["items"][0]
    reason = (item["reason"] or "").replace(str(path), "").replace(str(mask), "").replace("|", "/").removeprefix(": ")
    if item["status"] == "done":
        found = check(str(mask), str(path))
        return Outcome("lies elsewhere" if found else "done", "", seconds, ", ".join(one.what for one in found))
    left = [other.name for other in folder.glob("*")] if folder.exists() else []
    if left or item["code"] == "error":
        return Outcome("leaves something" if left else "unforeseen", item["code"], seconds, f"{left} {reason}")
    return Outcome("refused", item["code"], seconds, reason)


if __name__ == "__main__":
    sys.exit(main())
