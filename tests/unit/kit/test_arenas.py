"""The limit of the allocator's arenas, tried in processes of their own: it cannot be taken back."""

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
