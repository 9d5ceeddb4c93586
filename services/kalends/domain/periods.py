"""Periods: the days, ISO weeks, months and years of the calendar, and which of them lies in which.

Belongs here: ids of nodes, parents and spans, all in UTC. Does not belong here: what a node says. A newcomer would get wrong: a week
belongs to the month of its Thursday, so the first days of a year may lie in the year before, and a month spans whole weeks.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from kalends.domain.errors import Fault, Invalid

Level = Literal["year", "month", "week", "day", "segment"]
LEVELS: tuple[Level, ...] = ("year", "month", "week", "day", "segment")
"""From the widest to the narrowest; a node's children are of the next level."""

_NODE = re.compile(
    r"toc:(?:year:(?P<year>\d{4})|month:(?P<month>\d{4}-\d{2})|week:(?P<week>\d{4}-W\d{2})|day:(?P<day>\d{4}-\d{2}-\d{2})"
    r"|segment:(?P<segment>\d{4}-\d{2}-\d{2}):(?P<name>[0-9a-f]{16}))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
_TO_THURSDAY = timedelta(days=3)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A node's place in the calendar: its level, the first day of the period, and for a segment its name (16 hex digits)."""

    level: Level
    first: date
    name: str = ""

    @property
    def id(self) -> str:
        """The node's id, such as ``toc:week:2026-W05``."""
        match self.level:
            case "year":
                return f"toc:year:{_thursday(self.first).year:04}"
            case "month":
                thursday = _thursday(self.first)
                return f"toc:month:{thursday.year:04}-{thursday.month:02}"
            case "week":
                year, week, _ = self.first.isocalendar()
                return f"toc:week:{year:04}-W{week:02}"
            case "day":
                return f"toc:day:{self.first.isoformat()}"
            case "segment":
                return f"toc:segment:{self.first.isoformat()}:{self.name}"

    @property
    def label(self) -> str:
        """What people call it, such as ``30 January 2026``, ``week 5 of 2026``, ``January 2026`` or ``2026``."""
        match self.level:
            case "year":
                return f"{_thursday(self.first).year}"
            case "month":
                return f"{_thursday(self.first):%B %Y}"
            case "week":
                year, week, _ = self.first.isocalendar()
                return f"week {week} of {year}"
            case _:
                return f"{self.first:%d %B %Y}"

    @property
    def parent(self) -> "Period | None":
        """The period that it lies in; None for a year."""
        match self.level:
            case "segment":
                return Period("day", self.first)
            case "day":
                return Period("week", _monday(self.first))
            case "week":
                thursday = _thursday(self.first)
                return Period("month", _first_monday(thursday.year, thursday.month))
            case "month":
                return Period("year", _first_monday(_thursday(self.first).year, 1))
            case "year":
                return None

    @property
    def ancestors(self) -> "tuple[Period, ...]":
        """Parent, grandparent and so on up to the year."""
        parent = self.parent
        return () if parent is None else (parent, *parent.ancestors)

    @property
    def days(self) -> tuple[int, int]:
        """Its first day and the first day after it, as ordinals (``date.toordinal``); of a segment, those of its day.

        Ordinals, because the last year that there is ends after the last day that can be named.
        """
        start = self.first.toordinal()
        match self.level:
            case "week":
                return start, start + 7
            case "month":
                thursday = _thursday(self.first)
                return start, _first_monday_number(thursday.year + thursday.month // 12, thursday.month % 12 + 1)
            case "year":
                return start, _first_monday_number(_thursday(self.first).year + 1, 1)
            case _:
                return start, start + 1

    @property
    def span_us(self) -> tuple[int, int]:
        """Its first moment and the first moment after it, in microseconds since 1970, UTC."""
        start, end = self.days
        return (start - _EPOCH_DAY) * _DAY_US, (end - _EPOCH_DAY) * _DAY_US


def day_of(moment: datetime) -> Period:
    """The day of an aware *moment*, in UTC."""
    return Period("day", moment.astimezone(UTC).date())


def period_of(node_id: str, *, pointer: str = "/node") -> Period:
    """The period that a node id names.

    Raises:
        Invalid: it is no node id, or names a day, week or month that no calendar has.
    """
    found = _NODE.fullmatch(node_id)
    try:
        if found is not None:
            period = _named(found)
            if period.id == node_id:
                return period
    except (ValueError, OverflowError):
        found = None
    detail = "must be a node id, such as toc:month:2026-01"
    raise Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="node")])


def _named(found: re.Match[str]) -> Period:
    if found["year"]:
        return Period("year", _first_monday(int(found["year"]), 1))
    if found["month"]:
        year, _, month = found["month"].partition("-")
        return Period("month", _first_monday(int(year), int(month)))
    if found["week"]:
        year, _, week = found["week"].partition("-W")
        return Period("week", date.fromisocalendar(int(year), int(week), 1))
    if found["day"]:
        return Period("day", date.fromisoformat(found["day"]))
    return Period("segment", date.fromisoformat(found["segment"]), found["name"])


def _monday(day: date) -> date:
    # Only the week of 0001-01-01 begins on the first day that there is, so this never leaves the calendar.
    return day - timedelta(days=day.weekday())


def _thursday(monday: date) -> date:
    return monday + _TO_THURSDAY


def _first_monday(year: int, month: int) -> date:
    """The Monday of the first week whose Thursday lies in the month."""
    return date.fromordinal(_first_monday_number(year, month))


def _first_monday_number(year: int, month: int) -> int:
    first = date(year, month, 1).toordinal() if year <= date.max.year else date.max.toordinal() + 1
    # the first day that there is was a Monday
    return first + (3 - (first - 1) % 7) % 7 - 3
