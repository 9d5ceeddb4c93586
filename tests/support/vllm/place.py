"""Where the environment of vLLM is kept: in the user's cache, under a hash of everything that it is made of.

Belongs here: the folder's name, and building into it once. Does not belong here: the steps (``recipe``). A newcomer would get wrong: tests
run without a home, so the environment is remembered as it was when this module was imported, which is before any test.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.vllm import recipe

_INPUTS = ("lock.txt", "recipe.py", "standins.py", "conversion.py")
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith(("KALENDS_", "VLLM_", "PYTHON"))}
"""The environment of the programs that are run here: the user's own, without what would change vLLM or Python."""

_BASE = os.environ.get("XDG_CACHE_HOME", "")
CACHE = (Path(_BASE) if _BASE else Path.home() / ".cache") / "kalends"


def folder() -> Path:
    """Where the environment is, or will be."""
    made_of = hashlib.sha256(f"{sys.version_info[:2]} {sysconfig.get_platform()} {platform.libc_ver()}".encode())
    for name in _INPUTS:
        made_of.update((recipe.HERE / name).read_bytes())
    return CACHE / f"vllm-{made_of.hexdigest()[:16]}"


def built() -> Path:
    """The folder, once everything is in it; of several that ask at once one builds and the others wait.

    Raises:
        CannotBuild: see ``recipe.build``.
    """
    place = folder()
    ready = place / "ready"
    if ready.exists():
        return place
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(place.with_suffix(".lock")) as lock:
        if not ready.exists():
            # of what an earlier build left unfinished nobody knows how far it came
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            recipe.build(place, OUTSIDE, lock=lock)
            ready.touch()
    return place


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the lock of *path*, by the descriptor of its file; the system gives it back when nobody has it open any more."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
