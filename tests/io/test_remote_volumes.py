"""Volumes at addresses: the voxels of the file, read by ranges of one version of it; what is wrong is told."""

from __future__ import annotations

import os
import pickle
from contextlib import closing
from pathlib import Path
from shutil import make_archive

import nibabel
import numpy as np
import pytest
import SimpleITK
import zarr

from pipeline.errors import CHANGED, UNREACHABLE, InputError
from pipeline.geometry import Box
from pipeline.io import http as http_room
from pipeline.io import ranges as ranges_room
from pipeline.io.formats import look
from pipeline.io.objects import bucket as bucket_room
from pipeline.io.opening import input_version, open_source
from tests.support.dicoms import put_series
from tests.support.objects import SECRET
from tests.support.remote import served

SHAPE = (6, 5, 4)
NAMES = ["a.nii.gz", "a.nii", "pair.hdr", "a.nrrd", "apart.nhdr", "a.mha", "apart.mhd", "a.zip", "ome.zarr"]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """The same voxels in each format."""
    folder = tmp_path_factory.mktemp("volumes")
    values = np.random.default_rng(0).integers(-500, 500, SHAPE).astype(np.int16)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(values.T, np.diag([2, 3, 4, 1])), folder / name)
    nibabel.save(nibabel.Nifti1Pair(values.T, np.diag([2, 3, 4, 1])), folder / "pair.img")
    image = SimpleITK.GetImageFromArray(values)
    for name in ("a.nrrd", "apart.nhdr", "a.mha", "apart.mhd"):
        SimpleITK.WriteImage(image, folder / name, useCompression=name in ("a.nrrd", "a.mha"))
    put_series(folder / "series", values.astype(np.int16))
    make_archive(str(folder / "a"), "zip", folder / "series")
    group = zarr.open_group(folder / "ome.zarr", mode="w")
    group.create_array("0", data=values, chunks=(2, 5, 4))
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    place = [{"type": "scale", "scale": [4, 3, 2]}]
    levels = [{"path": "0", "coordinateTransformations": place}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
    return folder


@pytest.fixture
def web(volumes, monkeypatch):
    """A server of http with them; tries follow soon."""
    monkeypatch.setattr(http_room, "_DELAYS", (0.01, 0.01))
    with served(volumes) as server:
        yield server


@pytest.fixture
def bucket(volumes, store, monkeypatch):
    """A bucket with them, of which a request is tried twice."""
    monkeypatch.setattr(bucket_room, "_RETRIES", 1)
    monkeypatch.setattr(bucket_room, "_PAUSES", (0.01,))
    bucket_room._bucket.cache_clear()
    yield store
    bucket_room._bucket.cache_clear()


def fill(bucket, volumes, name, to=None):
    """Put the files that a name stands for; return its address."""
    path = volumes / name
    beside = [path] if to else [path, *path.parent.glob(f"{path.stem}.*"), *path.rglob("*")]
    for file in {each for each in beside if each.is_file()}:
        bucket.put(f"in/{to or file.relative_to(volumes)}", file.read_bytes())
    return f"{bucket.place}in/{to or name}"


def voxels(item):
    with closing(open_source(item)) as source:
        return source.grid, source.read(Box.whole(source.grid.shape)).values


def check_same(address, file):
    grid, values = voxels(address)
    other, expected = voxels(file)
    assert grid == other
    assert values.dtype == expected.dtype
    assert (values == expected).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_volume_at_an_http_address_is_that_of_the_file(web, volumes, name):
    check_same(f"{web.address}/{name}", volumes / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_volume_in_an_object_store_is_that_of_the_file(bucket, volumes, name):
    check_same(fill(bucket, volumes, name), volumes / name)


@pytest.fixture
def small(monkeypatch):
    """Requests for few bytes, so that a small file needs many."""
    monkeypatch.setattr(ranges_room, "_LEAST", 64)
    monkeypatch.setattr(ranges_room, "_MOST", 128)
    monkeypatch.setattr(ranges_room, "_SKIP", 64)


@pytest.fixture
def folder(tmp_path, web):
    """A folder that is served, with a volume whose bytes cannot be packed."""
    values = np.random.default_rng(1).integers(0, 255, (3, 12, 20)).astype(np.uint8)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / name)
    image = SimpleITK.GetImageFromArray(values)
    for name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(image, tmp_path / name, useCompression=False)
    put_series(tmp_path / "series", values.astype(np.int16))
    make_archive(str(tmp_path / "a"), "zip", tmp_path / "series")
    web.folder = tmp_path
    return tmp_path


CHANGING = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.zip"]


@pytest.mark.parametrize("name", CHANGING)
def test_a_file_that_changes_while_it_is_read_is_refused(web, folder, small, name):
    with closing(open_source(f"{web.address}/{name}")) as source:
        count = len(web.asked)
        web.fault = lambda number: os.utime(folder / name, ns=(1, number)) if number == count + 2 else None
        with pytest.raises(InputError, match=rf"^{web.address}/{name}: changed while it was read \(etag ") as told:
            source.read(Box.whole(source.grid.shape))
    assert told.value.code == CHANGED


def test_an_object_that_changes_while_it_is_read_is_refused(bucket, folder, small):
    address = fill(bucket, folder, "a.nii")
    with closing(open_source(address)) as source:
        bucket.put("in/a.nii", (folder / "a.nii").read_bytes()[:-1] + b"?")
        with pytest.raises(InputError, match=rf"^{address}: changed while it was read \(.*etag ") as told:
            source.read(Box.whole(source.grid.shape))
    assert told.value.code == CHANGED


def test_a_server_that_does_not_compare_etags_is_compared(web, folder, small):
    """If-Match is left out for weak ETags, and answers say which version they are of."""
    with closing(open_source(f"{web.address}/a.nii")) as source:
        web.weak = True
        os.utime(folder / "a.nii", ns=(1, 1))
        with pytest.raises(InputError, match="changed while it was read"):
            source.read(Box.whole(source.grid.shape))


def test_workers_read_the_version_that_was_met_first(web, folder):
    item = look(f"{web.address}/a.nii")
    open_source(item).close()
    input_version(item)
    sent = pickle.dumps(item)
    os.utime(folder / "a.nii", ns=(1, 1))
    with pytest.raises(InputError, match="changed while it was read"):
        input_version(item)
    with pytest.raises(InputError, match="changed while it was read"):
        voxels(pickle.loads(sent))
    voxels(look(item.text))


@pytest.mark.parametrize("fault", ["fail", "broken", "slow", 429])
def test_faults_of_a_server_that_pass_are_survived(web, folder, small, fault):
    web.fault = lambda number: fault if number % 7 == 3 else None
    check_same(f"{web.address}/a.nii", folder / "a.nii")


@pytest.mark.parametrize("fault", [503, "drop", "slow", "cut"])
def test_faults_of_a_store_that_pass_are_survived(bucket, folder, fault):
    address = fill(bucket, folder, "a.nii.gz")
    bucket.proxy.inject(lambda request: fault if request.number % 3 == 1 else None)
    check_same(address, folder / "a.nii.gz")


def test_a_packed_volume_is_asked_for_once_and_ahead(web, folder, small):
    check_same(f"{web.address}/a.nii.gz", folder / "a.nii.gz")
    parts = [asked for _, asked, size in web.asked if size > 1]
    assert len(parts) > 5
    assert web.sent() < 1.2 * (folder / "a.nii.gz").stat().st_size + 1000
    assert all(asked is not None for _, asked, _ in web.asked)


FAULTS = {
    "gone": ("there is no such file on the server", "unreadable"),
    403: ("the server refuses access .403.", UNREACHABLE),
    401: ("the server refuses access .401.", UNREACHABLE),
    "fail": ("its server does not answer .HTTP Error 503", UNREACHABLE),
    "broken": ("its server does not answer", UNREACHABLE),
    "whole": (
        "its server sends files as a whole only .it answers a range request with 200, not 206.; download it",
        "unsuitable",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_server_does_not_give_is_told(web, fault):
    web.fault = lambda number: fault
    said, code = FAULTS[fault]
    address = f"{web.address}/a.nii".replace("http://", "http://me:Sesam-open@") + "?sig=Sesam-open"
    with pytest.raises(InputError, match=rf"^{web.address}/a.nii: {said}") as told:
        open_source(address)
    assert told.value.code == code
    assert "Sesam" not in str(told.value)


STORE_FAULTS = {
    403: "these credentials may not do this",
    "ExpiredToken": "the credentials have expired",
    503: "the store is overloaded",
    "drop": "the store does not answer",
}


@pytest.mark.parametrize("fault", STORE_FAULTS)
def test_what_a_store_does_not_give_is_told(bucket, volumes, fault):
    address = fill(bucket, volumes, "a.nii")
    bucket.proxy.inject(lambda request: fault if request.method == "GET" else None)
    with pytest.raises(InputError, match=rf"^{address}: cannot be read: {STORE_FAULTS[fault]}") as told:
        open_source(address)
    assert told.value.code == UNREACHABLE
    assert SECRET not in str(told.value)


def test_what_is_not_there_is_told(bucket):
    with pytest.raises(InputError, match=rf"^{bucket.place}none.nii: there is no such object") as told:
        open_source(f"{bucket.place}none.nii")
    assert told.value.code == "unreadable"
    with pytest.raises(InputError, match=r"^s3://b-none/none.nii: cannot be read: there is no such bucket"):
        open_source("s3://b-none/none.nii")


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


def test_files_that_are_something_else_are_told(web, folder):
    whole, packed = (folder / "a.nii").read_bytes(), (folder / "a.nii.gz").read_bytes()
    put(folder, "empty.nii", b"")
    put(folder, "page.nii.gz", b"<!DOCTYPE html><html>log in</html>")
    put(folder, "cut.nii", whole[:-9])
    put(folder, "cut.nii.gz", packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"empty.nii: is empty \(0 bytes\)"):
        open_source(f"{web.address}/empty.nii")
    with pytest.raises(InputError, match=r"page.nii.gz: is a web page"):
        open_source(f"{web.address}/page.nii.gz")
    with pytest.raises(
        InputError, match=rf"cut.nii: needs {len(whole)} bytes .* but holds {len(whole) - 9}: it is cut"
    ):
        open_source(f"{web.address}/cut.nii")
    with pytest.raises(
        InputError, match=rf"^{web.address}/cut.nii.gz: is packed with gzip, but damaged or cut off; download it again"
    ):
        voxels(f"{web.address}/cut.nii.gz")


def test_voxels_apart_are_looked_for_beside_the_header_alone(web, folder):
    for name in ("../a.raw", "/etc/passwd", "https://other/a.raw", ".."):
        header = (folder / "a.mha").read_bytes().split(b"ElementDataFile")[0] + f"ElementDataFile = {name}\n".encode()
        put(folder, "away.mhd", header)
        with pytest.raises(InputError, match=r"away.mhd: refers to .*, which is not the name of a file beside it"):
            open_source(f"{web.address}/away.mhd")


ODD = ["a b.nii", "ü Ω.nii", "100%20.nii", "a+b&c=d#e.nii", "q?.nii", "~'\"<>[]{}^`|.nii", "A.nii.gz"]


@pytest.mark.parametrize("name", ODD)
def test_an_object_of_any_name_is_found(bucket, volumes, name):
    own = "a" + "".join(Path(name).suffixes[-2:] if name.endswith(".gz") else [".nii"])
    address = fill(bucket, volumes, own, to=name)
    check_same(address, volumes / own)
    assert input_version(address)["name"] == address


@pytest.mark.parametrize("name", ["a b.nii", "ü Ω.nii", "100%2520.nii", "a+b&c=d.nii"])
def test_a_file_of_any_name_is_found(web, folder, name):
    put(folder, name.replace("%25", "%"), (folder / "a.nii").read_bytes())
    check_same(f"{web.address}/{name}", folder / "a.nii")


def test_the_version_is_what_the_server_reports(web, bucket, folder):
    about = (folder / "a.nii").stat()
    address = f"{web.address}/a.nii"
    assert input_version(address) == {"name": address, "bytes": about.st_size, "etag": f'"{about.st_mtime_ns}"'}
    told = input_version(fill(bucket, folder, "a.nii"))
    assert (told["bytes"], len(told["etag"]), told["changed"][-3:]) == (about.st_size, 34, "GMT")


def test_a_store_whose_chunk_changes_is_another_version(bucket, volumes):
    address = fill(bucket, volumes, "ome.zarr")
    before = input_version(address)
    bucket.put("in/ome.zarr/0/c/0/0/0", b"other")
    assert input_version(address)["etag"] != before["etag"]
