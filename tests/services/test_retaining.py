"""Retention over a real log: what has expired is taken back by a message, once, and every projection drops it."""

from datetime import timedelta

import pytest
from tests.support.engines import NOON, OTHER, SCOPE, Engines, Ledger, engines, event, event_id, ledger

from kalends.domain.errors import Unavailable
from kalends.domain.events import event_key
from kalends.domain.queries import Criteria
from kalends.ingest import retaining
from kalends.ingest.retaining import Retain, RetentionReport
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.wire.reader import OpenedRetraction
from kalends.wire.vault import key_reference

HOUR = timedelta(hours=1)


@pytest.fixture
async def books(tmp_path):
    """A ledger of the test's own."""
    async with ledger(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def _disarmed():
    """No test leaves a failpoint behind."""
    yield
    failpoints.arm({})


class At:
    """A clock that stands still at noon, or later."""

    def __init__(self, later: timedelta = timedelta(0)) -> None:
        self._now = NOON + later

    def now(self):
        return self._now


def task(books: Ledger, later: timedelta = timedelta(0), **changes) -> Retain:
    """The task as it is wired in a process, at noon or *later*."""
    parts = {
        "log": books.log,
        "timeline": books.timeline,
        "vault": books.vault,
        "memories": books.memories,
        "clock": At(later),
        "traffic": Traffic(),
    }
    return Retain(**{**parts, **changes})


async def live(books: Ledger, scope=SCOPE) -> set[str]:
    """The ids of the live events."""
    found = await books.timeline.page(scope, criteria=Criteria(), after=None, descending=False, limit=1000)
    return {known.event_id for known in found}


async def some_expiring(books: Ledger) -> None:
    """One that has expired at noon, one that does so at that very moment, one an hour later, and one that never does."""
    times = {"past": NOON - HOUR, "now": NOON, "future": NOON + HOUR, "never": None}
    await books.record(*(event(name, session_id=f"s-{name}", expires_at=at) for name, at in times.items()))


async def test_what_has_expired_is_taken_back_and_what_has_not_stays(books):
    """Of every memory; the counts follow, and later the next one goes."""
    await books.memory(OTHER)
    await some_expiring(books)
    await books.record(event("past", expires_at=NOON - HOUR), scope=OTHER)
    told = []

    report = await task(books, observe=told.append)()
    await books.followed()

    assert report == RetentionReport(expired=3, messages=3)
    assert report.text == "3 events expired, taken back by 3 messages"
    assert told == [3]
    assert await live(books) == {event_id("future"), event_id("never")}
    assert await live(books, OTHER) == set()
    assert (await books.timeline.stats(SCOPE)).events == 2
    assert (await task(books)()).expired == 0
    assert (await task(books, 2 * HOUR)()).expired == 1
    await books.followed()
    assert await live(books) == {event_id("never")}


async def test_the_log_says_why(books):
    """By an ordinary retraction under the key of the session, which its erasure takes along."""
    await books.record(event("a", session_id="s", expires_at=NOON), event("b", session_id="s", expires_at=NOON))

    await task(books)()

    (message,) = [one async for batch in first_batch(books) for one in batch][2:]
    (opened,) = await books.reader.open([message])
    assert isinstance(opened, OpenedRetraction)
    assert set(opened.keys) == {event_key(SCOPE, event_id("a")), event_key(SCOPE, event_id("b"))}
    await books.bus.keys.destroy(SCOPE, [key_reference(SCOPE, "s")])
    books.vault.forget(SCOPE, [key_reference(SCOPE, "s")])
    books.reader.forget()
    (erased,) = await books.reader.open([message])
    assert erased.erased


async def first_batch(books: Ledger):
    """What the log holds."""
    batches = books.bus.log.follow(after={}, limit=100)
    async for batch in batches:
        if batch:
            yield batch
            break
    await batches.aclose()


async def test_a_dry_run_only_counts(books):
    """Nothing is appended."""
    await some_expiring(books)
    head = await books.head()

    report = await task(books)(dry_run=True)

    assert (report.expired, report.dry_run) == (2, True)
    assert await books.head() == head
    assert report.text.endswith("(dry run)")


async def test_many_are_taken_back_in_pieces(books, monkeypatch):
    """Those of one session in one message for each piece."""
    monkeypatch.setattr(retaining, "PIECE", 10)
    await books.record(*(event(number, session_id=f"s{number % 2}", expires_at=NOON) for number in range(35)))

    report = await task(books)()
    await books.followed()

    assert (report.expired, report.unsealable) == (35, 0)
    assert report.messages <= 8
    assert await live(books) == set()


async def test_a_crash_between_the_log_and_the_timeline_does_no_harm(books):
    """The next run says the same again, which the log knows already."""
    await some_expiring(books)
    expired = await books.timeline.expired(1 << 62, after=None, limit=10)
    failpoints.arm({"retention.after-append": "error"})
    with pytest.raises(failpoints.FailpointError):
        await task(books)()
    head = await books.head()

    class Behind:
        """A timeline that has not heard of the retractions."""

        async def expired(self, now_us, *, after, limit):
            return [one for one in expired if one.expires_us <= now_us] if after is None else []

    report = await task(books, timeline=Behind())()
    await books.followed()

    assert (report.expired, report.repeated) == (2, 2)
    assert await books.head() == head
    assert await live(books) == {event_id("future"), event_id("never")}
    assert (await task(books)()).expired == 0


async def test_an_event_of_a_session_that_was_erased_is_left(books):
    """Its text is gone anyway, and no new key is made for it."""
    await some_expiring(books)
    reference = key_reference(SCOPE, "s-past")
    await books.bus.keys.destroy(SCOPE, [reference])
    books.vault.forget(SCOPE, [reference])

    report = await task(books)()

    assert (report.expired, report.unsealable) == (1, 1)
    assert await books.bus.keys.get(SCOPE, [reference]) == {}


async def test_a_log_that_is_away_is_an_error(books):
    """The next run begins again."""
    await some_expiring(books)
    books.log.leave("append")

    with pytest.raises(Unavailable):
        await task(books)()
    books.log.come_back()
    assert (await task(books)()).expired == 2


async def test_both_search_projections_drop_what_has_expired(tmp_path):
    """They are equal to each other and to the timeline afterwards, and an id that expired stays taken."""
    async with ledger(tmp_path) as books, engines(books, tmp_path) as made:
        made.start()
        await made.index(event("past", "a heron eats fish", expires_at=NOON - HOUR), event("never", "the red fox sleeps"))
        assert await heron(made)

        await task(books)()
        await made.caught_up()

        assert not await heron(made)
        truth = await books.timeline.digest()
        assert set((await made.digests()).values()) == {(truth.events, truth.digest)}
        assert truth.events == 1
        (outcome,) = await books.append(SCOPE, [event("past", "a heron eats fish", expires_at=NOON - HOUR)])
        assert outcome.fault.code == "gone"


async def heron(made: Engines) -> bool:
    """Whether BM25 finds it."""
    return bool(await made.lexicon.search(SCOPE, "heron", criteria=Criteria(), limit=5))
