"""How the process's allocator treats the memory of tensors that are freed."""

from __future__ import annotations

import ctypes
import platform
from typing import Final

from lorakit.process_memory import status_bytes

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_M_ARENA_MAX: Final = -8
_LARGEST: Final = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Lets tensors on a CPU be made from memory that others have left, without asking the kernel for it anew.

    glibc returns blocks over 32 MiB to the kernel as soon as they are freed, and every page that it gets
    again is first filled with zeros: a third of the time of a pass whose activations are that large. From
    here on memory is kept until `malloc_trim`. For all threads, so one arena is used; call it before there
    are any. False where the C library is another one, and nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST), (_M_ARENA_MAX, 1))
    return all(library.mallopt(option, value) == 1 for option, value in wanted)


def kept_bytes() -> int:
    """What has been freed and is still the process's: the system does not count it as available, but new
    tensors are made from it. 0 where the C library or the system does not tell.
    """
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0
    ask.restype = _MallInfo
    info = ask()
    # Pages that were given back lie in free blocks as well, but are not resident any more.
    resident = status_bytes("RssAnon") - int(info.uordblks) - int(info.hblkhd)
    return max(0, min(int(info.fordblks), resident))


class _MallInfo(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )
