"""The packaged models: whether their weights are whole."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.doctor.finding import Finding, broken, ok
from pipeline.errors import ModelError
from pipeline.files.digest import sha256_of
from pipeline.models.catalogue import find_model, load_card, names


def check_models() -> Iterator[Finding]:
    """Hold the weights of the packaged models against their cards."""
    whole = []
    for name in names():
        try:
            files, card = find_model(name), load_card(name)
            right = sha256_of(files.weights) == card.weights_sha256
        except ModelError as error:
            yield broken("models", str(error), "install the package again")
            continue
        if right:
            whole.append(name)
        else:
            yield broken("models", f"{name}: its weights are not those of its card", "install the package again")
    yield ok("models", f"{', '.join(whole) or 'none'} whole", models=whole)
