"""Every sink of ours holds to the contract that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.engine import Confidence, Decision, Labels, Scores
from pipeline.engine.ledger import Ledger
from pipeline.geometry import Grid, cut_slabs
from pipeline.io.zarr import SlabStore, ZarrSource, create_labels, create_layer, create_scores
from pipeline.runs.work_folder import CommittingSink
from pipeline.testing import Output, SinkContract
from tests.support.fakes import grid_of

SCENE, VOLUME = grid_of((2500, 30)), grid_of((70, 9, 11))
HEIGHT = {2: 1024, 3: 32}


def output_of(folder: Path, grid: Grid, stores: dict[str, Decision]) -> Output:
    """An output in stores that were made, with a ledger that was begun."""
    ledger, paths = Ledger(folder), [folder / name for name in stores]
    ledger.begin({"lattice": 1})
    slabs = cut_slabs(grid.shape, HEIGHT[len(grid.shape)])
    return Output(
        open=lambda: CommittingSink(tuple(map(SlabStore, paths)), Ledger(folder)),
        read=lambda slab: [
            ZarrSource(path).read(slab).values.reshape(*decision.planes, *slab.shape)
            for path, decision in zip(paths, stores.values(), strict=True)
        ],
        done=lambda: ledger.done(slabs),
        slabs=slabs,
        decisions=tuple(stores.values()),
    )


def labels(folder: Path, grid: Grid) -> dict[str, Decision]:
    decision = Labels()
    create_labels(folder / "mask.zarr", grid, decision.dtype, nodata=255, classes=(), provenance={})
    return {"mask.zarr": decision}


def layers(folder: Path, grid: Grid) -> dict[str, Decision]:
    kinds: dict[str, Decision] = {"confidence": Confidence(logits=False), "scores": Scores((3,))}
    bands = {"confidence": ["confidence"], "scores": ["a", "b", "c"]}
    for name, decision in kinds.items():
        how = {"name": name, "bands": bands[name], "nodata": decision.nodata, "scaling": None, "provenance": {}}
        create_layer(folder / f"{name}.zarr", grid, decision.dtype, **how)
    return {f"{name}.zarr": decision for name, decision in kinds.items()}


def scores(folder: Path, grid: Grid) -> dict[str, Decision]:
    create_scores(folder / "scores.zarr", grid, 3)
    return {"scores.zarr": Scores((3,))}


KINDS = {
    "labels of a scene": lambda folder: output_of(folder, SCENE, labels(folder, SCENE)),
    "labels and layers": lambda folder: output_of(folder, SCENE, labels(folder, SCENE) | layers(folder, SCENE)),
    "labels of a volume": lambda folder: output_of(folder, VOLUME, labels(folder, VOLUME)),
    "scores of a view": lambda folder: output_of(folder, VOLUME, scores(folder, VOLUME)),
}


class TestSinks(SinkContract):
    @pytest.fixture(params=KINDS)
    def output(self, request, tmp_path):
        return KINDS[request.param](tmp_path)
