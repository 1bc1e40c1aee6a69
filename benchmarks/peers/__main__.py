"""Time and memory of `pipeline run` against the usual ways to segment a whole image, with the same scene and network.

    pip install --no-deps -r benchmarks/peers/requirements.txt
    python -m benchmarks.peers FOLDER [--side 8192] [--repeats 3] [--memory 8] [--model MODEL]

The peers compute in float32, eager, with torch's own number of threads, and hold the image and its scores in memory.
Leave OMP_NUM_THREADS unset: it would hold back the peers alone.
Each run is a process of its own, and each run of a peer comes right after one of the pipeline: ratios of times are
medians of those pairs. Peaks are above the interpreter and the loaded network. The pipeline's seconds are those of the
whole command; those of the peers leave out start and imports. A peer whose arrays need more than `--memory` GiB, or
than is free, is not run, and the table has the size of those arrays.

Without `--model` (a folder; for scenes, scaled by a fixed mean and deviation) weights are random, ResNet-18 with six
classes: good for time and memory, while labels change with the last digits where two classes are nearly as likely.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

from benchmarks import random_model
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.compare import Row, compare
from benchmarks.peers.report import document, table
from benchmarks.peers.runs import Files, pipeline_peak
from benchmarks.scenes import sample_scene
from pipeline.models.store import load_card


def main(folder: Path, side: int, repeats: int, memory: float, model: Path | None) -> None:
    """Compare all peers and print both reports."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder, sample_scene(folder, side, side), model or folder / "r18")
    if model is None:
        random_model.write(files.model)
    card = load_card(files.model)
    channels, classes = len(card.channels), len(card.classes)
    peak = int(statistics.median(pipeline_peak(files) for _ in range(repeats)))
    found = [
        compare(peer, files, peer.needed(side, channels, classes), peak, repeats=repeats, allowed=int(memory * 2**30))
        for peer in PEERS
    ]
    own = [seconds for comparison in found for seconds in comparison.pipeline_seconds]
    ours = Row("`pipeline run`", statistics.median(own) if own else None, 1.0, peak, 1.0, 1.0)
    rows = [comparison.row for comparison in found]
    print(json.dumps(document(ours, rows, side=side, repeats=repeats, cores=os.cpu_count()), indent=1))
    print(f"\n{table(ours, rows)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that a peer may take")
    parser.add_argument("--model", type=Path)
    main(**vars(parser.parse_args()))
