"""Segments: a session's day, cut where it fell silent or grew too long.

Belongs here: where to cut, and the ids of what comes of it. Does not belong here: reading events, or what a segment is about. A newcomer
would get wrong: a cut depends only on the events of one session on one day (UTC), so whatever arrives late, nothing but that day of that
session is cut again, and the same events always give the same segments with the same ids.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kalends.domain.events import EventId, moment
from kalends.domain.periods import Period, day_of

_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """When a segment ends: after a silence of more than ``silence_us`` microseconds, or before it would exceed ``tokens``."""

    silence_us: int = 30 * _MINUTE_US
    tokens: int = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event as cutting sees it: when it occurred (microseconds), its version, and its text's length in the model's tokens."""

    event_id: EventId
    occurred_us: int
    version: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Steps of one session that belong together, in their order; never empty, never of two days."""

    period: Period
    session_id: str
    steps: tuple[Step, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all its texts."""
        return sum(step.tokens for step in self.steps)

    def is_quiet(self, now_us: int, *, cutting: Cutting) -> bool:
        """Whether nothing that happens from *now_us* on can belong to it any more."""
        last_us = self.steps[-1].occurred_us
        return now_us - last_us > cutting.silence_us or day_of(moment(now_us)) > day_of(moment(last_us))


def cut(session_id: str, steps: Iterable[Step], *, cutting: Cutting) -> list[Segment]:
    """The segments of a session, oldest first; *steps* come in any order. A step that is too long alone is a segment of its own."""
    segments: list[Segment] = []
    taken: list[Step] = []
    tokens = 0
    for step in sorted(steps, key=lambda one: (one.occurred_us, one.version)):
        if taken and (_is_apart(taken[-1], step, cutting) or tokens + step.tokens > cutting.tokens):
            segments.append(_segment(session_id, taken))
            taken, tokens = [], 0
        taken.append(step)
        tokens += step.tokens
    if taken:
        segments.append(_segment(session_id, taken))
    return segments


def _is_apart(before: Step, after: Step, cutting: Cutting) -> bool:
    silent = after.occurred_us - before.occurred_us > cutting.silence_us
    return silent or day_of(moment(before.occurred_us)) != day_of(moment(after.occurred_us))


def _segment(session_id: str, taken: Sequence[Step]) -> Segment:
    first = taken[0]
    # the memory is no part of the name: ids are looked up within one
    name = hashlib.blake2b(f"{session_id}\0{first.event_id}".encode(), digest_size=8).hexdigest()
    return Segment(period=Period("segment", day_of(moment(first.occurred_us)).first, name), session_id=session_id, steps=tuple(taken))
