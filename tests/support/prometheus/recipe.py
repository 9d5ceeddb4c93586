"""Prometheus and promtool: this machine's, or those of Debian's package.

Belongs here: finding them. Does not belong here: starting (``server``).
"""

import shutil
from functools import cache
from pathlib import Path

from tests.support import debian

PACKAGE = "prometheus"


def prometheus() -> Path:
    """The server.

    Raises:
        CannotFetch: there is none, and the package cannot be had.
    """
    return _program("prometheus")


def promtool() -> Path:
    """What checks rules.

    Raises:
        CannotFetch: there is none, and the package cannot be had.
    """
    return _program("promtool")


@cache
def _program(name: str) -> Path:
    found = shutil.which(name)
    return Path(found) if found else debian.unpacked(PACKAGE) / "usr" / "bin" / name
