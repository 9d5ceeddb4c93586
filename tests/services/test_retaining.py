"""Retention over a real log: what is due is asked to be erased, once, many events at a time; and what is not due is left alone."""

from datetime import timedelta

import pytest
from tests.support.engines import NOON, OTHER, SCOPE, Engines, Ledger, engines, event, event_id, ledger
from tests.support.files import contents
from tests.support.retention import Keeping, keeping
from tests.support.waiting import until

from kalends.domain.erasures import Selector
from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.domain.events import microseconds
from kalends.domain.queries import Criteria
from kalends.domain.retention import Retention, Rule
from kalends.ingest import retaining
from kalends.ingest.documents import NewDocument
from kalends.ingest.retaining import Found
from kalends.kit import failpoints
from kalends.wire import receipts

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEAR = Retention(rule=Rule(max_age_days=365))


@pytest.fixture
async def books(tmp_path):
    """A ledger of the test's own."""
    async with ledger(tmp_path) as made:
        yield made


@pytest.fixture
def kept(books) -> Keeping:
    """Retention on it."""
    return keeping(books)


def named(*names: object) -> set[str]:
    """The ids of the events that a test calls so."""
    return {event_id(name) for name in names}


async def remember(books: Ledger, *names: object, scope=SCOPE, **changes) -> None:
    """Events that were recorded at noon, unless *changes* say otherwise."""
    await books.record(*(event(name, **changes) for name in names), scope=scope)


async def some_expiring(books: Ledger) -> None:
    """One that has expired at noon, one that does so at that very moment, one an hour later, and one that never does."""
    times = {"past": NOON - HOUR, "now": NOON, "future": NOON + HOUR, "never": None}
    await books.record(*(event(name, session_id=f"s-{name}", expires_at=at) for name, at in times.items()))


async def live(books: Ledger) -> set[str]:
    """The ids of the live events."""
    found = await books.timeline.page(SCOPE, criteria=Criteria(), after=None, descending=False, limit=1000)
    return {known.event_id for known in found}


async def test_what_has_expired_is_erased_and_what_has_not_stays(books, kept):
    """Of every memory, by one erasure each; what says so is the job, as retention."""
    await books.memory(OTHER)
    await some_expiring(books)
    await remember(books, "past", scope=OTHER, expires_at=NOON - HOUR)

    report = await kept.retain()()

    assert report.memories == [
        Found(scope=OTHER, due={"expired": 1}, erasures=1),
        Found(scope=SCOPE, due={"expired": 2}, erasures=1),
    ]
    assert report.text == "3 events due in 2 memories (expired 3), 2 erasures asked for"
    assert await kept.asked_ids() == named("past", "now")
    assert {(one.requested_by, one.reason, one.is_active) for one in await kept.asked()} == {("retention", "retention", True)}


async def test_what_was_asked_for_is_not_asked_for_again(books, kept):
    """It is hidden, and its erasure goes on by itself; what expires later is found later."""
    await some_expiring(books)
    await kept.retain()()

    again = await kept.retain()()
    kept.clock.later = 2 * HOUR
    later = await kept.retain()()

    assert again.memories == []
    assert later.due == {"expired": 1}
    assert await kept.asked_ids() == named("past", "now", "future")


async def test_age_is_counted_from_when_it_was_recorded(books, kept):
    """So what was told of long ago is kept as long as what happened today."""
    await kept.keep(retention=Retention(rule=Rule(max_age_days=30)))
    await remember(books, "imported", occurred_at=NOON - 4000 * DAY)
    await remember(books, "old", recorded_at=NOON - 30 * DAY)
    await remember(books, "young", recorded_at=NOON - 30 * DAY + HOUR)

    report = await kept.retain()()

    assert report.due == {"age": 1}
    assert await kept.asked_ids() == named("old")


async def test_kinds_have_ages_of_their_own_and_what_is_pinned_stays(books, kept):
    """A pinned one however old it is."""
    retention = Retention(rule=Rule(max_age_days=30), kinds={"episode": Rule(max_age_days=7)}, pinned_kinds=frozenset({"preference"}))
    await kept.keep(retention=retention)
    for kind in ("message", "episode", "preference"):
        for days in (6, 8, 31):
            await remember(books, f"{kind} {days}", kind=kind, recorded_at=NOON - days * DAY)

    await kept.retain()()

    assert await kept.asked_ids() == named("message 31", "episode 8", "episode 31")


async def test_a_number_keeps_the_newest(books, kept):
    """Of each kind that has one, and then of all together; a pinned kind is counted and stays."""
    retention = Retention(rule=Rule(max_events=7), kinds={"note": Rule(max_events=2)}, pinned_kinds=frozenset({"preference"}))
    await kept.keep(retention=retention)
    for number in range(4):
        for kind in ("preference", "note", "message"):
            await remember(books, f"{kind} {number}", kind=kind, recorded_at=NOON + number * HOUR)

    report = await kept.retain()()

    assert report.due == {"count": 5}
    assert await kept.asked_ids() >= named("note 0", "note 1", "message 0", "message 1")
    assert len(await kept.asked_ids() & named("note 2", "message 2")) == 1


async def test_numbers_wait_while_anything_is_being_erased(books, kept):
    """What is hidden is counted still, and the oldest must not go for it."""
    await kept.keep(retention=Retention(rule=Rule(max_events=2, max_age_days=2)))
    await remember(books, "ancient", recorded_at=NOON - 3 * DAY)
    await remember(books, "a", "b", "c", "d")
    await kept.asking.ask(SCOPE, Selector(kind="event_ids", event_ids=(event_id("c"), event_id("d"))), reason="request", by="somebody")

    report = await kept.retain()()

    assert report.memories == [Found(scope=SCOPE, due={"age": 1}, erasures=1, more=True)]
    assert await kept.asked_ids() == named("ancient", "c", "d")


async def test_a_hold_wins_and_is_counted(books, kept):
    """By session or by time; nothing else goes in its place, and no error is raised."""
    await kept.keep(retention=Retention(rule=Rule(max_events=2)))
    await remember(books, "held", session_id="case")
    for number, name in enumerate("abc", start=1):
        await remember(books, name, recorded_at=NOON + number * HOUR)
    await remember(books, "past", expires_at=NOON, occurred_at=NOON - 9 * DAY)
    await kept.hold("case-7", Selector(kind="session_id", session="case"))
    await kept.hold("case-8", Selector(kind="range", until_us=microseconds(NOON - 8 * DAY)))

    report = await kept.retain()()

    assert report.memories == [Found(scope=SCOPE, due={"count": 1}, held=2, erasures=1)]
    assert await kept.asked_ids() == named("a")
    assert report.text.endswith("1 erasures asked for, 2 held")


async def test_a_hold_that_comes_while_a_run_is_under_way_wins_too(books, kept, monkeypatch):
    """What it keeps is left for a later run."""
    await remember(books, "past", expires_at=NOON)
    original = kept.asking.ask

    async def overtaken(*arguments, **named):
        await kept.hold("all", Selector(kind="everything"))
        return await original(*arguments, **named)

    monkeypatch.setattr(kept.asking, "ask", overtaken)

    assert (await kept.retain()()).memories == [Found(scope=SCOPE, held=1)]
    assert await kept.asked() == []


async def test_a_hold_on_everything_keeps_everything(books, kept):
    """Once it is gone, all that is due goes."""
    await kept.keep(retention=YEAR)
    await remember(books, "old", recorded_at=NOON - 366 * DAY)
    await kept.hold("all", Selector(kind="everything"))

    assert (await kept.retain()()).memories == [Found(scope=SCOPE, held=1)]
    await kept.asking.release(SCOPE, "all")
    assert (await kept.retain()()).due == {"age": 1}


async def test_what_a_hold_keeps_is_in_nobodys_way(books, kept, monkeypatch):
    """Though a run takes few events and the oldest are all held."""
    monkeypatch.setattr(retaining, "PIECE", 3)
    await kept.keep(retention=YEAR)
    await remember(books, *range(8), session_id="case", recorded_at=NOON - 400 * DAY)
    await remember(books, "old", recorded_at=NOON - 366 * DAY)
    await kept.hold("case", Selector(kind="session_id", session="case"))

    report = await kept.retain(batch_events=1, run_erasures=1)()

    assert await kept.asked_ids() == named("old")
    assert report.memories == [Found(scope=SCOPE, due={"age": 1}, held=8, erasures=1, more=True)]


async def test_a_memory_that_says_nothing_is_kept_as_the_settings_say(books, kept):
    """Old episodes go by default, and nothing else; a memory that says anything is kept by that alone."""
    await books.memory(OTHER, retention=Retention())
    for scope in (SCOPE, OTHER):
        for kind in ("episode", "message"):
            await remember(books, kind, scope=scope, kind=kind, recorded_at=NOON - 91 * DAY)

    by_default = await kept.retain().of([SCOPE, OTHER], dry_run=True)

    assert [(one.scope, one.due) for one in by_default.memories] == [(SCOPE, {"age": 1})]
    assert (await kept.retain(episode_days=0)()).memories == []
    assert (await kept.retain(max_age_days=91)()).due == {"age": 2}
    assert await kept.asked_ids() == named("episode", "message")


async def test_a_change_of_the_rules_counts_from_the_next_run(books, kept):
    """Stricter or milder."""
    await remember(books, "old", recorded_at=NOON - 40 * DAY)
    for days in (365, 41):
        await kept.keep(retention=Retention(rule=Rule(max_age_days=days)))
        assert (await kept.retain()()).memories == []
    await kept.keep(retention=Retention(rule=Rule(max_age_days=40)))
    assert (await kept.retain()()).due == {"age": 1}


async def test_a_run_does_no_more_than_it_may_and_the_next_goes_on(books, kept, tmp_path):
    """A few events to an erasure, a few erasures at a time; in the end all of it is gone, and nothing was asked for twice."""
    await kept.keep(retention=Retention(rule=Rule(max_events=1)))
    await remember(books, *range(10))
    small = kept.retain(batch_events=2, run_erasures=2)

    report = await small()

    assert report.memories == [Found(scope=SCOPE, due={"count": 4}, erasures=2, more=True)]
    assert [len(one.selector.event_ids) for one in await kept.asked() if one.selector] == [2, 2]
    assert (await small()).memories == [Found(scope=SCOPE, more=True)]
    async with engines(books, tmp_path) as made:
        made.start()
        while await kept.asked():
            await kept.erase(made)
            await small()
        assert len(await live(books)) == 1
        assert len(await kept.asking.all(SCOPE)) == 5


async def test_a_dry_run_only_counts(books, kept):
    """By memory and reason, and what a hold keeps; nothing is asked for."""
    await kept.keep(retention=Retention(rule=Rule(max_age_days=30), session_only=True))
    await books.memory(OTHER, retention=Retention(kinds={"note": Rule(max_events=1)}))
    await some_expiring(books)
    await remember(books, "old", recorded_at=NOON - 30 * DAY)
    await remember(books, "young")
    await remember(books, "n1", "n2", kind="note", scope=OTHER)
    await remember(books, "quiet", session_id="left", recorded_at=NOON - 2 * DAY)
    await remember(books, "held", session_id="case", recorded_at=NOON - 31 * DAY)
    await kept.hold("case", Selector(kind="session_id", session="case"))
    head = await books.head()

    report = await kept.retain().of([SCOPE, OTHER], dry_run=True)

    assert report.memories == [
        Found(scope=OTHER, due={"count": 1}),
        Found(scope=SCOPE, due={"session": 1, "expired": 2, "age": 1}, held=1),
    ]
    assert report.text.endswith("0 erasures asked for, 1 held (dry run)")
    assert await kept.asked() == []
    assert await books.head() == head


async def test_a_kill_after_it_was_asked_for_loses_nothing_and_asks_for_nothing_twice(books, kept):
    """The next run finds what is left."""
    await remember(books, *range(6), expires_at=NOON)
    failpoints.arm({"retention.after-ask": "error"})
    with pytest.raises(failpoints.FailpointError):
        await kept.retain(batch_events=2)()
    failpoints.arm({})
    assert len(await kept.asked_ids()) == 2

    report = await kept.retain(batch_events=2)()

    assert report.due == {"expired": 4}
    assert [len(one.selector.event_ids) for one in await kept.asked() if one.selector] == [2, 2, 2]
    assert await kept.asked_ids() == named(*range(6))


async def test_a_document_goes_whole_by_its_last_writing(books, kept):
    """By name, so that its key goes, too; one that is young or pinned stays."""
    for name, days in (("old", 400), ("young", 100)):
        books.clock.ahead += NOON - days * DAY - books.clock.now()
        # what it heard last was long ago by the clock of now, and nothing is taken before it has looked again
        await until(lambda: books.follower.behind_s < 100)
        document = NewDocument(
            document_id=name, text=f"# {name}\n\nwords of it", title="", source="", markdown=True, occurred_at=None, metadata={}
        )
        await books.keep.keep(SCOPE, document)
        await books.followed()
    books.clock.ahead = timedelta(0)
    await kept.keep(retention=Retention(rule=YEAR.rule, pinned_kinds=frozenset({"chunk"})))
    assert (await kept.retain()()).memories == []
    await kept.keep(retention=YEAR)

    report = await kept.retain()()

    assert report.memories == [Found(scope=SCOPE, due={"age": 1}, erasures=1)]
    assert [one.selector and one.selector.document_id for one in await kept.asked()] == ["old"]


async def test_a_session_that_went_quiet_is_erased_where_sessions_are_not_kept(books, kept):
    """After a day, or as long as the settings say; elsewhere never."""
    await remember(books, "a", session_id="quiet")
    await remember(books, "b", session_id="loud", recorded_at=NOON + 20 * HOUR)
    kept.clock.later = DAY
    assert (await kept.retain()()).memories == []
    await kept.keep(retention=Retention(session_only=True))

    report = await kept.retain()()

    assert report.memories == [Found(scope=SCOPE, due={"session": 1}, erasures=1)]
    assert [one.selector for one in await kept.asked()] == [Selector(kind="session_id", session="quiet")]
    assert (await kept.retain()()).memories == []
    assert (await kept.retain(session_idle_s=4 * 3600)()).due == {"session": 1}


async def test_what_goes_with_its_session_is_asked_for_once(books, kept):
    """Though it is too old, or its own time is over; and numbers wait for the next run."""
    await kept.keep(retention=Retention(rule=Rule(max_age_days=1, max_events=2), session_only=True))
    await remember(books, "a", session_id="quiet", expires_at=NOON)
    await remember(books, "b", "c", session_id="quiet", recorded_at=NOON - DAY)
    await remember(books, "d", "e", "f", session_id="loud", recorded_at=NOON + DAY)
    kept.clock.later = DAY

    report = await kept.retain()()

    assert report.memories == [Found(scope=SCOPE, due={"session": 3}, erasures=1, more=True)]


async def test_a_session_of_such_a_memory_is_erased_when_it_ends(books, kept):
    """At once, by who ended it; to end it again does no more, and one that holds nothing is empty."""
    await kept.keep(retention=Retention(session_only=True))
    await remember(books, "a", session_id="talk")

    ended = await kept.end(SCOPE, "talk", by="an agent")

    assert ended.state == "hidden"
    assert [(one.erasure_id, one.requested_by, one.reason) for one in await kept.asked()] == [(ended.erasure_id, "an agent", "retention")]
    assert await kept.end(SCOPE, "talk", by="an agent") == ended
    assert (await kept.end(SCOPE, "never begun", by="an agent")).state == "empty"


async def test_a_session_of_any_other_memory_is_kept_when_it_ends(books, kept):
    """That is no error; and a document is no session."""
    await remember(books, "a", session_id="talk")
    assert (await kept.end(SCOPE, "talk", by="an agent")).state == "kept"
    await kept.keep(retention=Retention(session_only=True))
    assert (await kept.end(SCOPE, "document:guide", by="an agent")).state == "kept"
    assert await kept.asked() == []


async def test_a_session_that_somebody_may_still_undo_is_erased_when_it_ends(books, kept):
    """Its end does not wait for the end of that window."""
    await kept.keep(retention=Retention(session_only=True))
    await remember(books, "a", session_id="talk")
    selector = Selector(kind="session_id", session="talk")
    undoable = await kept.asking.ask(SCOPE, selector, reason="request", by="somebody", undo_s=3600)

    ended = await kept.end(SCOPE, "talk", by="an agent")

    assert ended.state == "hidden"
    assert ended.erasure_id != undoable.erasure_id


async def test_a_timeline_that_is_behind_is_waited_for(books, kept, monkeypatch):
    """It would take a session for quiet whose last words it has not heard."""
    monkeypatch.setattr(retaining, "_FOLLOWED_S", 0.1)

    class Ahead:
        """A log that has more than anybody followed."""

        async def heads(self):
            return {"EVENTS_0": 1 << 40}

    with pytest.raises(DeadlineExceeded):
        await kept.retain(source=Ahead())()


async def test_a_log_that_is_away_is_an_error(books, kept):
    """The next run begins again."""
    await some_expiring(books)
    books.log.leave("heads")

    with pytest.raises(Unavailable):
        await kept.retain()()
    books.log.come_back()
    assert (await kept.retain()()).due == {"expired": 2}


async def test_what_went_is_in_no_engine_and_no_file_and_its_id_stays_taken(tmp_path):
    """By age, number, time and the end of a session; the rest is found, and the receipt says who asked."""
    async with ledger(tmp_path) as books, engines(books, tmp_path) as made:
        made.start()
        kept = keeping(books)
        await books.memory(OTHER, retention=Retention(session_only=True))
        await kept.keep(retention=Retention(rule=Rule(max_age_days=30, max_events=3)))
        await made.index(told("aged", recorded_at=NOON - 31 * DAY), told("over"), told("expired", expires_at=NOON))
        await made.index(*(told(name, "zzkeptcanaryzz", recorded_at=NOON + HOUR) for name in ("k1", "k2", "k3")))
        await made.index(told("ended"), scope=OTHER)

        await kept.retain()()
        await kept.end(OTHER, "s-ended", by="an agent")
        done = await kept.erase(made)
        await made.caught_up()

        assert [one.state for one in done] == ["erased"] * 2
        canaries = {name: f"zz{name}canaryzz" for name in ("aged", "over", "expired", "ended", "kept")}
        assert {name for name, word in canaries.items() for scope in (SCOPE, OTHER) if await hits(made, word, scope=scope)} == {"kept"}
        content = b"".join(content.lower() for _, content in contents(tmp_path))
        assert {name for name, word in canaries.items() if word.encode() in content} <= {"kept"}
        (ended,) = await kept.asking.all(SCOPE)
        receipt = receipts.read(await kept.asking.receipt(SCOPE, ended.erasure_id))
        assert (receipt.requested_by, receipt.reason, receipt.counts["timeline"]) == ("retention", "retention", 3)
        assert set(receipt.probe.values()) == {0}
        (outcome,) = await books.append(SCOPE, [told("over")])
        assert outcome.fault.code == "erased"


def told(name: str, word: str = "", **changes):
    """An event with a canary, in a session of its own."""
    return event(name, f"{word or f'zz{name}canaryzz'} flows", session_id=f"s-{name}", **changes)


async def hits(made: Engines, word: str, *, scope) -> bool:
    """Whether BM25 finds it."""
    return bool(await made.lexicon.search(scope, word, criteria=Criteria(), limit=5))
