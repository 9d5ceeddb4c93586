"""Values for the suites of the projections: scopes, entries, windows; and a writer that can be killed.

Belongs here: what two or more of these suites need. Does not belong here: tests. A newcomer would get wrong: vectors are random but the
same in every run, so a failing search can be looked at again.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kalends.domain.events import EventId, EventKey, Facets, event_key
from kalends.domain.labels import Clearance
from kalends.domain.positions import Position
from kalends.domain.queries import TARGETS, Criteria, Entry, Filter, Held, Tombstone, tags_of
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.timeline import Retracted, TimelineEntry
from kalends.ports.vectors import Array, VectorEntry, VectorIndex, Window

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))
START_US = 1_700_000_000_000_000
DIMENSION = 16
DEADLINE_S = 60.0


def key_of(name: str, *, scope: Scope = SCOPE) -> EventKey:
    """The key of the event called *name*."""
    return event_key(scope, EventId(name))


def facets(session: str = "s", **more: Any) -> Facets:
    """Facets of a plain message."""
    return Facets(**{"session_id": session, "kind": "message", **more})


def entry(
    name: str,
    text: str = "",
    *,
    version: int = 1,
    scope: Scope = SCOPE,
    at: int = 0,
    with_facets: Facets | None = None,
    target: str = "events",
) -> Entry:
    """The event called *name*, *at* microseconds after the start."""
    return Entry(
        scope=scope,
        key=key_of(name, scope=scope),
        version=version,
        text=text,
        tags=tags_of(with_facets or facets(), target=target),
        occurred_us=START_US + at,
    )


def tombstone(name: str, *, version: int, scope: Scope = SCOPE) -> Tombstone:
    """The event called *name*, taken back."""
    return Tombstone(scope=scope, key=key_of(name, scope=scope), version=version)


def direction(name: str) -> Array:
    """A unit vector that *name* determines."""
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
    return unit(np.random.default_rng(seed).normal(size=DIMENSION))


def unit(vector: np.ndarray) -> Array:
    """*vector* with length 1."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def window(name: str, *tokens: str) -> Window:
    """A window whose sentence and tokens point where their names say."""
    return Window(dense=direction(name), tokens=np.stack([direction(token) for token in tokens or (name,)]))


def vectors(one: Entry, *windows: Window) -> VectorEntry:
    """*one* with its windows."""
    return VectorEntry(entry=one, windows=windows)


def moment(
    name: str,
    *,
    version: int = 1,
    scope: Scope = SCOPE,
    at: int = 0,
    session: str = "s",
    document: bool = False,
    size: int = 100,
    labels: Sequence[str] = (),
    recorded: int = 0,
) -> TimelineEntry:
    """The event called *name* as the timeline learns it."""
    known = facets(session, labels=tuple(labels))
    return TimelineEntry(
        scope=scope,
        key=key_of(name, scope=scope),
        event_id=EventId(name),
        position=Position("EVENTS_0", version),
        content_mac=name.encode().ljust(16),
        occurred_us=START_US + at,
        recorded_us=START_US + recorded,
        facets=known,
        tags=tags_of(known, target="documents" if document else "events"),
        size=size,
        document=document,
    )


def seen_by(*labels: str, **more: Any) -> Criteria:
    """What a credential that has *labels* may see."""
    return Filter(targets=TARGETS, clearance=Clearance(frozenset(labels)), **more).criteria()


def retracted(*names: str, version: int, scope: Scope = SCOPE) -> Retracted:
    """Events taken back by one message."""
    return Retracted(scope=scope, keys=tuple(key_of(name, scope=scope) for name in names), position=Position("EVENTS_0", version))


async def at_once() -> None:
    """What an index that examines itself waits for between two pieces of work, where nothing else is to be done."""


@asynccontextmanager
async def killed_writer(kind: str, folder: Path, *, batches: int) -> AsyncIterator[Sequence[str]]:
    """Start a process that writes batch after batch, kill it once *batches* are acknowledged, and give the names it had acknowledged."""
    command = (sys.executable, "-m", "tests.contracts.projection_writer", kind, str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    acknowledged: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(acknowledged) < batches:
                acknowledged.append(await _line(process.stdout))
    finally:
        process.kill()
        await process.wait()
    while line := await _line(process.stdout):
        acknowledged.append(line)
    yield [name for line in acknowledged for name in line.split()]


async def _line(stream: asyncio.StreamReader) -> str:
    line = await stream.readline()
    # what the kill cut off was not acknowledged
    return line.decode().strip() if line.endswith(b"\n") else ""


async def swept(index: LexicalIndex | VectorIndex, scope: Scope = SCOPE, *, between: Callable[[], Awaitable[None]] = at_once) -> list[Held]:
    """What a sweep of *index* hands over, in pieces that are not empty; *between* is awaited after each."""
    found: list[Held] = []

    async def take(piece: Sequence[Held]) -> None:
        assert piece
        found.extend(piece)
        await between()

    await index.sweep(scope.key, take)
    return found
