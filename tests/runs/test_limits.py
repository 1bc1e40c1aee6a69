"""Headers that claim what no machine has: refused by name, and never allocated."""

from __future__ import annotations

import tracemalloc

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError
from pipeline.geometry import cut_slabs, split_runs
from pipeline.runs.limits import MAX_CELLS, MAX_SIDE, check_shape, check_space
from tests.support.inputs import listing

CLAIMED = {
    "both": (
        2_000_000_000,
        2_000_000_000,
        (),
        r"has 2,000,000,000 x 2,000,000,000 cells; the most is 134,217,728 along a side",
    ),
    "one side": (2_000_000_000, 3, ("--memory", "2GiB"), r"has 3 x 2,000,000,000 cells; the most is"),
    "all": (
        100_000_000,
        100_000_000,
        (),
        r"has 100,000,000 x 100,000,000 cells; .* and 8,796,093,022,208 in all; check the header with",
    ),
    "wide": (100_000_000, 3000, (), r"its rows are so wide that the sweep needs [\d,]+\.\d GiB, but this machine has "),
}


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize("case", CLAIMED)
def test_a_header_that_claims_absurd_sizes_is_refused_and_nothing_allocated(models, tmp_path, verb, case):
    columns, rows, more, said = CLAIMED[case]
    band = '<VRTRasterBand dataType="Byte" band="{}"/>'
    bands = "".join(band.format(number) for number in (1, 2))
    size = f'rasterXSize="{columns}" rasterYSize="{rows}"'
    (tmp_path / "claim.vrt").write_text(f"<VRTDataset {size}>{bands}</VRTDataset>")
    tracemalloc.start()
    words = [verb, "--input", str(tmp_path / "claim.vrt"), "--model", str(models / "scene"), *more]
    ended = CliRunner().invoke(app, words)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ended.exit_code == 1, ended.output
    with pytest.raises(InputError, match=rf"^.*claim\.vrt: {said}"):
        raise InputError(" ".join(ended.stderr.removeprefix("failed: ").removeprefix("error: ").split()))
    assert peak < 256 << 20
    assert listing(tmp_path) == {"claim.vrt"}


def test_labels_that_cannot_find_room_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"a\.tif: its labels take 1,073,741,824 GiB uncompressed, but only .* GiB are free for "
    ):
        check_space("a.tif", 2**60, 1, tmp_path / "new/folder/mask.tif", cut=False)


def test_what_has_room_is_let_through(tmp_path):
    check_shape("a.tif", (MAX_SIDE, MAX_CELLS // MAX_SIDE))
    check_space("a.tif", 10**9, 2**20, tmp_path / "mask.tif", cut=False)
    check_space("a.tif", 10**9, 2**60, tmp_path / "mask.tif", cut=True)


def test_very_many_bands_are_shared_out_in_time_that_grows_with_them():
    slabs = cut_slabs((200_000 * 8, 10), 8)
    assert [len(run) for run in split_runs(slabs, 2)] == [100_000, 100_000]
