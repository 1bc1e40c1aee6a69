"""A ledger in a PostgreSQL database: the same as in a file, for runs on several machines."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.archive import postgres
from pipeline.archive.holder import Holder
from pipeline.archive.ledger import ArchiveLedger, Entry, Written
from pipeline.archive.place import VARIABLE, place_of
from pipeline.archive.recipe import key_of
from pipeline.archive.status import find_ledger, status_of
from pipeline.cli import app
from pipeline.errors import OutputError, RequestError
from pipeline.files.process import this_process
from tests.support.archives import ITEMS, Folder, statuses
from tests.support.inputs import pixels, put_scene
from tests.support.postgres import PASSWORD, server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def running():
    with server() as started:
        yield started


@pytest.fixture
def url(running):
    return running.database()


@pytest.fixture
def folder(tmp_path, models, url):
    return Folder(tmp_path, models / "scene", place_of(url))


NAMES = st.sampled_from(["/a.tif", "/B.tif", "/ä.nii.gz", "s3://bucket/a b%20.tif"])
STATES = st.sampled_from(["pending", "running", "done", "failed", "quarantined", "stale"])
HOLDERS = st.sampled_from([None, "one", "another"])
ENTRIES = st.builds(
    Entry,
    NAMES,
    output=st.sampled_from([None, "/out/a?.tif"]),
    state=STATES,
    code=st.sampled_from([None, "memory"]),
    stale=st.booleans(),
    cells=st.sampled_from([0, 2**40]),
    seconds=st.sampled_from([0.0, 0.1]),
    holder=HOLDERS,
)
FILES = st.lists(
    st.builds(Written, st.sampled_from(["x", "y"]), st.just("1 2"), st.just("f" * 64)), unique_by=lambda w: w.path
)
CALLS = st.one_of(
    st.tuples(st.just("add"), st.lists(ENTRIES, max_size=3)),
    st.tuples(st.just("enter"), st.lists(ENTRIES, max_size=3, unique_by=lambda entry: entry.input)),
    st.tuples(
        st.just("settle"), ENTRIES, FILES, st.dictionaries(st.sampled_from("ab"), st.just(1 / 3), max_size=2), HOLDERS
    ),
    st.tuples(st.just("leave"), NAMES, HOLDERS),
    st.tuples(st.just("release"), st.lists(st.just("memory"), max_size=1)),
    st.tuples(st.just("redo"), st.lists(NAMES, max_size=2)),
    st.tuples(st.just("recipe"), st.just({"window": "hann"})),
)


@pytest.fixture(scope="module")
def both(running, tmp_path_factory):
    """A ledger in a file and one in a database, which are given the same calls."""
    found = [ArchiveLedger(tmp_path_factory.mktemp("file") / "l.sqlite"), ArchiveLedger(place_of(running.database()))]
    yield found
    for ledger in found:
        ledger.close()


def told(ledger):
    rows = [row._replace(changed="") for row in ledger.rows().values()]
    examples = [row._replace(changed="") for row in ledger.examples(("failed", "quarantined"), ("mask-changed",))]
    counts = sorted(ledger.counts(), key=str)
    return rows, ledger.outputs(), ledger.volumes(), counts, examples, ledger.made("x")[1]


@settings(max_examples=8)
@given(calls=st.lists(CALLS, max_size=8))
def test_a_database_keeps_what_a_file_keeps(both, calls):
    for ledger in both:
        with ledger._base.transaction() as base:
            for table in ("items", "outputs", "structures"):
                base.execute(f"DELETE FROM {table}")
    for name, *words in calls:
        results = [getattr(ledger, name)(*words) for ledger in both]
        assert results[0] == results[1], name
    assert told(both[0]) == told(both[1])
    for item in both[0].rows():
        claims = [ledger.claim(Entry(item, None, "running", holder="x"), ledger.row(item)) for ledger in both]
        stale = [ledger.claim(Entry(item, None, "running", holder="y"), None) for ledger in both]
        assert (claims, stale) == ([True, True], [False, False])
    assert told(both[0]) == told(both[1])


def test_each_item_is_claimed_once(url):
    """By eight runs that all see it as free at the same time."""
    place, items = place_of(url), [f"/{number}.tif" for number in range(25)]
    with closing(ArchiveLedger(place)) as first:
        first.add([Entry(item, None, "pending") for item in items])
        free = first.rows()

    def run(number):
        with closing(ArchiveLedger(place)) as ledger:
            entries = [Entry(item, None, "running", holder=str(number)) for item in items]
            return [entry.input for entry in entries if ledger.claim(entry, free[entry.input])]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, range(8)))
    assert Counter(item for claimed in found for item in claimed) == dict.fromkeys(items, 1)


@pytest.mark.parametrize("fails", [frozenset(), frozenset({3})])
def test_a_run_in_the_midst_of_another_makes_what_is_left(folder, fails):
    folder.fails = fails
    inner = []
    outer = folder.run(during=lambda at: inner.extend(folder.run()) if at == 1 and not inner else None)
    assert folder.made == Counter({at: 1 for at in range(ITEMS) if at not in fails})
    assert [report.missing for report in outer] == [at in fails for at in range(ITEMS)]
    assert inner[1].code == "held"
    assert statuses(folder.run()) == ["failed" if at in fails else "skipped" for at in range(ITEMS)]


@pytest.fixture
def short_lives(monkeypatch):
    monkeypatch.setattr(postgres, "BEAT", 0.1)
    monkeypatch.setattr(postgres, "AGE", 0.6)


def elsewhere(run):
    """A run on another machine, whose process nobody can look for here."""
    return Holder(replace(this_process(), machine="elsewhere"), run)


def test_the_items_of_a_run_that_has_died_come_back_when_its_heartbeat_is_old(folder, short_lives):
    """That of a run that is alive is left to it, for as long as that takes."""
    folder.run()
    for number, run in ((1, "dies"), (2, "lives")):
        _hold(folder, number, run)
    ledger = ArchiveLedger(folder.place)
    life = ledger.beating("lives")
    life.__enter__()
    ledger._base._beat(postgres._BEAT, "dies")
    assert status_of(ledger).states["running"] == 2
    reports = folder.run(folder.archive(wait=1.0))
    assert statuses(reports) == ["skipped", "done", "skipped", "skipped"]
    assert reports[2].code == "held"
    assert "is being made by another run, process" in reports[2].reason
    assert status_of(ledger).states["running"] == 1, "longer than a heartbeat counts"
    Timer(0.3, life.__exit__, (None, None, None)).start()
    assert statuses(folder.run(folder.archive(wait=5.0))) == ["skipped", "skipped", "done", "skipped"]
    ledger.close()


def _hold(folder, number, run):
    job = folder.jobs[number]
    with closing(ArchiveLedger(folder.place)) as ledger:
        ledger.enter([Entry(key_of(job), str(job.output), "running", holder=str(elsewhere(run)))])


def test_what_failed_in_a_run_that_was_taken_for_dead_is_left_to_its_successor(folder, short_lives):
    """A machine that slept wakes up, and its item fails while another run is making it."""
    folder.fails = {1}

    def sleeps(at):
        if at == 1:
            _hold(folder, 1, "successor")
            life.__enter__()

    ledger = ArchiveLedger(folder.place)
    life = ledger.beating("successor")
    reports = folder.run(during=sleeps)
    life.__exit__(None, None, None)
    assert (reports[1].status, reports[1].code) == ("skipped", "held")
    assert ledger.row(key_of(folder.jobs[1])).state == "running"
    ledger.close()


def test_status_tells_of_a_run_that_has_died(folder):
    folder.run()
    _hold(folder, 1, "gone")
    with closing(find_ledger(folder.place)) as ledger:
        status = status_of(ledger)
    assert (status.states["running"], status.states["pending"], status.states["done"]) == (0, 1, ITEMS - 1)
    assert [(reason.code, reason.items) for reason in status.reasons] == [("interrupted", 1)]
    assert PASSWORD not in str(status)


def test_a_server_that_is_started_again_is_waited_for(running, folder, monkeypatch, capsys):
    monkeypatch.setattr(postgres, "_TURN", 0.1)

    def restart(at):
        if at == 1:
            running.stop()
            Timer(0.5, running.start).start()

    assert statuses(folder.run(during=restart)) == ["done"] * ITEMS
    assert "does not answer (" in capsys.readouterr().err


def shown(url, *words, **more):
    """What a command prints; the address comes from the environment."""
    ended = CliRunner().invoke(app, [str(word) for word in words], env={VARIABLE: url}, **more)
    text = ended.stdout + ended.stderr
    assert PASSWORD not in text
    assert "ss%2Fw" not in text
    return ended.exit_code, text


def test_all_verbs_read_it_and_none_shows_its_password(url, tmp_path, models):
    (tmp_path / "in").mkdir()
    for number in range(2):
        put_scene(tmp_path / f"in/s{number}.tif", pixels((2, 40, 30), number))
    (tmp_path / "in/s2.tif").write_bytes(b"II no scene")
    run = ["run", "--input", tmp_path / "in", "--output", f"{tmp_path}/out/", "--model", models / "scene"]
    run += ["--no-prefect", "--wait", "0"]
    assert shown(url, *run)[0] == 1
    assert not list((tmp_path / "out").glob("archive*")), "no file of a ledger"
    plain = str(place_of(url))
    assert plain == url.replace(url.split("//")[1].split("@")[0], "archivist")
    assert json.loads(shown(url, "status", "--json")[1])["states"]["done"] == 2
    assert json.loads(shown(url, "status", plain, "--json")[1])["ledger"] == plain
    assert "2 files: 2 intact" in shown(url, "verify")[1]
    (tmp_path / "out/s1_mask.tif").write_bytes(b"changed")
    assert shown(url, "verify", tmp_path / "out/s1_mask.tif")[0] == 1
    assert shown(url, "status", "--json")[1].count("mask-changed") == 1
    assert shown(url, "retry", "--reason", "unreadable")[1].startswith("pending: 1 of 3 items")
    assert shown(url, *run)[1].count("made again") == 1
    code, said = shown(url, "report", plain)
    assert (code, "says where to write" in said) == (2, True)
    assert shown(url, "report", url, "--output", tmp_path / "page.html", "--json")[0] == 0
    assert "2 files: 2 intact" in shown(url, "verify", url)[1]
    page = (tmp_path / "page.html").read_text()
    assert plain in page
    assert "ss%2Fw" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace("archivist:", "archivist:x"), "cannot be reached (connection failed"),
        (lambda url: url.rpartition("/")[0] + "/none", 'database "none" does not exist'),
        (lambda url: url.replace("postgresql", "mysql"), "cannot be a ledger; give an SQLite file"),
        (lambda url: url.replace("127.0.0.1:", "127.0.0.1:x"), "is not the address of a database"),
        (lambda url: url, "no ledger here; give the database of an archive that was begun"),
    ],
)
def test_an_address_that_does_not_work_is_named_without_its_password(url, change, said):
    code, text = shown(change(url), "status")
    assert code in (1, 2)
    assert said in text


def test_a_ledger_of_a_later_version_is_refused(url):
    ledger = ArchiveLedger(place_of(url))
    with ledger._base.transaction() as base:
        base.execute("UPDATE kept SET value = '3' WHERE name = 'format'")
    ledger.close()
    with pytest.raises(RequestError, match=r"is a ledger of format 3, but this version reads up to 2"):
        ArchiveLedger(place_of(url))


def test_a_transaction_that_fails_changes_nothing(url):
    with closing(ArchiveLedger(place_of(url))) as ledger:
        with pytest.raises(OutputError, match="cannot be used"):
            ledger.enter([Entry("a", None, "done"), Entry("b", None, "no state")])
        assert ledger.rows() == {}


def test_a_run_that_hangs_in_a_transaction_does_not_hold_up_the_others_for_ever(url, monkeypatch):
    monkeypatch.setattr(postgres, "_TURNS", postgres._TURNS.replace("60s", "200ms"))
    with closing(ArchiveLedger(place_of(url))) as hangs, closing(ArchiveLedger(place_of(url))) as other:
        transaction = hangs._base.transaction()
        transaction.__enter__()
        began = time.monotonic()
        other.enter([Entry("a", None, "done")])
        assert time.monotonic() - began > 0.1
        with pytest.raises(OutputError, match="terminating connection due to idle-in-transaction timeout"):
            transaction.__exit__(None, None, None)
        assert list(hangs.rows()) == ["a"]
