"""How the allocator keeps what was freed, tried in processes of their own: it cannot be taken back."""

import os
import subprocess
import sys

LINUX = sys.platform == "linux"

_TRY = """
import ctypes, sys, threading
from kalends.kit import arenas

told = arenas.keep_few() if sys.argv[1] == "few" else None
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
here, ready, over = [], threading.Barrier(25), threading.Event()

def take():
    # more than a thread's cache holds, less than what is mapped by itself; a heap of an arena is 64 MiB, aligned so
    here.append(libc.malloc(60_000) >> 26)
    ready.wait(20)
    over.wait(20)

threads = [threading.Thread(target=take) for _ in range(24)]
for one in threads:
    one.start()
ready.wait(20)
over.set()
for one in threads:
    one.join()
print(told, len(set(here)))
"""


def tried(how: str, **environment: str) -> tuple[str, int]:
    """What the call said, and in how many arenas 24 threads found memory."""
    told = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | environment
    done = subprocess.run([sys.executable, "-c", _TRY, how], capture_output=True, text=True, check=True, timeout=60, env=told)
    said, arenas = done.stdout.split()
    return said, int(arenas)


def test_many_threads_share_few_arenas() -> None:
    """Where they would have one each, up to eight for a processor."""
    assert not LINUX or tried("many")[1] > 5
    said, arenas = tried("few")
    assert said == str(LINUX)
    assert not LINUX or arenas <= 5  # the first of them may lie across two pieces


def test_what_the_environment_says_stays() -> None:
    """Whoever set it knows why."""
    said, arenas = tried("few", MALLOC_ARENA_MAX="12")
    assert said == "False"
    assert not LINUX or arenas > 5


_TRY_LARGE = """
import ctypes, sys
from kalends.kit import arenas

told = arenas.map_large_apart() if sys.argv[1] == "apart" else None
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def is_apart():
    place = libc.malloc(1 << 20)
    lines = [line for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]")] if sys.platform == "linux" else []
    heaps = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in lines]
    libc.free(place)
    return not any(first <= place < last for first, last in heaps)

is_apart()
print(told, is_apart())
"""


def tried_large(how: str, **environment: str) -> list[str]:
    """What the call said, and whether a piece of a MiB lies by itself after another such piece was freed."""
    told = {name: value for name, value in os.environ.items() if name != "MALLOC_MMAP_THRESHOLD_"} | environment
    done = subprocess.run([sys.executable, "-c", _TRY_LARGE, how], capture_output=True, text=True, check=True, timeout=60, env=told)
    return done.stdout.split()


def test_a_large_piece_is_given_back_when_it_is_freed() -> None:
    """However many such pieces were freed before; without the call only the first is."""
    assert not LINUX or tried_large("as it is") == ["None", "False"]
    assert tried_large("apart") == [str(LINUX), "True"]


def test_what_the_environment_says_of_large_pieces_stays() -> None:
    """Whoever set it knows why."""
    said, apart = tried_large("apart", MALLOC_MMAP_THRESHOLD_=str(8 << 20))
    assert said == "False"
    assert not LINUX or apart == "False"
