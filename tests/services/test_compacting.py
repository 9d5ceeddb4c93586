"""Compaction over real engines: while they serve, and without any answer changing."""

import asyncio

import pytest
from tests.support.engines import SCOPE, Engines, engines, event, lease_of, ledger
from tests.support.waiting import until

from kalends.domain.errors import Conflict, Unavailable
from kalends.domain.operations import LongOperation
from kalends.domain.queries import Criteria
from kalends.index.compacting import Compact, Compactions, CompactReport
from kalends.kit.traffic import Traffic
from kalends.wire.operations import OperationStore

SAID = ["the red fox sleeps", "a heron eats fish", "rain over the harbour", "the train to Oslo was late"]


@pytest.fixture
async def made(tmp_path):
    """Both projections, up to date and running."""
    async with ledger(tmp_path) as books, engines(books, tmp_path) as opened:
        opened.start()
        await opened.index(*(event(number, SAID[number % 4], minute=number) for number in range(40)))
        yield opened


def task(made: Engines, told: list[tuple[str, int]]) -> Compact:
    """The task as it is wired in a process."""
    stores = {"lexical": made.lexicon.compact, "vector": made.vectors.compact, "timeline": made.ledger.timeline.compact}
    return Compact(stores=stores, traffic=Traffic(), observe=lambda name, size: told.append((name, size)))


async def answers(made: Engines) -> tuple[object, ...]:
    """What the stores answer."""
    question = await made.embedder.embed_query("a bird and its dinner")
    return (
        await made.lexicon.search(SCOPE, "heron fox", criteria=Criteria(), limit=50),
        await made.vectors.nearest(SCOPE, question.dense, criteria=Criteria(), limit=50),
        await made.digests(),
        await made.ledger.timeline.digest(),
        await made.ledger.timeline.stats(SCOPE),
    )


async def test_every_store_is_compacted_and_answers_as_before(made):
    """Each says what it freed, and how far it is is said on the way."""
    before, told, steps = await answers(made), [], []

    report = await task(made, told)(report=lambda done, total: steps.append((done, total)))

    assert list(report.freed.items()) == told
    assert [name for name, _ in told] == ["lexical", "vector", "timeline"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert all(size >= 0 for size in report.freed.values())
    assert await answers(made) == before
    assert report.text.startswith("lexical: ")


async def test_one_store_can_be_compacted_alone(made):
    """And a store that there is not has nothing to give."""
    told, steps = [], []
    compact = task(made, told)

    report = await compact(only="vector", report=lambda done, total: steps.append((done, total)))

    assert (list(report.freed), steps) == (["vector"], [(1, 1)])
    assert (await compact(only="calendar")).text == "nothing to compact"


async def test_writes_and_questions_go_on_beside_it(made):
    """And what was written meanwhile is found."""
    compacting = asyncio.create_task(task(made, [])())
    for number in range(10):
        await made.index(event(f"later {number}", "sunshine over the hills", minute=number))
        await answers(made)
    await compacting

    assert len(await made.lexicon.search(SCOPE, "sunshine", criteria=Criteria(), limit=50)) == 10
    digests = await made.digests()
    assert digests["lexical"] == digests["vector"]
    assert digests["lexical"][0] == 50


async def test_a_dry_run_does_nothing(made):
    """It cannot be known before what would be freed."""
    told = []

    assert await task(made, told)(dry_run=True) == CompactReport(dry_run=True)
    assert told == []


async def test_a_store_that_is_away_ends_the_run(made):
    """Those before it are compacted."""
    told = []
    made.vectors.leave("compact")

    with pytest.raises(Unavailable):
        await task(made, told)()
    assert [name for name, _ in told] == ["lexical"]


def compactions_of(made, told):
    """Compactions as they are wired in a process."""
    store = OperationStore(records=made.ledger.bus.records, clock=made.ledger.clock)
    return Compactions(compact=task(made, told), store=store, lease=lease_of(made.ledger, "compaction"), clock=made.ledger.clock)


async def test_compactions_that_were_asked_for_are_done_one_after_another(made):
    """A store that is away is waited for, a cancelled one is passed over, and the queue goes on."""
    told = []
    compactions = compactions_of(made, told)
    made.vectors.leave("compact")
    waiting, cancelled = await compactions.ask("all"), await compactions.ask("all")
    await compactions.cancel(cancelled.operation_id)
    working = asyncio.create_task(compactions.run())

    await until(lambda: made.vectors.refused["compact"] > 0)
    made.vectors.come_back()
    good = await compactions.ask("all")
    await until(lambda: state_is(compactions, good, "succeeded"))
    working.cancel()
    await asyncio.wait([working])

    assert [one.state for one in await compactions.all()] == ["succeeded", "cancelled", "succeeded"]
    found = await compactions.find(good.operation_id)
    assert (found.kind, found.done, found.total) == ("compaction", 3, 3)
    assert found.result.startswith("lexical: ")
    assert (await compactions.find(waiting.operation_id)).result
    assert await compactions.find("unknown") is None
    with pytest.raises(Conflict):
        await compactions.cancel(good.operation_id)


async def test_a_compaction_that_is_under_way_can_be_cancelled(made):
    """The store that it is in finishes; the others are left."""
    told = []
    compactions = compactions_of(made, told)
    made.vectors.hold("compact")
    asked = await compactions.ask("all")
    working = asyncio.create_task(compactions.run())
    await until(lambda: made.vectors.waiting["compact"] == 1)

    await compactions.cancel(asked.operation_id)
    made.vectors.let_pass()
    again = await compactions.ask("all")
    await until(lambda: state_is(compactions, again, "succeeded"))
    working.cancel()
    await asyncio.wait([working])

    assert await state_is(compactions, asked, "cancelled")
    assert [name for name, _ in told] == ["lexical", "lexical", "vector", "timeline"]


async def state_is(compactions: Compactions, one: LongOperation, state: str) -> bool:
    """Whether it is in that state."""
    return (await compactions.find(one.operation_id)).state == state
