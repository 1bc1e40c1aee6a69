"""Cards: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.classes import Concept, Snomed
from pipeline.errors import ModelError
from pipeline.models.card import Card, read_card
from pipeline.models.catalogue import find_model, load_card, names
from tests.support.model_cases import CARD_2D, CARD_3D

finite = st.floats(-1e6, 1e6)
texts = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def cards(draw):
    base = draw(st.sampled_from([CARD_2D, CARD_3D]))
    patch = draw(st.tuples(st.integers(1, 4096), st.integers(1, 4096)))
    return replace(
        base,
        name=draw(texts),
        classes=tuple(
            replace(entry, color=draw(st.tuples(*(st.integers(0, 255),) * 3)), name=f"{i}{draw(texts)}")
            for i, entry in enumerate(base.classes)
        ),
        patch=patch,
        overlap=tuple(draw(st.integers(0, side - 1)) for side in patch),
        spacing=draw(st.none() | st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))),
        averaging=draw(st.sampled_from(["softmax", "logits"])),
        window=draw(st.sampled_from(["gaussian", "hann", "linear", "constant"])),
        credits=draw(texts),
        evaluation=draw(st.dictionaries(texts, json_values, max_size=3)),
    )


def test_a_zoom_is_not_given_beside_a_spacing():
    assert replace(CARD_2D, spacing=None, zoom=1.5).zoom == 1.5
    with pytest.raises(ValueError, match=r"zoom: .* not beside a spacing, got 1.5 and \(0.5, 0.5\)"):
        replace(CARD_2D, spacing=(0.5, 0.5), zoom=1.5)


@given(cards())
def test_json_round_trip(card):
    assert Card.from_json(card.to_json()) == card


@given(st.sampled_from([CARD_2D, CARD_3D]), st.data())
def test_any_missing_key_is_named(card, data):
    document = json.loads(card.to_json())
    inner = data.draw(
        st.sampled_from([document, document["network"], document["normalisation"], document["classes"][0]])
    )
    key = data.draw(st.sampled_from(sorted({*inner} - {"training", "limits", "values", "view_weights"})))
    del inner[key]
    with pytest.raises(ValueError, match=f"missing keys {key}"):
        Card.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("chanels",), 1, r'chanels: unknown key \(did you mean "channels"\?\)'),
        (("network", "backbon"), 1, r'network.backbon: unknown key \(did you mean "backbone"\?\)'),
        (("network", "backbone"), "resnet20", "network.backbone: expected 'resnet18' or 'resnet34'"),
        (("network", "output_stride"), "8", "network.output_stride: expected 8 or 16 or 32, got '8'"),
        (("network", "align_corners"), 1, "network.align_corners: expected true or false, got 1"),
        (("network", "bins"), [], "bins must be at least 1 each"),
        (("network", "in_channels"), 4, "network.in_channels = 4"),
        (("features",), "share", "features: expected 'patch' or 'shared', got 'share'"),
        (("margin",), True, "margin: expected a whole number, got True"),
        (("patch",), [1, 2, 3], "patch: expected 2 values"),
        (("patch",), 512, "patch: expected a list, got 512"),
        (("overlap",), [64, 0], "overlap: must be from 0"),
        (("classes",), [], "network has 3"),
        (("classes", 1, "name"), "a", "2 different"),
        (("classes", 0, "colour"), [0, 0, 256], "0 to 255"),
        (("normalisation", "std"), [1.0, 0.0], "stds above 0"),
        (("normalisation", "mean"), [1.0], "needs 2 means"),
        (("normalisation", "mean"), [float("nan"), 0], r"normalisation.mean\[0\]: expected a finite number"),
        (("normalisation", "kind"), "window", "low and of high"),
        (("spacing",), [0.0, 1.0], "spacing: must be above 0"),
        (("zoom",), 0.0, "zoom: must be above 0"),
        (("orientation",), "RAS", "volumes need"),
        (("views",), ["axial"], "volumes need an orientation and views; scenes have neither"),
        (("views",), "axial", "views: expected a list, got 'axial'"),
        (("views",), ["front"], r"views\[0\]: expected 'axial' or 'coronal' or 'sagittal', got 'front'"),
        (("values",), "scaled", "values: expected 'raw' or 'physical', got 'scaled'"),
        (("format",), 1, "reads format 2, got 1"),
        (("evaluation",), [], "evaluation: expected an object"),
    ],
)
def test_faults_are_named_with_file_and_key(tmp_path, path, value, words):
    document = json.loads(CARD_2D.to_json())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file = tmp_path / "card.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ModelError, match=words) as caught:
        read_card(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("views", "words"), [([], "volumes need an orientation and views"), (["axial", "axial"], "each can be given once")]
)
def test_a_volume_has_views_and_each_once(views, words):
    document = {**json.loads(CARD_3D.to_json()), "views": views}
    with pytest.raises(ValueError, match=words):
        Card.from_json(json.dumps(document))


def test_the_values_of_volumes_are_what_their_headers_say():
    with pytest.raises(ValueError, match='values: must be "raw" for volumes'):
        replace(CARD_3D, values="physical")


def test_a_card_from_before_its_recipe_was_kept_is_read():
    document = json.loads(CARD_2D.to_json())
    del document["training"], document["limits"], document["values"]
    assert Card.from_json(json.dumps(document)) == CARD_2D


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_broken_file_is_a_model_error(tmp_path, text):
    file = tmp_path / "card.json"
    file.write_bytes(text.encode("latin1"))
    with pytest.raises(ModelError, match=r"card\.json"):
        read_card(file)


def test_packaged_cards_are_whole_and_found_by_name():
    for name in names():
        card = load_card(name)
        assert card.name == name
        assert find_model(name).weights.exists()


def test_an_unknown_model_is_told_the_nearest_and_all(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.models.catalogue.WEIGHTS", tmp_path)
    (tmp_path / "landcover").mkdir()
    (tmp_path / "landcover" / "card.json").write_text(CARD_2D.to_json())
    with pytest.raises(ModelError, match=r'"landcove" \(did you mean "landcover"\?\). Packaged models: landcover'):
        load_card("landcove")


@pytest.mark.parametrize("ref", ["folder", "folder/card.json", "folder/model.safetensors"])
def test_a_missing_file_is_named(tmp_path, ref):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError, match="does not exist"):
        find_model(tmp_path / ref)


def test_cards_are_read_without_torch():
    rooms = "from pipeline.models import card, catalogue; from pipeline.models.inference import fit"
    code = f"import sys; {rooms}; catalogue.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_terms_of_snomed_are_left_out_where_there_are_none():
    text = CARD_2D.to_json()
    assert "snomed" not in text
    terms = Snomed(Concept("123037004", "Anatomical Structure"), Concept("64033007", "Kidney"))
    first, *others = CARD_2D.classes
    card = replace(CARD_2D, classes=(replace(first, snomed=terms), *others))
    assert Card.from_json(card.to_json()) == card
    assert card.to_json().count("snomed") == 1
