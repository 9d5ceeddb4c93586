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

GO_COMPILER = "all=-l"
"""What Go compiles servers with: nothing is inlined, which saves a sixth of the compiler's time; the tests of the operator take no longer
(291 s, and 288 s with inlining). Servers that are built alike share what they have in common."""


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
