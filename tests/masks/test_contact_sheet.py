"""What goes beside the mask of a volume: a sheet of slices, and names and colours for other programs."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Grid
from pipeline.geometry.affine import from_ijk
from pipeline.io.lettering import HEIGHT, legend, line
from pipeline.io.mask_files import Mask, publish
from pipeline.masks.export import export
from tests.support.fakes import ArraySource
from tests.support.pages import picture_in

TABLE = (
    LabelClass(0, "background", (0, 0, 0)),
    LabelClass(1, "left lung", (200, 60, 50)),
    LabelClass(2, "liver", (60, 160, 200)),
)
RAS = ((0.0, 0.0, 2.0, 0.0), (0.0, 2.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@pytest.fixture
def mask(tmp_path):
    """In RAS, 2 mm: a lung to the left and at the front of slices 10 to 29, a liver in slice 20 alone."""
    labels = np.zeros((40, 100, 80), np.uint8)
    labels[10:30, 60:90, 10:30] = 1
    labels[20, 20:40, 50:70] = 2
    grid = Grid(labels.shape, RAS, ("z", "y", "x"))
    publish(Mask(ArraySource(labels[None]), grid, 255, TABLE, {}), tmp_path / "mask.nii.gz")
    return tmp_path / "mask.nii.gz"


def picture(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_a_sheet_shows_the_slices_with_structures_as_radiologists_hold_them(mask, tmp_path):
    export(mask, tmp_path / "sheet.png")
    found = picture(tmp_path / "sheet.png")
    tall = 200 + 2 * HEIGHT
    assert found.shape == (3, 4 * (tall + 4) - 4 + HEIGHT, 5 * 164 - 4), "20 slices of twice 100 x 80, five in a row"
    first = found[:, HEIGHT : HEIGHT + 200, :160]
    liver = found[:, 2 * (tall + 4) + HEIGHT : 2 * (tall + 4) + HEIGHT + 200, :160]
    expected = np.full((100, 80), 40, np.uint8)
    # The front is up, so rows are reversed; the patient's right is on the left, so columns are.
    expected[10:40, 50:70] = 200
    np.testing.assert_array_equal(first[0], np.kron(expected, np.ones((2, 2), np.uint8)))
    assert (liver == np.array([60, 160, 200])[:, None, None]).all(0).sum() == 4 * 400


def test_outlines_lie_over_the_image(mask, tmp_path):
    labels = np.asanyarray(nibabel.load(mask).dataobj)
    image = np.linspace(-500, 500, labels.size).reshape(labels.shape).astype(np.float32)
    image[3, 3, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(image, nibabel.load(mask).affine), tmp_path / "scan.nii.gz")
    words = ["export", str(mask), "-o", str(tmp_path / "sheet.png"), "--image", str(tmp_path / "scan.nii.gz")]
    assert CliRunner().invoke(app, words).exit_code == 0
    first = picture(tmp_path / "sheet.png")[:, HEIGHT : HEIGHT + 200, :160]
    inside = first[:, 22:78, 102:138]
    assert (inside[0] == inside[1]).all(), "inside of an outline the image is grey"
    outline = (first == np.array([200, 60, 50])[:, None, None]).all(0)
    assert outline.sum() == 2 * (60 + 40) - 4, "one pixel wide"


def test_words_of_a_drawing_are_text_at_the_places_of_a_picture(mask, tmp_path):
    for suffix in (".png", ".svg"):
        export(mask, tmp_path / f"sheet{suffix}")
    drawn = ElementTree.parse(tmp_path / "sheet.svg").getroot()
    inside = drawn.find("{*}image")
    with rasterio.MemoryFile(base64.b64decode(inside.get("href").split(",")[1])) as memory, memory.open() as dataset:
        slices = dataset.read()
    whole = picture(tmp_path / "sheet.png")
    tall, wide = 200 + 2 * HEIGHT, 160
    for row in range(4):
        at = np.s_[:, row * (tall + 4) + HEIGHT : row * (tall + 4) + HEIGHT + 200, :]
        np.testing.assert_array_equal(slices[at], whole[at])
    rows = float(inside.get("height"))
    words = {(float(one.get("x")), float(one.get("y")) + rows): one.text for one in drawn.findall(".//{*}text")}
    assert (words[2, 8], words[wide / 2, 8], words[wide - 2, 8]) == ("R", "A", "L")
    assert (words[2, tall - 8], words[wide / 2, tall - 8]) == ("10", "P")
    assert words[166, tall + 4 + tall - 8] == "16", "the second of the second line"
    assert [text for (_, y), text in words.items() if y > rows] == ["left lung", "liver"]
    assert float(drawn.get("height")) > rows


def test_a_page_has_the_pixels_of_the_picture_and_its_size_in_print(mask, tmp_path):
    for suffix in (".png", ".pdf"):
        export(mask, tmp_path / f"sheet{suffix}", dpi=150)
    content, shown = (tmp_path / "sheet.pdf").read_bytes(), picture(tmp_path / "sheet.png").transpose(1, 2, 0)
    np.testing.assert_array_equal(picture_in(content).reshape(shown.shape), shown)
    page = re.search(r"/MediaBox \[ ([^]]+) \]", content.decode("latin-1"))[1]
    assert [float(each) for each in page.split()][2] == pytest.approx(shown.shape[1] / 150 * 72, abs=1)


def test_an_image_elsewhere_is_refused(mask, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((80, 100, 40), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match="is on another grid"):
        export(mask, tmp_path / "sheet.png", image=tmp_path / "scan.nii.gz")
    with pytest.raises(RequestError, match="--image is only for"):
        export(mask, tmp_path / "out.nii.gz", image=tmp_path / "scan.nii.gz")
    with pytest.raises(RequestError, match=r"a sidecar of a volume is one of \.png, \.svg, \.pdf, \.ctbl, \.label"):
        export(mask, tmp_path / "mask.qml")
    assert not (tmp_path / "sheet.png").exists()


def test_names_and_colours_for_3d_slicer_and_itk_snap(mask, tmp_path):
    export(mask, tmp_path / "mask.ctbl")
    rows = [line.split() for line in (tmp_path / "mask.ctbl").read_text().splitlines() if not line.startswith("#")]
    assert rows == [
        ["0", "background", "0", "0", "0", "0"],
        ["1", "left_lung", "200", "60", "50", "255"],
        ["2", "liver", "60", "160", "200", "255"],
    ]
    export(mask, tmp_path / "mask.label")
    lines = [line for line in (tmp_path / "mask.label").read_text().splitlines() if not line.startswith("#")]
    assert [(*map(float, line.split('"')[0].split()), line.split('"')[1]) for line in lines] == [
        (0, 0, 0, 0, 0, 0, 0, "background"),
        (1, 200, 60, 50, 1, 1, 1, "left lung"),
        (2, 60, 160, 200, 1, 1, 1, "liver"),
    ]


@pytest.mark.parametrize("orientation", ["PSL", "LSP", "ASR", "RSA", "LPS", "IPR"])
def test_slices_of_any_plane_are_upright_with_their_sides_and_numbers(tmp_path, orientation):
    """A phantom with a block at the left, at the front and at the head, stored in this order of axes."""
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[2:8, 14:22, 16:22] = 1  # in RAS+, the first axis grows to the right: this is the left of the body
    image = nibabel.Nifti1Image(labels, np.eye(4))
    stored = nibabel.orientations.axcodes2ornt(tuple(orientation))
    image = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), stored))
    grid = Grid(image.shape[::-1], from_ijk(image.affine), ("z", "y", "x"))
    array = np.asanyarray(image.dataobj).T
    publish(Mask(ArraySource(array[None]), grid, 255, TABLE, {}), tmp_path / "mask.nii.gz")
    export(tmp_path / "mask.nii.gz", tmp_path / "sheet.png")
    tile = picture(tmp_path / "sheet.png")[:, : 168 + 2 * HEIGHT, :168]
    inside = tile[:, HEIGHT:-HEIGHT]
    rows, columns = np.nonzero((inside == np.array([200, 60, 50])[:, None, None]).all(0))
    plane = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}
    marks, columns_from = {
        "axial": ("RAL P", 16),
        "coronal": ("RSL I", 16),
        "sagittal": ("ASP I", 2),
    }[plane[orientation[2]]]
    assert columns.min() // 7 == columns_from, "the left of the body is right, the front of a sagittal slice left"
    assert rows.min() // 7 == 2, "the head or the front is up"
    left, top, right, _, bottom = marks
    first = next(at for at, one in enumerate(array) if one.any())
    above, below = line(168, left, top, right), line(168, str(first), bottom)
    assert np.array_equal(tile[:, :HEIGHT].transpose(1, 2, 0), above)
    assert np.array_equal(tile[:, -HEIGHT:].transpose(1, 2, 0), below)


def test_a_sheet_names_its_structures(mask, tmp_path):
    export(mask, tmp_path / "sheet.png")
    found = picture(tmp_path / "sheet.png")
    names = legend([("left lung", (200, 60, 50)), ("liver", (60, 160, 200))], found.shape[2])
    assert np.array_equal(found[:, -HEIGHT:].transpose(1, 2, 0), names)
    assert len(legend([(f"structure {number}", (1, 2, 3)) for number in range(40)], 300)) > 5 * HEIGHT
