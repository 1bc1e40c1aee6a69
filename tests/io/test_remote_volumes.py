"""Volumes at addresses: the voxels of the file, read by ranges of one version of it; what is wrong is told."""

from __future__ import annotations

from contextlib import closing
from shutil import make_archive

import nibabel
import numpy as np
import pytest
import SimpleITK
import zarr

from pipeline.geometry import Box
from pipeline.io import http as http_room
from pipeline.io.objects import bucket as bucket_room
from pipeline.io.opening import open_source
from tests.support.dicoms import put_series
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
    beside = [path, *path.parent.glob(f"{path.stem}.*"), *path.rglob("*")]
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
