"""How many arenas the C library's allocator keeps.

Belongs here: the one call. Does not belong here: when to make it (``app.host``). A newcomer would get wrong: memory that was freed in an
arena is used again only by threads of that arena; with dozens of threads, and eight arenas to a processor as glibc has it by default,
twice as much is held as is used. The smallest allocations never come here: each thread has a cache of its own.
"""

import ctypes
import os
import sys

_ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc (mallopt(3))."""
FEW = 4
VARIABLE = "MALLOC_ARENA_MAX"


def keep_few() -> bool:
    """Have no more than ``FEW`` arenas from now on, unless ``MALLOC_ARENA_MAX`` says how many; returns whether that was done.

    Other allocators than glibc's have no such limit; there nothing is done.
    """
    if sys.platform != "linux" or os.environ.get(VARIABLE):
        return False
    limit = getattr(ctypes.CDLL(None), "mallopt", None)
    return limit is not None and limit(_ARENA_MAX, FEW) == 1
