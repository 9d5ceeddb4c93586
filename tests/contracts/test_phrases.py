"""The suite of the port ``phrases``, over its adapter."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from kalends.adapters.embedded.phrases import DateparserPhrases, open_phrases
from kalends.domain.errors import Unavailable
from kalends.ports.phrases import TimePhrases

NOW = datetime(2026, 3, 18, 10, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def phrases() -> AsyncIterator[TimePhrases]:
    """The adapter, opened."""
    async with open_phrases() as opened:
        yield opened


async def test_a_phrase_is_a_slice_of_the_question_letter_by_letter(phrases: TimePhrases) -> None:
    """So that an answer can show what it took for a time."""
    for question in ("What did we say YESTERDAY, Ada?", "é寿司 yesterday", "yesterday"):
        found = await phrases.find(question, now=NOW, zone=UTC)

        assert found is not None
        assert found.phrase == question[question.lower().index("yesterday") :][: len("yesterday")]


async def test_a_stretch_is_half_open_and_in_utc(phrases: TimePhrases) -> None:
    """The last moment of a day belongs to it, the next midnight does not, whatever the zone in which it was read."""
    for zone in (UTC, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Los_Angeles")):
        yesterday = await phrases.find("yesterday", now=NOW, zone=zone)
        before = await phrases.find("the day before yesterday", now=NOW, zone=zone)

        assert yesterday is not None
        assert before is not None
        assert before.until == yesterday.since
        assert yesterday.since is not None
        assert yesterday.until is not None
        assert (yesterday.since.tzinfo, yesterday.until.tzinfo) == (UTC, UTC)
        assert yesterday.until - yesterday.since == DAY


async def test_an_open_end_is_none(phrases: TimePhrases) -> None:
    """Of "since" and "before"; never both."""
    since = await phrases.find("since yesterday", now=NOW, zone=UTC)
    before = await phrases.find("before yesterday", now=NOW, zone=UTC)

    assert since is not None
    assert before is not None
    assert (since.until, before.since) == (None, None)
    assert since.since == before.until


async def test_words_of_when_it_was_said_are_firm_and_dates_are_not(phrases: TimePhrases) -> None:
    """People talk about a day after it is over; nobody says "yesterday" of another day than the last."""
    firm = {}
    for words in (
        "yesterday",
        "last week",
        "in the last 3 days",
        "between 3 and 9 March",
        "on 7 March 2026",
        "in March",
        "this week",
        "today",
    ):
        found = await phrases.find(f"What did Ada do {words}?", now=NOW, zone=UTC)
        assert found is not None
        firm[words] = found.firm

    assert [words for words, is_firm in firm.items() if is_firm] == [
        "yesterday",
        "last week",
        "in the last 3 days",
        "between 3 and 9 March",
    ]


async def test_a_question_without_a_time_that_has_begun_gives_none(phrases: TimePhrases) -> None:
    """Without one at all, about the future, and about a day that no calendar has."""
    for question in (
        "Who is Ada?",
        "What will Ada do tomorrow?",
        "What happens in 2031?",
        "What happened on 30 February 2024?",
        "",
        "?" * 4096,
    ):
        assert await phrases.find(question, now=NOW, zone=UTC) is None


async def test_the_same_question_means_another_stretch_a_day_later(phrases: TimePhrases) -> None:
    """Nothing is remembered between questions."""
    one = await phrases.find("yesterday", now=NOW, zone=UTC)
    other = await phrases.find("yesterday", now=NOW + DAY, zone=UTC)

    assert one is not None
    assert other is not None
    assert one.until == other.since


async def test_many_questions_at_once_do_not_disturb_each_other(phrases: TimePhrases) -> None:
    """Each is read at its own moment."""
    asked = [phrases.find("what was said yesterday", now=NOW + days * DAY, zone=UTC) for days in range(20)]
    found = await asyncio.gather(*asked)

    assert [one is not None and one.since for one in found] == [datetime(2026, 3, 17, tzinfo=UTC) + days * DAY for days in range(20)]


async def test_a_reader_that_was_closed_is_unavailable() -> None:
    """Not a hang, and not a question without a phrase."""
    closed = DateparserPhrases()
    await closed.close()

    with pytest.raises(Unavailable):
        await closed.find("yesterday", now=NOW, zone=UTC)
