"""Rebuilds over real engines: beside a serving projection, over kills and cancellations, one after another."""

import asyncio
import gc
from collections.abc import Sequence
from contextlib import asynccontextmanager

import pytest
from tests.support.engines import NOON, SCOPE, Engines, engines, event, ledger, rebuilds_of
from tests.support.waiting import until

from kalends.adapters.nats.consumers import NatsConsumer
from kalends.domain.errors import Conflict
from kalends.domain.operations import LongOperation
from kalends.domain.queries import Criteria
from kalends.index.rebuilds import Rebuilds
from kalends.ingest.documents import NewDocument
from kalends.kit import failpoints

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


async def consumers(made: Engines) -> set[str]:
    """The durable consumers that the broker knows."""
    infos = await made.ledger.bus.connection.jetstream().consumers_info("EVENTS_0")
    return {info.name for info in infos if info.name.startswith(BOTH)}  # the timeline's follower has one that is not durable


def document(text: str) -> NewDocument:
    """A document to keep."""
    return NewDocument(document_id="d", text=text, title="", source="", markdown=True, occurred_at=NOON, metadata={})


@pytest.mark.parametrize("name", BOTH)
async def test_a_rebuild_goes_on_beside_searches_and_gives_the_same_answers(made, name):
    """The old generation serves until the new one is complete; then it is gone, with its consumer."""
    made.start()
    await record(made, [f"{text} {number}" for number in range(12) for text in SAID])
    await made.caught_up()
    ask = {"lexical": found, "vector": meant}[name]
    before, answers = (await made.digests(), await ask(made, "heron")), []

    async def search() -> None:
        while True:
            answers.append(await ask(made, "heron"))

    searching = asyncio.create_task(search())
    reports = []
    await made.projections[name].rebuild("g2", report=lambda done, total: reports.append((done, total)))
    searching.cancel()
    await asyncio.wait([searching])
    await record(made, ["one more heron"], prefix="later")
    await made.caught_up()

    assert all(answer == before[1] for answer in answers)
    assert len(answers) > 1
    assert made.projections[name].generation == made.generations[name].current == "g2"
    assert await consumers(made) == {f"{name}-g2", f"{BOTH[1 - BOTH.index(name)]}-g1"}
    assert not list(made.generations[name]._base.glob("g1"))
    assert reports[-1] == (60, 60)
    after = await made.digests()
    assert after["lexical"] == after["vector"]
    assert after[name][0] == before[0][name][0] + 1


async def test_a_rebuilt_projection_is_equal_to_the_one_it_replaces(made):
    """Retracted events included."""
    made.start()
    await record(made)
    await made.ledger.keep.keep(SCOPE, document("zebra"))
    await made.ledger.keep.remove(SCOPE, "d")
    await made.caught_up()
    before = await made.digests()

    for projection in made.projections.values():
        await projection.rebuild("g2", report=lambda done, total: None)

    assert await made.digests() == before


@pytest.mark.parametrize("point", ["rebuild.before-switch", "rebuild.after-switch"])
async def test_a_rebuild_that_is_cut_off_leaves_a_projection_that_serves(made, point):
    """The old one or the new one; both are whole, and the next rebuild works."""
    made.start()
    await record(made)
    await made.caught_up()
    before = await made.digests()
    failpoints.arm({point: "error"})

    with pytest.raises(failpoints.FailpointError):
        await made.projections["lexical"].rebuild("g2", report=lambda done, total: None)

    assert await made.digests() == before
    await record(made, ["one more heron"], prefix="later")
    await made.caught_up()
    assert len(await found(made, "heron")) == 2
    await made.projections["lexical"].rebuild("g3", report=lambda done, total: None)
    assert len(await found(made, "heron")) == 2


async def test_two_rebuilds_of_one_projection_at_once_are_a_conflict(made):
    """The second one is told so, and the first goes on."""
    made.start()
    await record(made)
    await made.caught_up()
    gate = made.embedder.hold("embed")
    rebuilding = asyncio.create_task(made.projections["vector"].rebuild("g2", report=lambda done, total: None))

    async def begun() -> bool:
        return "vector-g2" in await consumers(made)

    await until(begun)
    with pytest.raises(Conflict):
        await made.projections["vector"].rebuild("g3", report=lambda done, total: None)
    made.embedder.let_pass()
    gate.set()
    await rebuilding
    assert made.projections["vector"].generation == "g2"


async def test_a_rebuild_that_was_interrupted_goes_on_where_it_was(made):
    """As after a restart: what was written is there still, and its consumer knows what is left."""
    made.start()
    await record(made, [f"{text} {number}" for number in range(20) for text in SAID])
    await made.caught_up()
    before, gate = await made.digests(), made.embedder.hold("embed", after=2)
    rebuilding = asyncio.create_task(made.projections["vector"].rebuild("g2", report=lambda done, total: None))
    await until(lambda: made.embedder.waiting["embed"] > 0)
    rebuilding.cancel()
    await asyncio.wait([rebuilding])
    assert await made.generations["vector"].leftovers() == ["g2"]
    gate.set()
    made.embedder.let_pass()
    reports: list[int] = []

    await made.projections["vector"].rebuild("g2", report=lambda done, total: reports.append(done))

    assert made.projections["vector"].generation == "g2"
    assert await made.digests() == before
    assert reports[0] > 0


async def is_in(rebuilds: Rebuilds, one: LongOperation, state: str) -> bool:
    """Whether a rebuild is in that state."""
    return (await rebuilds.find(one.operation_id)).state == state


@asynccontextmanager
async def at_work(*runners: Rebuilds):
    """They run for as long as the block does."""
    running = [asyncio.create_task(one.run()) for one in runners]
    try:
        yield running
    finally:
        for one in running:
            one.cancel()
        await asyncio.wait(running)
        assert all(one.cancelled() for one in running)


async def test_rebuilds_that_were_asked_for_are_done_one_after_another(made):
    """A dry run only counts, an unexpected failure is said, and the queue goes on."""
    made.start()
    await record(made)
    await made.caught_up()
    rebuilds = rebuilds_of(made)
    dry = await rebuilds.ask("all", dry_run=True, total=5)
    failing = await rebuilds.ask("lexical")
    whole = await rebuilds.ask("all")
    cancelled = await rebuilds.ask("vector")
    await rebuilds.cancel(cancelled.operation_id)
    failpoints.arm({"rebuild.before-switch": "error"})

    async with at_work(rebuilds):
        await until(lambda: is_in(rebuilds, whole, "succeeded"))

    assert {name for name, done, total in made.rebuilt if done == total} == set(BOTH)
    states = [(await rebuilds.find(one.operation_id)).state for one in (dry, failing, whole, cancelled)]
    assert states == ["succeeded", "failed", "succeeded", "cancelled"]
    assert (await rebuilds.find(whole.operation_id)).done == 2 * len(SAID)
    assert {projection.generation for projection in made.projections.values()} == {f"g{whole.operation_id.lower()}"}
    assert await made.generations["lexical"].leftovers() == []
    with pytest.raises(Conflict):
        await rebuilds.cancel(whole.operation_id)


async def test_a_rebuild_that_a_person_cancels_leaves_nothing_behind(made):
    """Neither a generation nor a consumer; the old one serves on."""
    made.start()
    await record(made)
    await made.caught_up()
    made.embedder.hold("embed")
    rebuilds = rebuilds_of(made)

    async def tidied() -> bool:
        return await made.generations["vector"].leftovers() == [] and await consumers(made) == {"lexical-g1", "vector-g1"}

    async with at_work(rebuilds):
        asked = await rebuilds.ask("vector")
        await until(lambda: made.embedder.waiting["embed"] > 0)
        await rebuilds.cancel(asked.operation_id)
        await until(tidied)

    assert made.projections["vector"].generation == "g1"
    assert await is_in(rebuilds, asked, "cancelled")


async def test_a_rebuild_outlives_the_process_that_does_it(made):
    """Whoever takes the lease next goes on with the same generation; the operation is one and the same."""
    made.start()
    await record(made, [f"{text} {number}" for number in range(20) for text in SAID])
    await made.caught_up()
    before = await made.digests()
    made.embedder.hold("embed", after=2)
    first = rebuilds_of(made)
    async with at_work(first):
        asked = await first.ask("vector")
        await until(lambda: made.embedder.waiting["embed"] > 0)
    assert await is_in(first, asked, "running")
    made.embedder.let_pass()
    second = rebuilds_of(made, holder="another")

    async with at_work(second):
        await until(lambda: is_in(second, asked, "succeeded"))

    assert made.projections["vector"].generation == f"g{asked.operation_id.lower()}"
    assert await made.digests() == before


async def test_rebuilds_of_another_folders_engines_are_left_to_it(made):
    """They wait for their own process, whoever holds a lease."""
    rebuilds, elsewhere = rebuilds_of(made), rebuilds_of(made, place="elsewhere")
    there, here = await elsewhere.ask("lexical"), await rebuilds.ask("lexical")

    async with at_work(rebuilds):
        await until(lambda: is_in(rebuilds, here, "succeeded"))

    assert await is_in(rebuilds, there, "queued")


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_of_a_rebuild_that_is_over_stays_in_memory(made, fails):
    """Each consumer that it read by would keep a subscription and its last acks, for as long as the process lives."""
    made.start()
    await record(made)
    await made.caught_up()

    async def rebuild(number: int) -> None:
        for name in BOTH:
            if fails:
                failpoints.arm({"rebuild.before-switch": "error"})
                with pytest.raises(failpoints.FailpointError):
                    await made.projections[name].rebuild(f"failed{number}", report=lambda _done, _total: None)
            await made.projections[name].rebuild(f"g{number + 2}", report=lambda _done, _total: None)

    await rebuild(0)
    await made.caught_up()
    await until(lambda: consumers_of(made) == len(BOTH))
    subscriptions = subscriptions_of(made)
    for number in range(1, 4):
        await rebuild(number)
    await made.caught_up()

    await until(lambda: consumers_of(made) == len(BOTH))
    assert subscriptions_of(made) == subscriptions


def consumers_of(made: Engines) -> int:
    """How many of its log's are in memory; another test's may be, by the traceback of an error that is a constant of its module."""
    gc.collect()
    consumers = [one for one in gc.get_objects() if isinstance(one, NatsConsumer)]
    return sum(one._requests is made.ledger.bus.log._requests for one in consumers)


def subscriptions_of(made: Engines) -> int:
    """How many the connection has."""
    return len(made.ledger.bus.connection._subs)
