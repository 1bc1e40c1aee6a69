"""Features once: the same scores as patch by patch where a patch sees no more, and the same in blocks of any size."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from pipeline.engine.reader import read_patch
from pipeline.errors import ModelError, RequestError
from pipeline.geometry import Blocks, Box, Cut, Lattice, padded_shape
from pipeline.models.inference import shared as shared_module
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.halves import Halves
from pipeline.models.inference.numerics import Numerics
from pipeline.models.inference.runtime import InferenceModel, build_inference_model
from pipeline.models.inference.shared import Joined, SharedPredictor
from pipeline.models.inference.tta import TTA
from pipeline.models.inference.units import Units, units_of
from pipeline.models.networks.folded import FoldedPSPNet
from pipeline.models.networks.patch_head import PatchHead
from pipeline.models.spec import PSPNetSpec
from pipeline.sources.statistics import InputStatistics
from tests.support.fakes import ArraySource
from tests.support.model_cases import CARD_2D, CARD_3D, model_of, network_of

NONE = TTA()
FORMS = (
    Numerics("cpu", "bfloat16"),
    Numerics("cpu", "bfloat16", fused=True),
    Numerics(),
    Numerics("cpu", "float32", "compiled"),
)


def exact(card):
    """A model in float64, of which both ways are made."""
    folded = FoldedPSPNet(network_of(card.network).double())
    halves = Halves(lambda image: nullcontext(folded.trunk(image.double())), PatchHead(folded), folded.align_corners)
    return InferenceModel(card, Numerics(), lambda image: folded(image.double()), halves)


def pixels(shape, channels=2, seed=0):
    return np.random.default_rng(seed).normal(100, 40, (channels, *shape)).astype(np.float32)


def one_patch(card, values, spacing, tta=NONE):
    """Scores of a patch, by itself and as the only one of a block."""
    model, units = exact(card), units_of(card, spacing, tta)
    own = InputStatistics((90.0,), (30.0,)) if card.kind == "volume" else InputStatistics((), ())
    scaling = Scaling.of(card, own)
    alone = CpuPredictor(model, scaling, spacing, augmentation=tta, threads=1)(values[None], None)[0]
    shared = SharedPredictor(model, scaling, units, augmentation=tta, threads=1)
    place = Box.whole(values.shape[1:])
    if card.kind == "volume":
        place = Box((card.margin, 0, 0), (card.margin + 1, *values.shape[2:]))
    return alone, scores_at(shared, values, [place])[0]


def scores_at(shared, values, places):
    """Scores of patches that lie in one block."""
    cuts = [Cut.whole(place) for place in places]
    pieces = shared.pieces(values, None, cuts)
    return [shared.scores(shared.joined([piece], [cut])) for piece, cut in zip(pieces, cuts, strict=True)]


SCENES = {
    "plain": (CARD_2D, NONE),
    "flips": (CARD_2D, TTA.of("flips")),
    "turns": (CARD_2D, TTA.of("turns")),
    "scales": (CARD_2D, TTA.of("0.75,1.25")),
    "logits": (replace(CARD_2D, averaging="logits"), NONE),
    "smp": (
        replace(CARD_2D, network=replace(CARD_2D.network, head="smp", align_corners=True, output_stride=8)),
        TTA.of("flips"),
    ),
    "decoder": (replace(CARD_2D, network=replace(CARD_2D.network, decoder_channels=(6, 5))), TTA.of("turns")),
    "decoder to 2": (
        replace(CARD_2D, network=replace(CARD_2D.network, backbone="efficientnet_lite0", decoder_channels=(6, 5, 4))),
        TTA.of("flips"),
    ),
}


@pytest.mark.parametrize(("card", "tta"), SCENES.values(), ids=SCENES)
def test_an_input_of_one_patch_gives_the_same_both_ways(card, tta):
    values = pixels((64, 64))
    alone, shared = one_patch(replace(card, patch=(64, 64), overlap=(0, 0)), values, (1.0, 1.0), tta)
    assert alone.std() > 1e-3
    np.testing.assert_allclose(shared, alone, atol=1e-7 if alone.dtype == np.float32 else 1e-9, rtol=0)


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (0.25, 0.5)], ids=str)
def test_a_slice_of_one_patch_gives_the_same_both_ways(spacing):
    size = tuple(round(p * 0.5 / s) for p, s in zip(CARD_3D.patch, spacing, strict=True))
    alone, shared = one_patch(CARD_3D, pixels((3, *size), 1), spacing)
    assert alone.shape == shared.shape == (2, 1, *size)
    np.testing.assert_allclose(shared, alone, atol=1e-6, rtol=0)


NARROW = PSPNetSpec("resnet18", 2, 3, output_stride=8, ppm_channels=4, head_channels=8, truncated=True)
"""Sees 58 pixels around a place."""
RADIUS = 64
CARD = replace(CARD_2D, network=NARROW, patch=(48, 48), overlap=(24, 24))


def all_scores(lattice, source, size, halo, predictor):
    found = {}
    for block in chain(*Blocks(lattice, size, halo).rows()):
        seen = read_patch(source, block.seen)
        cuts = [block.cut(patch, lattice.patch) for patch in block.patches]
        pieces = predictor.pieces(seen.values, seen.valid, cuts)
        for patch, cut, piece in zip(block.patches, cuts, pieces, strict=True):
            found.setdefault(patch, []).append((cut, piece))
    both = {patch: [list(each) for each in zip(*given, strict=True)] for patch, given in found.items()}
    return {patch: predictor.scores(predictor.joined(pieces, cuts)) for patch, (cuts, pieces) in both.items()}


@pytest.fixture(scope="module")
def narrow():
    return whole_and_more(CARD)


def whole_and_more(card, tta=NONE):
    """What `largest_difference` needs: among it the scores of all patches of one block."""
    lattice = Lattice(padded_shape((110, 86), (8, 8)), (48, 48), (24, 24), (0, 0))
    model = exact(card)
    predictor = SharedPredictor(model, Scaling.of(card), units_of(card, None, tta), augmentation=tta, threads=1)
    predictor.scores = lambda joined: torch.cat(joined.coarse).numpy()  # before they are rounded to float32
    source = ArraySource(pixels((110, 86)))
    return lattice, source, predictor, all_scores(lattice, source, (999, 999), (0, 0), predictor)


def largest_difference(narrow, size, halo):
    lattice, source, predictor, whole = narrow
    found = all_scores(lattice, source, size, halo, predictor)
    assert found.keys() == whole.keys()
    return max(float(np.abs(found[patch] - whole[patch]).max()) for patch in whole)


@pytest.mark.parametrize("size", [(1, 1), (56, 80), (999, 48)], ids=str)
def test_with_a_halo_as_wide_as_the_network_sees_all_sizes_of_blocks_give_the_same(narrow, size):
    assert largest_difference(narrow, size, (RADIUS, RADIUS)) < 1e-9


@pytest.mark.parametrize(("backbone", "channels"), [("resnet18", (6, 5)), ("efficientnet_lite0", (6, 5, 4))])
def test_with_a_decoder_all_sizes_of_blocks_give_the_same(backbone, channels):
    card = replace(CARD, network=replace(NARROW, backbone=backbone, decoder_channels=channels))
    assert largest_difference(whole_and_more(card), (56, 80), (RADIUS + 16, RADIUS + 16)) < 1e-9


def test_turned_patches_are_joined_as_others_are():
    turned = whole_and_more(CARD, TTA.of("turns"))
    assert largest_difference(turned, (56, 80), (RADIUS, RADIUS)) < 1e-9


@pytest.mark.parametrize("fault", ["part", "strips"])
def test_a_patch_that_is_joined_wrongly_is_caught(narrow, monkeypatch, fault):
    """Averages that forget where their part is, and direct parts that are taken from beside it."""
    assert largest_difference(narrow, (56, 80), (RADIUS, RADIUS)) < 1e-9
    if fault == "part":
        pooled = PatchHead.pooled
        monkeypatch.setattr(PatchHead, "pooled", lambda self, features, part: pooled(self, features))
    else:
        cut = shared_module._Strips.cut
        monkeypatch.setattr(shared_module._Strips, "cut", lambda self, at, patch: cut(self, at, patch).roll(1, -1))
    assert largest_difference(narrow, (56, 80), (RADIUS, RADIUS)) > 1e-3


def test_a_patch_keeps_no_block_alive(narrow):
    """What waits for another block is copied in strips that its neighbors share."""
    lattice, source, predictor, _ = narrow
    block = next(Blocks(lattice, (56, 80), (16, 16)).rows())[0]
    seen = read_patch(source, block.seen)
    pieces = predictor.pieces(seen.values, None, [block.cut(patch, lattice.patch) for patch in block.patches])
    direct = [share.direct for piece in pieces if not isinstance(piece, Joined) for share in piece.shares]
    held = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in direct}
    channels, sides = direct[0].shape[1], [side // 8 for side in block.seen.shape]
    assert 0 < len(held) < len(direct)
    assert max(held.values()) < 8 * channels * sides[0] * sides[1]


def test_padding_that_depends_on_the_size_of_the_input_is_the_same_in_blocks():
    lite = whole_and_more(replace(CARD, network=replace(NARROW, backbone="efficientnet_lite0")))
    assert largest_difference(lite, (56, 80), (RADIUS, RADIUS)) < 1e-9
    assert largest_difference(lite, (56, 80), (0, 0)) > 1e-6


def test_a_narrower_halo_costs_less_the_wider_it_is(narrow):
    by_halo = [largest_difference(narrow, (48, 48), (halo, halo)) for halo in (0, 16, 32)]
    assert by_halo[0] > by_halo[1] > by_halo[2] > 1e-9


def test_a_patch_that_starts_between_cells_of_the_features_is_refused():
    units = units_of(CARD, None, NONE)
    assert units.native == (8, 8)
    with pytest.raises(RequestError, match=r"--patch 50,48: must be a multiple of 8 cells .*; give --patch 56,48"):
        units.check((50, 48), (24, 24))
    with pytest.raises(RequestError, match=r"--overlap 24,20: must be a multiple of 8"):
        units.check((48, 48), (24, 20))
    units.check((48, 48), (24, 16))


def test_cells_and_pixels_of_a_unit_correspond_at_every_spacing():
    card = replace(CARD, patch=(512, 512), overlap=(128, 128), spacing=(0.3, 0.3))
    for native in (0.07, 0.1, 0.3, 0.5, 1.0):
        units = units_of(card, (native, native), TTA.of("0.75"))
        patch, overlap = units.lattice_of(card.patch, card.overlap)
        assert units.model == (64, 64)
        assert abs(units.native[0] * native / (units.model[0] * 0.3) - 1) < 0.03
        assert patch[0] // units.native[0] * units.model[0] == 512
        assert overlap[0] // units.native[0] * units.model[0] == 128
        assert units.halo() == units.native
        assert units.at(0.75) == (48, 48)


def test_a_scale_that_no_whole_cells_of_the_features_meet_is_refused():
    with pytest.raises(RequestError, match=r"tta 0.75: .*features of 8 pixels.*; give --features patch"):
        units_of(replace(CARD, patch=(48, 48), overlap=(40, 40)), None, TTA.of("0.75"))


def test_blocks_are_as_large_as_allowed():
    assert Units((8, 8), (8, 8), 8).block() == (576, 576)
    assert Units((35, 70), (96, 48), 8).block() == (210, 840)
    assert Units((9, 9), (2048, 2048), 8).block() == (9, 9)


@pytest.mark.slow
@pytest.mark.parametrize("numerics", FORMS)
def test_every_runtime_of_torch_shares_features(numerics):
    card = replace(CARD, patch=(64, 64), overlap=(32, 32))
    model = build_inference_model(model_of(card), numerics)
    shared = SharedPredictor(model, Scaling.of(card), units_of(card, None, NONE), threads=1)
    expected = SharedPredictor(exact(card), Scaling.of(card), units_of(card, None, NONE), threads=1)
    values, places = pixels((96, 64)), [Box((0, 0), (64, 64)), Box((32, 0), (96, 64))]
    for got, want in zip(scores_at(shared, values, places), scores_at(expected, values, places), strict=True):
        difference = np.abs(got - want).max()
        assert difference < (0.05 if numerics.precision == "bfloat16" else 1e-5)


def test_a_runtime_that_has_no_halves_is_refused():
    model = replace(exact(CARD_2D), halves=None)
    with pytest.raises(ModelError, match="features cannot be shared with runtime torch"):
        SharedPredictor(model, Scaling.of(CARD_2D), units_of(CARD_2D, None, NONE))


def test_threads_have_a_core_each():
    torch.set_num_threads(torch.get_num_threads())
    assert SharedPredictor(exact(CARD_2D), Scaling.of(CARD_2D), units_of(CARD_2D, None, NONE), threads=3).threads == 3
