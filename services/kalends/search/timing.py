"""Time phrases of a question: which stretch of time is meant, and what becomes of it.

Belongs here: the asker's zone, the choice between a filter and a bonus, and the bonus. Does not belong here: reading words
(``ports.phrases``). A newcomer would get wrong: people talk about a day after it is over, so a date in a question may only lift what was
said on that day; what was said later must still be found.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kalends.domain.errors import DeadlineExceeded, Fault, Invalid
from kalends.domain.events import EventKey, microseconds
from kalends.domain.queries import Criteria, Filter
from kalends.domain.scope import Scope
from kalends.ports.phrases import TimePhrases, TimeRange
from kalends.ports.timeline import Timeline

_OF_THE_MACHINE = frozenset({"localtime", "posixrules", "Factory"})
"""Files beside the zones that are none, or another one on every machine."""

_READING_S = 1.0
"""Longest time that reading a phrase may take; a millisecond is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFilter:
    """What became of a phrase: a filter if it is firm, else a bonus; not ``applied`` where nothing lay within it."""

    stretch: TimeRange
    applied: bool


def zone_of(name: str) -> tzinfo:
    """The time zone that the IANA calls *name*.

    Raises:
        Invalid: it knows none of that name.
    """
    try:
        if name == "UTC":
            return UTC
        if name not in _OF_THE_MACHINE:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _no_zone() from error
    raise _no_zone()


def _no_zone() -> Invalid:
    detail = "must be a time zone's IANA name, such as Europe/Berlin"
    return Invalid(detail, faults=[Fault(pointer="/timezone", detail=detail, code="timezone")])


async def stretch_of(phrases: TimePhrases, question: str, *, now: datetime, zone: tzinfo, seconds: float) -> TimeRange | None:
    """The stretch of time that *question* asks about, if any, read within *seconds*.

    Raises:
        DeadlineExceeded, Unavailable: it could not be read.
    """
    deadline = min(seconds, _READING_S)
    try:
        async with asyncio.timeout(deadline):
            return await phrases.find(question, now=now, zone=zone)
    except TimeoutError as error:
        raise DeadlineExceeded(f"reading the time phrase took longer than {deadline:.3f} s", dependency="phrases") from error


def narrowed(filters: Filter, stretch: TimeRange) -> Filter:
    """*filters*, and only within *stretch*."""
    return replace(filters, since=stretch.since, until=stretch.until)


class Lift:
    """Lifts what happened within a stretch by a share of the best score, once, at the end of the ranking.

    A bonus before the last step as well was measured: smoothing spreads it to the neighbours, and less is found.
    """

    def __init__(self, *, timeline: Timeline, scope: Scope, stretch: TimeRange, share: float) -> None:
        self._timeline = timeline
        self._scope = scope
        self._share = share
        self._within = Criteria(
            since_us=None if stretch.since is None else microseconds(stretch.since),
            until_us=None if stretch.until is None else microseconds(stretch.until),
        )
        self.lifted = False

    async def __call__(self, scores: Mapping[EventKey, float]) -> dict[EventKey, float]:
        """*scores* with the bonus where it is due."""
        inside = await self._timeline.matching(self._scope, sorted(scores), criteria=self._within)
        self.lifted = self.lifted or bool(inside)
        bonus = self._share * max(0.0, max(scores.values(), default=0.0))
        return {key: score + bonus if key in inside else score for key, score in scores.items()}


async def lifted(scores: Mapping[EventKey, float], lift: Lift | None) -> Mapping[EventKey, float]:
    """*scores*, with the bonus of *lift* if there is one."""
    return scores if lift is None else await lift(scores)
