"""Reconcile over real engines, and the defects that are planted for it.

Belongs here: the task as it is wired in a process, and writing to an engine behind its projection's back. Does not belong here: a test. A
newcomer would get wrong: what is planted is written by the engine itself, so the projection's consumer knows nothing of it.
"""

from dataclasses import replace

from kalends.domain.events import EventKey, event_key
from kalends.domain.queries import Criteria, Entry, Held, Tombstone
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.index.consumers import LexicalSink, VectorSink
from kalends.index.reconciling import EVENTS, Reconcile, Reconciled
from kalends.index.truths import TimelineTruth
from kalends.kit.traffic import Traffic
from kalends.ports.vectors import VectorEntry
from kalends.wire.comparisons import ComparisonStore
from tests.support.engines import SCOPE, Engines, event_id

ALL = Criteria()
STRANGE = Scope(Tenant("globex"), MemoryName("gone"))


def task(made: Engines, **changes) -> Reconcile:
    """The task as it is wired in a process; what it observes is kept in ``made.observed``."""
    parts = {
        "targets": {
            "lexical": Reconciled(index=made.lexicon, sink=LexicalSink(made.lexicon)),
            "vector": Reconciled(index=made.vectors, sink=VectorSink(made.vectors, made.embedder)),
        },
        "truths": {EVENTS: TimelineTruth(made.ledger.timeline)},
        "log": made.ledger.log,
        "reader": made.ledger.reader,
        "memories": made.ledger.memories,
        "progress": made.ledger.progress,
        "traffic": Traffic(),
        "place": ComparisonStore(made.ledger.bus.records),
        "settle_s": 20.0,
        "observe": lambda projection, finding, count: made.observed.extend([f"{projection} {finding}"] * count),
    }
    return Reconcile(**{**parts, **changes})


def index_of(made: Engines, name: str):
    """The projection's engine."""
    return {"lexical": made.lexicon, "vector": made.vectors}[name]


async def write(made: Engines, name: str, *changes: Entry | Tombstone) -> None:
    """Write behind the projection's back."""
    entries = [change for change in changes if isinstance(change, Entry)]
    stones = [change for change in changes if isinstance(change, Tombstone)]
    if name == "lexical":
        await made.lexicon.put(entries, stones)
        return
    windows = await made.embedder.embed([entry.embedded for entry in entries]) if entries else []
    await made.vectors.put([VectorEntry(entry=entry, windows=found) for entry, found in zip(entries, windows, strict=True)], stones)


async def held(made: Engines, name: str, key: EventKey, *, scope: Scope = SCOPE) -> Held | None:
    """What the engine holds of one key."""
    return next(iter(await index_of(made, name).held(scope.key, [key])), None)


async def entry_of(made: Engines, key: EventKey) -> Entry:
    """The event as the projections ought to hold it."""
    known = (await made.ledger.timeline.lookup(SCOPE, [key]))[key]
    (opened,) = await made.ledger.reader.open(await made.ledger.bus.log.read([known.position]))
    return opened.entry()


def key_of(number: object) -> EventKey:
    """The key of the event called *number*."""
    return event_key(SCOPE, event_id(number))


async def as_rebuilt(made: Engines) -> bool:
    """Whether both engines hold what the timeline says, by digest."""
    digests = await made.digests()
    truth = await made.ledger.timeline.digest()
    return set(digests.values()) == {(truth.events, truth.digest)}


async def nearest(made: Engines, text: str) -> list[str]:
    """What the vectors answer."""
    question = await made.embedder.embed_query(text)
    return [hit.key for hit in await made.vectors.nearest(SCOPE, question.dense, criteria=ALL, limit=3)]


async def plant_orphan(made: Engines, name: str) -> None:
    """An event that the log never held, at the version of another's message."""
    await write(made, name, replace(await entry_of(made, key_of(1)), key=EventKey("ab" * 16), text="an orphan"))


async def plant_foreign(made: Engines, name: str) -> None:
    """An index of a memory that there never was."""
    await write(made, name, replace(await entry_of(made, key_of(1)), scope=STRANGE, key=EventKey("cd" * 16)))


async def plant_missing(made: Engines, name: str) -> None:
    """An event that was lost."""
    one = await held(made, name, key_of(1))
    assert await index_of(made, name).remove(SCOPE.key, [one]) == 1


async def plant_lost_tombstone(made: Engines, name: str) -> None:
    """Without it, a redelivery would bring the event back."""
    inventory = await index_of(made, name).inventory(SCOPE.key, after=None, limit=100)
    stone = next(one for one in inventory if not one.live)
    assert await index_of(made, name).remove(SCOPE.key, [stone]) == 1


async def plant_stale(made: Engines, name: str) -> None:
    """An event that is held as if it had been written earlier, with another text."""
    entry = await entry_of(made, key_of(3))
    await index_of(made, name).remove(SCOPE.key, [await held(made, name, key_of(3))])
    await write(made, name, replace(entry, version=entry.version - 1, text="stale words"))


async def plant_too_new(made: Engines, name: str) -> None:
    """An event that is held as if it had been written later; the engine would refuse to go back."""
    entry = await entry_of(made, key_of(1))
    await write(made, name, replace(entry, version=entry.version + 1, text="stale words"))


async def plant_undead(made: Engines, name: str) -> None:
    """An event that was taken back and is found all the same."""
    inventory = await index_of(made, name).inventory(SCOPE.key, after=None, limit=100)
    stone = next(one for one in inventory if not one.live)
    await index_of(made, name).remove(SCOPE.key, [stone])
    await write(made, name, replace(await entry_of(made, key_of(1)), key=stone.key, version=stone.version, text="zebra"))


async def plant_wrong_tombstone(made: Engines, name: str) -> None:
    """An event that was never taken back and is not found."""
    one = await held(made, name, key_of(1))
    await index_of(made, name).remove(SCOPE.key, [one])
    await write(made, name, Tombstone(scope=SCOPE, key=one.key, version=one.version))


PLANTS = {
    plant_orphan: "orphans",
    plant_foreign: "orphans",
    plant_missing: "missing",
    plant_lost_tombstone: "missing",
    plant_stale: "stale",
    plant_too_new: "stale",
    plant_undead: "orphans",
    plant_wrong_tombstone: "missing",
}
