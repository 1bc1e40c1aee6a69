"""`pipeline plan`: what a person reads, and what a run costs."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.plan_tables import cost_text, print_plans
from pipeline.errors import RequestError
from pipeline.jobs.job import Job
from pipeline.runs.plan import Plan, Price, parse_price, total_of
from pipeline.runs.plan import plan as plan_job
from pipeline.runs.report import Remark
from tests.support.inputs import pixels, put_scene
from tests.support.terminal import Terminal

RUNNER = CliRunner()


@pytest.fixture
def planned(models, tmp_path):
    """The plan of a scene, timed at an hour."""
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 60, 50)))
    return replace(plan_job(Job(str(scene), model=str(models / "scene")), probe=False), seconds=3600.0)


def told(capsys, plans: list[Plan], price: Price | None = None) -> list[list[str]]:
    print_plans(plans, total_of(plans), price, as_json=False)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_one_plan_is_two_columns_with_what_it_takes_at_the_end(planned, capsys):
    *_, memory, disk, time, cost = told(capsys, [planned], Price(2.5, "EUR"))
    assert [row[0] for row in (memory, disk)] == ["memory", "disk"]
    assert time == ["time", "60", "min"]
    assert cost == ["cost", "2.50", "EUR"]
    assert told(capsys, [planned])[-1] == time, "no price, no cost"


def test_several_plans_are_one_table_with_a_total(planned, capsys):
    plans = [replace(planned, input=f"/archive/2024/s{number}.tif") for number in range(3)]
    plans[1] = replace(plans[1], warnings=(Remark("value-range", "values are odd"),))
    folder, head, *rows, made_by, remark = told(capsys, plans, Price(2.5, "EUR"))
    assert folder == ["in", "/archive/2024/"]
    assert head == ["input", "Mpx", "patches", "memory", "disk", "time", "cost"]
    assert [row[0] for row in rows] == ["s0.tif", "s1.tif", "s2.tif", "3"]
    assert rows[-1][:4] == ["3", "items", "0.0", str(3 * planned.patches)]
    assert rows[-1][-4:] == ["3.0", "h", "7.50", "EUR"] or rows[-1][-4:] == ["180", "min", "7.50", "EUR"]
    assert made_by[-3:] == ["cpu,", f"{planned.precision},", planned.runtime]
    assert remark[:3] == ["/archive/2024/s1.tif:", "warning:", "values"]


def test_several_plans_fit_a_screen_of_80_columns(planned, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    plans = [replace(planned, input=f"/a/long/archive/of/2024/scan-{number}.tif") for number in range(3)]
    with redirect_stdout(Terminal()) as screen:
        print_plans(plans, total_of(plans), Price(12.5, "EUR"), as_json=False)
    assert screen.wide() == []
    assert sum(row.startswith("scan-") for row in screen.rows) == 3, "a row each"


def test_json_has_the_cost_as_a_figure(planned, capsys):
    print_plans([planned] * 2, total_of([planned] * 2), Price(2.5), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [(one["cost"], one["currency"]) for one in document["items"]] == [(2.5, None)] * 2
    total = document["total"]
    assert (total["items"], total["cost"], total["seconds"]) == (2, 5.0, 7200.0)
    assert total["memory_bytes"] == planned.memory_bytes, "one after the other"
    assert total["disk_bytes"] == 2 * planned.disk_bytes
    print_plans([planned], total_of([planned]), as_json=True)
    assert "cost" not in json.loads(capsys.readouterr().out)["items"][0]


def test_the_time_of_all_is_not_known_if_that_of_one_is_not(planned):
    assert total_of([planned, replace(planned, seconds=None)]).seconds is None


def test_the_price_is_an_option(planned, models):
    words = ["plan", "--input", planned.input, "--model", str(models / "scene"), "--json"]
    ended = RUNNER.invoke(app, [*words, "--price", "3600 credits"])
    (item,) = json.loads(ended.stdout)["items"]
    assert item["cost"] == pytest.approx(item["seconds"])
    assert item["currency"] == "credits"
    refused = RUNNER.invoke(app, [*words, "--price", "3", "--no-probe"])
    assert refused.exit_code == 2
    assert "--no-probe" in refused.stderr


@pytest.mark.parametrize("text", ["", "EUR", "-3", "+3", "nan", "inf", "1e3", "3,20", "3 EUR 4", "EUR 3 EUR"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(RequestError, match=r"e\.g\. 2\.50 or '2\.50 EUR'"):
        parse_price(text)


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("2.5", Price(2.5)),
        (" 2.50 EUR ", Price(2.5, "EUR")),
        ("2.50 EUR/h", Price(2.5, "EUR")),
        ("2 US dollars per hour", Price(2.0, "US dollars")),
        ("€3", Price(3.0, "€")),
        ("CHF 0", Price(0.0, "CHF")),
        (".5", Price(0.5)),
    ],
)
def test_a_price_is_a_number_with_or_without_a_currency(text, price):
    assert parse_price(text) == price


@given(st.floats(0, 1e9), st.floats(0, 1e7))
def test_a_cost_that_is_shown_is_near_the_figure(per_hour, seconds):
    price = Price(per_hour, "EUR")
    number, currency = cost_text(seconds, price).split()
    assert currency == "EUR"
    assert float(number.replace(",", "")) == pytest.approx(price.of(seconds), rel=0.06)
