"""Index over real engines: outages, damage, redelivery, rebuilds and crashes; whatever happens, the projections end up equal to the log."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.support.engines import NOON, QUICK, SCOPE, Engines, engines, event, ledger
from tests.support.waiting import until

from kalends.domain.errors import Conflict, Damaged, Forbidden, Invalid, KalendsError, Occupied, Throttled, Unavailable
from kalends.domain.events import event_key
from kalends.domain.positions import Position
from kalends.domain.queries import Criteria, Entry, Tombstone
from kalends.edge import tracing
from kalends.index.consumers import LexicalSink, Projector, VectorSink
from kalends.ingest.documents import NewDocument
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.ports.log import Draft
from kalends.wire.envelopes import Erased, erasure

SAID = ["the red fox sleeps", "a heron eats fish", "rain over the harbour", "the train to Oslo was late", "cardamom buns with butter"]
BOTH = ("lexical", "vector")
EVERYTHING = Criteria()


@pytest.fixture
async def made(tmp_path):
    """Projections of the test's own; nothing runs yet."""
    async with ledger(tmp_path, chunk_tokens=24) as books, engines(books, tmp_path) as opened:
        yield opened


async def record(made: Engines, texts: Sequence[str] = SAID, *, prefix: str = "e") -> None:
    """Append *texts*, one event each."""
    await made.ledger.record(*(event(f"{prefix}{number}", text, minute=number) for number, text in enumerate(texts)))


async def found(made: Engines, text: str) -> list[str]:
    """What BM25 answers."""
    return [hit.key for hit in await made.lexicon.search(SCOPE, text, criteria=EVERYTHING, limit=10)]


async def meant(made: Engines, text: str) -> list[str]:
    """What the vectors answer."""
    question = await made.embedder.embed_query(text)
    return [hit.key for hit in await made.vectors.nearest(SCOPE, question.dense, criteria=EVERYTHING, limit=10)]


async def deliveries(made: Engines, name: str, generation: str = "g1") -> int:
    """How many deliveries the broker has made to a projection's consumer, repetitions included."""
    info = await made.ledger.bus.connection.jetstream().consumer_info("EVENTS_0", f"{name}-{generation}")
    return info.delivered.consumer_seq


async def consumers(made: Engines) -> set[str]:
    """The durable consumers that the broker knows."""
    infos = await made.ledger.bus.connection.jetstream().consumers_info("EVENTS_0")
    return {info.name for info in infos if info.name.startswith(BOTH)}  # the timeline's follower has one that is not durable


class Picky:
    """A real sink whose store refuses whatever says a word, as a store refuses what it cannot hold."""

    def __init__(self, real: LexicalSink, error: KalendsError) -> None:
        self._real = real
        self._error = error
        self._word = "poison"
        self.puts = 0

    def heal(self) -> None:
        """Take everything from now on."""
        self._word = "nothing that is said"

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> None:
        self.puts += 1
        if any(self._word in entry.text for entry in entries):
            raise self._error
        await self._real.put(entries, tombstones)

    async def probe(self) -> None:
        await self._real.probe()


async def test_what_is_appended_is_found_by_both_projections(made):
    """And they hold the same events in the same versions."""
    made.start()
    await record(made)
    await made.caught_up()
    digests = await made.digests()

    assert len(await found(made, "heron")) == 1
    assert await meant(made, "a bird and its dinner")
    assert digests["lexical"][0] == digests["vector"][0] == len(SAID)


async def test_a_trace_goes_through_the_log_to_whoever_indexes_it(made, monkeypatch):
    """The producer's span is in the message's headers, and the consumer's span is linked to it."""
    links: list[tracing.TraceContext] = []
    span = tracing.span

    def noted(name, **rest):
        links.extend(rest.get("links", ()))
        return span(name, **rest)

    monkeypatch.setattr(tracing, "span", noted)
    parent = tracing.parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
    with tracing.span("events.append", parent=parent):
        await record(made)
    made.start()
    await made.caught_up()

    (stored,) = await made.ledger.bus.log.read([Position("EVENTS_0", 1)])
    assert tracing.linked([stored.headers])[0].trace_id == parent.trace_id
    assert {link.span_id for link in links} == {tracing.linked([stored.headers])[0].span_id}


async def test_what_is_taken_back_is_found_no_more(made):
    """By either projection."""
    made.start()
    kept = await made.ledger.keep.keep(SCOPE, document("zebra"))
    await made.caught_up()
    assert len(await found(made, "zebra")) == 1

    await made.ledger.keep.remove(SCOPE, kept.record.document_id)
    await made.caught_up()

    assert await found(made, "zebra") == await meant(made, "zebra") == []


def document(text: str) -> NewDocument:
    """A document to keep."""
    return NewDocument(document_id="d", text=text, title="", source="", markdown=True, occurred_at=NOON, metadata={})


@pytest.mark.parametrize("error", [Unavailable("away", dependency="lexical"), Damaged("broken")], ids=lambda error: error.code)
async def test_one_projection_does_not_wait_for_the_other(made, error):
    """Each has its own consumer."""
    made.lexicon.leave("put", error=error)
    made.start()
    await record(made)

    await made.caught_up("vector")

    assert len(await meant(made, "fox")) == len(SAID)
    assert await found(made, "fox") == []


async def test_a_projection_that_is_told_to_end_while_the_broker_answers_ends(made, monkeypatch):
    """It hands back what it has just then, for its store is away; in Python 3.11 the client forgets a cancellation that meets an answer."""
    made.lexicon.leave("put")
    client, told = made.ledger.bus.connection, []
    answered = client._process_pong

    async def answered_and_told():
        await answered()
        told.append(made.running["lexical"].cancel())

    await record(made)
    monkeypatch.setattr(client, "_process_pong", answered_and_told)
    made.start("lexical")
    await until(lambda: told != [])
    ended, _ = await asyncio.wait([made.running["lexical"]], timeout=20)
    monkeypatch.undo()

    assert ended == {made.running["lexical"]}


@pytest.mark.parametrize("name", BOTH)
async def test_an_outage_of_the_store_burns_no_deliveries_and_ends_by_itself(made, name):
    """The breaker is open: nothing is fetched until a probe succeeds, so no message comes near its last attempt."""
    store = {"lexical": made.lexicon, "vector": made.vectors}[name]
    store.leave("put")
    made.start(name)
    await record(made)
    await until(lambda: store.refused["put"] >= 15)
    projection = made.projections[name]

    assert isinstance(projection.failure, Unavailable)
    assert projection.failing_since
    assert await deliveries(made, name) <= 3 * len(SAID)

    store.come_back()
    await made.caught_up(name)

    assert projection.failure is projection.failing_since is None
    assert (await made.digests())[name][0] == len(SAID)
    assert await made.ledger.bus.dead_letters.count() == 0


async def test_an_outage_of_the_model_stops_the_vectors_only_and_ends_by_itself(made):
    """A probe is a real embedding: a remembered answer would close the breaker again and again."""
    await made.embedder.embed_query("probe")
    made.embedder.leave("embed")
    made.start()
    await record(made)
    await made.caught_up("lexical")
    await until(lambda: made.embedder.refused["embed"] >= 15)

    assert await deliveries(made, "vector") <= 3 * len(SAID)

    made.embedder.come_back()
    await made.caught_up("vector")
    assert await made.ledger.bus.dead_letters.count() == 0


async def test_an_outage_of_the_key_store_is_no_reason_to_give_up_a_message(made):
    """Nothing is rejected, nothing is taken for erased."""
    await record(made)
    real, made.ledger.reader._vault._keys = made.ledger.bus.keys, Away()
    away = made.ledger.reader._vault._keys
    made.ledger.vault._boxes.clear()
    made.ledger.reader.forget()
    made.start("lexical")
    await until(lambda: away.asked >= 15)
    assert made.projections["lexical"].failure is not None
    assert await deliveries(made, "lexical") <= 3 * len(SAID)
    made.ledger.reader._vault._keys = real

    await made.caught_up("lexical")

    assert (await made.digests())["lexical"][0] == len(SAID)
    assert await made.ledger.bus.dead_letters.count() == 0


class Away:
    """A key store that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, scope, references):
        self.asked += 1
        raise Unavailable("keys are away", dependency="keys")


async def test_an_unreadable_message_becomes_a_dead_letter_and_its_neighbours_flow(made):
    """One letter for each projection, without content."""
    made.start()
    await record(made, SAID[:2], prefix="a")
    await made.ledger.bus.log.append([Draft(scope=SCOPE, message_id="garbage", body=b"garbage that says secret")])
    await record(made, SAID[2:], prefix="b")
    await made.caught_up()
    letters = made.ledger.bus.dead_letters

    async def both() -> bool:
        return await letters.count() == 2

    await until(both)
    assert [(letter.position.sequence, letter.consumer) for letter in sorted(await letters.list(), key=lambda one: one.consumer)] == [
        (3, "lexical-g1"),
        (3, "vector-g1"),
    ]
    assert not any("secret" in letter.reason for letter in await letters.list())
    assert [events for events, _ in (await made.digests()).values()] == [len(SAID)] * 2


async def test_a_message_that_the_store_refuses_becomes_a_dead_letter_and_its_neighbours_flow(made):
    """It is found by halving."""
    texts = [*SAID, "poison", *SAID]
    sink = Picky(LexicalSink(made.lexicon), Invalid("no"))
    made.projections["lexical"]._sink_of = lambda _: sink
    await record(made, texts)
    made.start("lexical")

    await made.caught_up("lexical")

    (letter,) = await made.ledger.bus.dead_letters.list()
    assert (letter.position.sequence, letter.reason) == (6, "invalid: refused by the lexical store")
    assert (await made.digests())["lexical"][0] == len(texts) - 1
    assert sink.puts <= 8


async def test_what_the_store_does_not_take_now_holds_up_nothing_that_was_fetched_with_it(made):
    """It is kept, in ever smaller pieces, and nothing more is fetched until it is written."""
    texts = [*SAID, "poison", *SAID]
    sink = Picky(LexicalSink(made.lexicon), Unavailable("too much", dependency="lexical"))
    made.projections["lexical"]._sink_of = lambda _: sink
    await record(made, texts)
    made.start("lexical")

    async def all_but_one() -> bool:
        return (await made.digests())["lexical"][0] == len(texts) - 1

    await until(all_but_one)
    await record(made, ["later"], prefix="later")
    tried = sink.puts
    await until(lambda: sink.puts >= tried + 10)
    assert isinstance(made.projections["lexical"].failure, Unavailable)

    sink.heal()
    await made.caught_up("lexical")

    assert (await made.digests())["lexical"][0] == await deliveries(made, "lexical") == len(texts) + 1
    assert await made.ledger.bus.dead_letters.count() == 0


class Moody:
    """A real sink that fails so many times, at everything or only at what takes something out."""

    def __init__(self, real: LexicalSink, error: KalendsError, *, times: int, only_tombstones: bool = False) -> None:
        self._real = real
        self._error = error
        self._left = times
        self._only_tombstones = only_tombstones

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone]) -> None:
        if self._left and (tombstones or not self._only_tombstones):
            self._left -= 1
            raise self._error
        await self._real.put(entries, tombstones)

    async def probe(self) -> None:
        await self._real.probe()


@pytest.mark.parametrize(
    "error", [Occupied("held"), Damaged("broken"), Throttled("full"), Conflict("other"), Forbidden("no")], ids=lambda error: error.code
)
async def test_no_message_is_given_up_for_what_is_about_the_store(made, error):
    """It waits, and is written once the store takes it; an index that somebody still holds is free a moment later."""
    sink = Moody(LexicalSink(made.lexicon), error, times=20)
    made.projections["lexical"]._sink_of = lambda _: sink
    await record(made)
    made.start("lexical")

    await made.caught_up("lexical")

    assert await made.ledger.bus.dead_letters.count() == 0
    assert (await made.digests())["lexical"][0] == len(SAID)


async def test_what_takes_something_out_is_never_given_up(made):
    """Given up it would leave what was erased to be found for ever; it waits until the store takes it."""
    sink = Moody(LexicalSink(made.lexicon), Invalid("no"), times=20, only_tombstones=True)
    made.projections["lexical"]._sink_of = lambda _: sink
    await record(made)
    known = event("e0", SAID[0])
    said = Erased(erasure_id=known.id, keys=(event_key(SCOPE, known.id),))
    await made.ledger.bus.log.append([Draft(scope=SCOPE, message_id="erase", body=erasure(said, scope=SCOPE, recorded_us=1))])
    made.start("lexical")

    await made.caught_up("lexical")

    assert await made.ledger.bus.dead_letters.count() == 0
    assert (await made.digests())["lexical"][0] == len(SAID) - 1


async def test_redelivery_changes_nothing(made):
    """A second consumer writes everything again."""
    made.start()
    await record(made)
    await made.ledger.keep.keep(SCOPE, document("zebra"))
    await made.ledger.keep.remove(SCOPE, "d")
    await made.caught_up()
    before = await made.digests()
    for name, sink in (("lexical", LexicalSink(made.lexicon)), ("vector", VectorSink(made.vectors, made.embedder))):
        consumer = await made.ledger.bus.log.consumer(f"{name}-again")
        again = Projector(
            projection=name,
            consumer=consumer,
            sink=sink,
            reader=made.ledger.reader,
            batch=3,
            settings=QUICK,
            moved=lambda: None,
            traffic=Traffic(),
        )
        writing = asyncio.create_task(again.run())

        async def written(consumer=consumer) -> bool:
            return all(state.pending == state.in_flight == 0 for state in await consumer.states())

        await until(written)
        writing.cancel()
        await asyncio.wait([writing])

    assert await made.digests() == before


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("lexical", "index.lexical.after-fetch"),
        ("lexical", "index.lexical.before-ack"),
        ("lexical", "index.lexical.after-ack"),
        ("vector", "index.vector.after-fetch"),
        ("vector", "index.vector.after-embed"),
        ("vector", "index.vector.before-ack"),
        ("vector", "index.vector.after-ack"),
    ],
)
async def test_a_crash_of_a_projection_loses_nothing(made, name, point):
    """Wherever it happens; what was not acked comes again."""
    await record(made)
    failpoints.arm({point: "error"})
    with pytest.raises(failpoints.FailpointError):
        async with asyncio.timeout(20):
            await made.projections[name].run()

    made.start()
    await made.caught_up()

    digests = await made.digests()
    assert digests["lexical"] == digests["vector"]
    assert digests[name][0] == len(SAID)


async def test_asking_for_floors_opens_nothing(made):
    """They are asked for many times a second for as long as the process lives; every consumer that is opened holds a subscription."""
    made.start()
    await record(made)
    await made.caught_up()
    opened = len(made.ledger.bus.log._consumers)

    for _ in range(20):
        await made.projections["lexical"].floors()

    assert len(made.ledger.bus.log._consumers) == opened
