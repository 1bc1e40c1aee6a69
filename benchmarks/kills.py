"""`pipeline run`, killed at random moments again and again, against one that was left alone: the tests' longer loop.

    python -m benchmarks.kills FOLDER [--kills 500] [--rows 6000] [--workers 0] [--suffix .tif] [--seed 0]

Each kill is SIGKILL to the whole command, its workers included, at any moment of a run: after any share of the time
of the processor that a whole one takes, so that it does not matter what else the machine does. The command is given
again until it ends by itself; its mask is then compared with the other, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil

from benchmarks import random_model
from benchmarks.scenes import sample_scene
from pipeline.cli import app
from pipeline.files.atomic import remove
from pipeline.runs import execute, predictors  # noqa: F401  (loaded once for all runs)


def main(folder: Path, kills: int, rows: int, workers: int, suffix: str, seed: int) -> None:
    """Kill runs until the number of kills is reached, and print the result."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(1) as alone:  # of a process in which torch has had threads, none could be forked
        scene, model = alone.submit(_prepare, folder, rows).result()
    whole, mask = folder / f"whole{suffix}", folder / f"mask{suffix}"
    for path in (whole, mask, mask.with_name(mask.name + ".partial")):
        remove(path)
    longest = run(scene, whole, model, workers, None) or 0.0
    dice, killed, ends = random.Random(seed), 0, 0
    while killed < kills:
        while run(scene, mask, model, workers, dice.uniform(0, 1.2 * longest)) is None:
            killed += 1
        ends += 1
        print(f"{killed} kills, {ends} masks", file=sys.stderr, flush=True)
        if digest(mask) != digest(whole):
            raise SystemExit(f"after {killed} kills the mask differs from {whole}: look at {mask}")
        left = sorted(path.name for path in folder.iterdir() if ".partial" in path.name)
        if left:
            raise SystemExit(f"after {killed} kills {left} stays")
        remove(mask)
    found = {"kills": killed, "masks": ends, "all_the_same": True, "cpu_seconds_of_a_run": round(longest, 1)}
    print(json.dumps(found | {"workers": workers, "suffix": suffix}))


def _prepare(folder: Path, rows: int) -> tuple[Path, Path]:
    """Write the scene and the model."""
    random_model.write(folder / "small", patch=128, overlap=32)
    return sample_scene(folder, rows, 512), folder / "small"


def run(
    scene: Path | str, mask: Path | str, model: Path, workers: int, most: float | None, said: Path | None = None
) -> float | None:
    """Run the command, and return the seconds of the processor that it took; None if it was killed at `most`.

    What it prints goes to `said`, by default a file beside the mask.
    """
    paths = ["--input", scene, "--output", mask, "--model", model]
    words = ["run", *map(str, paths), "--no-prefect", "--quiet", "--precision", "float32", "--runtime", "torch"]
    said, used = said or Path(mask).with_name("said.txt"), 0.0
    if not (command := os.fork()):
        _become([*words, *(["--workers", str(workers)] if workers else [])], said)
    while not (ended := os.waitpid(command, os.WNOHANG))[0]:
        used = max(used, _used(command))
        if most is not None and used > most:
            with suppress(ProcessLookupError):
                os.killpg(command, signal.SIGKILL)
            ended = os.waitpid(command, 0)
            break
        time.sleep(0.05)
    if os.WIFSIGNALED(ended[1]):
        return None
    if os.waitstatus_to_exitcode(ended[1]):
        raise SystemExit(f"exit code {os.waitstatus_to_exitcode(ended[1])}: {said.read_text()}")
    return used


def _become(words: list[str], said: Path) -> NoReturn:
    """Run the command in this forked process, in its own session: a new one would mostly import."""
    os.setsid()
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        app(words)
    except SystemExit as end:
        os._exit(int(end.code or 0))
    os._exit(0)


def _used(command: int) -> float:
    """Seconds of the processor that a command and its processes have taken."""
    with suppress(psutil.NoSuchProcess):
        ran = psutil.Process(command)
        return sum(sum(one.cpu_times()[:4]) for one in [ran, *ran.children(recursive=True)])
    return 0.0


def digest(mask: Path) -> str:
    """SHA-256 of a file, or of all files of a store with their names."""
    files = sorted(path for path in mask.rglob("*") if path.is_file()) if mask.is_dir() else [mask]
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(mask)}".encode() + path.read_bytes())
    return whole.hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"kills": 500, "rows": 6000, "workers": 0, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--suffix", choices=[".tif", ".zarr"], default=".tif")
    main(**vars(parser.parse_args()))
