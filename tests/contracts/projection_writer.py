"""A process that writes to one projection until it is killed, and prints the names of each batch that is durable.

Belongs here: the writing half of the crash tests. Does not belong here: what must hold afterwards.
"""

import asyncio
import json
import sys
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import msgspec
from tests.contracts.calendars import touched
from tests.contracts.projections import DIMENSION, entry, moment, vectors, window

from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.adapters.opensearch import open_generations
from kalends.settings import OpensearchSettings

BATCH = 10
_OPEN: list[AbstractAsyncContextManager[object]] = []


async def write(kind: str, folder: Path) -> None:
    """Batches of ten events, for ever."""
    index = await {"lexicon": lexicon, "opensearch": opensearch, "vectors": edge, "timeline": timeline, "calendar": calendar}[kind](folder)
    for number in count():
        names = [f"event-{number * BATCH + offset}" for offset in range(BATCH)]
        await index(names, number + 1)
        sys.stdout.write(" ".join(names) + "\n")
        sys.stdout.flush()


async def lexicon(folder):
    """Writes to tantivy."""
    index = await TantivyLexicon.open(folder)
    return lambda names, version: index.put([entry(name, f"a note about {name}", version=version) for name in names])


async def opensearch(folder):
    """Writes to the OpenSearch that a file in the folder names."""
    settings = msgspec.convert(json.loads((folder / "opensearch.json").read_bytes()), OpensearchSettings)
    opening = open_generations(msgspec.structs.replace(settings, replicas=0))
    _OPEN.append(opening)  # one that nobody holds is closed whenever it is collected
    store = await opening.__aenter__()
    await store.make("g1")
    await store.point("g1")
    return lambda names, version: store.serving.put([entry(name, f"a note about {name}", version=version) for name in names])


async def edge(folder):
    """Writes to Edge."""
    index = await EdgeVectors.open(folder, identity="test", dimension=DIMENSION)
    return lambda names, version: index.put([vectors(entry(name, version=version), window(name)) for name in names])


async def timeline(folder):
    """Writes to SQLite."""
    index = await SqliteTimeline.open(folder / "timeline.db")
    return lambda names, version: index.put([moment(name, version=version) for name in names], floors={"EVENTS_0": version})


async def calendar(folder):
    """Writes to SQLite, a unit for each name."""
    index = await SqliteCalendar.open(folder / "calendar.db")
    return lambda names, version: index.put([touched(name, version=version) for name in names], floors={"EVENTS_0": version})


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], Path(sys.argv[2])))
