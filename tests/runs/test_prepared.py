"""What a job is once it is prepared: the words that are kept of it, and what follows for each of its views."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.jobs.job import Job, Resources
from pipeline.runs.execute import Task
from pipeline.runs.prepare import prepare
from pipeline.runs.view_sweep import sweeps_of
from tests.support.inputs import pixels, put_scene, put_volume

PLAIN = Resources(device="cpu", precision="float32", runtime="torch")
OF_SCENE = (
    '{"format": 1, "input": 0, "bands": [2, 1], "calibration": {"scale": [0.5, 0.5], "offset": [0.0, 0.0]}, '
    '"target": null, "affine": null, "volume": null, "keep_header_text": null, "aoi": null, "model": "scene", '
    '"weights_sha256": "", "patch": [128, 96], "overlap": [32, 24], "margin": [0, 0], "window": "gaussian", '
    '"normalisation": {"kind": "fixed", "mean": [100.0, 50.0], "std": [40.0, 20.0], "low": [], "high": []}, '
    '"network": {"backbone": "resnet18", "in_channels": 2, "classes": 3, "output_stride": 8, '
    '"dilation": "contracted", "basic_dilation": "conv1", "align_corners": false, "stem": "torchvision", '
    '"bins": [1, 2, 3, 6], "ppm_channels": 4, "head_channels": 8, "auxiliary": false, "head": "pspnet", '
    '"truncated": true, "dropout": 0.1}, "averaging": "softmax", "spacing": null, "orientation": null, '
    '"view": null, "tta": ["flips"], "also": ["confidence", "scores"], "device": "cpu", "precision": "float32", '
    '"runtime": "torch", "int8_sha256": null}'
)
OF_VOLUME = (
    '{"format": 1, "input": 0, "bands": null, "calibration": null, "target": null, "affine": null, "volume": null, '
    '"keep_header_text": true, "aoi": null, "model": "volume", "weights_sha256": "", '
    '"patch": [[1, 48, 64], [1, 48, 64], [1, 48, 64]], "overlap": [[0, 12, 16], [0, 12, 16], [0, 12, 16]], '
    '"margin": [1, 0, 0], "window": "gaussian", '
    '"normalisation": {"kind": "zscore", "mean": [], "std": [], "low": [], "high": []}, '
    '"network": {"backbone": "resnet18", "in_channels": 3, "classes": 2, "output_stride": 8, '
    '"dilation": "contracted", "basic_dilation": "conv1", "align_corners": false, "stem": "torchvision", '
    '"bins": [1, 2, 3, 6], "ppm_channels": 4, "head_channels": 8, "auxiliary": false, "head": "pspnet", '
    '"truncated": true, "dropout": 0.1}, "averaging": "logits", "spacing": null, "orientation": "RAS", '
    '"view": ["axial", "coronal", "sagittal"], "tta": null, "also": null, "device": "cpu", "precision": "float32", '
    '"runtime": "torch", "int8_sha256": null}'
)


@pytest.fixture(scope="module")
def three(models, tmp_path_factory):
    """A prepared job of three views."""
    folder, affine = tmp_path_factory.mktemp("volume"), np.diag((0.7, 0.7, 1.5, 1.0))
    path = put_volume(folder / "scan.nii", pixels((40, 44, 50)).T.astype(np.int16), affine)
    words = {"view": "axial,coronal,sagittal", "keep_header_text": True}
    return prepare(Job(str(path), folder / "mask.nii", str(models / "volume"), **words), PLAIN)


def words_of(prepared):
    """The fingerprint as it is written, but for what the machine decides."""
    return json.dumps(prepared.fingerprint() | {"input": 0, "weights_sha256": ""})


def test_the_words_of_a_fingerprint_stay(models, scene, three, tmp_path):
    """Work folders and masks of older versions have these; other words would make them strangers."""
    how = {"bands": (2, 1), "scale": (0.5,), "tta": "flips", "also": "scores,confidence"}
    assert words_of(prepare(Job(str(scene), tmp_path / "m.tif", str(models / "scene"), **how), PLAIN)) == OF_SCENE
    assert words_of(three) == OF_VOLUME


def test_each_view_has_a_folder_a_lattice_and_scores_of_its_own(three):
    sweeps = sweeps_of(three)
    assert [sweep.folder for sweep in sweeps] == [three.work / name for name in ("axial", "coronal", "sagittal")]
    assert [sweep.lattice.shape for sweep in sweeps] == [sweep.grid.shape for sweep in sweeps]
    assert [sweep.grid.shape for sweep in sweeps] == [(40, 44, 50), (44, 40, 50), (50, 40, 44)]
    assert {decision.planes for sweep in sweeps for decision in sweep.decisions} == {(2,)}
    assert three.store_grid == three.grid


def test_one_view_writes_labels_where_the_job_works(models, scene, tmp_path):
    prepared = prepare(Job(str(scene), tmp_path / "m.tif", str(models / "scene"), also="confidence"), PLAIN)
    (sweep,) = sweeps_of(prepared)
    assert sweep.folder == prepared.work == tmp_path / "m.tif.partial"
    assert sweep.decisions == prepared.decisions == (prepared.labels, prepared.layers[0].decision)
    assert prepared.store_grid == sweep.grid


@given(width=st.integers(1, 8) | st.none(), channels=st.integers(1, 9), itemsize=st.sampled_from([1, 2, 4]))
def test_a_narrower_strip_takes_no_more_memory(three, width, channels, itemsize):
    for sweep in sweeps_of(replace(three, channels=channels, itemsize=itemsize)):
        assert 0 < sweep.memory(width) <= sweep.memory()


def test_a_task_stays_small_however_large_the_input(models, tmp_path):
    """It is sent to a worker for each run."""
    sizes = []
    for side in (100, 2000):
        path = put_scene(tmp_path / f"{side}.tif", np.zeros((2, side, side), np.uint8))
        (sweep,) = sweeps_of(prepare(Job(str(path), None, str(models / "scene")), PLAIN))
        runs = sweep.runs(sweep.slabs(PLAIN), 1)
        sizes.append(len(pickle.dumps(Task(sweep, runs[0], 1))))
    assert max(sizes) < 1.1 * min(sizes) < 8192
