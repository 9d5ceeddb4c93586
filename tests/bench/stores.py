"""`python -m tests.bench.stores`: what one event costs each store alone, without the model, the log or HTTP; for docs/scale.md.

Belongs here: writing made-up rows through the adapters, rates and bytes. Does not belong here: an instance (``sections``, ``cluster``). A
newcomer would get wrong: the vectors are random, so the rows say how fast a store takes vectors and how large they are, and nothing of how
fast vectors are made; and the wire server is the engine behind a server in Python, so it is no measure of Qdrant's speed.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from kalends.adapters import opensearch
from kalends.adapters.embedded import models
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.adapters.qdrant import generations as qdrant
from kalends.domain.events import EventId, Facets, digest_id, event_key
from kalends.domain.positions import Position
from kalends.domain.queries import Entry, tags_of
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.timeline import TimelineEntry
from kalends.ports.vectors import VectorEntry, Window
from kalends.settings import QdrantSettings
from tests.bench import corpus, report
from tests.bench.report import Report, Row, percentile
from tests.support.opensearch.nodes import shared_node
from tests.support.opensearch.stores import fresh_settings, made
from tests.support.qdrant_wire.running import WireServer

TOKENS = 35
"""Token vectors of an event of ordinary length."""

_MEMORIES = 50
_STREAM = "EVENTS_0"
_BLOCK = 512
_LOOKUPS = 200


def main() -> None:
    """Measure every store."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stores", description="What one event costs each store alone.")
    parser.add_argument("--rows", type=int, default=300_000, help="events in the timeline")
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


async def _embedded_vectors(told: Report, folder: Path, points: int) -> None:
    index = await EdgeVectors.open(folder, identity="bench", dimension=models.DIMENSION)
    rate = await _written(_entries(points), lambda entries: index.put(_with_vectors(entries)), batch=256)
    await index.close()
    _add(told, f"vectors in process, {TOKENS} token vectors", rate, _taken(folder) / points, "random vectors; tokens in 8 bits")


async def _wire_vectors(told: Report, folder: Path, points: int) -> None:
    with WireServer(folder) as server:
        settings: QdrantSettings = server.settings()
        async with qdrant.open_generations(settings, identity="bench", dimension=models.DIMENSION) as store:
            await store.make("g1")
            index = store.index("g1")
            rate = await _written(_entries(points), lambda entries: index.put(_with_vectors(entries)), batch=256)
    note = "random vectors; tokens in float16; the engine behind a server in Python, which is no Qdrant"
    _add(told, f"vectors over gRPC, {TOKENS} token vectors", rate, _taken(folder) / points, note)


async def _opensearch(told: Report, events: int) -> None:
    node = await asyncio.to_thread(shared_node)
    async with fresh_settings() as settings, opensearch.open_generations(settings) as store:
        index = (await made(store, "g1")).index("g1")
        rate = await _written(_entries(events), index.put, batch=1000)
        await index.compact()
        node.ask("POST", f"/{settings.prefix}-*/_flush")
        size = node.ask("GET", f"/{settings.prefix}-*/_stats/store")["_all"]["primaries"]["store"]["size_in_bytes"]
    note = "one node, heap of 512 MiB, a quick compiler, no replica; disk after compaction"
    _add(told, "words in OpenSearch", rate, size / events, note)


async def _written(entries: Iterator[Entry], put: Callable[[Sequence[Entry]], Awaitable[None]], *, batch: int) -> float:
    """Events a second; making the rows does not count."""
    seconds, count, waiting = 0.0, 0, list[Entry]()
    for entry in entries:
        waiting.append(entry)
        if len(waiting) < batch:
            continue
        started = time.perf_counter()
        await put(waiting)
        seconds += time.perf_counter() - started
        count += len(waiting)
        waiting = []
    return count / seconds


def _entries(count: int) -> Iterator[Entry]:
    scopes = [Scope(Tenant("bench"), MemoryName(f"m{number}")) for number in range(_MEMORIES)]
    for turn in corpus.turns(count):
        scope = scopes[(turn.number // corpus.SESSION_TURNS) % _MEMORIES]
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


def _add(told: Report, name: str, rate: float, size: float, note: str) -> None:
    section = "Each store alone, written through its adapter"
    told.add(Row(section=section, name=f"{name}: rate", value=rate, unit="events/s", note=note))
    told.add(Row(section=section, name=f"{name}: disk", value=size, unit="B/event"))


def _taken(folder: Path, pattern: str = "**/*") -> int:
    return sum(path.stat().st_blocks * _BLOCK for path in folder.glob(pattern) if path.is_file())


if __name__ == "__main__":
    main()
