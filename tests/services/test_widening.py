"""Ingest, search and the calendar of processes that run while another one widens the log."""

import asyncio
from dataclasses import replace

import pytest
from tests.contracts.drafts import everything
from tests.support.broker import SMALL, another_bus
from tests.support.engines import SCOPE, Engines, Ledger, engines, event, ledger
from tests.support.waiting import until

from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.domain.events import event_key
from kalends.domain.positions import covers, highest
from kalends.domain.scope import MemoryName, Scope
from kalends.ingest.usecases import Outcome
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.ports.log import Draft
from kalends.search.usecases import Query
from kalends.wire.follower import TimelineFollower

SCOPES = [Scope(SCOPE.tenant, MemoryName(f"m{number}")) for number in range(12)]
WRITERS = 2


@pytest.fixture
async def books(tmp_path):
    """A ledger with some memories, of a process that looks for new streams often."""
    async with ledger(tmp_path) as made:
        for scope in SCOPES:
            await made.memory(scope)
        yield made


async def widen(partitions: int) -> None:
    """What a process with another setting does."""
    async with another_bus(replace(SMALL, partitions=partitions, look_every=0.1)) as bus:

        async def met() -> bool:
            return len(await bus.log.heads()) >= partitions

        await until(met)


def words(outcomes: list[Outcome]) -> list[str]:
    """What became of each event, in one word."""
    return [one.fault.code if one.fault else "duplicate" if one.duplicate else "new" for one in outcomes]


async def test_an_event_that_is_sent_again_after_its_memory_moved_is_known(books: Ledger) -> None:
    """The new stream remembers no ids of the old one; the timeline does."""
    await books.record(*(event(n) for n in range(5)), scope=SCOPES[0])
    moved = 0
    await widen(8)
    for number, scope in enumerate(SCOPES):
        [before] = await books.append(scope, [event(f"before-{number}")])
        again = await books.append(scope, [event(f"before-{number}"), event(f"before-{number}", "another text")])
        assert words(again) == ["duplicate", "conflict"]
        assert before.position is not None
        moved += before.position.epoch > 0
    repeated = await books.append(SCOPES[0], [event(n) for n in range(5)])

    assert moved
    assert words(repeated) == ["duplicate"] * 5


async def test_ingest_waits_until_the_timeline_knows_what_was_left_in_the_old_stream(books: Ledger) -> None:
    """Only then a repeated id is told from a new one; a process that has just found the new streams looks there first."""
    scope = next(scope for scope in SCOPES if scope.slot >= 128)
    await books.record(event("a"), scope=scope)
    failpoints.arm({"timeline.before-put": "stall"})  # what comes now stays unknown to the timeline
    [unseen] = await books.append(scope, [event("b")])
    await widen(2)
    await until(lambda: bool(books.bus.log.left_behind))
    asking = books.timeline.hold("floors")
    repeating = asyncio.create_task(books.append(scope, [event("b")]))
    await until(lambda: books.timeline.waiting["floors"] == 1)
    assert not covers(await books.timeline._real.floors(), highest([unseen.position]))
    failpoints.arm({})
    follower = TimelineFollower(
        source=books.bus.log,
        timeline=books.timeline._real,
        reader=books.reader,
        clock=books.clock,
        batch=100,
        moved=books.progress.moved,
        traffic=Traffic(),
    )
    following = asyncio.create_task(follower.run())
    asking.set()
    books.timeline.let_pass()

    assert words(await repeating) == ["duplicate"]
    following.cancel()
    await asyncio.wait([following])


async def test_two_messages_of_one_event_are_one_event_to_every_reader(books: Ledger, tmp_path) -> None:
    """Should one be stored in the old stream and in the new one, the newer one is it, also for a projection that is made anew."""
    scope = next(scope for scope in SCOPES if scope.slot >= 128)
    async with engines(books, tmp_path / "engines") as made:
        made.start()
        await made.index(event("twice", "the ferry to the island leaves at nine"), event("once", "the door is red"), scope=scope)
        await widen(2)
        await until(lambda: bool(books.bus.log.left_behind))
        key = event_key(scope, event("twice").id)
        [known] = (await books.timeline.lookup(scope, [key])).values()
        [message] = await books.bus.log.read([known.position])
        [again] = await books.bus.log.append([Draft(scope=scope, message_id=key, body=message.body)])
        assert again.position.version > known.position.version
        await made.caught_up()

        assert (await books.timeline.stats(scope)).events == 2
        found = await made.find(scope, Query(text="when does the ferry leave?", limit=5, seconds=10.0))
        assert [hit.opened.event.id for hit in found.hits].count(event("twice").id) == 1
        [listed] = (await books.timeline.lookup(scope, [key])).values()
        assert listed.position == again.position
        await _as_a_new_one(books, tmp_path)
        await _digests_agree(made)


async def _digests_agree(made: Engines) -> None:
    found = await made.digests()
    timeline = await made.ledger.timeline.digest()
    assert set(found.values()) == {(timeline.events, timeline.digest)}


async def _as_a_new_one(books: Ledger, folder) -> None:
    """The timeline and the calendar hold what new ones hold that follow the log from its beginning."""
    timeline, calendar = await SqliteTimeline.open(folder / "anew.db"), await SqliteCalendar.open(folder / "calendar-anew.db")
    follower = TimelineFollower(
        source=books.bus.log,
        timeline=timeline,
        reader=books.reader,
        clock=books.clock,
        batch=7,
        moved=lambda: None,
        traffic=Traffic(),
        calendar=calendar,
    )
    following = asyncio.create_task(follower.run())
    heads = await books.bus.log.heads()

    async def met() -> bool:
        return covers(await timeline.floors(), heads) and covers(await calendar.floors(), heads)

    await until(met)
    following.cancel()
    await asyncio.wait([following])
    assert await timeline.digest() == await books.timeline.digest()
    assert await calendar.digest() == await books.calendar.digest()
    for scope in SCOPES:
        assert await timeline.stats(scope) == await books.timeline.stats(scope)
    await timeline.close()
    await calendar.close()


async def test_everything_that_was_acked_under_load_is_found_once(books: Ledger, tmp_path) -> None:
    """By timeline, text and meaning; by a process that was there all the time and by one that begins anew."""
    acked: dict[Scope, list[str]] = {scope: [] for scope in SCOPES}
    stop = asyncio.Event()

    async def write(number: int) -> None:
        turn = 0
        while not stop.is_set():
            scope = SCOPES[number::WRITERS][turn % (len(SCOPES) // WRITERS)]
            some = [event(f"{scope.memory}-{turn}-{n}", f"word{n} of turn {turn}", minute=turn) for n in range(1 + turn % 5)]
            outcomes = await books.append(scope, some)
            assert words(outcomes) == ["new"] * len(some)
            acked[scope] += [one.id for one in some]
            turn += 1

    async def more(count: int) -> None:
        enough = sum(map(len, acked.values())) + count
        await until(lambda: sum(map(len, acked.values())) >= enough, deadline=60)

    async with engines(books, tmp_path / "engines") as made:
        made.start()
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(write(number))
            await more(20)
            await widen(8)
            await more(20)
            stop.set()
        await made.caught_up()

        total = sum(map(len, acked.values()))
        assert len(await everything(books.bus.log, count=total)) == sum((await books.bus.log.heads()).values()) == total
        for scope, ids in acked.items():
            assert (await books.timeline.stats(scope)).events == len(ids)
            known = await books.timeline.lookup(scope, [event_key(scope, one) for one in ids])
            assert len(known) == len(ids)
        await _digests_agree(made)
        await _as_a_new_one(books, tmp_path)
