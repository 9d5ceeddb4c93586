"""Importing without what is not needed.

A newcomer would get wrong: libraries that say "if it is there" take along whatever is installed, and pay for it at every start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Have imports of the packages *names* fail in the block, unless they were imported before; for optional ones only.

    Not for several threads at once: the list of modules is the process's.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
