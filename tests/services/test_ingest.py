"""Ingest over a real broker and a real timeline: identity, quotas, documents, and what a crash leaves."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from tests.support.engines import NOON, OTHER, SCOPE, Ledger, event, event_id, ledger

from kalends.domain.credentials import RIGHTS, Principal
from kalends.domain.errors import DeadlineExceeded, Invalid, NotFound, Throttled, TooLarge, Unavailable
from kalends.domain.positions import visibility_token
from kalends.edge.metrics import new_metrics
from kalends.edge.operations import Call
from kalends.ingest.documents import NewDocument
from kalends.ingest.routes import EventRoutes, preferred_wait, utc
from kalends.ingest.usecases import AppendEvents, idempotent_id
from kalends.kit import failpoints
from kalends.settings import IngestSettings

HELLO = NewDocument(document_id="d", text="hello", title="", source="", markdown=True, occurred_at=None, metadata={})
FRESH = SimpleNamespace(behind_s=0.0)
"""A follower that says it is up to date, for a timeline that is not."""


@pytest.fixture
async def books(tmp_path):
    """A ledger of the test's own, with small chunks."""
    async with ledger(tmp_path, chunk_tokens=24) as made:
        yield made


def words(outcomes) -> list[str]:
    """What became of each event, in one word."""
    return [one.fault.code if one.fault else "duplicate" if one.duplicate else "new" for one in outcomes]


async def stored_texts(books: Ledger, outcomes) -> list[str]:
    """What the log holds at the places of *outcomes*."""
    messages = await books.bus.log.read([one.position for one in outcomes])
    return [opened.event.text for opened in await books.reader.open(messages)]


def call(raw: bytes = b"", *, body=None, path=None, **headers: str) -> Call:
    """A request of a client that may do everything."""
    principal = Principal(token_id="t", tenant=SCOPE.tenant, memories=None, rights=frozenset(RIGHTS), labels=None)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(
        principal=principal, scope=SCOPE, path=path or {}, query=None, body=body, raw=raw, headers=named, request_id="r", deadline=1e9
    )


def event_routes(books: Ledger, append: AppendEvents | None = None, **settings: int) -> EventRoutes:
    """The route of appends as it is wired in a process."""
    return EventRoutes(
        append=append or books.append,
        progress=books.progress,
        clock=books.clock,
        settings=IngestSettings(**settings),
        metrics=new_metrics(version="0"),
    )


def request(*items: dict) -> bytes:
    """The body of an append."""
    return json.dumps({"events": [{"session_id": "s", "kind": "message", "text": "x", **item} for item in items]}).encode()


# events


async def test_new_events_are_in_the_log_when_they_are_acknowledged(books):
    """In the order of the request, as they were said."""
    outcomes = await books.append(SCOPE, [event(number) for number in range(5)])

    assert words(outcomes) == ["new"] * 5
    assert await stored_texts(books, outcomes) == [f"text of {number}" for number in range(5)]


@pytest.mark.parametrize("known", ["timeline", "store"])
async def test_the_same_again_is_a_duplicate_and_other_content_is_refused(books, known):
    """Whether the timeline recognises the id or, while that lags, the store."""
    first = await (books.record(event("a")) if known == "timeline" else books.append(SCOPE, [event("a")]))
    again = books.another_append(follower=FRESH, timeline=None if known == "timeline" else await empty_timeline(books))
    head = await books.head()

    outcomes = await again(SCOPE, [event("a"), event("b"), event("a", "other")])

    assert words(outcomes) == ["duplicate", "new", "conflict"]
    assert outcomes[0].position == first[0].position
    assert await books.head() == head + 1
    assert await stored_texts(books, outcomes[:1]) == ["text of a"]


async def empty_timeline(books: Ledger):
    """A timeline that knows nothing, as one that has just been opened elsewhere."""

    async def lookup(scope, keys):
        return {}

    return SimpleNamespace(lookup=lookup, stats=books.timeline.stats)


async def test_other_content_is_recognised_by_the_store_alone(books):
    """The first message says what it held."""
    await books.append(SCOPE, [event("a")])
    again = books.another_append(follower=FRESH, timeline=await empty_timeline(books))

    assert words(await again(SCOPE, [event("a", "other")])) == ["conflict"]


async def test_long_after_the_stores_window_the_timeline_alone_recognises_an_id(books):
    """The log is not even asked."""
    await books.record(event("a"))
    books.log.leave("append")

    assert words(await books.append(SCOPE, [event("a"), event("a", "other")])) == ["duplicate", "conflict"]


async def test_a_repetition_within_one_request_has_the_fate_of_the_first(books):
    """Stored once."""
    outcomes = await books.append(SCOPE, [event("a"), event("a"), event("a", "other"), event("b")])

    assert words(outcomes) == ["new", "duplicate", "conflict", "new"]
    assert await books.head() == 2


async def test_eight_callers_with_the_same_ids_store_each_once(books):
    """Whatever the interleaving, and each caller has an answer."""
    appends = [books.append, *(books.another_append() for _ in range(7))]
    events = [event(number) for number in range(20)]

    answers = await asyncio.gather(*(append(SCOPE, events) for append in appends))

    assert await books.head() == 20
    assert [sorted(words(row)).count("new") for row in zip(*answers, strict=True)] == [1] * 20
    assert {word for answer in answers for word in words(answer)} == {"new", "duplicate"}


async def test_of_eight_callers_with_other_contents_one_wins(books):
    """The others learn that the id is taken."""
    appends = [books.append, *(books.another_append() for _ in range(7))]

    answers = await asyncio.gather(*(append(SCOPE, [event("a", f"by {number}")]) for number, append in enumerate(appends)))

    assert sorted(word for answer in answers for word in words(answer)) == ["conflict"] * 7 + ["new"]
    assert await books.head() == 1


async def test_an_event_without_a_time_of_its_own_may_be_sent_again_later(books):
    """Its time is when it was first written."""
    undated = event("a", dated=False)
    await books.record(undated)

    assert words(await books.append(SCOPE, [replace(undated, occurred_at=NOON + timedelta(hours=1))])) == ["duplicate"]


async def test_the_same_id_in_two_memories_is_two_events(books):
    """Identity is within a scope."""
    await books.memory(OTHER)
    await books.record(event("a"))

    assert words(await books.append(OTHER, [event("a", "other")])) == ["new"]


async def test_an_id_that_was_taken_back_stays_gone(books):
    """Nothing brings it back, the same content neither."""
    kept = await books.keep.keep(SCOPE, HELLO)
    await books.keep.remove(SCOPE, "d")
    await books.followed()

    assert words(await books.append(SCOPE, [replace(event("x"), id=kept.record.chunk_ids[0])])) == ["gone"]


async def test_a_memory_that_does_not_exist_takes_nothing(books):
    """It is not made on the way."""
    with pytest.raises(NotFound):
        await books.append(OTHER, [event("a")])
    assert await books.head() == 0


async def test_nothing_is_taken_while_the_timeline_is_too_far_behind(books):
    """It could not recognise an id that the store has forgotten."""
    with pytest.raises(Throttled) as caught:
        await books.another_append(follower=SimpleNamespace(behind_s=101.0))(SCOPE, [event("a")])

    assert caught.value.retry_after
    assert await books.head() == 0


async def test_a_quota_of_events_is_not_exceeded_and_repetitions_do_not_count(books):
    """A client that lost its answer still learns that its events are safe."""
    await books.memories.change(SCOPE, quota_events=2)
    await books.record(event("a"), event("b"))

    with pytest.raises(Throttled, match="2 events"):
        await books.append(SCOPE, [event("c")])
    with pytest.raises(Throttled):
        await books.append(SCOPE, [event("a"), event("c")])
    assert words(await books.append(SCOPE, [event("a"), event("b")])) == ["duplicate", "duplicate"]
    await books.memories.change(SCOPE, quota_events=3)
    assert words(await books.append(SCOPE, [event("a"), event("b"), event("c")])) == ["duplicate", "duplicate", "new"]


async def test_a_quota_of_bytes_that_is_used_up_takes_nothing_more(books):
    """As the log counts them."""
    await books.memories.change(SCOPE, quota_bytes=100)
    await books.record(event("a", "x" * 100))

    with pytest.raises(Throttled, match="100 bytes"):
        await books.append(SCOPE, [event("b")])


@pytest.mark.parametrize("point", ["ingest.before-append", "ingest.after-append"])
async def test_an_append_that_is_cut_off_can_be_repeated(books, point):
    """Each event is stored once, wherever it was cut off."""
    events = [event(number) for number in range(3)]
    failpoints.arm({point: "error"})

    with pytest.raises(failpoints.FailpointError):
        await books.append(SCOPE, events)
    outcomes = await books.append(SCOPE, events)

    assert await books.head() == 3
    assert await stored_texts(books, outcomes) == ["text of 0", "text of 1", "text of 2"]


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("slow")], ids=lambda error: error.code)
async def test_an_outage_of_the_log_is_no_acknowledgement(books, error):
    """And the same events are new when it is over."""
    books.log.leave("append", error=error)
    with pytest.raises(type(error)):
        await books.append(SCOPE, [event("a")])
    books.log.come_back()

    assert words(await books.append(SCOPE, [event("a")])) == ["new"]


async def test_a_timeline_that_is_away_is_not_taken_for_an_empty_one(books):
    """Else a known id would be stored again."""
    await books.record(event("a"))
    books.timeline.leave("lookup")

    with pytest.raises(Unavailable):
        await books.append(SCOPE, [event("a", "other")])
    assert await books.head() == 1


# the route


async def test_an_idempotency_key_gives_events_without_ids_the_same_ones_again(books):
    """Each by its place in the request, and those of another key others."""
    routes = event_routes(books)
    raw = request({}, {"text": "y"}, {"event_id": event_id("given")})

    first, again, other = [await routes.append(call(raw, idempotency_key=key)) for key in ("k", "k", "l")]

    assert [result.status for result in first.body.results] == ["new"] * 3
    assert [result.status for result in again.body.results] == ["duplicate"] * 3
    assert [result.event_id for result in first.body.results] == [result.event_id for result in again.body.results]
    assert first.body.results[1].event_id == idempotent_id(SCOPE, "k", 1)
    assert [result.status for result in other.body.results] == ["new", "new", "duplicate"]


async def test_a_bad_item_is_refused_by_itself_with_its_place(books):
    """The good ones are stored."""
    items = [{}, {"kind": "shout"}, {"text": 5}, {"event_id": "x"}, {"colour": 1}, {"expires_at": "0001-01-01T00:00:00+14:00"}]

    answer = await event_routes(books).append(call(request(*items)))

    assert [result.status for result in answer.body.results] == ["new"] + ["rejected"] * 5
    assert [result.error.pointer for result in answer.body.results[1:]] == [
        "/events/1/kind",
        "/events/2/text",
        "/events/3/event_id",
        "/events/4/colour",
        "/events/5/expires_at",
    ]
    assert await books.head() == 1


async def test_a_request_without_a_good_event_is_invalid(books):
    """With every fault in it."""
    with pytest.raises(Invalid) as caught:
        await event_routes(books).append(call(request({"kind": "shout"}, {"text": ""})))

    assert [fault.pointer for fault in caught.value.faults] == ["/events/0/kind", "/events/1/text"]


async def test_too_many_events_are_refused_before_any_is_stored(books):
    """The limit is a setting."""
    with pytest.raises(TooLarge):
        await event_routes(books, events_max=2).append(call(request({}, {}, {})))
    assert await books.head() == 0


async def test_a_write_may_wait_until_it_is_visible_and_says_where_it_is(books):
    """200 then; 202 if that takes too long."""
    routes = event_routes(books)

    answer = await routes.append(call(request({"event_id": event_id("a")}), prefer="wait=10"))
    floors = await books.bus.log.heads()
    assert (answer.status, answer.body.visibility) == (200, visibility_token(floors))

    books.progress.add("vector", never)
    assert (await routes.append(call(request({}), prefer="wait=0"))).status is None


async def never() -> dict[str, int]:
    """The floors of a projection that does not move."""
    return {}


async def test_writes_are_slowed_down_when_a_projection_is_too_far_behind(books):
    """Reading would show an ever older past."""
    books.progress.add("vector", never)
    await books.record(event(1), event(2), event(3))
    books.clock.ahead += timedelta(seconds=5)

    with pytest.raises(Throttled, match="vector"):
        await event_routes(books, lag_max=2).append(call(request({})))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5.0),
        ("respond-async, Wait = 7", 7.0),
        ("wait=99999999", 30.0),
        ("wait=-1", None),
        ("wait=x", None),
        ("wait=\u0665", None),
        ("wait", None),
        ("", None),
    ],
)
def test_how_long_a_client_would_wait_is_read_with_care(header, seconds):
    """What cannot be read is no preference."""
    assert preferred_wait({"prefer": header}, longest=30.0) == seconds
    assert preferred_wait({}, longest=30.0) is None


def test_a_time_that_utc_does_not_have_is_refused_with_its_place():
    """An offset can lead out of the calendar."""
    assert utc(NOON.astimezone()) == NOON
    with pytest.raises(Invalid) as caught:
        utc(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), pointer="/expires_at")

    assert caught.value.faults[0].pointer == "/expires_at"
