"""What a person said of the items of an archive comes back as a table, by names or by pseudonyms."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Entry
from pipeline.archive.pseudonyms import pseudonym
from pipeline.cli import app


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture
def folder(tmp_path):
    """Two items that are done, and one that failed."""
    ledger = ArchiveLedger(tmp_path / LEDGER_NAME)
    for number in range(2):
        ledger.settle(Entry(str(tmp_path / f"s{number}.tif"), str(tmp_path / f"s{number}_mask.tif"), "done"))
    ledger.settle(Entry(str(tmp_path / "s2.tif"), None, "failed", "memory", "too little"))
    ledger.close()
    return tmp_path


@pytest.mark.parametrize("named", ["as in the ledger", "relative", "hashed"])
def test_retry_queues_what_failed_a_review(folder, named, monkeypatch):
    names = [str(folder / f"s{number}.tif") for number in range(3)]
    monkeypatch.chdir(folder.parent)
    told = {
        "as in the ledger": names,
        "relative": [f"{folder.name}/s{number}.tif" for number in range(3)],
        "hashed": [pseudonym(name) for name in names],
    }[named]
    table = folder / "reviews.csv"
    table.write_text(
        f'input,verdict,comment,state\n{told[0]},fail,"too much, water",done\n{told[1]},pass,,\n{told[2]},,,\n'
    )
    ended = call("status", folder, "--table", table, "--json")
    review = json.loads(ended.stdout)["review"]
    assert (review["passed"], review["failed"], review["unseen"]) == (1, 1, 0)
    assert review["to_redo"] == [{"input": names[0], "verdict": "fail", "comment": "too much, water"}]
    shown = call("status", folder, "--table", table).stdout
    assert "reviewed: 1 pass, 1 fail, 0 not seen" in shown
    assert "too much, water" in shown
    assert call("retry", folder, "--table", table).stdout.startswith("pending: 1 of 3 items")
    ledger = ArchiveLedger(folder / LEDGER_NAME)
    rows = ledger.rows()
    ledger.close()
    assert [(rows[name].state, rows[name].stale) for name in names] == [("pending", 1), ("done", 0), ("failed", 0)]
    assert call("retry", folder, "--table", table).stdout.startswith("pending: 0 of 3 items")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("input,comment\na,b\n", "has no column verdict; it has input, comment"),
        ("input,verdict\nnobody.tif,pass\n", "line 2: the ledger has no item nobody.tif"),
        ("input,verdict\n{name},good\n", "line 2: verdict 'good' must be pass, fail or empty"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder, content, words):
    table = folder / "reviews.csv"
    table.write_text(content.replace("{name}", str(folder / "s0.tif")))
    for verb in ("retry", "status"):
        ended = call(verb, folder, "--table", table)
        assert ended.exit_code == 2
        assert words in ended.stderr
    assert call("retry", folder, "--table", table, "--reason", "memory").exit_code == 2
