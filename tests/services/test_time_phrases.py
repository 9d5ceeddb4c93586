"""Time phrases in questions, over real engines: what they narrow down, what they lift, and what the answer says of it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.support.engines import NOON, SCOPE, Engines, engines, event, event_id, ledger

from kalends.domain.errors import DeadlineExceeded, Invalid, Unavailable
from kalends.domain.queries import Filter
from kalends.search import routes, schemas, timing
from kalends.search.usecases import Found, Query

DAY = 24 * 60
SAID = {
    "old": ("We talked about the harbour crane and its rust.", -40 * DAY),
    "week": ("We talked about the harbour crane and its motor.", -8 * DAY),
    "eve": ("We talked about the harbour crane and its paint.", -1 * DAY),
    "now": ("We talked about the harbour crane and its driver.", 0),
}
"""What was said, and how many minutes after noon of 1 March 2026, a Sunday."""


@pytest.fixture
async def made(tmp_path):
    """A memory over six weeks, asked in the afternoon of its last day."""
    async with ledger(tmp_path) as books, engines(books, tmp_path) as opened:
        books.clock.ahead = NOON + timedelta(hours=3) - datetime.now(UTC)
        opened.start()
        await opened.index(*(event(name, text, minute=minute, session_id=name) for name, (text, minute) in SAID.items()))
        yield opened


async def ask(made: Engines, text: str, **changes) -> Found:
    """Search with plenty of time; phrases are read in UTC."""
    return await made.find(SCOPE, Query(text=text, **{"limit": 10, "seconds": 10.0, "zone": UTC, **changes}))


def names(found: Found) -> list[str]:
    """What was found, as the tests call it."""
    known = {event_id(name): name for name in SAID}
    return [known[hit.opened.event.id] for hit in found.hits]


async def test_a_firm_phrase_narrows_down_and_is_reported(made):
    """By every arm; the words stay in the question."""
    for mode in ("hybrid", "lexical", "vector"):
        found = await ask(made, "What did we say about the crane yesterday?", mode=mode)

        assert names(found) == ["eve"]
        assert (found.time.stretch.phrase, found.time.stretch.firm, found.time.applied) == ("yesterday", True, True)
        assert (found.time.stretch.since, found.time.stretch.until) == (NOON - timedelta(hours=36), NOON - timedelta(hours=12))
    assert names(await ask(made, "crane in the last two weeks")) != names(await ask(made, "crane"))
    assert set(names(await ask(made, "crane since last week"))) == {"week", "eve", "now"}
    assert set(names(await ask(made, "crane before last week"))) == {"old"}


async def test_the_asker_says_where_a_day_begins(made):
    """Two in the morning is still the evening of the day before in California."""
    await made.index(event("late", "The crane was greased.", minute=-10 * 60, session_id="late"))
    utc = await ask(made, "crane greased yesterday")
    california = await ask(made, "crane greased yesterday", zone=timing.zone_of("America/Los_Angeles"))

    assert event_id("late") not in [hit.opened.event.id for hit in utc.hits]
    assert california.hits[0].opened.event.id == event_id("late")


async def test_a_phrase_can_be_switched_off_and_yields_to_a_filter(made):
    """Without a zone none is looked for, and the routes give none if the request says when."""
    found = await ask(made, "What did we say about the crane yesterday?", zone=None)

    assert (set(names(found)), found.time, found.degraded) == (set(SAID), None, ())
    body = {"query": "crane yesterday"}
    for more, zone in (
        ({}, UTC),
        ({"time_phrases": False}, None),
        ({"filter": {"from": "2026-01-01T00:00:00Z"}}, None),
        ({"filter": {"to": "2026-01-01T00:00:00Z"}}, None),
        ({"filter": {"kind": "note"}}, UTC),
    ):
        assert routes.zone_asked(msgspec.convert(body | more, schemas.SearchRequest)) == zone
        assert routes.zone_asked(msgspec.convert({"max_tokens": 100} | body | more, schemas.ContextRequest)) == zone


async def test_where_nothing_lies_within_a_phrase_everything_is_searched(made):
    """And the answer says so."""
    found = await ask(made, "What did we say about the crane two hours ago?")

    assert set(names(found)) == set(SAID)
    assert (found.time.stretch.phrase, found.time.applied) == ("two hours ago", False)


async def test_a_phrase_keeps_to_the_other_filters(made):
    """It falls back to them, too."""
    within = await ask(made, "crane yesterday", filter=Filter(session_id=("eve", "now")))
    without = await ask(made, "crane yesterday", filter=Filter(session_id=("now", "old")))

    assert (names(within), within.time.applied) == (["eve"], True)
    assert (set(names(without)), without.time.applied) == ({"now", "old"}, False)


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "vector"])
@pytest.mark.parametrize("rerank", ["auto", "off"])
async def test_a_date_lifts_what_lies_within_it_and_hides_nothing(made, mode, rerank):
    """What was said later about that day must still be found."""
    found = await ask(made, "the crane in January", mode=mode, rerank=rerank)

    assert names(found)[0] == "old"
    assert set(names(found)) == set(SAID)
    assert (found.time.stretch.phrase, found.time.stretch.firm, found.time.applied) == ("in January", False, True)


async def test_a_date_on_which_nothing_was_said_changes_nothing(made):
    """Not even the scores."""
    found, plain = await ask(made, "the crane in 2019"), await ask(made, "the crane in 2019", zone=None)

    assert [(hit.opened.key, hit.score) for hit in found.hits] == [(hit.opened.key, hit.score) for hit in plain.hits]
    assert (found.time.applied, plain.time) == (False, None)


async def test_without_the_reader_of_phrases_the_answer_is_one_without_a_filter(made):
    """Degraded, and said to be."""
    for error in (Unavailable("away"), DeadlineExceeded("slow")):
        made.phrases.leave(error=error)

        found = await ask(made, "What did we say about the crane yesterday?")

        assert (set(names(found)), found.time, found.degraded) == (set(SAID), None, ("time",))
        assert found.arms == ("lexical", "vector", "rerank")


async def test_a_reader_that_hangs_does_not_hold_up_the_answer(made, monkeypatch):
    """Its time is bounded."""
    monkeypatch.setattr(timing, "_READING_S", 0.05)
    gate = made.phrases.hold("find")

    found = await ask(made, "What did we say about the crane yesterday?")
    gate.set()

    assert (found.time, found.degraded) == (None, ("time",))


async def test_a_context_is_narrowed_down_by_its_question(made):
    """The last events are offered all the same."""
    query = Query(text="What did we say about the crane yesterday?", limit=50, seconds=10.0, zone=UTC)
    alone, found = await made.read.context(SCOPE, query, filters=Filter(), recent=0, max_tokens=1000)
    both, _ = await made.read.context(SCOPE, query, filters=Filter(), recent=1, max_tokens=1000)

    assert list(alone.ids) == [event_id("eve")]
    assert list(both.ids) == [event_id("eve"), event_id("now")]
    assert found.time.applied


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "../UTC",
        "/etc/localtime",
        "localtime",
        "posixrules",
        "America",
        "UTC+2",
        "\ud800",
        "a\0b",
        "ü",
        "x" * 64,
        "Factory",
    ],
)
def test_a_zone_that_does_not_exist_is_refused_with_its_place(name):
    """Also names of files beside the zones."""
    with pytest.raises(Invalid) as caught:
        timing.zone_of(name)

    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/timezone", "timezone")]


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT-14", "Asia/Kolkata"])
def test_a_zone_of_the_iana_is_found(name):
    """Whatever the machine's own zone is."""
    assert datetime.now(timing.zone_of(name)).utcoffset() is not None
