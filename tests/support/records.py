"""Records in memory: the port as written, for tests of what stands on it.

Belongs here: one honest implementation of ``ports.records`` without a store; it passes the same contract suite as the others. Does not
belong here: faults, except ``interrupt``, which ends every watch the way a lost connection does, and ``lose``, after which a record is
listed and cannot be read.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from kalends.domain.errors import Conflict, Damaged, Unavailable
from kalends.domain.scope import token
from kalends.ports.records import Listed, Record

_Key = tuple[str, str, str]


class MemoryRecords:
    """Versioned small values in a dictionary; one counter gives all revisions."""

    def __init__(self) -> None:
        self._records: dict[_Key, Record] = {}
        self._revision = 0
        self._lost: set[_Key] = set()
        self._watchers: set[asyncio.Queue[Record | None]] = set()

    async def get(self, kind: str, owner: str, name: str) -> Record | None:
        if (kind, owner, name) in self._lost:
            raise Damaged("a record that the store lists and cannot give")
        found = self._records.get((kind, owner, name))
        return None if found is None or found.deleted else found

    async def put(self, kind: str, owner: str, name: str, value: bytes, *, revision: int | None = None) -> int:
        lost = (kind, owner, name) in self._lost
        if lost and revision:
            raise Damaged("a record that the store lists and cannot give")
        found = None if lost else await self.get(kind, owner, name)
        if revision is not None and revision != (0 if found is None else found.revision):
            raise Conflict("another write came first")
        return self._write(Record(kind=kind, owner=owner, name=name, value=value, revision=0))

    async def delete(self, kind: str, owner: str, name: str) -> None:
        key = (kind, owner, name)
        if key in self._lost or await self.get(kind, owner, name) is not None:
            self._write(replace(self._records[key], value=b"", deleted=True))

    async def list(self, kind: str, owner: str | None = None) -> Sequence[Record]:
        return [
            record
            for key, record in sorted(self._records.items())
            if key[0] == kind and owner in (None, key[1]) and not record.deleted and key not in self._lost
        ]

    async def watch(self, kind: str) -> AsyncIterator[Record | None]:
        changes: asyncio.Queue[Record | None] = asyncio.Queue()
        existing = await self.list(kind)
        self._watchers.add(changes)
        try:
            for record in existing:
                yield record
            yield None
            while True:
                change = await changes.get()
                if change is None:
                    raise Unavailable("the watch was interrupted", dependency="records")
                if change.kind == kind:
                    yield change
        finally:
            self._watchers.discard(changes)

    async def head(self) -> int:
        return self._revision

    async def inventory(self) -> AsyncIterator[Sequence[Listed]]:
        places = {_place(key): key for key in self._records}
        for place in sorted(places):
            record = self._records[places[place]]
            lost = places[place] in self._lost
            digest = hashlib.blake2b(bytes([record.deleted]) + record.value, digest_size=16).digest()
            yield [Listed(place=place, revision=0 if lost else record.revision, digest=b"" if lost else digest)]

    async def give_up(self, place: str) -> None:
        for key in [one for one in self._lost if _place(one) == place]:
            await self.delete(*key)

    def lose(self, kind: str, owner: str, name: str) -> None:
        """List it on, and give it no more."""
        self._lost.add((kind, owner, name))

    def interrupt(self) -> None:
        """End every watch that is under way with Unavailable."""
        for changes in self._watchers:
            changes.put_nowait(None)

    def _write(self, record: Record) -> int:
        self._revision += 1
        written = replace(record, revision=self._revision)
        self._records[(record.kind, record.owner, record.name)] = written
        self._lost.discard((record.kind, record.owner, record.name))
        for changes in self._watchers:
            changes.put_nowait(written)
        return self._revision


def _place(key: _Key) -> str:
    kind, owner, name = key
    return f"{token(owner)}.{kind}.{token(name)}"
