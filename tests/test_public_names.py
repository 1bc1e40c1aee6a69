from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import pipeline

NAMES = [
    "Box",
    "Grid",
    "Job",
    "PipelineError",
    "Pixels",
    "Predictor",
    "Report",
    "Resources",
    "Source",
    "evaluate",
    "export",
    "load_model",
    "open_source",
    "plan",
    "segment",
]


def test_the_public_names_are_pinned():
    assert pipeline.__all__ == NAMES
    assert len(NAMES) <= 15


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_what_it_is(name):
    found = getattr(pipeline, name)
    assert found.__name__ == name
    assert inspect.getdoc(found)


def test_no_module_hides_a_public_name():
    """An imported module becomes an attribute of its package, and would be found in place of a function."""
    assert not {module.name for module in pkgutil.iter_modules(pipeline.__path__)} & set(NAMES)


def test_a_name_stays_what_it_is_when_its_home_is_imported():
    importlib.import_module(pipeline.segment.__module__)
    assert callable(pipeline.segment)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segmen'"):
        pipeline.segmen  # noqa: B018


def test_a_name_of_before_still_works_and_says_what_it_is_called_now():
    with pytest.warns(DeprecationWarning, match=r"pipeline\.Means is pipeline\.Resources now"):
        assert pipeline.Means is pipeline.Resources
    assert "Means" not in pipeline.__all__


def test_a_star_import_brings_them_all():
    found: dict[str, object] = {}
    exec("from pipeline import *", found)
    assert set(NAMES) <= set(found)
