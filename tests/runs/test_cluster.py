"""Workers of this machine."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from pipeline.runs.cluster import map_distributed


def test_another_run_on_this_machine_is_not_in_the_way(tmp_path):
    with socket.socket() as other:
        with suppress(OSError):  # another test has it, which does as well
            other.bind(("0.0.0.0", 8787))
            other.listen()
        files = [tmp_path / f"{number}.done" for number in range(2)]
        map_distributed(Path.touch, lambda _: {file.name: file for file in files}, workers=1, tick=lambda: None)
    assert all(file.exists() for file in files)


def test_what_workers_are_started_with_is_not_left_to_other_processes(tmp_path, monkeypatch):
    """Dask sets threads and memory for its workers in the environment of the process that starts them."""
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    before = dict(os.environ)
    map_distributed(Path.touch, lambda _: {"a": tmp_path / "a.done"}, workers=1, tick=lambda: None)
    assert (tmp_path / "a.done").exists()
    assert dict(os.environ) == before
