"""The measures against plain loops, against cases worked by hand, and against libraries of the field."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.bootstrap import intervals
from pipeline.evaluation.boundaries import boundary_counts, margin_of, with_margin
from pipeline.evaluation.counts import add_counts, by_class, confusion, over_all, overlap_counts
from pipeline.evaluation.surfaces import distances, surface
from pipeline.geometry import Grid

CLASSES = 3
MISSED = CLASSES


@st.composite
def codes(draw, most=12, classes=CLASSES):
    """Truth and prediction of a small scene in blots, with cells that are not counted or not predicted."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    side = draw(st.integers(1, 4))
    blots = rng.integers(0, classes, (2, -(-shape[0] // side), -(-shape[1] // side)))
    both = np.kron(blots, np.ones((1, side, side), int))[:, : shape[0], : shape[1]]
    both[1][rng.random(shape) < 0.05] = classes
    both[:, rng.random(shape) < 0.1] = -1
    return both.astype(np.int16)


def of_slabs(both, cuts, distance, classes=CLASSES):
    """Boundary sums of slabs that end at `cuts`."""
    edges = sorted({0, both.shape[1], *(cut % both.shape[1] for cut in cuts)})
    slabs = (both[:, a:b] for a, b in itertools.pairwise(edges))
    parts = [boundary_counts(c, rows, classes, distance) for c, rows in with_margin(slabs, margin_of(distance))]
    return add_counts(parts)


# Confusion matrix and what follows from it


@given(codes())
def test_the_confusion_matrix_counts_what_a_loop_counts(both):
    expected = np.zeros((CLASSES, CLASSES + 1), int)
    for truth, prediction in zip(both[0].ravel(), both[1].ravel(), strict=True):
        if truth >= 0:
            expected[truth, prediction] += 1
    assert np.array_equal(confusion(both, CLASSES), expected)


@given(codes())
def test_overlaps_are_those_of_sets_of_cells(both):
    sums = overlap_counts(confusion(both, CLASSES))
    figures, means = by_class(sums), over_all(sums)
    counted = set(np.flatnonzero(both[0] >= 0).tolist())
    shares = []
    for label in range(CLASSES):
        truth = set(np.flatnonzero(both[0] == label).tolist())
        prediction = set(np.flatnonzero(both[1] == label).tolist()) & counted
        if truth | prediction:
            shares.append(len(truth & prediction) / len(truth | prediction))
            assert figures["iou"][label] == pytest.approx(shares[-1])
            assert figures["dice"][label] == pytest.approx(2 * len(truth & prediction) / (len(truth) + len(prediction)))
        else:
            assert np.isnan(figures["iou"][label])
        assert np.isnan(figures["precision"][label]) == (not prediction)
        assert np.isnan(figures["recall"][label]) == (not truth)
    if counted:
        right = sum(both[0].ravel()[place] == both[1].ravel()[place] for place in counted)
        assert means["accuracy"] == pytest.approx(right / len(counted))
        assert means["mean_iou"] == pytest.approx(np.mean(shares))
    else:
        assert np.isnan(means["accuracy"])


def test_a_case_worked_by_hand():
    """Truth 0 0 1 1 1 2 and one ignored; predicted 0 1 1 1 nodata 1: class 2 is never found."""
    both = np.array([[0, 0, 1, 1, 1, 2, -1], [0, 1, 1, 1, MISSED, 1, -1]], np.int16)
    sums = overlap_counts(confusion(both, CLASSES))
    figures, means = by_class(sums), over_all(sums)
    assert figures["iou"].tolist() == pytest.approx([1 / 2, 2 / 5, 0])
    assert figures["dice"].tolist() == pytest.approx([2 / 3, 4 / 7, 0])
    assert figures["precision"].tolist() == pytest.approx([1, 2 / 4, np.nan], nan_ok=True)
    assert figures["recall"].tolist() == pytest.approx([1 / 2, 2 / 3, 0])
    assert means["accuracy"] == pytest.approx(3 / 6)
    assert means["mean_precision"] == pytest.approx(0.75), "a class that was never predicted has no precision"


def test_torchmetrics_agrees():
    torch = pytest.importorskip("torch")
    ours = pytest.importorskip("torchmetrics.classification")
    rng = np.random.default_rng(0)
    both = rng.integers(0, 5, (2, 60, 70)).astype(np.int16)
    both[1] = np.where(rng.random(both[1].shape) < 0.6, both[0], both[1])
    both[:, :9] = -1
    sums = overlap_counts(confusion(both, 5))
    figures, means = by_class(sums), over_all(sums)
    truth, prediction = (torch.from_numpy(plane.astype(np.int64)) for plane in both)
    prediction[prediction < 0] = 0
    kinds = {"iou": "MulticlassJaccardIndex", "dice": "MulticlassF1Score", "precision": "MulticlassPrecision"}
    for name, kind in {**kinds, "recall": "MulticlassRecall"}.items():
        theirs = getattr(ours, kind)(5, average="none", ignore_index=-1)
        assert figures[name] == pytest.approx(theirs(prediction, truth).numpy(), rel=1e-6), name
    accuracy = ours.MulticlassAccuracy(5, average="micro", ignore_index=-1)(prediction, truth)
    assert float(means["accuracy"]) == pytest.approx(float(accuracy), rel=1e-6)
    matrix = ours.MulticlassConfusionMatrix(5, ignore_index=-1)(prediction, truth)
    assert np.array_equal(confusion(both, 5)[:, :5], matrix.numpy())


# Boundaries


def boundary_cells(plane, label):
    """Cells of a class with a counted neighbour of another, by the definition."""
    rows, columns = plane.shape
    for row, column in itertools.product(range(rows), range(columns)):
        around = ((row + down, column + right) for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)))
        inside = (plane[place] for place in around if 0 <= place[0] < rows and 0 <= place[1] < columns)
        if plane[row, column] == label and any(other not in (label, -1) for other in inside):
            yield row, column


def within(cell, others, distance):
    return any((cell[0] - row) ** 2 + (cell[1] - column) ** 2 <= distance**2 + 1e-9 for row, column in others)


@given(codes(), st.sampled_from([0, 0.5, 1, 1.5, 2, 2.5, 3, 5, 20]), st.lists(st.integers(0, 20), max_size=6))
def test_boundaries_in_slabs_are_those_of_a_plain_loop_over_the_whole(both, distance, cuts):
    sums = of_slabs(both, cuts, distance)
    for label in range(CLASSES):
        truth, prediction = (list(boundary_cells(plane, label)) for plane in both)
        assert sums["boundary_truth"][label] == len(truth)
        assert sums["boundary_predicted"][label] == len(prediction)
        assert sums["boundary_truth_near"][label] == sum(within(cell, prediction, distance) for cell in truth)
        assert sums["boundary_predicted_near"][label] == sum(within(cell, truth, distance) for cell in prediction)


@settings(max_examples=15)
@given(codes(most=30, classes=19), st.lists(st.integers(0, 30), max_size=4))
def test_more_classes_than_bits_keep_apart(both, cuts):
    sums = of_slabs(both, cuts, 2.0, classes=19)
    for label in range(19):
        alone = np.where(both == label, 0, np.where(both < 0, -1, 1)).astype(np.int16)
        one = boundary_counts(alone, slice(None), 1, 2.0)
        assert {name: values[label] for name, values in sums.items()} == {name: one[name][0] for name in one}


def test_boundary_f1_worked_by_hand():
    """Two halves; predicted 2 columns too far: boundaries of both classes meet within 2 pixels, and not within 1."""
    both = np.zeros((2, 10, 20), np.int16)
    both[0, :, 10:], both[1, :, 12:] = 1, 1
    for distance, f1 in ((2.0, 1.0), (1.99, 0.0)):
        sums = {**overlap_counts(confusion(both, 3)), **boundary_counts(both, slice(None), 3, distance)}
        assert by_class(sums)["boundary_f1"].tolist() == pytest.approx([f1, f1, np.nan], nan_ok=True)
    both[1] = 0
    sums = {**overlap_counts(confusion(both, 3)), **boundary_counts(both, slice(None), 3, 3.0)}
    assert by_class(sums)["boundary_f1"].tolist() == pytest.approx([0, 0, np.nan], nan_ok=True)


@given(codes(), st.integers(1, 5), st.lists(st.integers(0, 20), max_size=6))
def test_each_row_is_given_once_with_its_margin(both, margin, cuts):
    edges = sorted({0, both.shape[1], *(cut % both.shape[1] for cut in cuts)})
    seen = 0
    for held, rows in with_margin((both[:, a:b] for a, b in itertools.pairwise(edges)), margin):
        above, below = min(margin, seen), min(margin, both.shape[1] - seen - (rows.stop - rows.start))
        assert rows.start >= above
        assert held.shape[1] - rows.stop >= below
        assert np.array_equal(held[:, rows], both[:, seen : seen + rows.stop - rows.start])
        seen += rows.stop - rows.start
    assert seen == both.shape[1]


# Surfaces


def grid(shape, spacing=(1.0, 1.0, 1.0), shear=0.0):
    affine = np.diag([*spacing, 1.0])
    affine[0, 1] = shear
    affine[:3, 3] = 17.3, -200.7, 55.1
    return Grid(shape, tuple(tuple(row) for row in affine.tolist()), ("z", "y", "x"))


def blob(shape, seed):
    """A ragged mask with at least one voxel."""
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < rng.choice([0.05, 0.3, 0.8])
    mask[tuple(rng.integers(0, length) for length in shape)] = True
    return mask


def surface_by_loop(mask):
    padded = np.pad(mask, 1)
    for index in np.argwhere(mask):
        steps = (sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (1, -1))
        if not all(padded[tuple(index + 1 + step)] for step in steps):
            yield index


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))


@settings(max_examples=60)
@given(SHAPES, st.integers(0, 10**6), st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 3.0])] * 3), st.integers(0, 15))
def test_surface_distances_are_those_of_a_plain_loop(shape, seed, spacing, shear):
    place = grid(shape, spacing, shear / 10)
    masks = blob(shape, seed), blob(shape, seed + 1)
    world = [np.array([np.array(place.affine)[:3, :3] @ index for index in surface_by_loop(mask)]) for mask in masks]
    apart = np.linalg.norm(world[0][:, None] - world[1][None], axis=2)
    found = distances(*masks, place)
    assert np.sort(found.from_truth) == pytest.approx(np.sort(apart.min(1)))
    assert np.sort(found.from_prediction) == pytest.approx(np.sort(apart.min(0)))
    assert found.hd95 == pytest.approx(max(np.percentile(apart.min(1), 95), np.percentile(apart.min(0), 95)))
    both = np.concatenate([apart.min(1), apart.min(0)])
    assert found.assd == pytest.approx(both.mean(), abs=1e-9)
    assert found.maximum == pytest.approx(both.max(), abs=1e-9)
    near = (apart.min(1) <= 1 + 1e-9).sum() + (apart.min(0) <= 1 + 1e-9).sum()
    assert found.surface_dice(1.0) == pytest.approx(near / sum(apart.shape))


def test_two_single_voxels_are_as_far_apart_as_their_centres():
    one, other = np.zeros((2, 5, 5, 5), bool)
    one[1, 1, 1], other[3, 1, 2] = True, True
    found = distances(one, other, grid((5, 5, 5), (2.5, 0.8, 0.6)))
    assert found.hd95 == pytest.approx(np.hypot(2 * 2.5, 0.6))
    assert found.surface_dice(np.hypot(5.0, 0.6)) == 1
    assert found.surface_dice(5.0) == 0


def test_a_tolerance_of_one_voxel_holds_a_step_of_one_voxel_in_float32():
    one, other = np.zeros((2, 3, 3, 9), bool)
    one[1, 1, 2], other[1, 1, 3] = True, True
    spacing = float(np.float32(0.8))
    assert spacing > 0.8, "headers hold a little more than 0.8 mm"
    assert distances(one, other, grid((3, 3, 9), (1, 1, spacing))).surface_dice(0.8) == 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.6)])
def test_simpleitk_finds_the_same_maximum(spacing):
    z, y, x = np.mgrid[:12, :16, :18]
    truth = (z - 5) ** 2 + (y - 7) ** 2 + (x - 8) ** 2 < 20
    prediction = truth.copy()
    prediction[9:11, 12:14, 2:4] = True
    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (truth, prediction)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    contours = [SimpleITK.LabelContour(image, True) for image in images]
    measure = SimpleITK.HausdorffDistanceImageFilter()
    measure.Execute(*contours)
    assert distances(truth, prediction, grid(truth.shape, spacing)).maximum == pytest.approx(
        measure.GetHausdorffDistance(), rel=1e-6
    )


def test_a_full_mask_has_its_surface_at_the_end_of_the_volume():
    assert len(surface(np.ones((4, 5, 6), bool))) == 4 * 5 * 6 - 2 * 3 * 4


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (0.5, 3.0, 1.25)])
@pytest.mark.filterwarnings("ignore")
def test_monai_agrees(spacing):
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    z, y, x = np.mgrid[:20, :26, :30]
    truth = (z - 9) ** 2 + (y - 12) ** 2 + (x - 14) ** 2 < 60
    prediction = ((z - 10) ** 2 * 1.5 + (y - 13) ** 2 + (x - 12) ** 2 < 55) | ((z < 3) & (y > 22) & (x > 24))
    ours = distances(truth, prediction, grid(truth.shape, spacing))
    one, other = (torch.from_numpy(mask[None, None]).float() for mask in (prediction, truth))
    theirs = monai.compute_hausdorff_distance(one, other, True, percentile=95, spacing=list(spacing))
    assert ours.hd95 == pytest.approx(float(theirs), rel=1e-5)
    theirs = monai.compute_hausdorff_distance(one, other, True, spacing=list(spacing))
    assert ours.maximum == pytest.approx(float(theirs), rel=1e-5)
    theirs = monai.compute_average_surface_distance(one, other, True, symmetric=True, spacing=list(spacing))
    assert ours.assd == pytest.approx(float(theirs), rel=1e-5)
    for tolerance in (0.9, 1.1, 2.6, 4.0):
        theirs = monai.compute_surface_dice(one, other, [tolerance], True, spacing=list(spacing))
        assert ours.surface_dice(tolerance) == pytest.approx(float(theirs), rel=1e-5)


# Bootstrap


def items_of(seeds):
    rng = [np.random.default_rng(seed) for seed in seeds]
    return [overlap_counts(confusion(r.integers(0, CLASSES, (2, 5, 9)).astype(np.int16), CLASSES)) for r in rng]


def test_the_bootstrap_is_that_of_a_plain_loop():
    items = items_of(range(7))
    found = intervals(items, over_all, 200, seed=3)
    weights = np.random.default_rng(3).multinomial(7, [1 / 7] * 7, 200)
    drawn = [
        over_all(add_counts([item for item, times in zip(items, draw, strict=True) for _ in range(times)]))["mean_iou"]
        for draw in weights
    ]
    assert found["mean_iou"] == pytest.approx(np.percentile(drawn, (2.5, 97.5)))
    low, high = found["mean_iou"]
    assert low < over_all(add_counts(items))["mean_iou"] < high


def test_the_interval_of_a_mean_is_that_of_statistics():
    """For the mean of many values, the percentile interval comes to the mean +- 1.96 standard errors."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.7, 0.1, 400)
    items = [{"value": np.array([value]), "count": np.array([1.0])} for value in values]
    (low,), (high,) = intervals(items, lambda sums: {"mean": sums["value"] / sums["count"]}, 4000, 1)["mean"]
    error = values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_the_same_seed_draws_the_same_and_another_does_not():
    items = items_of(range(5))
    one, same, other = (intervals(items, by_class, 50, seed)["iou"] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_one_item_and_a_class_of_none_have_no_interval():
    assert np.isnan(intervals(items_of([0]), by_class, 50, 0)["iou"]).all()
    absent = [overlap_counts(confusion(np.zeros((2, 3, 3), np.int16), CLASSES)) for _ in range(4)]
    assert np.isnan(intervals(absent, by_class, 50, 0)["iou"]).tolist() == [[False, True, True]] * 2


def test_draws_without_a_class_are_left_out_of_its_interval():
    both = np.zeros((4, 2, 1, 4), np.int16)
    both[0, :, 0, 0], both[0, 1, 0, 1] = 1, 1
    items = [overlap_counts(confusion(item, CLASSES)) for item in both]
    assert intervals(items, by_class, 300, 0)["iou"][:, 1].tolist() == [0.5, 0.5]
