"""Giving memory back: pages of mapped files that this process has touched and can read again from the disk.

Belongs here: the one system call. Does not belong here: when to make it (``vectors``). A newcomer would get wrong: only *shared* mappings
of files may be given back; their pages, written ones too, stay in the system's cache. A private mapping would lose what was written to
it.
"""

import ctypes
import sys
from pathlib import Path

_NORMAL = 0
"""``MADV_NORMAL``: the system reads ahead. Edge asks for the opposite, and then each 4 KiB of a token vector is a read of its own."""
_DONTNEED = 4
"""``MADV_DONTNEED`` of Linux (madvise(2)): the pages leave this process; for shared file mappings nothing is lost."""


def give_back(folder: Path, *, named: str) -> int:
    """Give back the pages of every file below *folder* with *named* in its path; returns the bytes of address space that were advised.

    From then on the system reads ahead in them. Does nothing on systems other than Linux.
    """
    if sys.platform != "linux":
        return 0
    advised = 0
    system = ctypes.CDLL(None, use_errno=True)
    prefix = f"{folder}/"
    with Path("/proc/self/maps").open(encoding="utf-8", errors="surrogateescape") as maps:
        lines = [line for line in maps if prefix in line and named in line]
    for line in lines:
        span, rights, *_ = line.split(maxsplit=2)
        if not rights.endswith("s"):
            continue
        first, last = (int(end, 16) for end in span.split("-"))
        where, size = ctypes.c_void_p(first), ctypes.c_size_t(last - first)
        if system.madvise(where, size, _DONTNEED) == 0 and system.madvise(where, size, _NORMAL) == 0:
            advised += last - first
    return advised
