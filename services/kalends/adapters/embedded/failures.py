"""What the engines' own exceptions become: one table for all of them.

Belongs here: ``ENGINE_ERRORS`` and the context manager that applies it. Does not belong here: errors of ours, which pass through. A
newcomer would get wrong: Edge raises bare ``Exception`` and tantivy ``ValueError`` for nearly everything, so the text decides, and only
while an *opened* engine fails may waiting help; what cannot be opened is damaged.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kalends.domain.errors import Damaged, KalendsError, Misconfigured, Occupied, Unavailable

_PANIC = "PanicException"
"""What a panic in Rust code becomes; a ``BaseException`` that cannot be imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An exception of exactly *foreign* or one below it whose text holds *says* becomes *becomes*."""

    foreign: type[BaseException]
    becomes: type[KalendsError]
    says: str = ""
    exactly: bool = False

    def fits(self, error: BaseException) -> bool:
        """Whether this rule is about *error*."""
        kind = type(error) is self.foreign if self.exactly else isinstance(error, self.foreign)
        return kind and self.says in str(error)


def _from_disk(foreign: type[BaseException], *, exactly: bool = False) -> list[Rule]:
    """The disk's own words, which every engine passes on in its errors."""
    found = {"No space left": Unavailable, "Permission denied": Misconfigured, "Read-only file system": Misconfigured}
    return [Rule(foreign=foreign, exactly=exactly, says=says, becomes=becomes) for says, becomes in found.items()]


_DISK = [*_from_disk(OSError), Rule(foreign=OSError, becomes=Unavailable)]
_EDGE = [*_DISK, *_from_disk(Exception, exactly=True)]
_TANTIVY = [*_DISK, *_from_disk(ValueError)]

_SQLITE = [
    *_DISK,
    Rule(foreign=sqlite3.Error, says="malformed", becomes=Damaged),
    Rule(foreign=sqlite3.Error, says="not a database", becomes=Damaged),
    Rule(foreign=sqlite3.Error, becomes=Unavailable),
]

ENGINE_ERRORS: Mapping[str, Sequence[Rule]] = {
    "vector": [*_EDGE, Rule(foreign=Exception, exactly=True, becomes=Unavailable)],
    "vector, opening": [
        *_EDGE,
        Rule(foreign=Exception, exactly=True, says="WouldBlock", becomes=Occupied),
        Rule(foreign=Exception, exactly=True, becomes=Damaged),
    ],
    "lexical": [*_TANTIVY, Rule(foreign=ValueError, becomes=Unavailable)],
    "lexical, opening": [
        *_TANTIVY,
        Rule(foreign=ValueError, says="LockBusy", becomes=Occupied),
        Rule(foreign=ValueError, becomes=Damaged),
    ],
    "timeline": _SQLITE,
    "calendar": _SQLITE,
    # onnxruntime has sixteen exceptions of its own without a common parent; the blocks hold one call of it and nothing else
    "model": [*_DISK, Rule(foreign=Exception, becomes=Unavailable)],
    "model, opening": [*_DISK, Rule(foreign=Exception, becomes=Damaged)],
    "disk": _DISK,
}
"""By engine; the first rule that fits decides. What no rule fits is a mistake of ours and passes untranslated."""


def translate(engine: str, error: BaseException) -> KalendsError | None:
    """*error* as one of ours, or None if it is not the engine's."""
    dependency = engine.partition(",")[0]
    if type(error).__name__ == _PANIC:
        return Unavailable(f"{dependency}: the engine panicked: {error}", dependency=dependency)
    for rule in ENGINE_ERRORS[engine]:
        if rule.fits(error):
            return rule.becomes(f"{dependency}: {error}", dependency=dependency)
    return None


@contextlib.contextmanager
def translated(engine: str) -> Iterator[None]:
    """Let only errors of ours out of the block."""
    try:
        yield
    except KalendsError:
        raise
    except BaseException as error:
        ours = translate(engine, error)
        if ours is None:
            raise
        raise ours from error
