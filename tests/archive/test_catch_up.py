"""What appeared in a catalog while nothing was running is found by the next run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.archive.archive import open_archive
from pipeline.archive.catch_up import caught_up, note_searched
from pipeline.jobs.inputs import jobs_of
from pipeline.jobs.request import Request, Search
from pipeline.runs.report import HELD, Report
from tests.support.stac import api, item

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DONE = Report("a", "b", "done", None, 1.0, 1)


def failed(code):
    return Report("a", "b", "failed", "why", 0.0, 0, code=code)


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "archive.sqlite"
    with open_archive(path):
        return path


def days(request, place, now=NOW):
    return caught_up(request, place, now).search.days


def request_of(**more):
    return Request(search=Search("https://host/v1", ("s2",), **{"days": 2.0, **more}), output="masks/")


@pytest.mark.parametrize(
    ("reports", "since"),
    [
        ([], True),
        ([DONE, failed("unreadable")], True),
        ([DONE, failed("memory")], False),
        ([Report("a", "b", "skipped", "held", 0.0, 0, code=HELD)], False),
        ([DONE] * 5, False),
    ],
    ids=["nothing", "broken", "to be tried again", "of another run", "at its limit"],
)
def test_a_search_goes_back_to_the_last_run_that_left_nothing(place, reports, since):
    request = request_of(limit=5)
    assert days(request, place) == 2.0
    note_searched(request, place, NOW - timedelta(days=9), reports)
    assert days(request, place) == (11.0 if since else 2.0)
    assert days(request_of(cloud_cover=20.0), place) == 2.0, "another search"
    assert days(request_of(days=3.0), place) == (12.0 if since else 3.0), "the same one, with a longer reach"
    note_searched(request, place, NOW, [])
    assert days(request, place) == 2.0
    assert days(request, place, NOW - timedelta(days=1)) == 2.0, "a clock that was set back"


def test_nothing_is_known_where_there_is_no_ledger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert days(request_of(), None) == 2.0
    assert days(request_of(), tmp_path / "none.sqlite") == 2.0
    plain = Request(input=("a.tif",))
    assert caught_up(plain, None, NOW) is plain


def test_items_of_the_time_in_which_the_machine_was_off_are_found(place):
    now = datetime.now(UTC)
    ages = {"new": 1, "missed": 5, "known": 8}
    items = [
        item(name, {"visual": {"href": f"/{name}.tif"}}, when=now - timedelta(days=age)) for name, age in ages.items()
    ]
    with api(items, by_time=True) as (address, _):
        request = Request(search=Search(address, days=2.0), output="masks/")
        found = [job.output.stem for job in jobs_of(request)]
        note_searched(request, place, now - timedelta(days=4), [DONE])
        later = [job.output.stem for job in jobs_of(caught_up(request, place, now))]
    assert found == ["new_mask"]
    assert later == ["missed_mask", "new_mask"]
