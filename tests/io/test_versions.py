"""A change of an input while it is read is noticed, in any file that pixels are read from, and nothing else is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.errors import CHANGED, UNREACHABLE, InputError
from pipeline.io.formats import look
from pipeline.io.opening import input_version
from pipeline.io.versions import check_unchanged, snapshot
from tests.golden.inputs import put_dicom, put_nrrd
from tests.support.inputs import pixels, put_scene, put_volume
from tests.support.remote import served

VRT = """<VRTDataset rasterXSize="9" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""


def scene(path: Path) -> Path:
    return put_scene(path, pixels((1, 8, 9)))


def tif(folder: Path) -> tuple[str, Path]:
    return str(scene(folder / "a.tif")), folder / "a.tif"


def mask_of_tif(folder: Path) -> tuple[str, Path]:
    return tif(folder)[0], scene(folder / "a.tif.msk")


def vrt(folder: Path) -> tuple[str, Path]:
    _, source = tif(folder)
    (folder / "a.vrt").write_text(VRT)
    return str(folder / "a.vrt"), source


def mosaic(folder: Path) -> tuple[str, Path]:
    _, tile = tif(folder)
    return f"mosaic:{folder}/*.tif", tile


def stack(folder: Path) -> tuple[str, Path]:
    _, red = tif(folder)
    return f"stack:red={red}|blue={scene(folder / 'b.tif')}", red


def store(folder: Path) -> tuple[str, Path]:
    zarr.create_array(folder / "a.zarr", data=pixels((8, 9)), chunks=(4, 9))
    return str(folder / "a.zarr"), folder / "a.zarr/c/1/0"


def nifti(folder: Path) -> tuple[str, Path]:
    path = put_volume(folder / "a.nii.gz", pixels((4, 5, 6)).astype(np.int16), np.eye(4))
    return str(path), path


def nrrd(folder: Path) -> tuple[str, Path]:
    put_nrrd(folder / "a.nrrd", pixels((4, 5, 6)).astype(np.int16))
    return str(folder / "a.nrrd"), folder / "a.nrrd"


def dicom(folder: Path) -> tuple[str, Path]:
    put_dicom(folder / "series", pixels((4, 5, 6)).astype(np.int16))
    return str(folder / "series"), sorted((folder / "series").iterdir())[2]


INPUTS = (tif, mask_of_tif, vrt, mosaic, stack, store, nifti, nrrd, dicom)


def in_place(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def replaced(file: Path) -> None:
    """By another of the same size and time."""
    other = shutil.copy2(file, file.with_name("other"))
    Path(other).replace(file)


def grown(file: Path) -> None:
    about = file.stat()
    file.write_bytes(file.read_bytes() + b"?")
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("change", [in_place, replaced, grown])
@pytest.mark.parametrize("make", INPUTS)
def test_a_change_is_noticed(make, change, tmp_path):
    name, file = make(tmp_path)
    item = look(name)
    before, version = snapshot(item), input_version(item)
    check_unchanged(item, before, version)
    change(file)
    with pytest.raises(InputError, match=r"changed while it was read: had .* run the same command again") as error:
        check_unchanged(item, before, version)
    assert error.value.code == CHANGED


OTHERS: dict[str, Callable[[Path], object]] = {
    "read": lambda file: file.read_bytes(),
    "statistics of QGIS": lambda file: Path(f"{file}.aux.xml").write_text("<PAMDataset/>"),
    "a listing of Finder": lambda file: (file.parent / ".DS_Store").touch(),
    "rights": lambda file: file.chmod(0o600),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("make", [tif, vrt, store, nifti])
def test_what_changes_no_pixel_is_no_change(make, other, tmp_path):
    name, file = make(tmp_path)
    item = look(name)
    before, version = snapshot(item), input_version(item)
    OTHERS[other](file)
    check_unchanged(item, before, version)


def test_an_input_that_is_gone_may_come_back(tmp_path):
    name, file = tif(tmp_path)
    item = look(name)
    before, version = snapshot(item), input_version(item)
    file.rename(tmp_path / "away")
    with pytest.raises(InputError, match=r"is no longer there.* put it back") as error:
        check_unchanged(item, before, version)
    assert error.value.code == UNREACHABLE
    (tmp_path / "away").rename(file)
    check_unchanged(item, before, version)


@pytest.mark.parametrize("prefix", ["", "stack:red="])
def test_another_etag_at_an_address_is_a_change(prefix, tmp_path):
    _, file = tif(tmp_path)
    with served(tmp_path) as server:
        item = look(f"{prefix}{server.address}/a.tif")
        before, version = snapshot(item), input_version(item)
        check_unchanged(item, before, version)
        in_place(file)
        os.utime(file, ns=(1, 1))
        with pytest.raises(InputError, match=r"a\.tif: changed while it was read: was served with etag") as error:
            check_unchanged(item, before, version)
    assert error.value.code == CHANGED
