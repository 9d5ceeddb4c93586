"""Time phrases: which stretch of time a question in plain words asks about."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """A stretch of time that a question names: ``since`` ≤ moment < ``until``, aware and in UTC; None is an open end, never both.

    ``phrase`` is a slice of the question, letter by letter. ``firm``: the words say when something was said or done ("yesterday", "last
    week"), so nothing outside can be meant; else they may as well be part of what is asked ("last year's budget", "on 7 May 2023", which
    people also talk about later).
    """

    phrase: str
    since: datetime | None
    until: datetime | None
    firm: bool


class TimePhrases(Protocol):
    """Finds time phrases."""

    async def find(self, question: str, *, now: datetime, zone: tzinfo) -> TimeRange | None:
        """The stretch of time that *question* asks about, or None if it names none, or none that has begun.

        *now* is an aware moment, from which relative words count; days, weeks and months are those of *zone*.

        Raises:
            Unavailable: the library that reads dates cannot be used.
        """
        ...
