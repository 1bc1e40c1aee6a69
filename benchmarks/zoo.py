"""Every file of folders as somebody new would try it: `pipeline run --input FILE --output MASK`, and what came of it.

    python -m benchmarks.zoo FOLDER ... [--work WORK] [--report TABLE.md] [--pattern '*'] [--seconds 20] [--memory 1024]

Each run is a process of its own, with the default model; a file of another number of channels than that takes is run
again with an untrained model that takes as many. A run may take SECONDS of the processor, and PER_MPX more for each
megapixel, which is the network's own time, and MEMORY MiB at its peak; one that takes four times as long by the clock
is ended. A fault is a traceback, a run that is longer or larger, an error that does not name its file, one that nobody
foresaw, a mask of another place or shape than its scene, or anything left behind by a run that failed. Prints and
writes a Markdown table; ends with 1 where there is a fault. Linux counts what the caller holds as the least peak of a
child, so that this one imports little.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import rasterio

_NO_SCENES = {
    ".md",
    ".txt",
    ".json",
    ".csv",
    ".xml",
    ".dbf",
    ".shp",
    ".shx",
    ".prj",
    ".qpj",
    ".cpg",
    ".gz",
    ".nii",
    ".dcm",
}
_MIB = 1024
"""Kilobytes, in which Linux counts the peak."""
_CHANNELS = re.compile(r"has (\d+) channels?, but the model")
_HEAD = "| file | size | what came of it | processor, s | peak, MiB |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Limits:
    """What a run may take."""

    seconds: float
    per_mpx: float
    memory: int
    """MiB."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    said: str
    code: str | None
    """Why it failed, in a word; None: it did not."""
    seconds: float
    peak: int
    """MiB."""
    fault: str | None = None


def outcome_of(file: Path, work: Path, limits: Limits) -> Outcome:
    """What comes of a file, with a model that takes its channels."""
    told = _run(file, work, limits, [])
    found = _CHANNELS.search(told.said)
    if not (found and told.code == "unsuitable"):
        return told
    model = work / f"random-{found[1]}"
    if not model.exists():
        words = ["--classes", "3", "--patch", "256", "--overlap", "64", "--channels", found[1]]
        subprocess.run([sys.executable, "-m", "benchmarks.random_model", str(model), *words], check=True)
    return _run(file, work, limits, ["--model", str(model)])


def _run(file: Path, work: Path, limits: Limits, more: list[str]) -> Outcome:
    folder = work / "out"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mask = folder / "mask.tif"
    words = ["run", "--input", str(file), "--output", str(mask), "--json", "--quiet", "--no-prefect", *more]
    allowed = limits.seconds + limits.per_mpx * _megapixels(file)
    with (work / "said.json").open("wb") as said, (work / "errors.txt").open("wb") as errors:
        child = subprocess.Popen([sys.executable, "-m", "pipeline.cli", *words], stdout=said, stderr=errors)
        killer = threading.Timer(4 * allowed, child.kill)
        killer.start()
        _, status, usage = os.wait4(child.pid, 0)
        killer.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss // _MIB
    told = _told(file, mask, child.returncode, (work / "said.json").read_text(), (work / "errors.txt").read_text())
    told = replace(told, seconds=seconds, peak=peak)
    if child.returncode == -signal.SIGKILL:
        return replace(told, fault=f"is ended after {4 * allowed:.0f} s")
    if seconds > allowed:
        return replace(told, fault=f"takes more than {allowed:.0f} s")
    if peak > limits.memory:
        return replace(told, fault=f"takes more than {limits.memory} MiB")
    return told


def _told(file: Path, mask: Path, status: int, said: str, errors: str) -> Outcome:
    """What a run said, and what is wrong about it."""
    try:
        (item,) = json.loads(said)["items"]
    except (ValueError, KeyError):
        return Outcome(errors.strip()[-200:], "?", 0, 0, f"ends with {status} and no report")
    left = sorted(path.name for path in mask.parent.iterdir())
    if item["status"] == "done":
        return Outcome("a mask", None, 0, 0, _wrong(file, mask, left))
    reason = item["reason"]
    short = reason.replace(str(file), "").replace(str(file.parent) + "/", "").lstrip(": ,")
    return Outcome(short, item["code"], 0, 0, _unfair(file, reason, item["code"], status, left, errors))


def _wrong(file: Path, mask: Path, left: list[str]) -> str | None:
    with rasterio.open(file) as scene, rasterio.open(mask) as made:
        if scene.shape != made.shape or scene.transform != made.transform:
            return "has another shape or place"
    return f"leaves {left}" if set(left) - {"mask.tif", "mask.tif.aux.xml"} else None


def _unfair(file: Path, reason: str, code: str, status: int, left: list[str], errors: str) -> str | None:
    faults = {
        "a traceback": "Traceback" in errors,
        f"ends with {status}": status != 1,
        "does not name the file": file.name not in reason,
        f"fails with the code {code}": code in ("error", "system", "memory", "patch", "model"),
        f"leaves {left}": bool(left),
    }
    return next((fault for fault, there in faults.items() if there), None)


def _megapixels(file: Path) -> float:
    """Of the scene if it is one that can be held: those whose header claims more are to be refused at once."""
    try:
        with rasterio.open(file) as scene:
            size = scene.width * scene.height / 1e6
    except rasterio.errors.RasterioError:
        return 0
    return size if size < 1000 else 0


def _row(name: str, size: int, told: Outcome) -> str:
    said = told.said if told.code is None else f"refused: {told.said}"
    if told.fault:
        said = f"**{told.fault}** {said}"
    escaped = said.replace("|", "\\|").replace("\n", " ")
    return f"| {name.replace('|', '/')} | {size / 1024:,.0f} KiB | {escaped[:160]} | {told.seconds:.1f} | {told.peak} |"


def main(folders: list[Path], work: Path, report: Path | None, pattern: str, limits: Limits) -> int:
    """Number of faults."""
    work.mkdir(parents=True, exist_ok=True)
    files = [
        (str(file.relative_to(folder.parent)), file)
        for folder in folders
        for file in sorted(folder.rglob(pattern))
        if file.is_file() and file.suffix.lower() not in _NO_SCENES
    ]
    rows, outcomes = [_HEAD], []
    print(_HEAD)
    for name, file in files:
        outcomes.append(outcome_of(file, work, limits))
        rows.append(_row(name, file.stat().st_size, outcomes[-1]))
        print(rows[-1], flush=True)
    summary = _summary(outcomes)
    print(f"\n{summary}")
    if report:
        report.write_text("\n".join([summary, "", *rows, ""]), encoding="utf-8")
    return sum(told.fault is not None for told in outcomes)


def _summary(outcomes: list[Outcome]) -> str:
    codes = Counter(told.code or "masks" for told in outcomes)
    refused = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()) if code != "masks")
    faults = sum(told.fault is not None for told in outcomes)
    longest = max((told.seconds for told in outcomes), default=0)
    largest = max((told.peak for told in outcomes), default=0)
    return (
        f"{len(outcomes)} files: {codes['masks']} masks, refused {refused or 'none'}; {faults} faults; "
        f"at most {longest:.0f} s of the processor and {largest} MiB."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, default=Path("zoo.work"))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--pattern", default="*")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--per-mpx", type=float, default=8)
    parser.add_argument("--memory", type=int, default=1024)
    asked = parser.parse_args()
    bounds = Limits(asked.seconds, asked.per_mpx, asked.memory)
    sys.exit(main(asked.folders, asked.work, asked.report, asked.pattern, bounds) > 0)
