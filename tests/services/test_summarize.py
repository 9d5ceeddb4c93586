"""The calendar over a real log, with the embedded summarizer: cut, rolled, late, retracted, interrupted."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.calendars import ancestors, check_evidence, keeping, walk
from tests.support.engines import NOON, SCOPE, Ledger, event, event_id, ledger

from kalends.domain.calendar import UNTOLD
from kalends.domain.events import Event
from kalends.domain.periods import Period
from kalends.domain.segments import Cutting
from kalends.kit import failpoints
from kalends.ports.log import Draft
from kalends.wire import envelopes
from kalends.wire.vault import key_reference

THEMES = (
    "The invoice service was moved to the new cluster after the storage test.",
    "Priya asked for the ledger export to be repeated before the audit in October.",
    "The heron on the river caught three fish while the crew waited for the tide.",
    "We decided to keep billing documents for ten years in the archive bucket.",
)
ONCE = ("calendar.before-settle", "calendar.after-settle")
OFTEN = ("calendar.before-append", "calendar.after-append", "calendar.before-settle-period")


@pytest.fixture
async def books(tmp_path):
    """An empty log and what follows it."""
    async with ledger(tmp_path) as made:
        yield made


def at(moment: datetime, name: object, text: str, *, session: str = "s", actor: str | None = None) -> Event:
    """An event at *moment*."""
    return event(name, text, session_id=session, actor=actor, occurred_at=moment, recorded_at=moment)


def history(days: int = 5, *, sessions: int = 2, turns: int = 4) -> list[Event]:
    """A few sessions a day, of a few turns each."""
    return [
        at(
            NOON - timedelta(days=400) + timedelta(days=2 * day, hours=session, minutes=turn),
            f"{day}-{session}-{turn}",
            f"{THEMES[(day + turn) % 4]} Day {day}, talk {session}, turn {turn}.",
            session=f"talk-{session}",
            actor="atlas" if turn % 2 else "priya",
        )
        for day in range(days)
        for session in range(sessions)
        for turn in range(turns)
    ]


def texts(events: list[Event]) -> dict:
    """Each event's text by its id."""
    return {one.id: one.text for one in events}


async def test_a_walk_from_the_years_meets_every_event_once_and_every_line_has_evidence(books: Ledger):
    """Whatever the order in which the events came."""
    events = history()
    for one in reversed(events):
        await books.record(one)

    done = await keeping(books).sweep()
    walked = await walk(books.calendar, books.nodes)

    assert sorted(walked.events) == sorted(one.id for one in events)
    check_evidence(walked, texts(events))
    assert done.units == 10
    assert done.nodes == len(walked.nodes)
    assert set(walked.numbers.values()) == {1}
    assert all(node.bullets and node.title and node.keywords for node in walked.nodes.values())
    assert walked.nodes["toc:day:2025-01-25"].agents == ("atlas", "priya")
    stats = await books.calendar.stats(SCOPE)
    assert stats.nodes == Counter(node.period.level for node in walked.nodes.values())
    assert stats.grips == len({grip.id for node in walked.nodes.values() for bullet in node.bullets for grip in bullet.grips})
    assert stats.versions == len(walked.nodes)


async def test_a_second_sweep_finds_nothing_to_do(books: Ledger):
    """And a forced one writes the same words, which are no new version."""
    await books.record(*history())
    keep = keeping(books)
    await keep.sweep()
    before = await books.head()

    assert (await keep.sweep()).nodes == 0
    assert await books.calendar.force(scope=SCOPE, since=None) > 10
    again = await keep.sweep()

    assert (again.units, again.nodes) == (10, 0)
    assert await books.calendar.forced() == 0
    assert await books.head() == before


async def test_a_late_event_gives_a_new_version_to_its_ancestors_and_to_nothing_else(books: Ledger):
    """The old versions stay readable."""
    events = history()
    await books.record(*events)
    keep = keeping(books)
    await keep.sweep()
    before = await walk(books.calendar, books.nodes)
    late = at(events[0].occurred_at + timedelta(seconds=30), "late", "The tariff table was wrong since Monday.", session="talk-0")

    await books.record(late)
    await keep.sweep()
    after = await walk(books.calendar, books.nodes)

    changed = {name for name, number in after.numbers.items() if number != before.numbers.get(name)}
    day = late.occurred_at.date()
    assert changed - ancestors(day) == {f"{before_id}" for before_id in after.nodes["toc:day:" + day.isoformat()].children[:1]}
    assert changed >= ancestors(day)
    assert sorted(after.events) == sorted([*before.events, late.id])
    old = await books.calendar.version(SCOPE, Period("day", day), 1)
    assert old is not None
    (opened,) = await books.nodes.read(SCOPE, [old])
    assert opened is not None
    assert opened.node == before.nodes["toc:day:" + day.isoformat()]


async def test_a_session_that_still_talks_is_left_open_until_it_is_quiet_or_the_day_is_rolled(books: Ledger):
    """So a sweep does not cut what grows, and today's node is never empty."""
    now = NOON
    books.clock.ahead = now - datetime.now(UTC)
    await books.record(at(now, "now", "The crew is on board."), at(now - timedelta(minutes=45), "before", "The tide is low."))
    keep = keeping(books)

    assert (await keep.sweep()).units == 0
    rolled = await keep.roll("day")
    walked = await walk(books.calendar, books.nodes)

    assert rolled.units >= 1
    assert sorted(walked.events) == sorted([event_id("now"), event_id("before")])
    await books.record(at(now + timedelta(minutes=1), "later", "The anchor is up."))
    assert (await keep.sweep()).units == 0
    books.clock.ahead += timedelta(hours=2)
    await keep.sweep()
    assert event_id("later") in (await walk(books.calendar, books.nodes)).events


async def test_silence_and_length_and_midnight_cut_a_session(books: Ledger):
    """Each part is a segment of its own, in its own day."""
    start = datetime(2025, 6, 1, 22, tzinfo=UTC)
    minutes = (0, 10, 41, 60, 100, 119, 121)
    await books.record(*(at(start + timedelta(minutes=minute), minute, f"{THEMES[0]} {minute}") for minute in minutes))

    await keeping(books, cutting=Cutting(tokens=40)).sweep()
    walked = await walk(books.calendar, books.nodes)

    segments = [node for node in walked.nodes.values() if node.period.level == "segment"]
    assert [len(node.events) for node in segments] == [2, 2, 2, 1]
    assert {node.period.first.isoformat() for node in segments} == {"2025-06-01", "2025-06-02"}


async def test_what_is_taken_back_leaves_the_calendar(books: Ledger):
    """The period of it alone is gone; its versions before are still in the log."""
    events = history(days=2, sessions=1)
    await books.record(*events)
    keep = keeping(books)
    await keep.sweep()
    reference = key_reference(SCOPE, "talk-0")
    box = (await books.vault.boxes(SCOPE, [reference]))[reference]
    gone = [one.id for one in events if one.occurred_at.date() == events[0].occurred_at.date()]
    retraction = envelopes.Retraction(event_ids=tuple(gone), reason="test")
    body = envelopes.seal_retraction(
        retraction, scope=SCOPE, recorded_us=1, key_reference=reference, box=box, stamp=envelopes.Stamp("test", 1, 0)
    )
    await books.bus.log.append([Draft(scope=SCOPE, message_id="r1", body=body)])
    assert await books.progress.reached(await books.bus.log.heads(), ("toc",), seconds=20)

    await keep.sweep()
    walked = await walk(books.calendar, books.nodes)

    assert sorted(walked.events) == sorted(one.id for one in events if one.id not in gone)
    assert f"toc:day:{events[0].occurred_at.date()}" not in walked.nodes
    known = await books.calendar.newest(SCOPE, [Period("day", events[0].occurred_at.date())])
    assert [(one.gone, one.number) for one in known.values()] == [(True, 2)]


async def test_events_without_text_have_a_place_but_no_words(books: Ledger):
    """A session that only begins and ends is in the calendar all the same."""
    marks = event("start", kind="session_start"), event("end", minute=1, kind="session_end")
    await books.record(*(replace(mark, text="") for mark in marks))

    await keeping(books).sweep()
    walked = await walk(books.calendar, books.nodes)

    assert sorted(walked.events) == sorted([event_id("start"), event_id("end")])
    assert {node.title for node in walked.nodes.values()} == {UNTOLD}


@pytest.mark.parametrize(("step", "hit"), [*((step, 1) for step in ONCE), *((step, hit) for step in OFTEN for hit in (1, 2, 4))])
async def test_a_run_that_fails_at_any_step_ends_as_one_that_does_not(books: Ledger, step: str, hit: int):
    """What is not settled is done again, and says the same."""
    events = history(days=3)
    await books.record(*events)
    failpoints.arm({step: f"error@{hit}"})

    with pytest.raises(failpoints.FailpointError):
        await keeping(books).sweep()
    await keeping(books).sweep()
    interrupted = await walk(books.calendar, books.nodes)

    assert set(interrupted.numbers.values()) == {1}
    assert sorted(interrupted.events) == sorted(one.id for one in events)
    await books.calendar.force(scope=SCOPE, since=None)
    assert (await keeping(books).sweep()).nodes == 0


async def test_two_at_once_write_every_node_once(books: Ledger):
    """Two replicas that work off the same say the same, and the log keeps it once."""
    events = history(days=3)
    await books.record(*events)

    await asyncio.gather(keeping(books).sweep(), keeping(books).sweep())
    walked = await walk(books.calendar, books.nodes)

    assert set(walked.numbers.values()) == {1}
    assert sorted(walked.events) == sorted(one.id for one in events)
