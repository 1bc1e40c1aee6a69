"""Time and memory of `pipeline run` against the usual ways to segment a whole image, with the same scene and network.

    pip install --no-deps -r benchmarks/peers/requirements.txt
    python -m benchmarks.peers FOLDER [--side 8192] [--repeats 3] [--memory 8] [--model MODEL] [--scene SCENE]
        [--truth LABELS] [--overlap 128] [--features shared] [--precision int8] [--runtime openvino]
        [--peers MODULE ...]

The peers compute in float32, eager, with torch's own number of threads, and hold the image and its scores in memory.
Leave OMP_NUM_THREADS unset: it would hold back the peers alone.
Each run is a process of its own, and each run of a peer comes right after one of the pipeline: ratios of times are
medians of those pairs. Peaks are above the interpreter and the loaded network. The pipeline's seconds are those of the
whole command; those of the peers leave out start and imports. A peer whose arrays need more than `--memory` GiB, or
than is free, is not run, and the table has the size of those arrays.

All take patches that overlap by `--overlap`, without it by the model's own; features, precision and runtime are the
pipeline's. With `--scene`, that scene is segmented instead of a drawn one, and with `--truth` the mean IoU of each mask
stands beside its time.

Without `--model` (a folder; for scenes, scaled by a fixed mean and deviation) weights are random, ResNet-18 with six
classes: good for time and memory, while labels change with the last digits where two classes are nearly as likely.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

import rasterio

from benchmarks import random_model
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.compare import Row, compare, quality
from benchmarks.peers.report import document, table
from benchmarks.peers.runs import Files, pipeline_peak
from benchmarks.scenes import sample_scene
from pipeline.models.store import load_card


def main(options: argparse.Namespace) -> None:
    """Compare all peers and print both reports."""
    options.folder.mkdir(parents=True, exist_ok=True)
    files = files_of(options)
    card = load_card(files.model)
    channels, classes = len(card.channels), len(card.classes)
    with rasterio.open(files.scene) as scene:
        pixels = scene.width * scene.height
    peak = int(statistics.median(pipeline_peak(files) for _ in range(options.repeats)))
    limits = {"repeats": options.repeats, "allowed": int(options.memory * 2**30), "truth": options.truth}
    peers = [peer for peer in PEERS if peer.module in options.peers]
    found = [compare(peer, files, peer.needed(pixels, channels, classes), peak, **limits) for peer in peers]
    own = [seconds for comparison in found for seconds in comparison.pipeline_seconds]
    mean_iou = quality(files, options.truth, "pipeline") if own else None
    ours = Row("`pipeline run`", statistics.median(own) if own else None, 1.0, peak, 1.0, 1.0, mean_iou)
    rows = [comparison.row for comparison in found]
    conditions = {"pixels": pixels, "options": files.options, "repeats": options.repeats, "cores": os.cpu_count()}
    print(json.dumps(document(ours, rows, **conditions), indent=1))
    print(f"\n{table(ours, rows)}")


def files_of(options: argparse.Namespace) -> Files:
    """The scene and the model that were asked for, or drawn ones."""
    model = options.model or options.folder / "r18"
    if options.model is None:
        random_model.write(model)
    scene = options.scene or sample_scene(options.folder, options.side, options.side)
    overlap = load_card(model).overlap[0] if options.overlap is None else options.overlap
    computed = ((name, getattr(options, name)) for name in ("features", "precision", "runtime"))
    return Files(options.folder, scene, model, overlap, tuple((name, value) for name, value in computed if value))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=float, default=8.0, help="GiB that a peer may take")
    parser.add_argument("--overlap", type=int)
    for path in ("--model", "--scene", "--truth"):
        parser.add_argument(path, type=Path)
    for computed in ("--features", "--precision", "--runtime"):
        parser.add_argument(computed)
    modules = [peer.module for peer in PEERS]
    parser.add_argument("--peers", nargs="+", choices=modules, default=modules)
    main(parser.parse_args())
