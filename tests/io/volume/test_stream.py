"""Bytes are the same at any place and in any order, however they are packed."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.io.opening import open_source
from pipeline.io.volume import stream as stream_room
from pipeline.io.volume.stream import UNREADABLE, open_stream, stream_of

PACKED = {"raw": bytes, "gzip": gzip.compress, "zlib": zlib.compress}
CONTENT = st.binary(min_size=1, max_size=64) | st.binary(min_size=1, max_size=64).map(lambda block: block * 40_000)


@given(data=st.data(), content=CONTENT, head=st.binary(max_size=9), packing=st.sampled_from(["raw", "gzip", "zlib"]))
def test_any_place_in_any_order_is_the_content(tmp_path_factory, data, content, head, packing):
    path = tmp_path_factory.mktemp("s") / "x"
    path.write_bytes(head + PACKED[packing](content))
    check(data, open_stream(path, len(head), packing), content)
    if packing != "zlib" and not (packing == "raw" and content.startswith(b"\x1f\x8b")):
        path.write_bytes(PACKED[packing](content))
        check(data, open_stream(path), content)
    check(data, stream_of(content), content)


def check(data, stream, content):
    assert stream.most >= len(content) if stream.packed else stream.most == len(content)
    for _ in range(3):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, len(content)))
        target = bytearray(stop - start)
        stream.read_into(start, memoryview(target), last=stop == len(content))
        assert target == content[start:stop]
    with pytest.raises(EOFError):
        stream.read_into(len(content), memoryview(bytearray(1)))
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read_into(0, memoryview(bytearray(1)))


def test_members_of_a_gzip_file_follow_each_other(tmp_path):
    (tmp_path / "x").write_bytes(gzip.compress(b"one") + gzip.compress(b"two"))
    target = bytearray(6)
    stream = open_stream(tmp_path / "x")
    stream.read_into(0, memoryview(target), last=True)
    stream.close()
    assert target == b"onetwo"


@pytest.mark.parametrize("packing", ["gzip", "zlib"])
@pytest.mark.parametrize("cut", [1, 3])
def test_the_last_read_misses_a_checksum_that_is_cut_off(tmp_path, packing, cut):
    (tmp_path / "x").write_bytes(PACKED[packing](b"content")[:-cut])
    stream = open_stream(tmp_path / "x", 0, packing)
    stream.read_into(0, memoryview(bytearray(7)))
    with pytest.raises(UNREADABLE):
        stream.read_into(0, memoryview(bytearray(7)), last=True)
    stream.close()


def test_what_follows_packed_data_of_a_header_is_not_looked_at(tmp_path):
    (tmp_path / "x").write_bytes(b"head" + zlib.compress(b"content") + b"tail")
    target = bytearray(7)
    stream = open_stream(tmp_path / "x", 4, "zlib")
    stream.read_into(0, memoryview(target), last=True)
    stream.close()
    assert target == b"content"


@pytest.mark.parametrize("packing", ["gzip", "zlib"])
def test_what_follows_the_voxels_is_unpacked_to_a_limit_that_is_told(tmp_path, packing, monkeypatch):
    monkeypatch.setattr(stream_room, "MOST_AFTER", 3 << 20)
    for after, ends in ((3 << 20, True), (5 << 20, False)):
        (tmp_path / "x").write_bytes(PACKED[packing](b"voxels" + bytes(after)))
        stream = open_stream(tmp_path / "x", 0, packing)
        stream.expect(6)
        target = bytearray(6)
        if ends:
            stream.read_into(0, memoryview(target), last=True)
        else:
            with pytest.raises(UNREADABLE, match="more than 3 MiB follow after the voxels"):
                stream.read_into(0, memoryview(target), last=True)
        assert target == b"voxels"
        stream.close()


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.mha"])
def test_a_packed_volume_beyond_any_real_one_is_refused_with_the_limit_before_it_is_read(tmp_path, name, monkeypatch):
    path, side = tmp_path / name, 200
    image = SimpleITK.GetImageFromArray(np.zeros((side, side, side), np.int16))
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    assert path.stat().st_size < 200_000
    open_source(path).close()
    monkeypatch.setattr(stream_room, "MOST_UNPACKED", 2 * side**3 - 1)
    with pytest.raises(InputError, match=r"unpacks to 0\.0 GiB, and the most is 0; unpack it first") as caught:
        open_source(path)
    assert caught.value.code == "unsuitable"
    assert str(caught.value).startswith(str(path))
