"""The card of a model in the metadata of its ONNX file, so that it is known when the file is imported again."""

from __future__ import annotations

import json
from dataclasses import replace

from pipeline.models.card import Card
from pipeline.models.exchange.deepness import deepness_of
from pipeline.models.exchange.graph import Graph

CARD_KEY = "pipeline_card"
"""Key of the card, as JSON."""


def metadata_of(card: Card) -> dict[str, str]:
    """Return the metadata of a model that is written as ONNX: its card, and for scenes what Deepness reads."""
    own = {CARD_KEY: json.dumps(replace(card, int8=None, features=None).to_words(), ensure_ascii=False)}
    return {**own, **deepness_of(card)} if card.kind == "scene" else own


def embedded_card(graph: Graph) -> Card | None:
    """Return the card in the metadata of an ONNX file; None: there is none that can be read."""
    text = graph.metadata.get(CARD_KEY)
    try:
        return None if text is None else Card.from_json(text)
    except ValueError:
        return None
