"""Where in the log: positions, versions and visibility tokens.

Belongs here: arithmetic on positions. Does not belong here: asking a broker for them. A newcomer would get wrong: a version is only
comparable within one memory, because a memory lives in one stream at a time; ``epoch`` grows when it moves to another stream.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kalends.domain.errors import Fault, Invalid

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


def visibility_floors(text: str, *, pointer: str = "/min_visibility") -> dict[str, int]:
    """Read a visibility token back.

    Raises:
        Invalid: the text is not a token that ``visibility_token`` made.
    """
    try:
        decoded = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict) or not all(type(s) is int and 0 <= s < 1 << 63 for s in decoded.values()) or len(decoded) > 512:
        detail = "not a visibility token"
        raise Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="visibility")])
    return {str(stream): int(sequence) for stream, sequence in decoded.items()}
