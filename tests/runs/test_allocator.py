import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")

HELD = """
import os
import numpy as np
from pipeline.runs.allocator import return_free_pages, return_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

{call}
np.ones(3 << 20, np.uint8)
before = resident()
blocks, kept = [], []
for _ in range(40):
    blocks.append(np.ones({block}, np.uint8))
    kept.append(np.ones(2000, np.uint8))
del blocks
{after}
print(resident() - before)
"""


def held(call, block=2 << 20, after="", **environment):
    """Bytes that a process keeps of 40 freed blocks, with small arrays between them."""
    code = HELD.format(call=call, block=block, after=after)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return int(
        subprocess.run([sys.executable, "-c", code], env=env | environment, capture_output=True, check=True).stdout
    )


def test_large_blocks_that_are_freed_are_not_kept():
    assert held("") > 60 << 20
    assert held("return_large_blocks()") < 8 << 20
    assert held("return_large_blocks()", 256 << 10) < 2 << 20


def test_what_lies_free_between_blocks_is_returned():
    assert held("", 100_000) > 3 << 20
    assert held("", 100_000, "return_free_pages()") < 2 << 20


@pytest.mark.parametrize(
    "chosen",
    [
        {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "1073741824"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824"},
    ],
    ids=lambda chosen: next(iter(chosen)),
)
def test_what_the_user_chose_stays(chosen):
    assert held("return_large_blocks()", **chosen) > 60 << 20
