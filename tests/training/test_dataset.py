"""What a training learns from: patches whose labels lie where their image lies, drawn by number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError, RequestError
from pipeline.models.inference.fit import Scaling
from pipeline.sources.appearance import MEASURES
from pipeline.training.class_counts import count_classes
from pipeline.training.config import Augmentation
from pipeline.training.dataset import TrainingPatches, ValidationPatches, cells_per_pixel, close_all
from pipeline.training.dataset_statistics import collect_statistics, domain_of, items_of, normalization_of, scaling_of
from pipeline.training.intensity import apply_intensity, draw_intensity, draw_spatial
from pipeline.training.items import Item, find_items, open_pair
from pipeline.training.patch import IGNORE, SpatialAugmentation, extract_patch, source_size
from tests.support.fakes import ArraySource
from tests.support.inputs import PLACE, put_scene
from tests.support.rasters import put
from tests.support.trainings import CLASSES, SCENES, STILL, VOLUMES, put_scenes, put_volumes, truth

SHAPES = [(96, 80), (64, 144), (80, 80)]
"""Of the scenes."""
UNIT = Scaling((0.0,), (1.0,))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return put_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return put_volumes(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_all()


def samples_of(training, folder, numbers=range(50)):
    gathered = collect_statistics(training, find_items(training.data, folder))
    normalization = normalization_of(training, gathered)
    return TrainingPatches(training, gathered, normalization, numbers), ValidationPatches(
        training, gathered, normalization
    )


poses = st.builds(
    SpatialAugmentation,
    zoom=st.tuples(st.floats(0.4, 2.5), st.floats(0.4, 2.5)),
    rotation=st.floats(-45, 45) | st.just(0.0),
    flips=st.tuples(st.booleans(), st.booleans()),
    turns=st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(poses, st.tuples(st.integers(8, 40), st.integers(8, 40)), st.integers(0, 60), st.integers(0, 60))
def test_labels_lie_where_the_image_lies_after_any_change_of_place(pose, patch, row, column):
    """Each class has a value of its own: where the image shows one, away from edges, the label must be its class."""
    labels = np.kron(np.random.default_rng(0).integers(0, 5, (8, 8)), np.ones((16, 16), int))[None]
    values = np.array([0, 2**0.5, 3**0.5, 7**0.5, 11**0.5], np.float32)
    sample = extract_patch(ArraySource(values[labels]), ArraySource(labels), (row, column), patch, pose, UNIT)
    assert sample.image.shape == (1, *patch)
    assert sample.labels.shape == patch
    distance, nearest = (sample.image[0][..., None] - torch.from_numpy(values)).abs().min(-1)
    seen = (distance < 1e-5) & (sample.labels != IGNORE)
    assert (nearest == sample.labels)[seen].all()
    if max(pose.zoom) < 1.5 and min(patch) >= 16:
        assert seen.float().mean() > 0.2


def test_the_pose_of_nothing_is_the_source_itself():
    values = np.random.default_rng(0).normal(size=(2, 40, 50)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, (1, 40, 50))
    sample = extract_patch(
        ArraySource(values),
        ArraySource(labels),
        (7, 9),
        (16, 20),
        SpatialAugmentation(),
        Scaling((0.0,) * 2, (1.0,) * 2),
    )
    assert np.array_equal(sample.image.numpy(), values[:, 7:23, 9:29])
    assert np.array_equal(sample.labels.numpy(), labels[0, 7:23, 9:29])


@given(st.tuples(st.booleans(), st.booleans()), st.integers(0, 3))
def test_right_angles_and_mirrors_are_exact(flips, turns):
    labels = np.arange(20 * 30).reshape(1, 20, 30)
    patch = (8, 12) if turns % 2 == 0 else (12, 8)
    sample = extract_patch(
        ArraySource(labels.astype(np.float32)),
        ArraySource(labels),
        (3, 5),
        patch,
        SpatialAugmentation((1, 1), 0.0, flips, turns),
        UNIT,
    )
    inside = labels[0, 3:11, 5:17]
    inside = np.flip(inside, [axis for axis in (0, 1) if flips[axis]])
    assert np.array_equal(sample.labels.numpy(), np.rot90(inside, turns))
    assert np.array_equal(sample.image[0].numpy(), np.rot90(inside, turns))


def test_a_rotation_turns_anticlockwise_about_the_middle():
    labels = np.zeros((1, 41, 41), int)
    labels[0, 20, 30] = 1
    pose = SpatialAugmentation(rotation=90.0)
    start = tuple(20 - side // 2 for side in source_size((41, 41), pose))
    sample = extract_patch(ArraySource(labels.astype(np.float32)), ArraySource(labels), start, (41, 41), pose, UNIT)
    (place,) = sample.labels.nonzero().tolist()
    assert place == [10, 20]


def test_what_was_not_observed_is_not_learned(scenes):
    labels = truth((96, 80), 0)
    values, valid = np.ones((1, 96, 80), np.float32), np.ones((96, 80), bool)
    valid[40:50] = False
    sample = extract_patch(
        ArraySource(values, valid),
        ArraySource(labels[None]),
        (0, 0),
        (96, 80),
        SpatialAugmentation(),
        UNIT,
        ignore=(255,),
    )
    expected = np.where(labels == 255, IGNORE, labels.astype(int))
    expected[40:50] = IGNORE
    assert np.array_equal(sample.labels.numpy(), expected)
    assert (sample.image[0, 40:50] == 0).all()


def test_a_number_is_a_sample_in_any_order_and_range(scenes):
    one, _ = samples_of(SCENES, scenes, range(20))
    other, _ = samples_of(SCENES, scenes, range(10, 20))
    for index in (9, 0, 5):
        assert torch.equal(one[10 + index].image, other[index].image)
        assert torch.equal(one[10 + index].labels, other[index].labels)
    another, _ = samples_of(replace(SCENES, seed=1), scenes, range(20))
    assert not torch.equal(one[0].image, another[0].image)


def test_a_rare_class_is_drawn_as_often_as_the_others(scenes):
    always = replace(SCENES, samples=replace(SCENES.samples, balanced=1.0, patch=(8, 8)), augmentation=STILL)
    never = replace(always, samples=replace(always.samples, balanced=0.0))
    often, seldom = (
        np.mean([bool((samples[i].labels == 2).any()) for i in range(200)])
        for samples, _ in (samples_of(t, scenes, range(200)) for t in (always, never))
    )
    assert often > 0.3 > 0.1 > seldom


def test_patches_of_one_class_are_drawn_again(scenes):
    how = replace(SCENES.samples, balanced=0.0, patch=(16, 16))
    alone, mixed = (
        np.mean([_purest(samples[i]) > 0.75 for i in range(100)])
        for samples, _ in (
            samples_of(replace(SCENES, samples=replace(how, most_of_one=most), augmentation=STILL), scenes, range(100))
            for most in (1.0, 0.75)
        )
    )
    assert alone > 0.2
    assert mixed < alone / 4


def _purest(sample):
    learned = sample.labels[sample.labels != IGNORE]
    return float(learned.bincount().max()) / len(learned)


def test_checks_are_what_the_network_sees_when_it_runs(scenes):
    _, checks = samples_of(SCENES, scenes)
    labels = truth((80, 80), 2)
    assert len(checks) == 9
    assert np.array_equal(checks[0].labels.numpy(), np.where(labels == 255, IGNORE, labels.astype(int))[:32, :32])
    _, few = samples_of(replace(SCENES, schedule=replace(SCENES.schedule, checks=3)), scenes)
    assert len(few) == 3


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_scenes_are_seen_enlarged_by_the_zoom(scenes, zoom):
    zoomed = replace(SCENES, augmentation=STILL, samples=replace(SCENES.samples, zoom=zoom))
    _, checks = samples_of(zoomed, scenes)
    image, labels = checks[0].image.shape[1:], truth((80, 80), 2)
    side = round(32 / zoom)
    seen = checks[0].labels.numpy()
    assert image == seen.shape == (32, 32)
    apart = side // 2
    middle = round(apart * zoom)
    assert seen[middle, middle] == labels[apart, apart]
    expected = np.where(labels == 255, IGNORE, labels.astype(int))[:side, :side]
    places = ((np.arange(32) + 0.5) / zoom).astype(int)
    assert np.mean(seen == expected[np.ix_(places, places)]) > 0.95


def test_volumes_are_sliced_in_every_view_at_the_models_spacing(volumes):
    training = replace(VOLUMES, augmentation=STILL, samples=replace(VOLUMES.samples, balanced=1.0))
    samples, checks = samples_of(training, volumes)
    for sample in (samples[0], checks[0]):
        assert sample.image.shape == (3, 24, 24)
        assert sample.labels.shape == (24, 24)
    shares = [float((samples[i].labels > 0).float().mean()) for i in range(30)]
    assert min(shares) < max(shares)
    agreeing = [_brightness_tells_class(samples[i]) for i in range(30)]
    assert np.mean(agreeing) > 0.9


def _brightness_tells_class(sample):
    """The middle slice is brighter where the label is higher."""
    middle, labels = sample.image[1], sample.labels
    return not (labels == 1).any() or middle[labels == 1].mean() > middle[labels == 0].mean() + 0.5


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_the_sides_of_the_body_are_swapped_in_every_view(volumes, view):
    still = replace(VOLUMES, augmentation=STILL, samples=replace(VOLUMES.samples, views=(view,), balanced=0.0))
    mirrored = replace(still, augmentation=replace(STILL, flips=("sides",)))
    plain, swapped = (samples_of(training, volumes, range(40))[0] for training in (still, mirrored))
    pairs = [(plain[i], swapped[i]) for i in range(40)]
    same = sum(torch.equal(a.image, b.image) for a, b in pairs)
    axes = (0,) if view == "sagittal" else (-1,)
    turned = sum(torch.allclose(a.image.flip(axes), b.image, atol=1e-5) for a, b in pairs)
    assert same + turned >= 40
    assert same >= 8
    assert turned >= 8


def test_normalization_is_that_of_all_training_images(scenes):
    gathered = collect_statistics(SCENES, find_items(SCENES.data, scenes))
    normalization = normalization_of(SCENES, gathered)
    values = np.concatenate(
        [open_pair(found.item, None)[0].read(_whole(found)).values.reshape(2, -1) for found in gathered[:2]], 1
    )
    np.testing.assert_allclose(normalization.mean, values.mean(1), rtol=1e-5)
    np.testing.assert_allclose(normalization.std, values.std(1), rtol=1e-5)


def _whole(found):
    from pipeline.geometry import Box

    return Box.whole(found.grid.shape)


def test_each_volume_is_scaled_by_itself(volumes):
    gathered = collect_statistics(VOLUMES, find_items(VOLUMES.data, volumes))
    normalization = normalization_of(VOLUMES, gathered)
    one, two = (scaling_of(normalization, found) for found in gathered)
    assert two.mean[0] == pytest.approx(2 * one.mean[0], rel=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 100), st.integers(1, 200), st.integers(0, 10))
def test_a_census_counts_every_cell_once(rows, columns, seed):
    labels = np.random.default_rng(seed).integers(0, 4, (1, rows, columns)).astype(np.uint8)
    census = count_classes(Item("a.tif", "b.tif", "train"), ArraySource(labels), 3, (3,))
    assert census.totals.tolist() == [int((labels == label).sum()) for label in range(3)]
    rng = np.random.default_rng(seed)
    for label in np.flatnonzero(census.totals):
        box = census.draw(rng, int(label))
        assert (labels[0][box.slices] == label).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_changes_of_value_keep_shape_and_are_drawn_by_number(seed, channels):
    how = Augmentation(gamma=0.3, blur=0.5)
    image = torch.randn(channels * 3, 12, 10, generator=torch.Generator().manual_seed(0))
    one, two = (apply_intensity(image, draw_intensity(np.random.default_rng(seed), how, channels)) for _ in range(2))
    assert one.shape == image.shape
    assert one.isfinite().all()
    assert torch.equal(one, two)
    assert torch.equal(
        apply_intensity(image, draw_intensity(np.random.default_rng(seed), STILL, channels)), image
    ) or torch.allclose(
        apply_intensity(image, draw_intensity(np.random.default_rng(seed), STILL, channels)), image, atol=1e-5
    )


@given(st.integers(0, 2**32))
def test_poses_stay_in_their_range(seed):
    how = Augmentation(scale=(0.5, 2.0), rotation=10.0)
    pose = draw_spatial(np.random.default_rng(seed), how, (2.0, 3.0), square=False)
    assert 1.0 <= pose.zoom[0] <= 4.0
    assert pose.zoom[1] / pose.zoom[0] == pytest.approx(1.5)
    assert abs(pose.rotation) <= 10
    assert pose.turns in (0, 2)


def test_bad_pairs_are_named_before_the_first_step(scenes, tmp_path):
    labels = truth((80, 80), 2)
    put_scene(tmp_path / "scene0.tif", np.ones((2, 80, 80), np.uint8))
    cases = {
        "does not exist": None,
        "their shapes differ, \\(80, 80\\) and \\(40, 80\\)": labels[None, :40],
        "have the values \\[7\\], but the classes are 0 to 2": np.where(labels == 2, 7, labels)[None],
        "must be one channel": np.stack([labels, labels]),
        "must be whole numbers, got": labels[None] * np.float32(0.5),
        "rare: not in any training item": np.where(labels == 2, 0, labels)[None],
    }
    training = replace(SCENES, data=replace(SCENES.data, ignore=(255, 127)))
    for words, values in cases.items():
        if values is not None:
            (tmp_path / "scene0_label.tif").unlink(missing_ok=True)
            put_scene(tmp_path / "scene0_label.tif", values)
        with pytest.raises((InputError, RequestError), match=words) as raised:
            collect_statistics(training, find_items(training.data, tmp_path))
        assert "scene0" in str(raised.value) or "rare" in words


def test_labels_that_lie_elsewhere_are_refused(scenes, tmp_path):
    put_scene(tmp_path / "scene0.tif", np.ones((2, 80, 80), np.uint8))
    put_scene(tmp_path / "scene0_label.tif", truth((80, 80), 2)[None], transform=PLACE @ Affine.translation(0.5, 0))
    with pytest.raises(InputError, match="cells are in different places"):
        collect_statistics(SCENES, find_items(SCENES.data, tmp_path))


def test_channels_have_to_be_those_of_the_training(scenes):
    training = replace(SCENES, channels=("red", "green", "blue"))
    with pytest.raises(InputError, match=r"has 2 channels, but the training has 3 \(red, green, blue\)"):
        collect_statistics(training, find_items(training.data, scenes))
    assert len(CLASSES) == 3


def test_a_table_tells_pairs_and_splits(scenes):
    table = scenes / "pairs.csv"
    table.write_text(
        "image,label,split\nscene0.tif,scene0_label.tif,train\nscene1.tif,scene1_label.tif,test\n"
        "scene2.tif,scene2_label.tif,validation\n"
    )
    items = find_items(replace(SCENES.data, images=None, labels=None, table="pairs.csv"), scenes)
    assert [(item.stem, item.part) for item in items] == [("scene0", "train"), ("scene2", "validation")]
    table.write_text("picture,label\na,b\n")
    with pytest.raises(RequestError, match="line 2: needs the columns image and label, has picture, label"):
        find_items(replace(SCENES.data, table="pairs.csv"), scenes)


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def domain(training, folder):
    return domain_of(training, collect_statistics(training, find_items(training.data, folder)))


def test_the_domain_of_scenes_is_their_values_and_the_pixels_that_the_augmentation_makes(scenes):
    found = domain(SCENES, scenes)
    for channel, (low, high) in enumerate(found.values):
        values = [read(scenes / f"scene{index}.tif")[channel] for index in (0, 1)]
        assert (low, high) == (min(map(np.min, values)), max(map(np.max, values))), "of what is trained on alone"
    side = np.sqrt(np.hypot(0.5, 0.02) * np.hypot(0.01, 0.5))
    assert found.ground_resolution == pytest.approx((side / 2, side * 2), rel=1e-4)
    with_spacing = replace(SCENES, samples=replace(SCENES.samples, spacing=(0.25, 0.25)))
    assert domain(with_spacing, scenes).ground_resolution == pytest.approx((side, side), rel=1e-4)
    own = replace(SCENES, samples=replace(SCENES.samples, normalization="percentile", low=(1, 1), high=(99, 99)))
    assert domain(own, scenes).values == ()


def items_in(training, folder):
    return items_of(training, collect_statistics(training, find_items(training.data, folder)))


def test_a_card_tells_how_much_was_learned_from_and_where(scenes, tmp_path):
    counts = np.bincount(np.concatenate([truth(shape, index).ravel() for index, shape in enumerate(SHAPES[:2])]))[:3]
    found = items_in(SCENES, scenes)
    assert (found["train"]["count"], found["train"]["cells"]) == (2, 96 * 80 + 64 * 144)
    assert list(found["train"]["classes"]) == ["dark", "bright", "rare"]
    assert list(found["train"]["classes"].values()) == pytest.approx(counts / counts.sum(), abs=1e-4)
    assert (found["validation"]["count"], "unlabeled" in found) == (1, False)
    for index, (shape, west) in enumerate(zip(SHAPES, (-70.04, 20.0, 20.02), strict=True)):
        where = {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, west, 0, -1e-4, -33.5)}
        put(tmp_path / f"scene{index}.tif", np.full((2, *shape), 9, np.uint8), **where)
        put(tmp_path / f"scene{index}_label.tif", truth(shape, index)[None], **where)
    everywhere = replace(SCENES, data=replace(SCENES.data, validation=()))
    assert items_in(everywhere, tmp_path)["train"]["places"] == [[-70.0, -33.5], [20.0, -33.5]]


def test_the_domain_of_volumes_is_along_the_axes_of_the_body(volumes):
    one = replace(VOLUMES, data=replace(VOLUMES.data, validation=()))
    found = domain(one, volumes)
    assert found.values == (), "each volume is scaled by itself"
    assert found.spacing == ((1, 1), (1, 1), (1, 2))
    assert found.field_of_view == ((30, 30), (26, 26), (12, 24))


def test_a_spacing_is_meters_on_the_ground_whatever_the_units_of_the_system(tmp_path):
    training = replace(SCENES, samples=replace(SCENES.samples, spacing=(0.6096, 0.6096)))
    feet = Affine(1, 0, 980_000, 0, -1, 200_000)
    for folder, place in (
        ("feet", {"crs": "EPSG:2263", "transform": feet}),
        ("none", {"crs": None, "transform": None}),
    ):
        (tmp_path / folder).mkdir()
        put_scenes(tmp_path / folder)
        for path in (tmp_path / folder).glob("*.tif"):
            put_scene(path, read(path), **place)
    entry = collect_statistics(training, find_items(training.data, tmp_path / "feet"))[0]
    assert cells_per_pixel(training, entry, entry.grid) == pytest.approx((2, 2), rel=1e-5)
    with pytest.raises(InputError, match=r"scene0\.tif: the size of its pixels on the ground is unknown"):
        collect_statistics(training, find_items(training.data, tmp_path / "none"))


def test_the_domain_knows_what_values_look_like(scenes, volumes):
    known = domain(SCENES, scenes).appearance
    assert [len(getattr(known, name)) for name in MEASURES] == [2] * 5
    assert known.usual > 0
    assert known.level[0][0] == pytest.approx(95, abs=25)
    assert domain(VOLUMES, volumes).appearance.level == (), "each volume is scaled by itself"
    assert domain(VOLUMES, volumes).appearance.agreement == ()
