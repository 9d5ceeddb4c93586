"""How the C library's allocator keeps what was freed.

Belongs here: two calls. Does not belong here: when to make them (``app.host``). A newcomer would get wrong: memory that was freed in an
arena is used again only by threads of that arena; with dozens of threads, and eight arenas to a processor as glibc has it by default,
twice as much is held as is used. And a large piece is mapped by itself, and given back when it is freed, only until the first such piece
has been freed: from then on pieces as large as that lie in the arenas too, between small ones that stay. The smallest allocations never
come here: each thread has a cache of its own.
"""

import ctypes
import os
import sys

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
"""``M_MMAP_THRESHOLD`` and ``M_ARENA_MAX`` of glibc (mallopt(3))."""
FEW = 4
LARGE_BYTES = 512 << 10
"""Of 128 KiB and of 512, the arenas held equally little (docs/decisions/0047)."""
FEW_VARIABLE, LARGE_VARIABLE = "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_"


def keep_few() -> bool:
    """Have no more than ``FEW`` arenas from now on, unless ``MALLOC_ARENA_MAX`` says how many; returns whether that was done.

    Other allocators than glibc's have no such limit; there nothing is done.
    """
    return _set(_ARENA_MAX, FEW, unless=FEW_VARIABLE)


def map_large_apart() -> bool:
    """Have pieces of ``LARGE_BYTES`` or more always given back when they are freed, unless ``MALLOC_MMAP_THRESHOLD_`` says from which on.

    Returns whether that was done; with other allocators than glibc's it is not.
    """
    return _set(_MMAP_THRESHOLD, LARGE_BYTES, unless=LARGE_VARIABLE)


def _set(parameter: int, value: int, *, unless: str) -> bool:
    if sys.platform != "linux" or os.environ.get(unless):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(parameter, value) == 1
