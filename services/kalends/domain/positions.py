"""Where in the log: positions, versions and visibility tokens.

Belongs here: arithmetic on positions. Does not belong here: asking a broker for them. A newcomer would get wrong: a version is only
comparable within one memory, because a memory lives in one stream at a time; ``epoch`` grows when it moves to another stream. And how far a
dedicated memory's stream has come tells of that memory alone, so nobody may ask it about another's.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kalends.domain.errors import Fault, Invalid
from kalends.domain.scope import Scope

OWN = "EV_"
"""What the name of a dedicated memory's stream begins with; its scope's key follows."""

_SEQUENCE_BITS = 48
_COMPACT = json.JSONEncoder(separators=(",", ":")).encode


class Position(NamedTuple):
    """One message of the log: its stream, its sequence (from 1) and the stream's epoch; a tuple, because each event has several made."""

    stream: str
    sequence: int
    epoch: int = 0

    @property
    def version(self) -> int:
        """The guard that projections compare: a later message of a memory has a larger version."""
        return (self.epoch << _SEQUENCE_BITS) | self.sequence


def sequence_of(version: int) -> int:
    """The sequence within its stream that *version* was made of."""
    return version & ((1 << _SEQUENCE_BITS) - 1)


def stream_of_own(scope: Scope) -> str:
    """The name of the stream that the memory of *scope* has for itself if it is dedicated."""
    return OWN + scope.memory_itself.key.upper()


def memory_of(stream: str) -> str:
    """The key of the dedicated memory whose stream is *stream*."""
    return stream.removeprefix(OWN).lower()


Floors = Mapping[str, int]
"""Per stream, the highest sequence up to which everything has been dealt with."""


def highest(positions: Iterable[Position]) -> dict[str, int]:
    """The largest sequence of each stream among *positions*."""
    found: dict[str, int] = {}
    for position in positions:
        found[position.stream] = max(found.get(position.stream, 0), position.sequence)
    return found


def covers(floors: Floors, wanted: Floors) -> bool:
    """Whether *floors* have reached everything in *wanted*."""
    return all(floors.get(stream, 0) >= sequence for stream, sequence in wanted.items())


def visibility_token(wanted: Floors) -> str:
    """*wanted* as the opaque text that a write returns."""
    return base64.urlsafe_b64encode(_COMPACT(dict(sorted(wanted.items()))).encode()).decode().rstrip("=")


def visibility_floors(text: str, *, scope: Scope | None = None, pointer: str = "/min_visibility") -> dict[str, int]:
    """Read a visibility token back.

    With *scope*, one that names another memory's own stream is none: waiting for it would tell how much that memory holds.

    Raises:
        Invalid: the text is not a token that ``visibility_token`` made, or not one of this memory.
    """
    try:
        decoded = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        decoded = None
    good = isinstance(decoded, dict) and len(decoded) <= 512 and all(type(s) is int and 0 <= s < 1 << 63 for s in decoded.values())
    if good and scope is not None:
        good = all(stream == stream_of_own(scope) or not stream.startswith(OWN) for stream in decoded)
    if not good:
        detail = "not a visibility token"
        raise Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="visibility")])
    return {str(stream): int(sequence) for stream, sequence in decoded.items()}
