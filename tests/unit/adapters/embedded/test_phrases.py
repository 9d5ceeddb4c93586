"""Which words are a time phrase, and which stretch they mean."""

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.strategies import ANY_TEXTS

from kalends.adapters.embedded import phrase_grammar
from kalends.adapters.embedded.phrases import PHRASE_ERRORS, DateparserPhrases, open_phrases
from kalends.domain.errors import Unavailable
from kalends.ports.phrases import TimeRange

WEDNESDAY = datetime(2026, 3, 18, 10, 30, tzinfo=UTC)
OPEN = ""


@pytest.fixture
async def phrases():
    """A reader with its library loaded."""
    async with open_phrases() as opened:
        yield opened


def told(found: TimeRange | None, *, zone: str = "UTC") -> tuple[str, str] | None:
    """The ends of a stretch as the asker's clock shows them; a midnight without its time."""
    if found is None:
        return None
    ends = []
    for moment in (found.since, found.until):
        text = OPEN if moment is None else moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")
        ends.append(text.removesuffix(" 00:00"))
    return ends[0], ends[1]


FIRM = {
    "yesterday": ("2026-03-17", "2026-03-18"),
    "the day before yesterday": ("2026-03-16", "2026-03-17"),
    "yesterday evening": ("2026-03-17", "2026-03-18"),
    "last night": ("2026-03-17 18:00", "2026-03-18 06:00"),
    "last week": ("2026-03-09", "2026-03-16"),
    "previous week": ("2026-03-09", "2026-03-16"),
    "LAST  Week": ("2026-03-09", "2026-03-16"),
    "last month": ("2026-02-01", "2026-03-01"),
    "last quarter": ("2025-10-01", "2026-01-01"),
    "last year": ("2025-01-01", "2026-01-01"),
    "last weekend": ("2026-03-14", "2026-03-16"),
    "last Friday": ("2026-03-13", "2026-03-14"),
    "last Wednesday": ("2026-03-11", "2026-03-12"),
    "this past Tuesday": ("2026-03-17", "2026-03-18"),
    "3 days ago": ("2026-03-15", "2026-03-16"),
    "three days ago": ("2026-03-15", "2026-03-16"),
    "an hour ago": ("2026-03-18 09:00", "2026-03-18 10:00"),
    "2 hours ago": ("2026-03-18 08:00", "2026-03-18 09:00"),
    "a week ago": ("2026-03-08", "2026-03-15"),
    "two weeks ago": ("2026-03-01", "2026-03-08"),
    "a couple of days ago": ("2026-03-15", "2026-03-17"),
    "a few days ago": ("2026-03-12", "2026-03-17"),
    "two or three days ago": ("2026-03-15", "2026-03-17"),
    "in the last week": ("2026-03-11", "2026-03-19"),
    "the past week": ("2026-03-11", "2026-03-19"),
    "over the past month": ("2026-02-18", "2026-03-19"),
    "in the last 3 days": ("2026-03-15", "2026-03-19"),
    "past two weeks": ("2026-03-04", "2026-03-19"),
    "during the last couple of months": ("2025-12-18", "2026-03-19"),
    "the last 24 hours": ("2026-03-17 10:30", "2026-03-19"),
    "in the past quarter": ("2025-12-18", "2026-03-19"),
    "in the last two years": ("2024-03-18", "2026-03-19"),
    "between 3 and 9 March": ("2026-03-03", "2026-03-10"),
    "between March 3 and 9": ("2026-03-03", "2026-03-10"),
    "between March and May": ("2026-03-01", "2026-06-01"),
    "between November and February": ("2025-11-01", "2026-03-01"),
    "between November and February 2024": ("2023-11-01", "2024-03-01"),
    "between August 11 and August 15 2023": ("2023-08-11", "2023-08-16"),
    "between March 2024 and May": ("2024-03-01", "2024-06-01"),
    "between 2021 and 2023": ("2021-01-01", "2024-01-01"),
    "between 1 May 2024 and 3 June 2024": ("2024-05-01", "2024-06-04"),
    "between last Monday and yesterday": ("2026-03-16", "2026-03-18"),
    "from 2024-01-01 to 2024-02-01": ("2024-01-01", "2024-02-02"),
    "from March 3 until March 9": ("2026-03-03", "2026-03-10"),
    "from January to now": ("2026-01-01", OPEN),
    "since yesterday": ("2026-03-17", OPEN),
    "since last week": ("2026-03-09", OPEN),
    "since Monday": ("2026-03-16", OPEN),
    "since March": ("2026-03-01", OPEN),
    "since May": ("2025-05-01", OPEN),
    "since 2024": ("2024-01-01", OPEN),
    "since two weeks ago": ("2026-03-01", OPEN),
    "after 5 March 2024": ("2024-03-06", OPEN),
    "after last week": ("2026-03-16", OPEN),
    "before March": (OPEN, "2026-03-01"),
    "before 2025": (OPEN, "2025-01-01"),
    "before 2024-03-05": (OPEN, "2024-03-05"),
    "until February": (OPEN, "2026-03-01"),
    "up to yesterday": (OPEN, "2026-03-18"),
    "by July 10, 2022": (OPEN, "2022-07-11"),
}
"""Phrases that say when something was said or done, asked on a Wednesday."""

LOOSE = {
    "today": ("2026-03-18", "2026-03-19"),
    "this morning": ("2026-03-18", "2026-03-19"),
    "this week": ("2026-03-16", "2026-03-23"),
    "this Monday": ("2026-03-16", "2026-03-17"),
    "this month": ("2026-03-01", "2026-04-01"),
    "this quarter": ("2026-01-01", "2026-04-01"),
    "this year": ("2026-01-01", "2027-01-01"),
    "a month ago": ("2026-02-01", "2026-03-01"),
    "five years ago": ("2021-01-01", "2022-01-01"),
    "yesterday's": ("2026-03-17", "2026-03-18"),
    "last year's": ("2025-01-01", "2026-01-01"),
    "in March": ("2026-03-01", "2026-04-01"),
    "in march": ("2026-03-01", "2026-04-01"),
    "during April": ("2025-04-01", "2025-05-01"),
    "in early December": ("2025-12-01", "2026-01-01"),
    "in May": ("2025-05-01", "2025-06-01"),
    "in March 2024": ("2024-03-01", "2024-04-01"),
    "March 2024": ("2024-03-01", "2024-04-01"),
    "in 2023": ("2023-01-01", "2024-01-01"),
    "on 5 March": ("2026-03-05", "2026-03-06"),
    "on 19 March": ("2025-03-19", "2025-03-20"),
    "on the 5th of March": ("2026-03-05", "2026-03-06"),
    "5 March 2024": ("2024-03-05", "2024-03-06"),
    "March 5, 2024": ("2024-03-05", "2024-03-06"),
    "March 5th": ("2026-03-05", "2026-03-06"),
    "Sept. 3, 2025": ("2025-09-03", "2025-09-04"),
    "December 1,2023": ("2023-12-01", "2023-12-02"),
    "on May 4": ("2025-05-04", "2025-05-05"),
    "on the 29th of February": ("2024-02-29", "2024-03-01"),
    "2024-03-05": ("2024-03-05", "2024-03-06"),
    "2024/03/05": ("2024-03-05", "2024-03-06"),
    "in 2024-03": ("2024-03-01", "2024-04-01"),
    "on Friday": ("2026-03-13", "2026-03-14"),
    "on Wednesday": ("2026-03-11", "2026-03-12"),
    "from Monday to Friday": ("2026-03-16", "2026-03-21"),
}
"""Phrases of dates that people also talk about later, or that are part of what is asked."""

NO_PHRASES = (
    "",
    "what is the plan",
    "May I ask what it may be?",
    "you may 5 times",
    "the top 5 may win",
    "May 5 people join?",
    "we march on into the second round",
    "march 5 miles",
    "March of the Penguins",
    "the sun and the sat nav",
    "in April's opinion",
    "written by April",
    "what was said before June left",
    "what happened after may",
    "class Friday(Day): pass",
    "run friday.py, `yesterday` and sunday_job",
    '"Yesterday" by the Beatles',
    "x = today",
    "since I asked",
    "since when",
    "before lunch",
    "after the war",
    "the last message",
    "last time we met",
    "on the last day",
    "the last one",
    "my last year at school",
    "in the last week of school",
    "version 2024.03.05 of the tool",
    "v2024-03-05 and 1.2024-03-05",
    "see /logs/2024-03-05/app.log",
    "release 2023.1",
    "in 2000 words",
    "after 2048 tokens",
    "between 3 and 5",
    "between 2000 and 2100 items",
    "more than two weeks ago",
    "a year and a half ago",
    "how many days ago was it",
    "two weeks before August 11, 2023",
    "how long does it take",
    "29 February 2023 and 31 April",
    "2024-13 or 2024-02-30",
    "tomorrow or next week",
    "what will happen in June?",
    "what is due on Friday?",
    "this weekend",
    "this Friday",
    "in 2031",
    "since December 2026",
    "after March",
    "before 2031",
    "\u0663 days ago",
    "la\u017ft week",
    "hier, gestern, ayer",
)


@pytest.mark.parametrize(
    ("words", "expected", "firm"), [*((*one, True) for one in FIRM.items()), *((*one, False) for one in LOOSE.items())]
)
async def test_a_phrase_means_a_stretch_of_time(phrases: DateparserPhrases, words, expected, firm):
    """Alone, in the middle of a question and at its end."""
    for question in (words, f"What did we say about it {words}, and why?", f"so ... what happened {words}?"):
        found = await phrases.find(question, now=WEDNESDAY, zone=UTC)

        assert (told(found), found.firm) == (expected, firm)
        assert found.phrase in question


@pytest.mark.parametrize("question", NO_PHRASES)
async def test_other_words_are_no_phrase(phrases: DateparserPhrases, question):
    """Neither are times to come, nor days that no calendar has."""
    assert await phrases.find(question, now=WEDNESDAY, zone=UTC) is None


@pytest.mark.parametrize(
    ("now", "words", "expected"),
    [
        ("2024-02-29T12:00", "yesterday", ("2024-02-28", "2024-02-29")),
        ("2024-03-01T00:00", "yesterday", ("2024-02-29", "2024-03-01")),
        ("2024-02-29T12:00", "last year", ("2023-01-01", "2024-01-01")),
        ("2024-02-29T12:00", "in the last year", ("2023-02-28", "2024-03-01")),
        ("2024-03-31T12:00", "last month", ("2024-02-01", "2024-03-01")),
        ("2024-03-31T12:00", "a month ago", ("2024-02-01", "2024-03-01")),
        ("2024-03-31T12:00", "in the last month", ("2024-02-29", "2024-04-01")),
        ("2024-02-29T12:00", "on 29 February", ("2024-02-29", "2024-03-01")),
        ("2026-01-01T00:00", "yesterday", ("2025-12-31", "2026-01-01")),
        ("2026-01-01T00:00", "last week", ("2025-12-22", "2025-12-29")),
        ("2026-01-01T00:00", "this week", ("2025-12-29", "2026-01-05")),
        ("2026-01-01T00:00", "last quarter", ("2025-10-01", "2026-01-01")),
        ("2026-01-01T00:00", "last month", ("2025-12-01", "2026-01-01")),
        ("2026-01-01T00:00", "in January", ("2026-01-01", "2026-02-01")),
        ("2025-12-31T23:59", "in January", ("2025-01-01", "2025-02-01")),
        ("2021-01-05T09:00", "last week", ("2020-12-28", "2021-01-04")),
        ("2021-01-01T09:00", "this week", ("2020-12-28", "2021-01-04")),
        ("2026-03-15T23:59", "last weekend", ("2026-03-07", "2026-03-09")),
        ("2026-03-15T12:00", "this weekend", ("2026-03-14", "2026-03-16")),
        ("2026-03-16T00:00", "last weekend", ("2026-03-14", "2026-03-16")),
        ("2026-03-16T00:00", "last week", ("2026-03-09", "2026-03-16")),
        ("2026-03-15T23:59", "last week", ("2026-03-02", "2026-03-09")),
        ("2026-03-18T00:30", "last night", ("2026-03-17 18:00", "2026-03-18 06:00")),
        ("2026-03-18T00:10", "an hour ago", ("2026-03-17 22:40", "2026-03-17 23:40")),
    ],
)
async def test_the_ends_of_years_weeks_and_months_are_where_the_calendar_has_them(phrases: DateparserPhrases, now, words, expected):
    """Leap days, week 53, the first moment of a year."""
    found = await phrases.find(words, now=datetime.fromisoformat(now).replace(tzinfo=UTC), zone=UTC)

    assert told(found) == expected


@pytest.mark.parametrize(
    ("zone", "now", "words", "since", "until"),
    [
        ("Asia/Tokyo", "2026-03-18T16:00", "today", "2026-03-18T15:00", "2026-03-19T15:00"),
        ("Asia/Tokyo", "2026-03-18T14:59", "today", "2026-03-17T15:00", "2026-03-18T15:00"),
        ("America/Los_Angeles", "2026-03-01T07:59", "last month", "2026-01-01T08:00", "2026-02-01T08:00"),
        ("America/Los_Angeles", "2026-03-01T08:00", "last month", "2026-02-01T08:00", "2026-03-01T08:00"),
        ("Asia/Kathmandu", "2026-03-18T10:00", "yesterday", "2026-03-16T18:15", "2026-03-17T18:15"),
        ("Europe/Berlin", "2026-03-30T10:00", "yesterday", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2025-10-27T10:00", "yesterday", "2025-10-25T22:00", "2025-10-26T23:00"),
        ("Europe/Berlin", "2026-03-29T01:30", "2 hours ago", "2026-03-28T23:00", "2026-03-29T00:00"),
        ("Europe/Berlin", "2025-10-26T01:30", "1 hour ago", "2025-10-26T00:00", "2025-10-26T01:00"),
        ("America/Sao_Paulo", "2018-11-05T12:00", "yesterday", "2018-11-04T03:00", "2018-11-05T02:00"),
        ("Africa/Cairo", "2026-04-25T12:00", "yesterday", "2026-04-23T22:00", "2026-04-24T21:00"),
    ],
)
async def test_a_day_is_a_day_of_the_askers_zone(phrases: DateparserPhrases, zone, now, words, since, until):
    """With 23, 24 or 25 hours, and even if it has no midnight."""
    found = await phrases.find(words, now=datetime.fromisoformat(now).replace(tzinfo=UTC), zone=ZoneInfo(zone))

    assert (found.since.isoformat()[:16], found.until.isoformat()[:16]) == (since, until)
    assert (found.since.tzinfo, found.until.tzinfo) == (UTC, UTC)


async def test_a_day_that_a_zone_left_out_has_no_stretch(phrases: DateparserPhrases):
    """Samoa went from 29 to 31 December 2011."""
    assert await phrases.find("on 30 December 2011", now=WEDNESDAY, zone=ZoneInfo("Pacific/Apia")) is None


async def test_of_several_phrases_the_firm_one_counts(phrases: DateparserPhrases):
    """Else the first; one without a meaning is passed over."""
    firm = await phrases.find("What did we say last week about the trip in March?", now=WEDNESDAY, zone=UTC)
    second = await phrases.find("What did we say in March about what we did last week?", now=WEDNESDAY, zone=UTC)
    loose = await phrases.find("Was it on 31 April, in February or in March?", now=WEDNESDAY, zone=UTC)

    assert (firm.phrase, second.phrase, loose.phrase) == ("last week", "last week", "in February")


async def test_a_library_that_is_missing_is_said_to_be_unavailable(monkeypatch):
    """At the first phrase; opening only logs it."""
    monkeypatch.setitem(sys.modules, "dateparser.date", None)
    async with open_phrases() as opened:
        assert await opened.find("no phrase", now=WEDNESDAY, zone=UTC) is None
        with pytest.raises(Unavailable) as caught:
            await opened.find("yesterday", now=WEDNESDAY, zone=UTC)

    assert caught.value.dependency == "phrases"
    assert set(PHRASE_ERRORS.values()) == {Unavailable}


WORDS = st.sampled_from(
    [
        *("between", "and", "from", "to", "until", "since", "before", "after", "by", "in", "on", "the", "of", "ago", "last", "this"),
        *(
            "past",
            "previous",
            "days",
            "weeks",
            "may",
            "march",
            "March",
            "5",
            "5th",
            "31",
            "2024",
            "2024-02-30",
            "Friday",
            "weekend",
            "night",
        ),
        *("quarter", "yesterday", "today", "now", "a", "couple", "few", "999", "hours", "years's", ","),
    ]
)
QUESTIONS = ANY_TEXTS | st.lists(WORDS, max_size=12).map(" ".join)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "America/St_Johns", "Africa/Monrovia", "Pacific/Kiritimati"]).map(ZoneInfo)
MOMENTS = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=QUESTIONS, now=MOMENTS, zone=ZONES)
async def test_any_text_is_read_without_a_failure(phrases: DateparserPhrases, question, now, zone):
    """What is found is a piece of the question, not empty, and has begun."""
    found = await phrases.find(question, now=now, zone=zone)

    if found is not None:
        assert found.phrase in question
        assert found.since is not None or found.until is not None
        assert found.since is None or found.since <= now
        assert found.since is None or found.until is None or found.since < found.until
        assert found.since is not None or found.until <= now + timedelta(days=1)


@pytest.mark.parametrize(
    "piece", ["a ", "last ", "between 3 ", "1 ", "from march 5 to ", "in ", "the day before ", "on the 5th of ", "2023-"]
)
def test_the_grammar_gives_up_soon(piece):
    """On the longest question made of beginnings of phrases there are few candidates, and all are listed."""
    assert len(list(phrase_grammar.candidates((piece * 4096)[:4096]))) <= phrase_grammar.MOST
