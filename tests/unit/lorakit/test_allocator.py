from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import ctypes, resource, sys
from lorakit.allocator import keep_freed_memory, kept_bytes

if sys.argv[1] == "keep":
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


def use(size):
    block = library.malloc(size)
    library.memset(block, 1, size)
    library.free(block)


use(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, kept_bytes() >> 20)
library.malloc_trim(0)
print(kept_bytes() >> 20)
"""


def figures(mode: str) -> list[int]:
    """Page faults of ten uses, MiB that are kept then, and after memory was given back."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT, mode], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_memory_that_was_freed_is_used_again_without_new_pages() -> None:
    faults, kept, _ = figures("leave")
    assert faults > 1000, "else there is nothing to gain"
    assert kept < 64
    faults, kept, left = figures("keep")
    assert faults < 100
    assert 64 <= kept < 80
    assert left < 8
