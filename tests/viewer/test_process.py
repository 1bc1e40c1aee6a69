"""The command prints an address, answers there, and ends with Ctrl-C without a word."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
import webbrowser

import pytest

from pipeline.cli import app
from tests.support.viewer import put_image_and_mask

pytestmark = pytest.mark.server


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with an open connection"])
def test_ctrl_c_ends_it_quietly(tmp_path, busy):
    _, mask = put_image_and_mask(tmp_path, (60, 80))
    words = [sys.executable, "-m", "pipeline.cli", "view", str(mask), "--no-open"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            address = running.stdout.readline().strip()
            answer = urllib.request.urlopen(f"{address}info.json", timeout=30)
            if not busy:
                answer.close()
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=30)
        finally:
            running.kill()
    assert (running.returncode, out, err) == (0, "", "")
    assert address.startswith("http://127.0.0.1:")


def test_the_browser_is_opened_at_the_address_unless_told_otherwise(tmp_path, monkeypatch, capsys):
    """The server is not run: it would run on."""
    _, mask = put_image_and_mask(tmp_path, (60, 80))
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    for words in ([], ["--no-open"]):
        app(["view", str(mask), *words], standalone_mode=False)
    first, second = capsys.readouterr().out.splitlines()
    assert opened == [first]
    assert first != second, "a new token each time"
