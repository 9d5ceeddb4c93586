"""`python -m tests.bench.stores`: what one event costs each store alone, without the model, the log or HTTP; for docs/scale.md.

Belongs here: writing made-up rows through the adapters, rates and bytes. Does not belong here: an instance (``sections``, ``cluster``). A
newcomer would get wrong: the vectors are random, so the rows say how fast a store takes vectors and how large they are, and nothing of how
fast vectors are made; and the wire server is the engine behind a server in Python, so it is no measure of Qdrant's speed.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from kalends.adapters import opensearch
from kalends.adapters.embedded import models
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.adapters.nats import NatsOptions, open_nats
from kalends.adapters.qdrant import generations as qdrant
from kalends.domain.events import EventId, Facets, digest_id, event_key
from kalends.domain.positions import Position
from kalends.domain.queries import Entry, Filter, tags_of
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.domain.versions import FOREVER
from kalends.index.comparing import Sum
from kalends.index.reconciling import PIECE
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.timeline import TimelineEntry
from kalends.ports.vectors import VectorEntry, VectorIndex, Window
from kalends.settings import QdrantSettings
from tests.bench import corpus, report
from tests.bench.instance import usage_of
from tests.bench.report import Report, Row, percentile
from tests.support.instance import Broker
from tests.support.opensearch.nodes import shared_node
from tests.support.opensearch.stores import fresh_settings, made
from tests.support.qdrant_wire.running import WireServer

TOKENS = 35
"""Token vectors of an event of ordinary length."""

_SECTION = "Each store alone, written through its adapter"
_MEMORIES = 50
_QUESTIONS = 80
_KEYS_AT_ONCE = 500
_POINTS_AT_ONCE = 250
_WRAPPED = 60
"""Bytes of a wrapped key."""
_STREAM = "EVENTS_0"
_BLOCK = 512
_LOOKUPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Events a second, and milliseconds of this process's processor for each, which a busy machine changes less."""

    a_second: float
    processor_ms: float


def main() -> None:
    """Measure every store."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stores", description="What one event costs each store alone.")
    parser.add_argument("--rows", type=int, default=300_000, help="events in the timeline, and keys in the log")
    parser.add_argument("--points", type=int, default=4000, help="events with vectors, and events in OpenSearch ten times as many")
    parser.add_argument("--folder", type=Path, help="where data is kept meanwhile; default: a temporary folder")
    chosen = parser.parse_args()
    told = Report()
    told.say(report.machine())
    folder = Path(tempfile.mkdtemp(prefix="kalends-bench-", dir=chosen.folder))
    try:
        asyncio.run(_measure(told, folder, rows=chosen.rows, points=chosen.points))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(told: Report, folder: Path, *, rows: int, points: int) -> None:
    await _timeline(told, folder / "timeline", rows)
    await _keys(told, folder / "nats", rows)
    await _embedded_vectors(told, folder / "edge", points)
    await _wire_vectors(told, folder / "wire", points)
    await _opensearch(told, points * 10)


async def _timeline(told: Report, path: Path, rows: int) -> None:
    timeline = await SqliteTimeline.open(path)

    async def put(entries: Sequence[Entry]) -> None:
        changes = [_row(entry) for entry in entries]
        await timeline.put(changes, floors={_STREAM: entries[-1].version})

    rate = await _written(_entries(rows), put, batch=1000)
    found = []
    for entry in list(_entries(min(rows, _LOOKUPS * 100)))[::100]:
        started = time.perf_counter()
        known = await timeline.lookup(entry.scope, [entry.key])
        found.append((time.perf_counter() - started) * 1000)
        assert known
    await timeline.compact()
    _add(
        told,
        "timeline, one process (SQLite)",
        rate,
        _taken(path.parent, "timeline*") / rows,
        f"lookup p95 {percentile(found, 0.95):.2f} ms",
    )


async def _keys(told: Report, folder: Path, count: int) -> None:
    """The broker knows every subject by heart, so its memory grows with the sessions."""
    scope = _scope(0)
    with Broker(folder) as broker:
        broker.start()
        password = broker.password_file.read_text(encoding="ascii")
        async with open_nats(url=broker.url, user="platform", password=password, options=NatsOptions()) as bus:
            before, started, used = usage_of(broker.pid).rss, time.perf_counter(), time.process_time()
            for first in range(0, count, _KEYS_AT_ONCE):
                await bus.keys.create(scope, {f"{number:032x}": bytes(_WRAPPED) for number in range(first, first + _KEYS_AT_ONCE)})
            seconds, processor = time.perf_counter() - started, time.process_time() - used
            rate = Rate(a_second=count / seconds, processor_ms=1000 * processor / count)
            grown = (usage_of(broker.pid).rss - before) * (1 << 20) / count
        size = _taken(folder) / count
    _add(told, "keys of sessions (NATS, one node)", rate, size, f"{count:,} keys; the broker's memory grows by {grown:.0f} B a key")


async def _embedded_vectors(told: Report, folder: Path, points: int) -> None:
    index = await EdgeVectors.open(folder, identity="bench", dimension=models.DIMENSION)
    rate, size = await _vectors_written(index, points, folder)
    await index.close()
    _add(told, f"vectors in process, {TOKENS} token vectors", rate, size, "random vectors; tokens in 8 bits")


async def _wire_vectors(told: Report, folder: Path, points: int) -> None:
    with WireServer(folder) as server:
        settings: QdrantSettings = server.settings()
        async with qdrant.open_generations(settings, identity="bench", dimension=models.DIMENSION) as store:
            await store.make("g1")
            index = store.index("g1")
            rate, size = await _vectors_written(index, points, folder)
    note = "random vectors; tokens in float16; the engine behind a server in Python, which is no Qdrant"
    _add(told, f"vectors over gRPC, {TOKENS} token vectors", rate, size, note)


async def _vectors_written(index: VectorIndex, points: int, folder: Path) -> tuple[Rate, float]:
    """The rate, and the bytes by which the second half makes the store larger; what it sets aside at first does not count."""

    async def put(entries: Sequence[Entry]) -> None:
        await index.put(_with_vectors(entries))

    half = points // 2
    await _written(_entries(half), put, batch=_POINTS_AT_ONCE)
    before = _taken(folder)
    rate = await _written(islice(_entries(points), half, None), put, batch=_POINTS_AT_ONCE)
    return rate, (_taken(folder) - before) / (points - half)


async def _opensearch(told: Report, events: int) -> None:
    node = await asyncio.to_thread(shared_node)
    async with fresh_settings() as settings, opensearch.open_generations(settings) as store:
        index = (await made(store, "g1")).index("g1")
        rate = await _written(_entries(events), index.put, batch=1000)
        await index.compact()
        took = [await _asked_by_word(index, _scope(0), events)]
        await _written(_entries(events, memories=1, named="large"), index.put, batch=1000)
        took.append(await _asked_by_word(index, _scope(0, named="large"), events))
        node.ask("POST", f"/{settings.prefix}-*/_flush")
        size = node.ask("GET", f"/{settings.prefix}-*/_stats/store")["_all"]["primaries"]["store"]["size_in_bytes"]
        large = _scope(0, named="large")
        walked, swept = await _walked(index, large), await _swept(index, large)
    note = "one node, heap of 512 MiB, a quick compiler, no replica; disk after compaction"
    _add(told, "words in OpenSearch", rate, size / (2 * events), note)
    for held, found in zip((events // _MEMORIES, events), took, strict=True):
        name = f"words in OpenSearch: a question to a memory of {held:,} of {2 * events:,}, p50"
        told.add(Row(section=_SECTION, name=name, value=percentile(found, 0.5), unit="ms", note=f"p95 {percentile(found, 0.95):.1f} ms"))
    for what, pace, how in (("digest", swept, "in the order of the disk"), ("comparison by key", walked, f"{PIECE:,} at once, by key")):
        name = f"words in OpenSearch: keys of a memory of {events:,}, as reconcile reads them for a {what}"
        told.add(Row(section=_SECTION, name=name, value=pace, unit="keys/s", note=how))


async def _walked(index: LexicalIndex, scope: Scope) -> float:
    """Keys a second of one memory's inventory, a piece after the other."""
    started, count, after = time.perf_counter(), 0, None
    while True:
        piece = await index.inventory(scope.key, after=after, limit=PIECE)
        count += len(piece)
        if len(piece) < PIECE:
            return count / (time.perf_counter() - started)
        after = piece[-1].key


async def _swept(index: LexicalIndex, scope: Scope) -> float:
    """Keys a second of one memory's digest."""

    async def nothing() -> None:
        pass

    started, made = time.perf_counter(), Sum(not_after=FOREVER, between=nothing)
    await index.sweep(scope.key, made.add)
    return made.keys / (time.perf_counter() - started)


async def _asked_by_word(index: LexicalIndex, scope: Scope, about: int) -> list[float]:
    taken = []
    for question in corpus.questions(_QUESTIONS, about=about, first=7):
        started = time.perf_counter()
        await index.search(scope, question, criteria=Filter().criteria(), limit=150)
        taken.append((time.perf_counter() - started) * 1000)
    return taken[_QUESTIONS // 4 :]


async def _written(entries: Iterator[Entry], put: Callable[[Sequence[Entry]], Awaitable[None]], *, batch: int) -> Rate:
    """How fast they are written; making the rows does not count."""
    seconds, processor, count, waiting = 0.0, 0.0, 0, list[Entry]()
    for entry in entries:
        waiting.append(entry)
        if len(waiting) < batch:
            continue
        started, used = time.perf_counter(), time.process_time()
        await put(waiting)
        seconds += time.perf_counter() - started
        processor += time.process_time() - used
        count += len(waiting)
        waiting = []
    return Rate(a_second=count / seconds, processor_ms=1000 * processor / count)


def _scope(number: int, *, named: str = "m") -> Scope:
    return Scope(Tenant("bench"), MemoryName(f"{named}{number}"))


def _entries(count: int, *, memories: int = _MEMORIES, named: str = "m") -> Iterator[Entry]:
    scopes = [_scope(number, named=named) for number in range(memories)]
    for turn in corpus.turns(count):
        scope = scopes[(turn.number // corpus.SESSION_TURNS) % memories]
        facets = Facets(session_id=turn.session_id, kind="message", actor=turn.actor)
        yield Entry(
            scope=scope,
            key=event_key(scope, _id(turn.number)),
            version=turn.number + 1,
            text=turn.text,
            tags=tags_of(facets, target="events"),
            occurred_us=int(turn.occurred_at.timestamp() * 1e6),
            lead=f"{turn.occurred_at:%d %B %Y} {turn.actor}",
            speaker=turn.actor,
        )


def _row(entry: Entry) -> TimelineEntry:
    number = entry.version - 1
    return TimelineEntry(
        scope=entry.scope,
        key=entry.key,
        event_id=_id(number),
        position=Position(_STREAM, entry.version),
        content_mac=number.to_bytes(16, "big"),
        occurred_us=entry.occurred_us,
        recorded_us=entry.occurred_us,
        facets=Facets(session_id=f"session-{number // corpus.SESSION_TURNS}", kind="message", actor=entry.speaker),
        tags=entry.tags,
        size=560,
        length=len(entry.text),
    )


def _id(number: int) -> EventId:
    return digest_id("bench", str(number))


def _with_vectors(entries: Sequence[Entry]) -> list[VectorEntry]:
    random = np.random.default_rng(entries[0].version)
    drawn = random.standard_normal((len(entries), TOKENS + 1, models.DIMENSION), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    return [VectorEntry(entry=entry, windows=[Window(dense=one[0], tokens=one[1:])]) for entry, one in zip(entries, drawn, strict=True)]


def _add(told: Report, name: str, rate: Rate, size: float, note: str) -> None:
    note = f"{note}; {rate.processor_ms:.3f} ms of the writer's processor each; load {os.getloadavg()[0]:.1f}"
    told.add(Row(section=_SECTION, name=f"{name}: rate", value=rate.a_second, unit="a second", note=note))
    told.add(Row(section=_SECTION, name=f"{name}: disk", value=size, unit="B each"))


def _taken(folder: Path, pattern: str = "**/*") -> int:
    return sum(path.stat().st_blocks * _BLOCK for path in folder.glob(pattern) if path.is_file())


if __name__ == "__main__":
    main()
