"""What tests fetch or build once, and keep in the user's cache.

Belongs here: that one makes it while the others wait, and that nothing half made is ever used. Does not belong here: how something is made
(``opensearch``, ``s3``, ``debian``). A newcomer would get wrong: the home folder is looked up when this module is imported, because the
tests change it afterwards.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOME = Path.home()
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or HOME / ".cache") / "kalends"


class CannotFetch(Exception):
    """Something that a recipe needs is missing, or a step of it failed; says which."""


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Whether *folder* is for the caller to make, which nobody else does meanwhile; what an interrupted attempt left is gone."""
    ready = folder / "ready"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists():
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield True
        ready.touch()
