"""A hub with a small model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.models.store import save_model
from tests.support.hub import served_hub, use_hub
from tests.support.model_cases import CARD_2D, network_of, shallow

SPEC = shallow(CARD_2D.network)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Two models of one card with other weights."""
    folders = [tmp_path_factory.mktemp("models") / name for name in ("first", "second")]
    for seed, folder in enumerate(folders):
        save_model(folder, replace(CARD_2D, network=SPEC), network_of(SPEC, seed))
    return folders


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with served_hub() as hub:
        use_hub(monkeypatch, hub.address, tmp_path / "hub home")
        yield hub
