"""Reconcile over real engines: each defect is planted in an engine, found, named and mended; nothing else is touched.

A newcomer would get wrong: a defect is planted behind the projection's back, in the engine itself, so its consumer knows nothing of it.
"""

import asyncio
from dataclasses import replace

import pytest
from tests.support.engines import NOON, OTHER, SCOPE, Engines, engines, event, ledger
from tests.support.faulty import Faulty
from tests.support.planting import (
    ALL,
    PLANTS,
    as_rebuilt,
    entry_of,
    held,
    index_of,
    key_of,
    nearest,
    plant_missing,
    plant_orphan,
    plant_stale,
    plant_too_new,
    task,
    write,
)
from tests.support.waiting import until

from kalends.domain.errors import Invalid, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.positions import Position
from kalends.domain.queries import Held, Tombstone
from kalends.domain.scope import CALENDAR_SUFFIX, MemoryName, Scope
from kalends.domain.versions import FOREVER
from kalends.index import reconciling
from kalends.index.consumers import LexicalSink, VectorSink
from kalends.index.reconciling import EVENTS, Reconciled, ReconcileReport
from kalends.index.truths import TimelineTruth
from kalends.ingest.documents import NewDocument
from kalends.kit import failpoints
from kalends.ports.timeline import Erased
from kalends.wire.comparisons import Compared, ComparisonStore
from kalends.wire.vault import key_reference

SAID = ["the red fox sleeps", "a heron eats fish", "rain over the harbour", "the train to Oslo was late", "cardamom buns with butter"]
BOTH = ("lexical", "vector")


@pytest.fixture
async def made(tmp_path):
    """Both projections, up to date and running, with two events that were taken back."""
    async with ledger(tmp_path, chunk_tokens=24) as books, engines(books, tmp_path) as opened:
        opened.start()
        await opened.index(*(event(number, text, minute=number) for number, text in enumerate(SAID)))
        for name in ("d1", "d2"):
            text = f"zebra crossing {name}"
            await books.keep.keep(
                SCOPE, NewDocument(document_id=name, text=text, title="", source="", markdown=True, occurred_at=NOON, metadata={})
            )
            await books.keep.remove(SCOPE, name)
        await opened.caught_up()
        yield opened


async def test_nothing_is_found_where_nothing_is_wrong(made):
    """What was taken back is compared too."""
    report = await task(made)()

    assert report == ReconcileReport(compared=2 * (len(SAID) + 2))
    assert report.text == "14 compared: 0 orphans, 0 missing, 0 stale; 0 mended"
    assert made.observed == []


async def test_keys_are_compared_only_where_digests_differ(made):
    """Of two memories the one with a defect is walked by key, and the other one's engine is not asked for its keys."""
    await made.ledger.memory(OTHER)
    await made.ledger.record(event("elsewhere", "a crane over the marsh"), scope=OTHER)
    await made.caught_up()
    await plant_missing(made, "lexical")
    asked = []

    class Watched(Faulty):
        async def inventory(self, scope_key, *, after, limit):
            asked.append(scope_key)
            return await made.lexicon.inventory(scope_key, after=after, limit=limit)

    watched = Watched(made.lexicon, dependency="lexical")
    report = await task(made, targets={"lexical": Reconciled(index=watched, sink=LexicalSink(made.lexicon))})()

    assert (report.compared, report.missing, report.mended) == (len(SAID) + 2 + 1, 1, 1)
    assert set(asked) == {SCOPE.key}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_a_planted_defect_is_found_named_and_mended(made, name, plant):
    """A dry run only counts; the second run finds nothing more; the engines are as if they had been rebuilt."""
    await plant(made, name)
    assert not await as_rebuilt(made)

    dry = await task(made)(dry_run=True)
    assert not await as_rebuilt(made)
    report = await task(made)()
    again = await task(made)()

    assert (dry.defects, dry.mended, dry.dry_run) == (1, 0, True)
    assert (report.defects, getattr(report, PLANTS[plant]), report.mended) == (1, 1, 1)
    assert made.observed == [f"{name} {PLANTS[plant]}"] * 2
    assert (again.defects, again.undecided, again.unmendable, again.doubts) == (0, 0, 0, 0)
    assert await as_rebuilt(made)
    assert [hit.key for hit in await made.lexicon.search(SCOPE, "heron", criteria=ALL, limit=5)] == [key_of(1)]
    assert await made.lexicon.search(SCOPE, "orphan stale zebra", criteria=ALL, limit=5) == []
    assert (await nearest(made, "a bird and its dinner"))[0] == key_of(1)


async def test_many_defects_of_every_kind_are_mended_at_once(made, monkeypatch):
    """In pieces smaller than what there is, and in both engines."""
    monkeypatch.setattr(reconciling, "PIECE", 3)
    monkeypatch.setattr(reconciling, "_MENDED_AT_ONCE", 2)
    await made.index(*(event(f"n{number}", f"note {number} about the harbour") for number in range(20)))
    for name in BOTH:
        index = index_of(made, name)
        gone = await index.held(SCOPE.key, [key_of(f"n{number}") for number in range(0, 20, 2)])
        assert await index.remove(SCOPE.key, gone) == 10
        whole = await entry_of(made, key_of("n1"))
        await write(made, name, *(replace(whole, key=EventKey(f"{number:032x}"), version=2) for number in range(7)))
        await plant_stale(made, name)

    report = await task(made)()

    assert (report.missing, report.orphans, report.stale, report.mended) == (20, 14, 2, 36)
    assert await as_rebuilt(made)


async def test_nothing_is_mended_wrongly_while_others_write(made, monkeypatch):
    """Events come, documents change and are removed; the planted defect among them is the only one that is found."""
    monkeypatch.setattr(reconciling, "PIECE", 2)  # a walk of many pieces, between which others write
    await plant_orphan(made, "lexical")
    over = asyncio.Event()

    async def busy() -> None:
        for number in range(400):
            await made.ledger.append(SCOPE, [event(f"busy {number} {place}", f"busy bees {number}") for place in range(3)])
            document = NewDocument(
                document_id=f"d{number % 3}", text=f"zebra {number}", title="", source="", markdown=True, occurred_at=NOON, metadata={}
            )
            await made.ledger.keep.keep(SCOPE, document)
            if number % 2:
                await made.ledger.keep.remove(SCOPE, document.document_id)
            if over.is_set():
                return

    writing = asyncio.create_task(busy())
    reports = [await task(made)() for _ in range(4)]
    over.set()
    await writing
    await made.caught_up()

    assert sum(report.defects for report in reports) == 1
    assert sum(report.doubts + report.unmendable for report in reports) == 0
    assert await as_rebuilt(made)
    assert (await task(made)()).undecided == 0


@pytest.mark.parametrize(("settles", "told"), [(True, (0, 0)), (False, (0, 4))])
async def test_a_difference_that_does_not_stay_as_it_was_is_no_defect(made, settles, told):
    """Either it was a write under way, or it still is one and the next run looks again."""
    moving = {key_of(1), key_of(2)}

    class Moving(TimelineTruth):
        async def inventory(self, scope_key, *, after, limit):
            piece = await super().inventory(scope_key, after=after, limit=limit)
            return [replace(one, version=one.version - 1) if one.key in moving else one for one in piece]

        async def held(self, scope_key, keys):
            found = await super().held(scope_key, keys)
            return found if settles else [replace(one, live=False) if one.key in moving else one for one in found]

    report = await task(made, truths={EVENTS: Moving(made.ledger.timeline)})()

    assert (report.defects, report.undecided) == told
    assert await as_rebuilt(made)


async def test_a_difference_that_nobody_can_look_at_again_is_left(made):
    """The projection does not pass the log's head in time."""
    await plant_missing(made, "vector")
    progress, asked = made.ledger.progress, []

    class Stuck:
        async def reached(self, wanted, projections, *, seconds):
            asked.append(projections)
            return len(asked) == 1 and await progress.reached(wanted, projections, seconds=seconds)

    vector = Reconciled(index=made.vectors, sink=VectorSink(made.vectors, made.embedder))
    report = await task(made, targets={"vector": vector}, progress=Stuck())()

    assert asked == [("vector", "timeline")] * 2
    assert (report.defects, report.undecided) == (0, 1)


async def test_a_projection_that_is_far_behind_is_left_alone(made):
    """It is being written anyway; the other one is compared."""
    await plant_missing(made, "lexical")
    await made.stop("vector")
    await made.ledger.record(event("later", "a crane over the marsh"))
    await made.caught_up("lexical")

    report = await task(made, settle_s=0.2)()

    assert report.behind == ("vector",)
    assert (report.missing, report.mended) == (1, 1)
    assert "too far behind: vector" in report.text


async def test_what_the_log_holds_is_never_taken_out(made):
    """Even if the truth does not know it: then it is the truth that is doubted."""
    timeline = made.ledger.timeline
    blind = key_of(1)

    class Blind(TimelineTruth):
        async def inventory(self, scope_key, *, after, limit):
            return [one for one in await super().inventory(scope_key, after=after, limit=limit) if one.key != blind]

        async def held(self, scope_key, keys):
            return [one for one in await super().held(scope_key, keys) if one.key != blind]

    report = await task(made, truths={EVENTS: Blind(timeline)})()

    assert (report.defects, report.mended) == (0, 0)
    assert report.doubts == 2 + 1  # once in each engine, and its count is not that of its rows
    assert await as_rebuilt(made)


async def test_a_calendar_is_not_touched_without_a_truth_of_its_own(made):
    """With one, it is compared as well."""
    for name in BOTH:
        entry = replace(await entry_of(made, key_of(1)), scope=SCOPE.calendar, key=EventKey("ef" * 16), text="the day in one line")
        await write(made, name, entry)

    report = await task(made)()
    assert (report.skipped, report.defects) == (2, 0)
    assert await held(made, "vector", EventKey("ef" * 16), scope=SCOPE.calendar)

    report = await task(made, truths={EVENTS: TimelineTruth(made.ledger.timeline), CALENDAR_SUFFIX: TimelineTruth(made.ledger.timeline)})()
    assert (report.skipped, report.orphans, report.mended) == (0, 2, 2)
    assert await as_rebuilt(made)


@pytest.mark.parametrize("before", ["live", "nothing"])
async def test_an_erased_event_that_an_engine_does_not_know_to_be_erased_is_taken_out_for_ever(made, before):
    """As after an engine was put back to an older state: what it holds of the event goes, and no late write brings it back."""
    late = await entry_of(made, key_of(1))
    if before == "nothing":
        for name in BOTH:
            await plant_missing(made, name)
    timeline = made.ledger.timeline
    await timeline.put([Erased(scope=SCOPE, keys=(key_of(1),), position=Position("EVENTS_0", 1))], floors=await timeline.floors())

    report = await task(made)()
    for name in BOTH:
        await write(made, name, replace(late, version=late.version + 1000))

    found = {"live": (2, 0), "nothing": (0, 2)}[before]
    assert (report.orphans, report.missing, report.mended, report.undecided) == (*found, 2, 0)
    for name in BOTH:
        assert await held(made, name, key_of(1)) == Held(key=key_of(1), version=FOREVER, live=False)
    assert (await task(made)()).defects == 0


async def test_an_erasure_that_only_an_engine_knows_of_is_not_undone(made):
    """Nothing but an erasure writes its tombstone, so it is the truth that is doubted."""
    for name in BOTH:
        await write(made, name, Tombstone(scope=SCOPE, key=key_of(1), version=FOREVER))

    report = await task(made)()

    assert (report.defects, report.mended, report.doubts) == (0, 0, 2)
    for name in BOTH:
        assert await held(made, name, key_of(1)) == Held(key=key_of(1), version=FOREVER, live=False)


async def test_an_event_whose_key_was_destroyed_is_not_missed(made):
    """Nobody can write it again; what an engine still holds of it goes."""
    await made.ledger.record(event("secret", "the combination of the safe", session_id="private"))
    await made.caught_up()
    position = (await made.ledger.timeline.lookup(SCOPE, [key_of("secret")]))[key_of("secret")].position
    reference = (await destroyed_key(made, "private"))[0]
    made.ledger.vault.forget(SCOPE, [reference])
    made.ledger.reader.forget()
    await made.lexicon.remove(SCOPE.key, [await held(made, "lexical", key_of("secret"))])
    one = await held(made, "vector", key_of("secret"))
    await made.vectors.remove(SCOPE.key, [one])
    await made.vectors.put([], [])
    stale = replace(await entry_of(made, key_of(1)), key=key_of("secret"), version=position.version - 1)
    await write(made, "vector", stale)

    report = await task(made)()

    assert (report.missing, report.unmendable) == (0, 0)
    assert await held(made, "lexical", key_of("secret")) is await held(made, "vector", key_of("secret")) is None


async def destroyed_key(made: Engines, session: str) -> list[str]:
    """Destroy the key of a session."""
    reference = key_reference(SCOPE, session)
    await made.ledger.bus.keys.destroy(SCOPE, [reference])
    return [reference]


async def test_what_the_store_refuses_is_counted_and_its_neighbours_are_mended(made):
    """One by one."""
    keys = [key_of(number) for number in range(3)]
    await made.lexicon.remove(SCOPE.key, await made.lexicon.held(SCOPE.key, keys))
    real = LexicalSink(made.lexicon)

    class Picky:
        async def put(self, entries, tombstones):
            if any("heron" in entry.text for entry in entries):
                raise Invalid("no")
            await real.put(entries, tombstones)

        async def probe(self):
            await real.probe()

    report = await task(made, targets={"lexical": Reconciled(index=made.lexicon, sink=Picky())})()

    assert (report.missing, report.mended, report.unmendable) == (3, 2, 1)


@pytest.mark.parametrize("store", ["lexicon", "log"])
async def test_an_outage_ends_the_run_and_the_next_one_goes_on(made, store):
    """Nothing is half mended for good."""
    await plant_too_new(made, "lexical")
    away: Faulty = {"lexicon": made.lexicon, "log": made.ledger.log}[store]
    away.leave({"lexicon": "put", "log": "read"}[store])
    with pytest.raises(Unavailable):
        await task(made)()
    away.come_back()
    await until(lambda: made.projections["lexical"].failure is None)

    await task(made)()

    assert await as_rebuilt(made)


async def test_a_crash_before_mending_is_harmless(made):
    """Everything is found again."""
    await plant_stale(made, "vector")
    failpoints.arm({"reconcile.before-mend": "error"})
    with pytest.raises(failpoints.FailpointError):
        await task(made)()

    assert (await task(made)()).stale == 1
    assert await as_rebuilt(made)


async def test_a_run_that_was_cut_off_is_gone_on_with(made, monkeypatch):
    """Where there is more to compare than time, the last memories would never be; what was compared already is, the time after."""
    monkeypatch.setattr(reconciling, "_SAVED_S", 0.0)
    names = (MemoryName(f"before-{number}") for number in range(1000))
    earlier = next(scope for name in names if (scope := Scope(SCOPE.tenant, name)).key < SCOPE.key)
    await made.ledger.memory(earlier)
    await made.ledger.record(event("elsewhere", "a crane over the marsh"), scope=earlier)
    await made.caught_up()
    await plant_stale(made, "lexical")
    failpoints.arm({"reconcile.before-mend": "error"})
    with pytest.raises(failpoints.FailpointError):
        await task(made)()
    places = ComparisonStore(made.ledger.bus.records)
    assert await places.load() == Compared(projection="lexical", scope_key=earlier.key)
    await made.lexicon.remove(earlier.key, await made.lexicon.inventory(earlier.key, after=None, limit=10))

    second, third = await task(made)(), await task(made)()

    assert (second.stale, second.missing) == (1, 0)
    assert (third.stale, third.missing) == (0, 1)
    assert await places.load() is None
    assert await as_rebuilt(made)


async def test_a_timeline_whose_counters_are_wrong_is_doubted(made):
    """It is built anew by deleting it; its rows are the truth until then."""
    await made.ledger.memory(OTHER)
    await made.ledger.record(event("elsewhere", "a crane over the marsh"), scope=OTHER)
    await made.caught_up()
    database = made.ledger.timeline._real._database
    await database.write(lambda connection: connection.execute("UPDATE memories SET events = events + 1 WHERE id = 1"))

    report = await task(made)()

    assert (report.doubts, report.defects) == (1, 0)


async def test_a_projection_with_damaged_files_is_not_compared(made: Engines) -> None:
    """What it would say is worth nothing; how many there are is told, and the other projection is compared as ever."""

    async def examine() -> list[str]:
        return ["index/a.idx", "index/b.fast"]

    whole = Reconciled(index=made.vectors, sink=VectorSink(made.vectors, made.embedder))
    spoilt = Reconciled(index=made.lexicon, sink=LexicalSink(made.lexicon), examine=examine)

    report = await task(made, targets={"lexical": spoilt, "vector": whole})()

    assert (report.damaged, report.defects, report.compared > 0) == (2, 0, True)
    assert "2 damaged" in report.text
    assert made.observed == ["lexical damaged"] * 2
