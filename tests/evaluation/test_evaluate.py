"""Files of predictions against files of truth: what counts, what is refused, and what is told."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from pipeline import evaluate
from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import InputError, RequestError
from pipeline.evaluation.compare import counts_of_scene, counts_of_volume, evaluate_pairs
from pipeline.evaluation.labels import SLAB_CELLS, ClassIndex
from pipeline.evaluation.pairs import OpenPair, Pair, UnpredictedPair, find_pairs, read_table
from pipeline.evaluation.pictures import _failure_panels, find_failures
from pipeline.evaluation.request import Measures
from pipeline.evaluation.result import ranked
from pipeline.io.lettering import HEIGHT, legend, line
from pipeline.io.mask_files import Mask, publish
from pipeline.io.opening import open_source
from pipeline.masks.export import export
from pipeline.models.card import read_card
from pipeline.models.catalogue import CARD
from tests.support.fakes import ArraySource
from tests.support.inputs import pixels, put_scene, put_volume
from tests.support.observers import Callbacks

CLASSES = tuple(LabelClass(value, name, (value * 40, 90, 200)) for value, name in enumerate(("land", "road", "water")))
SPACING = np.diag([0.75, 1.25, 2.5, 1.0])


def blots(shape, seed, classes=3):
    return (pixels((1, *shape), seed)[0] // (256 // classes + 1)).astype(np.uint8)


def grid_at(path):
    with contextlib.closing(open_source(path)) as source:
        return source.grid


def put_mask(path, values, grid, nodata=255):
    """A mask with the table of classes, as a run writes it."""
    publish(Mask(ArraySource(values[None]), grid, nodata, CLASSES, {}), path)
    return path


def put_pair(folder, truth, prediction, name="a", **profile):
    """A truth without a class table, and a mask on its grid."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    put_scene(folder / "labels" / f"{name}_label.tif", truth[None], **profile)
    grid = grid_at(folder / "labels" / f"{name}_label.tif")
    mask = put_mask(folder / "masks" / f"{name}_mask.tif", prediction, grid)
    return mask, folder / "labels" / f"{name}_label.tif"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Three scenes, from good to bad, with holes in truth and prediction."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for number, share in enumerate((0.05, 0.2, 0.5)):
        truth = blots((150, 130), number)
        prediction = np.where(rng.random(truth.shape) < share, blots(truth.shape, 9), truth)
        prediction[100:, :20] = 255
        truth[:20, 30:] = 7
        truth[40:50] = 99
        put_pair(folder, truth, prediction, f"s{number}", nodata=99)
    return folder


# What counts


def test_the_matrix_is_that_of_the_two_arrays(scenes):
    mask, truth = scenes / "masks/s1_mask.tif", scenes / "labels/s1_label.tif"
    found = evaluate([(mask, truth)], ignore=(7,))
    with rasterio.open(mask) as one, rasterio.open(truth) as other:
        prediction, truth = one.read(1), other.read(1)
    expected = [[int(((truth == row) & (prediction == column)).sum()) for column in (0, 1, 2, 255)] for row in range(3)]
    assert np.array(found.overall.confusion).tolist() == expected
    (item,) = found.items
    assert (item.cells, item.counted) == (150 * 130, int(np.isin(truth, (0, 1, 2)).sum()))
    assert item.missed == int(((prediction == 255) & np.isin(truth, (0, 1, 2))).sum()) > 0
    road = found.overall.classes[1]
    inside = np.isin(truth, (0, 1, 2))
    union = ((truth == 1) | (prediction == 1)) & inside
    assert road.figures["iou"].value == pytest.approx(((truth == 1) & (prediction == 1)).sum() / union.sum())
    assert road.figures["recall"].value == pytest.approx(((truth == 1) & (prediction == 1)).sum() / (truth == 1).sum())
    assert (road.name, road.items, road.one_sided) == ("road", 1, 0)
    assert road.figures["iou"].low is None, "one item has no interval"


def test_a_store_and_a_geotiff_of_the_same_mask_score_the_same(scenes, tmp_path):
    mask, truth = scenes / "masks/s1_mask.tif", scenes / "labels/s1_label.tif"
    export(mask, tmp_path / "s1_mask.zarr")
    one, other = (evaluate([(path, truth)], ignore=(7,)) for path in (mask, tmp_path / "s1_mask.zarr"))
    assert one.overall == other.overall


def test_several_items_are_pooled_and_have_intervals(scenes):
    pairs = find_pairs([str(scenes / "masks")], str(scenes / "labels/{stem}_label.tif"))
    found = evaluate_pairs(pairs, Measures(ignore=(7,)))
    alone = [evaluate_pairs([pair], Measures(ignore=(7,))).overall for pair in pairs]
    assert np.array_equal(found.overall.confusion, np.sum([one.confusion for one in alone], axis=0))
    assert [item.figures["mean_iou"] for item in found.items] == [one.figures["mean_iou"].value for one in alone]
    estimate = found.overall.figures["mean_iou"]
    assert alone[2].figures["mean_iou"].value <= estimate.low < estimate.value < estimate.high
    assert estimate.high <= alone[0].figures["mean_iou"].value
    assert [Path(item.prediction).name[:2] for item in ranked(found)] == ["s0", "s1", "s2"]


def test_an_ignored_class_is_no_class(tmp_path):
    truth = np.array([[0, 0, 1, 1, 2, 2]], np.uint8)
    pair = put_pair(tmp_path, truth, np.array([[0, 1, 0, 1, 2, 1]], np.uint8))
    found = evaluate([pair], ignore=(0,))
    assert [entry.name for entry in found.overall.classes] == ["road", "water"]
    assert found.overall.confusion == ((1, 0, 1), (1, 1, 0)), "what is predicted as the ignored class is missed"
    assert found.overall.figures["mean_iou"].value == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_a_class_that_nobody_has_is_absent_and_in_no_mean(tmp_path):
    both = np.array([[0, 0, 1, 1]], np.uint8)
    found = evaluate([put_pair(tmp_path, both, both)])
    water = found.overall.classes[2]
    assert (water.name, water.items, water.figures["iou"].value) == ("water", 0, None)
    assert found.overall.figures["mean_iou"].value == 1


def test_labels_without_a_class_table_are_named_by_their_values(tmp_path):
    truth = put_scene(tmp_path / "truth.tif", np.array([[[4, 4, 9, 30]]], np.uint16))
    mask = put_scene(tmp_path / "mask.tif", np.array([[[4, 9, 9, 60000]]], np.uint16))
    found = evaluate([(mask, truth)])
    assert [entry.name for entry in found.overall.classes] == ["class 4", "class 9", "class 30", "class 60000"]
    assert found.overall.figures["accuracy"].value == 0.5


def test_scenes_are_held_by_slabs_only():
    """Each row is read once, and twice the rows take no more memory."""
    row = np.tile(np.repeat(np.arange(3, dtype=np.uint8), 9), 40)[None, None]
    peaks = []
    for rows in (600, 1200):
        values = np.broadcast_to(row, (1, rows, row.shape[-1]))
        files = OpenPair(
            Pair("prediction", "truth"), *(ArraySource(values, block=(7, 64)) for _ in range(2)), (None, None)
        )
        tracemalloc.start()
        matrix, sums = counts_of_scene(files, ClassIndex(CLASSES, ()), Measures(), cells=2**16)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert matrix.sum() == values.size
        assert sums["boundary_truth"].sum() == rows * 2 * (row.size // 9 - 1)
        for source in (files.prediction, files.truth):
            assert [box.start[0] for box in source.reads] == list(range(0, rows, 56)), "whole blocks, each once"
    assert peaks[1] < 1.02 * peaks[0]


# Volumes


def volume(folder, truth, prediction, name="v", **mask):
    """Labels `(i, j, k)` of voxels of 0.75 x 1.25 x 2.5 mm."""
    path = put_volume(folder / f"{name}_label.nii.gz", truth, SPACING)
    return put_mask(folder / f"{name}_mask.nii.gz", prediction.T.copy(), grid_at(path), **mask), path


def cubes(*starts, size=4, shape=(16, 16, 16)):
    """A volume of cubes of class 1, 2 and so on."""
    values = np.zeros(shape, np.uint8)
    for label, start in enumerate(starts, 1):
        if start is not None:
            values[tuple(slice(a, a + size) for a in start)] = label
    return values


def test_a_case_worked_by_hand(tmp_path):
    """A cube that is found one slice (2.5 mm) too far: three of four slices agree."""
    pair = volume(tmp_path, cubes((2, 2, 2)), cubes((2, 2, 3)))
    (item,) = evaluate([pair], tolerance=1.0).items
    figures = item.classes[1].figures
    assert figures["case_dice"] == pytest.approx(2 * 48 / 128)
    assert figures["hd95_mm"] == pytest.approx(2.5)
    assert figures["volume_error"] == 0
    assert figures["truth_mm3"] == pytest.approx(64 * 0.75 * 1.25 * 2.5)
    # Each cube has a shell of 56 voxels. Those of the slice outside of the other cube (16) lie 2.5 mm off; of the slice
    # at the other end, the 4 in the middle lie 0.75 mm off, for there the other cube has its inside.
    assert figures["surface_dice"] == pytest.approx((56 - 16) / 56)
    assert figures["maximum_distance_mm"] == pytest.approx(2.5)
    assert figures["assd_mm"] == pytest.approx((2 * 16 * 2.5 + 2 * 4 * 0.75) / (2 * 56))
    assert evaluate([pair], tolerance=2.5).items[0].classes[1].figures["surface_dice"] == 1
    assert item.figures["mean_case_dice"] == figures["case_dice"], "the background counts in no mean of cases"
    assert item.classes[0].figures["case_dice"] is None
    assert item.classes[2].figures["case_dice"] is None, "nobody has water"


@pytest.mark.parametrize(("names", "background"), [("ab", 0), (("a", "Background"), 1), (("background", "b"), 0)])
def test_the_background_is_the_class_of_that_name_or_0(names, background):
    values = cubes((2, 2, 2))[None]
    files = OpenPair(Pair("prediction", "truth"), *(ArraySource(values) for _ in range(2)), (None, None))
    classes = tuple(LabelClass(value, name, (0, 0, 0)) for value, name in enumerate(names))
    _, sums = counts_of_volume(files, ClassIndex(classes, ()), Measures())
    assert sums["case_dice"].tolist() == [float(value != background) for value in range(2)]


def test_a_class_in_one_of_both_only_has_no_distance_and_is_counted(tmp_path):
    found = evaluate(
        [
            volume(tmp_path, cubes((2, 2, 2), (9, 9, 9)), cubes((2, 2, 2)), "a"),
            volume(tmp_path, cubes((2, 2, 2)), cubes((2, 2, 2), (9, 9, 9)), "b"),
            volume(tmp_path, cubes((2, 2, 2), (9, 9, 9)), cubes((2, 2, 2), (9, 9, 9)), "c"),
            volume(tmp_path, cubes((2, 2, 2)), cubes((2, 2, 2)), "d"),
        ]
    )
    water = found.overall.classes[2]
    assert (water.items, water.one_sided) == (3, 2)
    assert water.figures["case_dice"].value == pytest.approx(1 / 3), (
        "0, 0 and 1; where nobody has it, it does not count"
    )
    assert water.figures["surface_dice"].value == pytest.approx(1 / 3)
    assert [water.figures[name].value for name in ("hd95_mm", "assd_mm", "maximum_distance_mm")] == [0, 0, 0], (
        "of the one case that has it in both"
    )
    assert water.figures["volume_error"].value == pytest.approx(-1 / 2), "-1 and 0; where the truth has none, undefined"
    assert [item.classes[2].figures["hd95_mm"] for item in found.items] == [None, None, 0, None]
    assert [item.classes[2].figures["volume_error"] for item in found.items] == [-1, None, 0, None]


def test_nodata_of_a_nifti_mask_stands_beside_it(tmp_path):
    prediction = cubes((2, 2, 2))
    prediction[2:4] = 255
    found = evaluate([volume(tmp_path, cubes((2, 2, 2)), prediction)])
    assert found.overall.missed == 2 * 16 * 16
    assert found.overall.classes[1].figures["case_dice"].value == pytest.approx(2 * 32 / 96)


def test_labels_may_be_stored_as_real_numbers_if_they_are_whole(tmp_path):
    one = put_volume(tmp_path / "a.nii", cubes((2, 2, 2)).astype(np.float32), SPACING)
    other = put_volume(tmp_path / "b.nii", cubes((2, 2, 2)), SPACING)
    assert evaluate([(other, one)]).overall.figures["accuracy"].value == 1
    mask, _ = volume(tmp_path, cubes((2, 2, 2)), cubes((2, 2, 2)))
    half = put_volume(tmp_path / "half.nii", cubes((2, 2, 2)) * np.float32(0.5), SPACING)
    with pytest.raises(InputError, match=r"v_mask.nii.gz against .*half.nii: the truth has the values \[0.5\]"):
        evaluate([(mask, half)])


# What is refused


def test_grids_that_differ_are_refused_with_the_pair(tmp_path):
    values = cubes((2, 2, 2))
    mask, _ = volume(tmp_path, values, values)
    flipped = SPACING.copy()
    flipped[0, 0], flipped[0, 3] = -0.75, 0.75 * 15
    turned = put_volume(tmp_path / "turned.nii", values[::-1].copy(), flipped)
    with pytest.raises(InputError) as caught:
        evaluate([(mask, turned)])
    said = str(caught.value)
    assert f"{mask} against {turned}: " in said
    assert "[0.0, 0.0, 0.75]" in said
    assert "[0.0, 0.0, -0.75]" in said
    cut = put_volume(tmp_path / "cut.nii", values[:-1], SPACING)
    with pytest.raises(InputError, match=r"against .*cut.nii: .*\(16, 16, 16\) and \(16, 16, 15\)"):
        evaluate([(mask, cut)])


def test_rounding_of_a_header_is_no_other_grid(tmp_path):
    values = cubes((2, 2, 2))
    mask, _ = volume(tmp_path, values, values)
    assert evaluate([(mask, put_volume(tmp_path / "near.nii", values, SPACING * (1 + 1e-6)))])
    moved = SPACING.copy()
    moved[0, 3] = 0.375
    with pytest.raises(InputError, match="cells are in different places"):
        evaluate([(mask, put_volume(tmp_path / "half.nii", values, moved))])


def test_labels_of_no_class_are_refused_with_the_pair_and_the_way_out(tmp_path):
    mask, truth = put_pair(tmp_path, np.array([[0, 1, 7, 8]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8))
    with pytest.raises(
        InputError, match=r"a_mask.tif against .*a_label.tif: the truth has the values \[7, 8\].*--ignore"
    ):
        evaluate([(mask, truth)])
    assert evaluate([(mask, truth)], ignore=(7, 8, -100)).overall.counted == 2
    mask, truth = put_pair(tmp_path, np.array([[0, 1, 1]], np.uint8), np.array([[0, 9, 1]], np.uint8), "b")
    with pytest.raises(InputError, match=r"the prediction has the values \[9\]"):
        evaluate([(mask, truth)])


def test_values_below_0_and_beyond_the_largest_are_strangers(tmp_path):
    for value in (-1, 70000):
        truth = np.array([[0, value, 1]], np.int32)
        mask, path = put_pair(tmp_path, truth, np.array([[0, 1, 1]], np.uint8), f"v{value}")
        with pytest.raises(InputError, match=rf"values \[{value}\]"):
            evaluate([(mask, path)])
        with pytest.raises(RequestError, match="from 0 to 65535"):
            evaluate([(path, path)])


def test_files_that_are_missing_or_no_labels_are_named_with_their_pair(tmp_path):
    both = np.array([[0, 1]], np.uint8)
    mask, truth = put_pair(tmp_path, both, both)
    with pytest.raises(InputError, match=r"a_mask.tif against .*none.tif: cannot read the truth: .*no such file"):
        evaluate([(mask, truth), (mask, tmp_path / "none.tif")])
    with pytest.raises(InputError, match=r"none.tif against .*cannot read the prediction"):
        evaluate([(tmp_path / "none.tif", truth)])
    image = put_scene(tmp_path / "image.tif", pixels((3, 1, 2)))
    with pytest.raises(InputError, match=r"the truth has 3 channels"):
        evaluate([(mask, image)])


def test_what_cannot_be_one_evaluation_is_refused(tmp_path):
    both = np.array([[0, 1]], np.uint8)
    scene, solid = put_pair(tmp_path, both, both), volume(tmp_path, cubes((2, 2, 2)), cubes((2, 2, 2)))
    with pytest.raises(RequestError, match="one is a scene, one a volume"):
        evaluate([scene, solid])
    with pytest.raises(RequestError, match="nothing to evaluate"):
        evaluate([])
    with pytest.raises(RequestError, match="no class is left"):
        evaluate([scene], ignore=(0, 1, 2))
    empty = put_pair(tmp_path, np.full((1, 2), 200, np.uint8), both, "empty", nodata=200)
    with pytest.raises(RequestError, match="no cell has a truth that counts"):
        evaluate([empty])
    names = (LabelClass(0, "sea", (0, 0, 0)), LabelClass(1, "road", (0, 0, 0)))
    other = tmp_path / "other_mask.tif"
    publish(Mask(ArraySource(both[None]), grid_at(scene[1]), 255, names, {}), other)
    with pytest.raises(RequestError, match=r"class 0 is 'land' in .*a_mask.tif and 'sea' in .*other_mask.tif"):
        evaluate([scene, (other, scene[1])])
    noise = put_scene(tmp_path / "noise.tif", np.arange(600, dtype=np.uint16).reshape(1, 20, 30))
    with pytest.raises(RequestError, match="more than 256 different values"):
        evaluate([(noise, noise)])
    with pytest.raises(RequestError, match="--tolerance -1"):
        evaluate([scene], tolerance=-1)


# Which belongs to which


def test_pairs_are_found_by_folder_pattern_and_rule(tmp_path):
    for name in ("x/a_mask.tif", "x/b_mask.nii.gz", "x/c.tif", ".h_mask.tif", "d_mask.zarr/zarr.json", "x/e_mask.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(name, rule="{folder}/{stem}_l.tif"):
        pairs = find_pairs([str(tmp_path / name)], rule)
        return [(pair.prediction[len(str(tmp_path)) + 1 :], pair.truth[len(str(tmp_path)) + 1 :]) for pair in pairs]

    assert found(".") == [
        ("d_mask.zarr", "d_l.tif"),
        ("x/a_mask.tif", "x/a_l.tif"),
        ("x/b_mask.nii.gz", "x/b_l.tif"),
    ]
    assert found("**/[ac]*") == [("x/a_mask.tif", "x/a_l.tif"), ("x/c.tif", "x/c_l.tif")]
    assert find_pairs(["m/a_mask.tif"], "one.tif") == (Pair("m/a_mask.tif", "one.tif"),)
    for rule, said in (("one.tif", "same file"), ("{name}.tif", "only {stem} and {folder}")):
        with pytest.raises(RequestError, match=said):
            find_pairs([str(tmp_path / "x")], rule)
    with pytest.raises(RequestError, match="no file matches"):
        find_pairs([str(tmp_path / "*.none")], "{stem}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no mask"):
        find_pairs([str(tmp_path / "empty")], "{stem}")


def test_a_table_names_pairs_or_wishes(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("prediction,truth,image\nm.tif,/t.tif,\nn.tif,u.tif,i.tif\n")
    assert read_table(table) == (
        Pair(f"{tmp_path}/m.tif", "/t.tif"),
        Pair(f"{tmp_path}/n.tif", f"{tmp_path}/u.tif", f"{tmp_path}/i.tif"),
    )
    table.write_text("image,truth\ni.tif,t.tif\n")
    assert read_table(table) == (UnpredictedPair(f"{tmp_path}/i.tif", f"{tmp_path}/t.tif"),)
    for text, said in (
        ("a,truth\n1,2\n", "prediction or image"),
        ("prediction,truth\n1,\n", "line 2"),
        ("prediction,truth\n", "no rows"),
    ):
        table.write_text(text)
        with pytest.raises(RequestError, match=said):
            read_table(table)
    with pytest.raises(RequestError, match=r"cannot (be )?read"):
        read_table(tmp_path / "none.csv")


# The command line


def call(*words, code=0):
    ended = CliRunner().invoke(app, ["evaluate", *(str(word) for word in words)])
    assert ended.exit_code == code, ended.output
    return ended


def of_scenes(scenes):
    return "--predictions", scenes / "masks/*_mask.tif", "--truth", scenes / "labels/{stem}_label.tif", "--ignore", "7"


def test_the_verb_has_help():
    assert "--truth" in call("--help").stdout


def test_the_command_line_tells_what_python_tells(scenes):
    told = json.loads(call(*of_scenes(scenes), "--seed", 5, "--json").stdout)
    pairs = find_pairs([str(scenes / "masks")], str(scenes / "labels/{stem}_label.tif"))
    found = evaluate([(pair.prediction, pair.truth) for pair in pairs], ignore=(7,), seed=5)
    assert told == {**json.loads(json.dumps(found.to_json())), "failed": []}
    said = call(*of_scenes(scenes)).stdout
    assert "1 road" in said
    assert "3 items" in said
    assert f"{found.overall.figures['mean_iou'].value:.3f}" in said
    worst = said[said.index("worst items") :]
    assert worst.index("s2_mask") < worst.index("s1_mask") < worst.index("s0_mask")


def test_a_table_for_people_says_what_is_absent_and_undefined(tmp_path):
    pair = volume(tmp_path, cubes((2, 2, 2)), cubes(None))
    said = call("--predictions", pair[0], "--truth", pair[1]).stdout
    assert call(pair[0], "--truth", pair[1]).stdout == said, "as other verbs take a mask"
    road = next(line for line in said.splitlines() if line.startswith("1 road"))
    assert road.split()[2:5] == ["1", "1", "0.000"]
    assert road.split()[5] == "-", "no distance to what is not there"
    assert "absent" in next(line for line in said.splitlines() if line.startswith("2 water"))


def test_the_csv_has_each_class_of_each_item_and_of_all(scenes, tmp_path):
    call(*of_scenes(scenes), "--csv", tmp_path / "figures.csv")
    with (tmp_path / "figures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 + 3
    assert [row["class"] for row in rows[:3]] == ["land", "road", "water"]
    assert [Path(row["prediction"]).name for row in rows[::3]] == ["s0_mask.tif", "s1_mask.tif", "s2_mask.tif", ""]
    pairs = find_pairs([str(scenes / "masks")], str(scenes / "labels/{stem}_label.tif"))
    found = evaluate_pairs(pairs, Measures(ignore=(7,)))
    assert float(rows[4]["iou"]) == found.items[1].classes[1].figures["iou"]
    assert float(rows[-1]["boundary_f1"]) == found.overall.classes[2].figures["boundary_f1"].value


def test_pictures_show_truth_prediction_and_what_differs(scenes, tmp_path):
    call(*of_scenes(scenes), "--pictures", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    failures = {f"failure_{number}_s{scene}_mask.png" for number, scene in enumerate((2, 1, 0), 1)}
    assert names == {"confusion.svg", "best_s0_mask.png", "median_s1_mask.png", "worst_s2_mask.png", *failures}
    with rasterio.open(tmp_path / "worst_s2_mask.png") as file:
        picture = file.read()
    with rasterio.open(scenes / "labels/s2_label.tif") as file:
        truth = file.read(1)
    with rasterio.open(scenes / "masks/s2_mask.tif") as file:
        prediction = file.read(1)
    side, gap = 3, 8
    assert picture.shape == (3, 150 * side + 2 * HEIGHT, 3 * 130 * side + 2 * gap), "small scenes are enlarged"
    words = [line(130 * side, middle=name) for name in ("truth", "prediction", "differences")]
    assert np.array_equal(picture[:, :HEIGHT, : 130 * side].transpose(1, 2, 0), words[0])
    assert np.array_equal(picture[:, :HEIGHT, -130 * side :].transpose(1, 2, 0), words[2])
    entries = [(entry.name, entry.color) for entry in CLASSES]
    verdicts = [("agrees", (225,) * 3), ("differs", (200, 30, 30)), ("not predicted", (30,) * 3)]
    names = legend([*entries, *verdicts, ("not counted", (255,) * 3)], picture.shape[2])
    assert np.array_equal(picture[:, -HEIGHT:].transpose(1, 2, 0), names)
    picture = picture[:, HEIGHT:-HEIGHT]
    panels = [picture[:, ::side, start : start + 130 * side : side] for start in (0, 390 + gap, 780 + 2 * gap)]
    counted = np.isin(truth, (0, 1, 2))
    for panel, values in zip(panels, (truth, prediction), strict=False):
        for entry in CLASSES:
            assert (entry.color == panel[:, counted & (values == entry.value)].T).all()
        assert (panel[:, ~counted] == 255).all()
    red, black = np.array([200, 30, 30]), np.array([30, 30, 30])
    differs = counted & (truth != prediction) & (prediction != 255)
    assert np.array_equal((panels[2].transpose(1, 2, 0) == red).all(2), differs)
    assert np.array_equal((panels[2].transpose(1, 2, 0) == black).all(2), counted & (prediction == 255))


def test_failures_are_the_chips_with_most_wrong_cells(tmp_path):
    """Two of each scene at most, worst first, over the ends of slabs; cells that are not counted are not wrong."""
    truth = np.zeros((700, 600), np.uint8)
    predictions = [truth.copy(), truth.copy()]
    predictions[0][300:320, 520:540] = 1
    predictions[0][10:60, 300:340] = 2
    predictions[0][600:603, 0:2] = 255
    predictions[1][256:300, :8] = 1
    truth[10:30, 300:340] = 7
    pairs = [put_pair(tmp_path, truth, prediction, name) for name, prediction in zip("ab", predictions, strict=True)]
    index = ClassIndex(CLASSES, (7,))
    found = find_failures([Pair(str(mask), str(path)) for mask, path in pairs], index)
    assert [(one.box.start, one.wrong, Path(one.pair.prediction).name[0]) for one in found] == [
        ((0, 256), 30 * 40, "a"),
        ((256, 512), 20 * 20, "a"),
        ((256, 0), 44 * 8, "b"),
        ((512, 0), 6, "a"),
    ]
    assert found[1].box.shape == (256, 88)
    panels = _failure_panels(found[1], index)
    right = panels[2 * HEIGHT : 2 * HEIGHT + 256 * 2 : 2, -88 * 2 :: 2]
    assert int((right == (200, 30, 30)).all(2).sum()) == 20 * 20


def test_failures_of_volumes_are_slices(tmp_path):
    pair = volume(tmp_path, cubes((2, 2, 2)), cubes((2, 2, 4)))
    found = find_failures([Pair(*map(str, pair))], ClassIndex(CLASSES, ()))
    assert [(one.box.start[0], one.wrong) for one in found] == [(2, 16), (3, 16), (6, 16), (7, 16)]
    assert found[0].box.shape == (1, 16, 16)
    assert _failure_panels(found[0], ClassIndex(CLASSES, ())).shape[2] == 3


def test_a_large_scene_is_thinned_evenly(tmp_path):
    """Over the end of a slab, which is not that of a step, too."""
    truth = np.random.default_rng(0).integers(0, 3, (1500, 3001)).astype(np.uint8)
    assert 0 < SLAB_CELLS // truth.shape[1] < len(truth)
    mask, path = put_pair(tmp_path, truth, truth)
    (tmp_path / "t.csv").write_text(f"prediction,truth,image\n{mask},{path},{path}\n")
    call("--table", tmp_path / "t.csv", "--pictures", tmp_path / "p")
    with rasterio.open(tmp_path / "p/best_a_mask.png") as file:
        picture = file.read()
    thin = truth[::6, ::6]
    picture = picture[:, HEIGHT : HEIGHT + len(thin)]
    panels = [picture[:, :, start : start + thin.shape[1]] for start in range(0, picture.shape[2], thin.shape[1] + 8)]
    assert np.array_equal(panels[0][0], thin)
    colours = np.array([entry.color for entry in CLASSES])
    assert np.array_equal(panels[1].transpose(1, 2, 0), colours[thin])
    assert np.array_equal(panels[2], panels[1])


def test_the_picture_of_the_matrix_holds_its_shares(scenes, tmp_path):
    call(*of_scenes(scenes), "--pictures", tmp_path)
    told = json.loads(call(*of_scenes(scenes), "--json").stdout)["overall"]["confusion"]
    root = ElementTree.parse(tmp_path / "confusion.svg").getroot()
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [f"{100 * cells / sum(row):.1f}" for row in told for cells in row] == [
        text for text in texts if text.replace(".", "").isdigit()
    ]
    assert {"land", "road", "water", "not predicted"} <= set(texts)


def test_a_volume_is_shown_where_its_truth_has_most(tmp_path):
    truth = cubes((2, 2, 5), size=1)
    truth[4:9, 4:9, 11] = 2
    pair = volume(tmp_path, truth, cubes((0, 0, 0), size=1))
    image = put_volume(tmp_path / "v.nii", pixels((16, 16, 16)).T.astype(np.int16), SPACING)
    (tmp_path / "t.csv").write_text(f"prediction,truth,image\n{pair[0]},{pair[1]},{image}\n")
    call("--table", tmp_path / "t.csv", "--pictures", tmp_path / "p")
    with rasterio.open(tmp_path / "p/best_v_mask.png") as file:
        picture = file.read()
    assert picture.shape == (3, 512 + 3 * HEIGHT, 4 * 512 + 3 * 8)
    shown = picture[:, HEIGHT : HEIGHT + 512 : 32, 520 : 520 + 512 : 32]
    found = (shown.transpose(1, 2, 0) == CLASSES[2].color).all(2).T
    assert np.array_equal(found, truth[::-1, ::-1, 11] == 2), "the left of the body is at the right, its front is up"
    above = line(512, "R", "truth, slice 11; A above", "L")
    assert np.array_equal(picture[:, :HEIGHT, 520 : 520 + 512].transpose(1, 2, 0), above)


def inputs_of(folder):
    """Two scenes with a truth of their own."""
    for name in ("a", "b"):
        put_scene(folder / f"{name}.tif", pixels((2, 150, 130), ord(name)))
        put_scene(folder / f"{name}_truth.tif", blots((150, 130), ord(name))[None])


def test_inputs_are_segmented_first_and_their_masks_kept_or_not(models, tmp_path):
    inputs_of(tmp_path)
    words = ("--input", tmp_path / "[ab].tif", "--truth", "{folder}/{stem}_truth.tif", "--model", models / "scene")
    before = {path.name for path in tmp_path.iterdir()}
    told = json.loads(call(*words, "--json", "--pictures", tmp_path / "p").stdout)
    assert {path.name for path in tmp_path.iterdir()} == before | {"p"}, "no mask stays"
    assert [(item["prediction"], Path(item["image"]).name) for item in told["items"]] == [
        (None, "a.tif"),
        (None, "b.tif"),
    ]
    overall = told["overall"]
    assert overall["seconds"] == pytest.approx(sum(item["seconds"] for item in told["items"]))
    assert overall["megapixels_per_second"] == pytest.approx(2 * 150 * 130 / 1e6 / overall["seconds"])
    with rasterio.open(next((tmp_path / "p").glob("best_*.png"))) as file:
        assert file.width == 4 * 130 * 3 + 3 * 8, "the image comes first"
    kept = json.loads(call(*words, "--json", "--output", tmp_path / "masks").stdout)
    assert {path.name for path in (tmp_path / "masks").glob("*.tif")} == {"a_mask.tif", "b_mask.tif"}
    assert kept["overall"]["confusion"] == overall["confusion"]
    again = json.loads(call(*words, "--json", "--output", tmp_path / "masks").stdout)
    assert again["overall"]["seconds"] is None, "masks that were there took no time"
    masks = ("--predictions", tmp_path / "masks", "--truth", tmp_path / "{stem}_truth.tif")
    assert json.loads(call(*masks, "--json").stdout)["overall"]["confusion"] == overall["confusion"]


def test_figures_go_into_the_card_of_the_model_under_a_name(models, tmp_path):
    inputs_of(tmp_path)
    shutil.copytree(models / "scene", tmp_path / "model")
    words = ("--input", tmp_path / "[ab].tif", "--truth", "{folder}/{stem}_truth.tif", "--model", tmp_path / "model")
    before = read_card(tmp_path / "model" / CARD)
    told = json.loads(call(*words, "--record", "test", "--tta", "flips", "--json").stdout)["overall"]
    card = read_card(tmp_path / "model" / CARD)
    assert card == replace(before, evaluation={**before.evaluation, "test": card.evaluation["test"]})
    kept = card.evaluation["test"]
    assert (kept["items"], kept["tta"]) == (2, ["flips"])
    value = told["figures"]["mean_iou"]
    assert kept["figures"]["mean_iou"] == pytest.approx([value["value"], value["low"], value["high"]], abs=1e-4)
    assert set(kept["classes"]) == {entry.name for entry in card.classes}
    call(*words, "--record", "again")
    assert set(read_card(tmp_path / "model" / CARD).evaluation) == {*before.evaluation, "test", "again"}
    shown = CliRunner().invoke(app, ["models", str(tmp_path / "model")]).stdout
    assert f"mean: IoU {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})" in shown
    assert "test, 2 items:" in shown


def test_an_input_that_fails_is_named_and_the_rest_is_compared(models, tmp_path):
    inputs_of(tmp_path)
    put_scene(tmp_path / "c.tif", pixels((1, 150, 130)))
    put_scene(tmp_path / "c_truth.tif", blots((150, 130), 3)[None])
    words = ("--input", tmp_path / "?.tif", "--truth", "{folder}/{stem}_truth.tif", "--model", models / "scene")
    told = json.loads(call(*words, "--json", code=1).stdout)
    assert [Path(item["image"]).name for item in told["items"]] == ["a.tif", "b.tif"]
    assert ["channel" in report["reason"] for report in told["failed"]] == [True]
    (tmp_path / "a.tif").unlink()
    (tmp_path / "b.tif").unlink()
    told = json.loads(call(*words, "--json", code=1).stdout)
    assert (told["items"], told["overall"]) == ([], None)
    assert call(*words, code=1).stdout == ""


def test_truths_are_checked_before_anything_is_segmented(models, tmp_path):
    inputs_of(tmp_path)
    put_scene(tmp_path / "b_truth.tif", blots((150, 131), 3)[None])
    ended = call(
        *("--input", tmp_path / "[ab].tif", "--truth", "{folder}/{stem}_truth.tif", "--model", models / "scene"),
        *("--output", tmp_path / "masks"),
        code=2,
    )
    assert "b_truth.tif: their shapes differ, (150, 130) and (150, 131)" in ended.stderr
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give one of --predictions, --input and --table"),
        (("--predictions", "a.tif", "--input", "b.tif", "--truth", "t"), "give one of"),
        (("--predictions", "a.tif"), "--truth is required"),
        (("--table", "a.csv", "--truth", "t"), "--truth is required"),
        (("--predictions", "a.tif", "--truth", "t.tif", "--model", "landcover"), "not for predictions"),
        (
            ("--predictions", "a.tif", "--truth", "t.tif", "--tta", "flips"),
            "--tta: only for inputs to",
        ),
        (
            ("--predictions", "a.tif", "--truth", "t.tif", "--record", "test"),
            "--record writes into the card",
        ),
        (("--input", "a.tif", "--truth", "t.tif", "--window", "ham"), "unknown window 'ham'"),
        (("--predictions", "a.tif", "--truth", "t.tif"), "a.tif against t.tif: cannot read the prediction"),
        (("--predictions", "a.tif", "--truth", "t.tif", "--ignore", "x"), "must be whole numbers"),
        (("--predictions", "a.tif", "--truth", "t.tif", "--boundary", "-1"), "--boundary -1.0: must be 0 or more"),
        (("--input", "none.tif", "--truth", "t.tif"), "none.tif against t.tif: cannot read the truth"),
    ],
)
def test_a_wrong_request_ends_with_2_and_one_line(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = call(*words, code=2)
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr


def test_a_comparison_tells_how_far_it_is(tmp_path):
    pairs = [put_pair(tmp_path, blots((40, 50 + i), i), blots((40, 50 + i), 9), "ab"[i]) for i in range(2)]
    told = []
    observer = Callbacks(started=lambda cells, done: told.append((cells, done)), advanced=told.append)
    evaluate_pairs([Pair(str(mask), str(truth)) for mask, truth in pairs], Measures(bootstrap=0), observer=observer)
    assert told == [(40 * 101, 0), 40 * 50, 40 * 51]
