"""What a notebook shows of results and plans."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.compare import evaluate
from pipeline.jobs.job import Job
from pipeline.runs.plan import plan
from pipeline.runs.report import Remark, Report
from pipeline.runs.segment import segment
from tests.masks.test_mask_file import read
from tests.support.inputs import pixels, put_scene
from tests.support.pages import EVIL, labels, put_mask

ODD = Report(EVIL, EVIL, "failed", EVIL, 1.0, 5, EVIL, EVIL, 0.5, 0.25, 0.1, (Remark("value-range", EVIL),))


def test_a_run_is_shown_with_its_mask(models, tmp_path):
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 90, 80)))
    job = Job(str(scene), tmp_path / "mask.tif", str(models / "scene"))
    report = segment(job)
    shown = read(report)
    assert {"input", str(scene), "status", "done", "model"} <= set(shown.words)
    assert [tag for tag, _ in shown.tags].count("img") == 1
    assert report.mask._repr_html_() in report._repr_html_()
    again = read(segment(job))
    assert {"skipped", "already made by this very job"} <= set(again.words)
    assert [tag for tag, _ in again.tags].count("img") == 1, "the mask is there"


def test_a_mask_that_was_moved_is_told(tmp_path):
    report = Report("a.tif", str(tmp_path / "gone.tif"), "done", None, 1.0, 10)
    assert "cannot be shown" in read(report).text


def test_a_failure_has_no_mask():
    assert ODD.mask is None
    assert "<script>" in read(ODD).text, "as text"
    assert replace(ODD, status="skipped", code="held").mask is None


TEXT = st.text(max_size=30) | st.sampled_from([EVIL, "<script>", "'\"", "\u202e", "\n"])


@given(st.fixed_dictionaries(dict.fromkeys(("input", "output", "reason", "model", "code"), TEXT)))
def test_no_text_is_obeyed(texts):
    read(replace(ODD, **texts))


def test_a_plan_is_shown(models, tmp_path):
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 90, 80)))
    found = plan(Job(str(scene), Path("x/m.tif"), str(models / "scene")), probe=False)
    assert {"patches", "memory", "disk", "time", "not tried"} <= set(read(found).words)
    texts = {field.name: EVIL for field in fields(found) if field.type == "str"}
    assert "<script>" in read(replace(found, **texts)).text


def test_an_evaluation_is_shown(tmp_path):
    one, other = (put_mask(tmp_path / f"{name}.tif", labels()) for name in ("one", "other"))
    shown = read(evaluate([(one, other)], bootstrap=0))
    assert {"water", "1.000", "mean", "iou"} <= set(shown.words)
