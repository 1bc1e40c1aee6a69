"""A run that is to stop does so before the sweep too, while it reads its whole input."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from pipeline.errors import Interrupted
from pipeline.jobs.job import Job, Resources
from pipeline.models.card import Normalization
from pipeline.models.store import save_model
from pipeline.runs.segment import segment
from tests.support.inputs import SCENE_CARD, VOLUME_CARD, pixels, put_scene, put_volume
from tests.support.model_cases import network_of
from tests.support.observers import Callbacks

PLAIN = Resources(precision="float32", runtime="torch")


@pytest.mark.parametrize("kind", ["volume", "scene"])
def test_a_run_that_is_to_stop_stops_while_it_still_reads_for_statistics(kind, models, tmp_path):
    card = replace(VOLUME_CARD if kind == "volume" else SCENE_CARD, name="counting")
    if kind == "scene":
        card = replace(
            card, normalization=Normalization("percentile", (0.5, 0.5), (0.2, 0.2), (1.0, 1.0), (99.0, 99.0))
        )
    save_model(tmp_path / "counting", card, network_of(card.network))
    values = pixels((70, 40, 36))
    path = (
        put_volume(tmp_path / "in.nii.gz", values.T.astype(np.int16), np.diag([0.5, 0.5, 2, 1]))
        if kind == "volume"
        else put_scene(tmp_path / "in.tif", pixels((2, 70, 40)))
    )
    stop, phases = Event(), []

    def phase(name: str) -> None:
        phases.append(name)
        stop.set()

    with pytest.raises(Interrupted):
        segment(Job(str(path), tmp_path / "out.zarr", str(tmp_path / "counting")), PLAIN, Callbacks(stop, phase=phase))
    assert phases == ["reading"]
