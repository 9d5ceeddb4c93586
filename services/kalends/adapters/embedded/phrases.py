"""Time phrases of English questions, resolved by dateparser.

Belongs here: turning a phrase of the grammar into a stretch of time. Does not belong here: finding the phrase (``phrase_grammar``), or what
a search does with it. A newcomer would get wrong: dateparser gives one moment, not a stretch; the width is that of the words (a day, an ISO
week, a month), and a day begins at the midnight of the asker's zone, which need not exist on the day that the clocks change.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import structlog

from kalends.adapters.embedded import phrase_grammar as grammar
from kalends.adapters.embedded.phrase_grammar import Candidate
from kalends.adapters.embedded.threads import Lane
from kalends.domain.errors import Unavailable
from kalends.ports.phrases import TimeRange

log = structlog.get_logger(__name__)

PHRASE_ERRORS: dict[type[Exception], type[Unavailable]] = {ImportError: Unavailable, OSError: Unavailable}
"""What the library may raise besides finding no date: it reads its data of the language at the first use."""

_SHORT = 512
"""Characters up to which the grammar takes less than a millisecond, whatever they are; a longer question is read off the event loop."""

_SAMPLES = ("yesterday", "2 days ago", "last Friday", "on 5 March 2024", "2024-03-05", "in March")
"""One of each kind: the library reads its data and compiles its expressions when it first meets them."""

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_FEW = {"couple": (2, 3), "few": (2, 6)}
"""How many units are meant by words that are no numbers, from and to."""

_AGO = re.compile(r"(?:(\w+)\s+(?:or|to)\s+)?(\w+|.*\b(?:couple|few)(?:\s+of)?)\s+(hour|day|week|month|year)s?\s+ago", re.IGNORECASE)
_ROLLING = re.compile(r".*?\b(?:last|past)\s+(?:(.*)\s+)?(hour|day|week|month|quarter|year)s?", re.IGNORECASE)
_NAMED = re.compile(r"(?:(this|last|previous)|(?:this\s+)?(past))\s+(\w+)", re.IGNORECASE)

Parse = Callable[[str, datetime], Any]


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of the asker's own time, without a zone; ``fold`` of its ends tells the two passes of an hour apart."""

    start: datetime
    end: datetime


@asynccontextmanager
async def open_phrases() -> AsyncIterator["DateparserPhrases"]:
    """A reader of time phrases with its library loaded, which takes a fifth of a second; without it, phrases will be Unavailable."""
    opened = DateparserPhrases()
    try:
        await opened.load()
        yield opened
    finally:
        await opened.close()


class DateparserPhrases:
    """See ``ports.phrases.TimePhrases``. Dateparser runs in one thread; load it before requests come, as its import holds up the loop."""

    def __init__(self) -> None:
        self._lane = Lane("phrases")
        self._parse: Parse | None = None

    async def load(self) -> None:
        """Import the library and have it read its data; a failure is logged, and met again by the first phrase."""
        try:
            for words in _SAMPLES:
                await self._lane.run(self._find, words, datetime.now(UTC), UTC)
        except Unavailable as error:
            log.warning("time phrases cannot be read", detail=error.detail)

    async def find(self, question: str, *, now: datetime, zone: tzinfo) -> TimeRange | None:
        """See the port; a short question without a time phrase never leaves the event loop."""
        if len(question) > _SHORT:
            return await self._lane.run(self._find, question, now, zone)
        found = list(grammar.candidates(question))
        return await self._lane.run(self._read, found, now, zone) if found else None

    async def close(self) -> None:
        """End the thread."""
        await self._lane.close()

    def _find(self, question: str, now: datetime, zone: tzinfo) -> TimeRange | None:
        found = list(grammar.candidates(question))
        return self._read(found, now, zone) if found else None

    def _read(self, found: list[Candidate], now: datetime, zone: tzinfo) -> TimeRange | None:
        """The first firm phrase that has a meaning, else the first that has one."""
        if self._parse is None:
            self._parse = _open()
        best: TimeRange | None = None
        for candidate in found:
            stretch = _stretch(candidate, now, zone, self._parse)
            if stretch is None:
                continue
            if stretch.firm:
                return stretch
            best = best or stretch
        return best


def _open() -> Parse:
    """Dateparser for English, looking back.

    Raises:
        Unavailable: it cannot be imported.
    """
    try:
        from dateparser.date import DateDataParser
    except tuple(PHRASE_ERRORS) as error:
        raise Unavailable("the library that reads dates cannot be used", dependency="phrases") from error

    def parse(text: str, base: datetime) -> Any:
        # The base is the asker's wall clock and is read as UTC, so that no zone but his is ever looked at.
        settings = {
            "RELATIVE_BASE": base,
            "PREFER_DATES_FROM": "past",
            "PREFER_DAY_OF_MONTH": "first",
            "PREFER_MONTH_OF_YEAR": "first",
            "TIMEZONE": "UTC",
            "RETURN_AS_TIMEZONE_AWARE": False,
            "PARSERS": ["relative-time", "absolute-time"],
        }
        return DateDataParser(languages=["en"], settings=settings).get_date_data(text)

    return parse


def _stretch(candidate: Candidate, now: datetime, zone: tzinfo, parse: Parse) -> TimeRange | None:
    """What *candidate* means; None if no calendar has it, it is empty, or it has not begun."""
    try:
        reader = _Reader(now, zone, parse)
        since, until = reader.bounds(candidate)
    except (ValueError, OverflowError) as error:
        log.debug("time phrase without a meaning", kind=type(error).__name__)
        return None
    begun = since is None or since <= now
    bounding = since is not None or (until is not None and until <= now)
    if not begun or not bounding or (since is not None and until is not None and since >= until):
        return None
    return TimeRange(phrase=candidate.phrase, since=since, until=until, firm=candidate.firm)


class _Reader:
    """Reads terms as seen at one moment in one zone.

    Its methods raise ValueError or OverflowError for what no calendar has.
    """

    def __init__(self, now: datetime, zone: tzinfo, parse: Parse) -> None:
        self._now = now
        self._zone = zone
        self._base = now.astimezone(zone).replace(tzinfo=None)
        self._today = self._base.date()
        self._parse = parse

    def bounds(self, candidate: Candidate) -> tuple[datetime | None, datetime | None]:
        """First moment and end, in UTC."""
        if candidate.relation == "between":
            return self._between(*candidate.terms)
        span = self._rolling(candidate.terms[0]) if candidate.rolling else self._span(candidate.terms[0])
        start, end = self._moment(span.start), self._moment(span.end)
        ends: dict[grammar.Relation, tuple[datetime | None, datetime | None]] = {
            "since": (start, None),
            "after": (end, None),
            "before": (None, start),
            "until": (None, end),
        }
        return ends.get(candidate.relation, (start, end))

    def _between(self, first: str, second: str) -> tuple[datetime, datetime | None]:
        if second.lower() == "now":
            return self._moment(self._span(first).start), None
        lower, upper = self._pair(first, second)
        return self._moment(lower.start), self._moment(upper.end)

    def _moment(self, local: datetime) -> datetime:
        """*local* time as UTC; a midnight that does not exist is the moment at which the clocks went past it."""
        return local.replace(tzinfo=self._zone).astimezone(UTC)

    def _pair(self, first: str, second: str) -> tuple[_Span, _Span]:
        """Two dates, each with what only the other says: its month, or its year."""
        if grammar.is_number(first):
            upper = self._span(second)
            return self._day_of(first, upper.start), upper
        if grammar.is_number(second):
            lower = self._span(first)
            return lower, self._day_of(second, lower.start)
        lower, upper = self._span(first), self._span(second)
        if grammar.has_year(second) and not grammar.has_year(first) and grammar.is_dated(first):
            lower = self._of_year(first, upper.start.year)
            if lower.start > upper.start:
                lower = self._of_year(first, upper.start.year - 1)
        elif not grammar.has_year(second) and grammar.is_dated(second):
            upper = self._of_year(second, lower.start.year)
            if upper.start < lower.start:
                upper = self._of_year(second, lower.start.year + 1)
        elif grammar.is_weekday(second) and upper.start < lower.start:
            upper = _days(upper.start.date() + _WEEK, 1)
        return lower, upper

    def _of_year(self, term: str, year: int) -> _Span:
        return self._span(f"{term} {year}")

    def _day_of(self, number: str, beside: datetime) -> _Span:
        return _days(beside.date().replace(day=int(re.sub(r"\D", "", number))), 1)

    def _span(self, term: str) -> _Span:
        """One date as a stretch as wide as its words."""
        ago = _AGO.fullmatch(term)
        if ago:
            return self._ago(ago)
        named = _NAMED.fullmatch(term)
        if named:
            return self._named((named[1] or named[2]).lower(), named[3].lower())
        text = re.sub(r"\bthe\s+|\bof\b|\.|,", " ", term, flags=re.IGNORECASE).strip()
        return self._resolved(text)

    def _resolved(self, text: str) -> _Span:
        found = self._parse(text, self._base)
        if found.date_obj is None:
            raise ValueError("no date")
        return _widened(found.date_obj.date(), found.period)

    def _ago(self, ago: re.Match[str]) -> _Span:
        unit = ago[3].lower()
        least, most = _count(ago[2])
        least = _count(ago[1])[0] if ago[1] else least
        if unit == "hour":
            half = timedelta(minutes=30)
            earliest, latest = (self._now - timedelta(hours=count) for count in (most, least))
            return _Span(self._local(earliest - half), self._local(latest + half))
        if unit == "week":  # counted back from today, so the three days on either side of that day
            half = 3 * _DAY
            return _Span(self._day_ago(7 * most).start - half, self._day_ago(7 * least).end + half)
        return _Span(self._resolved(f"{most} {unit}s ago").start, self._resolved(f"{least} {unit}s ago").end)

    def _day_ago(self, days: int) -> _Span:
        return self._resolved(f"{days} days ago")

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(self._zone).replace(tzinfo=None)

    def _rolling(self, term: str) -> _Span:
        """So many whole days, weeks and so on before today, and today."""
        found = _ROLLING.fullmatch(term)
        if found is None:
            raise ValueError("no stretch")
        count, unit = _count(found[1] or "one")[1], found[2].lower()
        end = _days(self._today, 1).end
        match unit:
            case "hour":
                return _Span(self._local(self._now - timedelta(hours=count)), end)
            case "day" | "week":
                return _Span(_days(self._today - count * (_DAY if unit == "day" else _WEEK), 1).start, end)
            case _:
                months = count * {"month": 1, "quarter": 3, "year": 12}[unit]
                return _Span(_days(_months_before(self._today, months), 1).start, end)

    def _named(self, which: str, what: str) -> _Span:
        """This or the last week, weekend, Friday and so on."""
        this = which == "this"
        monday = self._today - timedelta(days=self._today.weekday())
        if what in grammar.WEEKDAYS:
            return _days(monday + grammar.WEEKDAYS.index(what) * _DAY, 1) if this else self._resolved(what)
        match what:
            case "week" | "month" | "year":
                return _widened(self._today, what) if this else self._resolved(f"1 {what} ago")
            case "weekend":
                return _days(monday + timedelta(days=5 if this else -2), 2)
            case "quarter":
                return _quarter(self._today if this else _months_before(self._today, 3))
            case "night":
                return _Span(datetime.combine(self._today - _DAY, time(18)), datetime.combine(self._today, time(6)))
        return _days(self._today, 1)  # this morning, afternoon or evening


def _count(words: str) -> tuple[int, int]:
    """A number, or how many are meant by "a couple" and "a few", from and to."""
    for word, meant in _FEW.items():
        if re.search(rf"\b{word}\b", words, re.IGNORECASE):
            return meant
    number = grammar.NUMBERS.get(words.lower()) or int(words)
    return number, number


def _widened(day: date, period: str) -> _Span:
    """The period of *day*."""
    match period:
        case "week":
            return _days(day - timedelta(days=day.weekday()), 7)
        case "month":
            first = day.replace(day=1)
            return _Span(_midnight(first), _midnight(_months_before(first, -1)))
        case "year":
            first = day.replace(month=1, day=1)
            return _Span(_midnight(first), _midnight(first.replace(year=first.year + 1)))
        case _:
            return _days(day, 1)


def _quarter(day: date) -> _Span:
    first = day.replace(day=1, month=day.month - (day.month - 1) % 3)
    return _Span(_midnight(first), _midnight(_months_before(first, -3)))


def _days(first: date, count: int) -> _Span:
    return _Span(_midnight(first), _midnight(first + count * _DAY))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _months_before(day: date, months: int) -> date:
    """The same day of another month, or its last one if it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    for last in (day.day, 30, 29, 28):
        if last <= day.day:
            try:
                return date(year, month + 1, last)
            except ValueError:
                if last == 28:
                    raise
    raise ValueError("no such month")
