"""Ingest, index and search over the real engines: a broker, SQLite, tantivy, Edge and the embedded model, wired as the container does.

Belongs here: building and running them on a test's own folder. Does not belong here: what is tested. A newcomer would get wrong: the model
is opened once for all tests, because its graph takes seconds to build; ``KALENDS_TEST_MODELS`` names a folder that keeps the graph between
runs.
"""

import asyncio
import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.adapters.embedded.generations import FolderGenerations, ServingLexicon, ServingVectors
from kalends.adapters.embedded.kek import FileWrapper
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.models import MiniLmEmbedder, open_embedder
from kalends.adapters.embedded.phrases import DateparserPhrases
from kalends.adapters.embedded.redactor import PatternRedactor
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.adapters.embedded.tokens import MiniLmTokenizer
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.adapters.nats import NatsBus
from kalends.domain.events import Event, EventId, Facets, digest_id
from kalends.domain.positions import highest
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.edge.progress import Progress
from kalends.index.consumers import LexicalSink, Sink, VectorSink
from kalends.index.rebuilds import Rebuilds
from kalends.index.usecases import Projection
from kalends.ingest.documents import KeepDocument
from kalends.ingest.redacting import Redact
from kalends.ingest.usecases import AppendEvents, Outcome
from kalends.kit.traffic import Traffic
from kalends.search.arms import Arms
from kalends.search.hydration import Hydrator
from kalends.search.reading import ReadMemories
from kalends.search.usecases import FindMemories
from kalends.settings import IndexSettings, SearchSettings
from kalends.wire.canaries import CanaryStore
from kalends.wire.documents import DocumentStore
from kalends.wire.follower import TimelineFollower
from kalends.wire.leases import Lease
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.node_store import NodeStore
from kalends.wire.operations import OperationStore
from kalends.wire.reader import Reader
from kalends.wire.vault import Vault
from tests.support.broker import SMALL, fresh_bus
from tests.support.faulty import Faulty
from tests.support.keys import TEST_KEY
from tests.support.waiting import until

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
IMPATIENT = replace(SMALL, ack_wait=0.5, redelivery=(0.5, 0.5), idle=0.2)
"""What is not acked comes again after half a second."""

QUICK = IndexSettings(linger_s=0.0, fetch_wait_s=0.2, breaker_first_s=0.02, breaker_longest_s=0.05, vector_batch=16)


def event_id(name: object) -> EventId:
    """The id of the event that a test calls *name*."""
    return digest_id("test", str(name))


def event(name: object, text: str = "", *, minute: int = 0, **changes: Any) -> Event:
    """The event called *name*, said *minute* minutes after noon; *changes* are of the event or of its facets."""
    facets = {"session_id": "s", "kind": "message", "role": "user"}
    facets |= {part: changes.pop(part) for part in list(changes) if part in Facets.__dataclass_fields__}
    at = NOON + timedelta(minutes=minute)
    plain = Event(id=event_id(name), facets=Facets(**facets), text=text or f"text of {name}", occurred_at=at, recorded_at=at)
    return replace(plain, **changes)


class Steps:
    """A clock that really runs but can be moved ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Real time, however far ahead."""
        await asyncio.sleep(max(0.0, seconds))


@dataclass(kw_only=True)
class Ledger:
    """What every role shares, and ingest over it; ``log`` and ``timeline`` can be told to be away."""

    bus: NatsBus
    log: Faulty
    timeline: Faulty
    clock: Steps
    vault: Vault
    reader: Reader
    memories: MemoryRegistry
    documents: DocumentStore
    canaries: CanaryStore
    follower: TimelineFollower
    progress: Progress
    append: AppendEvents
    keep: KeepDocument
    tokenizer: MiniLmTokenizer
    calendar: SqliteCalendar
    nodes: NodeStore

    async def memory(self, scope: Scope = SCOPE, **settings: Any) -> None:
        """Create a memory."""
        await self.memories.create(Memory(scope=scope, isolation="shared", description="", created_us=1, **settings))

    async def head(self) -> int:
        """How many messages the log has been given."""
        return sum((await self.bus.log.heads()).values())

    async def followed(self) -> None:
        """Wait until the timeline knows what the log holds."""

        async def met() -> bool:
            return await self.bus.log.heads() == await self.timeline.floors() or not await self.head()

        await until(met)

    async def record(self, *events: Event, scope: Scope = SCOPE) -> Sequence[Outcome]:
        """Append *events*; all are taken, and the timeline knows them."""
        outcomes = await self.append(scope, events)
        assert all(outcome.fault is None for outcome in outcomes)
        await self.progress.reached(highest(one.position for one in outcomes if one.position), ("timeline", "toc"), seconds=20)
        return outcomes

    def another_append(self, *, follower: Any = None, timeline: Any = None) -> AppendEvents:
        """Ingest of another process, with nothing remembered."""
        return AppendEvents(
            log=self.log,
            timeline=timeline or self.timeline,
            follower=follower or self.follower,
            vault=Vault(keys=self.bus.keys, wrapper=FileWrapper(TEST_KEY)),
            memories=MemoryRegistry(self.bus.records),
            traffic=Traffic(),
            redact=Redact(PatternRedactor()),
        )


@asynccontextmanager
async def ledger(folder: Path, *, chunk_tokens: int = 240) -> AsyncIterator[Ledger]:
    """A ledger on the shared broker, emptied first, with its timeline in *folder*, following."""
    async with fresh_bus(IMPATIENT) as bus:
        sqlite = await SqliteTimeline.open(folder / "timeline.db")
        calendar = await SqliteCalendar.open(folder / "calendar.db")
        clock, log, timeline = Steps(), Faulty(bus.log, dependency="log"), Faulty(sqlite, dependency="timeline")
        vault = Vault(keys=bus.keys, wrapper=FileWrapper(TEST_KEY))
        reader, memories = Reader(vault), MemoryRegistry(bus.records)
        documents = DocumentStore(records=bus.records, vault=vault)
        progress = Progress(log=bus.log, clock=clock, floors={"timeline": sqlite.floors, "toc": calendar.floors})
        follower = TimelineFollower(
            source=bus.log,
            timeline=sqlite,
            reader=reader,
            clock=clock,
            batch=100,
            moved=progress.moved,
            traffic=Traffic(),
            calendar=calendar,
        )
        shared: Any = {"log": log, "vault": vault, "memories": memories, "redact": Redact(PatternRedactor())}
        append = AppendEvents(timeline=timeline, follower=follower, traffic=Traffic(), **shared)
        tokenizer = MiniLmTokenizer()
        keep = KeepDocument(append=append, store=documents, tokenizer=tokenizer, clock=clock, chunk_tokens=chunk_tokens, **shared)
        following = asyncio.create_task(follower.run())
        try:
            await until(lambda: follower.behind_s < 100)
            made = Ledger(
                bus=bus,
                log=log,
                timeline=timeline,
                clock=clock,
                vault=vault,
                reader=reader,
                memories=memories,
                documents=documents,
                canaries=CanaryStore(records=bus.records, keys=bus.keys, vault=vault),
                follower=follower,
                progress=progress,
                append=append,
                keep=keep,
                tokenizer=tokenizer,
                calendar=calendar,
                nodes=NodeStore(source=log, reader=reader, vault=vault, clock=clock),
            )
            await made.memory()
            yield made
        finally:
            following.cancel()
            await asyncio.wait([following])
            await sqlite.close()
            await calendar.close()


@dataclass(kw_only=True)
class Engines:
    """The search projections over a ledger; ``lexicon``, ``vectors`` and ``embedder`` can be told to be away."""

    ledger: Ledger
    generations: Mapping[str, FolderGenerations[Any]]
    projections: Mapping[str, Projection]
    lexicon: Faulty
    vectors: Faulty
    embedder: Faulty
    phrases: Faulty
    settings: SearchSettings
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    observed: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    rebuilt: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def find(self) -> FindMemories:
        """Search as it is wired in a process."""
        arms = Arms(
            lexicon=self.lexicon,
            vectors=self.vectors,
            embedder=self.embedder,
            settings=self.settings,
            observe=lambda arm, _: self.observed.append(arm),
        )
        return FindMemories(
            arms=arms,
            timeline=self.ledger.timeline,
            hydrator=self.hydrator,
            memories=self.ledger.memories,
            progress=self.ledger.progress,
            phrases=self.phrases,
            clock=self.ledger.clock,
            settings=self.settings,
        )

    @property
    def hydrator(self) -> Hydrator:
        """Events from the log."""
        return Hydrator(source=self.ledger.log, timeline=self.ledger.timeline, reader=self.ledger.reader)

    @property
    def read(self) -> ReadMemories:
        """Lists and contexts as they are wired in a process."""
        return ReadMemories(
            timeline=self.ledger.timeline,
            hydrator=self.hydrator,
            memories=self.ledger.memories,
            find=self.find,
            tokenizer=self.ledger.tokenizer,
            clock=self.ledger.clock,
        )

    def start(self, *names: str) -> None:
        """Run the loops of the projections."""
        for name in names or tuple(self.projections):
            self.running[name] = asyncio.create_task(self.projections[name].run())

    async def stop(self, *names: str) -> None:
        """Stop the loops; one that failed is not asked why."""
        for name in names or tuple(self.running):
            task = self.running.pop(name)
            task.cancel()
            await asyncio.wait([task])

    async def caught_up(self, *names: str) -> None:
        """Wait until the projections have everything."""
        heads = await self.ledger.bus.log.heads()
        wanted = (*names, "timeline") if names else ("timeline", *self.projections)
        assert await self.ledger.progress.reached(heads, wanted, seconds=30)

    async def index(self, *events: Event, scope: Scope = SCOPE) -> None:
        """Append *events* and wait until every projection has them."""
        await self.ledger.record(*events, scope=scope)
        await self.caught_up()

    async def digests(self) -> dict[str, tuple[int, str]]:
        """What the search projections hold."""
        found = {"lexical": await self.lexicon.digest(), "vector": await self.vectors.digest()}
        return {name: (one.events, one.digest) for name, one in found.items()}


def lease_of(ledger: Ledger, name: str, *, holder: str = "a test") -> Lease:
    """A lease that is replaced within two seconds."""
    return Lease(ledger.bus.records, name=name, holder=holder, lease_s=2.0, clock=ledger.clock)


def rebuilds_of(made: Engines, *, place: str = "here", holder: str = "a test") -> Rebuilds:
    """Rebuilds as they are wired in a process, on engines of its own."""
    return Rebuilds(
        projections=made.projections,
        store=OperationStore(records=made.ledger.bus.records, clock=made.ledger.clock),
        lease=lease_of(made.ledger, "reindex", holder=holder),
        clock=made.ledger.clock,
        place=place,
        observe=lambda name, done, total: made.rebuilt.append((name, done, total)),
    )


@asynccontextmanager
async def engines(ledger: Ledger, folder: Path) -> AsyncIterator[Engines]:
    """The projections of *ledger* in *folder*; nothing runs yet."""
    model = shared_embedder()

    async def open_vectors(path: Path) -> EdgeVectors:
        return await EdgeVectors.open(path, identity=model.identity, dimension=model.dimension)

    lexical = await FolderGenerations.open(folder / "lexical", TantivyLexicon.open)
    vector = await FolderGenerations.open(folder / "vector", open_vectors)
    lexicon = Faulty(ServingLexicon(lexical), dependency="lexical")
    vectors = Faulty(ServingVectors(vector), dependency="vector")
    embedder = Faulty(model, dependency="model")

    def vector_sink(index: Any) -> Sink:
        return VectorSink(index, embedder)

    common: dict[str, Any] = {
        "log": ledger.log,
        "reader": ledger.reader,
        "settings": QUICK,
        "moved": ledger.progress.moved,
        "traffic": Traffic(),
    }
    projections = {
        "lexical": Projection(name="lexical", generations=lexical, sink_of=LexicalSink, index_of=lambda _: lexicon, batch=50, **common),
        "vector": Projection(name="vector", generations=vector, sink_of=vector_sink, index_of=lambda _: vectors, batch=16, **common),
    }
    for name, projection in projections.items():
        ledger.progress.add(name, projection.floors)
    phrases = DateparserPhrases()
    await phrases.load()  # as a process does before it serves
    made = Engines(
        ledger=ledger,
        generations={"lexical": lexical, "vector": vector},
        projections=projections,
        lexicon=lexicon,
        vectors=vectors,
        embedder=embedder,
        phrases=Faulty(phrases, dependency="phrases"),
        settings=SearchSettings(arm_deadline_s=10.0),
    )
    try:
        yield made
    finally:
        await made.stop()
        await lexical.close()
        await vector.close()
        await phrases.close()


@cache
def models_folder() -> Path:
    """Where the model's graph is, or will be once the model was opened; it ends with the tests unless it was named."""
    kept = os.environ.get("KALENDS_TEST_MODELS")
    folder = Path(kept or tempfile.mkdtemp(prefix="kalends-models-"))
    if not kept:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def copy_models(to: Path) -> None:
    """Give an instance the model's graph, which it would build from the weights otherwise."""
    if not any(models_folder().glob("*.onnx")):
        shared_embedder()
    same_disk = models_folder().stat().st_dev == to.parent.stat().st_dev
    shutil.copytree(models_folder(), to, copy_function=os.link if same_disk else shutil.copy2)


@cache
def shared_embedder() -> MiniLmEmbedder:
    """The embedded model, opened at first use, for every test; its threads belong to no event loop."""
    folder = models_folder()
    opened: list[MiniLmEmbedder] = []

    async def open_once() -> None:
        opened.append(await open_embedder(folder, threads=1, nice=0))

    _in_a_loop_of_its_own(open_once())
    return opened[0]


def _in_a_loop_of_its_own(work: Any) -> None:
    """Run *work* to its end in a thread, because the caller is within a running loop."""
    failures: list[BaseException] = []

    def main() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=main, name="open-model")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
