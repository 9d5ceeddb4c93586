"""Generations of a projection, each in a folder of its own, and the one index object that always asks the current one.

Belongs here: beginning, switching and dropping folders, and handing calls on. Does not belong here: what fills a generation
(``index/rebuild``). A newcomer would get wrong: an index that has been switched away from is closed only when its last call is over, so
the services hold the serving object and never a generation's own index.
"""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from kalends.adapters.embedded import files
from kalends.adapters.embedded.failures import translated
from kalends.domain.errors import Conflict, Damaged, Invalid
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Entry, Held, Scored, Tombstone
from kalends.domain.scope import Scope
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.vectors import Array, VectorEntry, VectorIndex

FIRST = "g1"

_NAME = re.compile(r"[a-z0-9-]{1,40}")
_CURRENT = "CURRENT"


class Closing(Protocol):
    """What can be closed."""

    async def close(self) -> None:
        """Give everything free."""
        ...


class ClosingLexicon(LexicalIndex, Closing, Protocol):
    """A lexical index that has a folder."""


class ClosingVectors(VectorIndex, Closing, Protocol):
    """A vector index that has a folder."""


Index = TypeVar("Index", bound=Closing)
Lexicon = TypeVar("Lexicon", bound=ClosingLexicon)
Vectors = TypeVar("Vectors", bound=ClosingVectors)
Engine = TypeVar("Engine", bound=ClosingLexicon | ClosingVectors)
Factory = Callable[[Path], Awaitable[Index]]


class _Lent(Generic[Index]):
    """An open index and how many calls are in it."""

    def __init__(self, name: str, index: Index) -> None:
        self.name = name
        self.index = index
        self.calls = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @contextlib.asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Index]:
        self.calls += 1
        self.idle.clear()
        try:
            yield self.index
        finally:
            self.calls -= 1
            if self.calls == 0:
                self.idle.set()


class FolderGenerations(Generic[Index]):
    """The generations of one projection; see ``ports.generations.Generations``."""

    def __init__(self, base: Path, factory: Factory[Index], serving: _Lent[Index]) -> None:
        self._base = base
        self._factory = factory
        self._serving = serving
        self._begun: dict[str, _Lent[Index]] = {}
        self._retired: dict[str, _Lent[Index]] = {}
        self._changes = asyncio.Lock()

    @classmethod
    async def open(cls, base: Path, factory: Factory[Index], *, first: str = FIRST) -> "FolderGenerations[Index]":
        """Open the current generation in *base*, or make one called *first*; *factory* opens (or makes) an index in a folder.

        Raises:
            Damaged: ``CURRENT`` names no generation. And what *factory* raises.
        """
        known = await asyncio.to_thread(_current_name, base, first)
        name = known or first
        index = await factory(base / name)
        if known is None:
            await asyncio.to_thread(_write_current, base, name)
        return cls(base, factory, _Lent(name, index))

    @property
    def current(self) -> str:
        """The name of the serving generation."""
        return self._serving.name

    async def ensure(self) -> None:
        """Opening has done so."""

    async def refresh(self) -> str:
        """The name of the serving generation; nobody else can switch."""
        return self.current

    async def is_lost(self) -> bool:
        """An engine of our own that fails does not come back by itself, unless all it lacks is room, which a rebuild would need too."""
        return await asyncio.to_thread(_has_room, self._base)

    async def resume(self, name: str) -> Index | None:
        """The index of a generation that an earlier process began, as far as it came; None if there is none.

        Raises:
            Damaged: what it left cannot be read.
        """
        async with self._changes:
            if name == self.current or name in self._retired:
                return None
            if name not in self._begun:
                if not _NAME.fullmatch(name) or not await asyncio.to_thread((self._base / name).is_dir):
                    return None
                self._begun[name] = _Lent(name, await self._factory(self._base / name))
            return self._begun[name].index

    async def begin(self, name: str) -> Index:
        """Make an empty generation; what an earlier attempt of that name left is deleted first.

        Raises:
            Invalid: the name is no token. Conflict: it is the current one.
        """
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} is not a name for a generation")
        async with self._changes:
            if name == self.current:
                raise Conflict(f"{name} is the current generation")
            await self._discard(name)
            lent = _Lent(name, await self._factory(self._base / name))
            self._begun[name] = lent
            return lent.index

    async def switch(self, name: str) -> None:
        """Serve *name* from now on, also after a restart; the old one is closed once its calls are over, and its folder stays.

        Raises:
            Conflict: no generation of that name was begun.
        """
        async with self._changes:
            if name == self.current:
                return
            if name not in self._begun:
                raise Conflict(f"no generation {name} was begun")
            await asyncio.to_thread(_write_current, self._base, name)
            self._retired[self.current] = self._serving
            self._serving = self._begun.pop(name)
            await self._shut(self._retired)

    async def drop(self, name: str) -> None:
        """Delete a generation's folder; one that does not exist is no error.

        Raises:
            Conflict: it is the current one.
        """
        async with self._changes:
            if name == self.current:
                raise Conflict(f"{name} is the current generation")
            await self._discard(name)

    async def leftovers(self) -> Sequence[str]:
        """Generations on disk that are not current: what a rebuild has begun or left, or an old one."""
        found = await asyncio.to_thread(_generation_names, self._base)
        return [name for name in found if name != self.current]

    async def close(self) -> None:
        """Close every open index, after its calls are over."""
        async with self._changes:
            await self._shut(self._retired)
            await self._shut(self._begun)
            await self._shut({self.current: self._serving})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Index]:
        """The current index, kept open for as long as the block runs."""
        async with self._serving.borrowed() as index:
            yield index

    async def _shut(self, lent: dict[str, _Lent[Index]]) -> None:
        """Close each index once nobody is in it; one whose turn does not come (a cancellation) stays in *lent*."""
        for name in list(lent):
            await lent[name].idle.wait()
            await lent[name].index.close()
            del lent[name]

    async def _discard(self, name: str) -> None:
        await self._shut(self._retired)
        if name in self._begun:
            await self._begun.pop(name).index.close()
        if _NAME.fullmatch(name):
            await asyncio.to_thread(_remove, self._base / name)


class _Serving(Generic[Engine]):
    """What both engines answer alike, from whichever generation is current."""

    def __init__(self, generations: FolderGenerations[Engine]) -> None:
        self._generations = generations

    async def digest(self) -> Digest:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.digest()

    async def count(self, scope: Scope) -> int:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.count(scope)

    async def scopes(self) -> Sequence[str]:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.scopes()

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.inventory(scope_key, after=after, limit=limit)

    async def sweep(self, scope_key: str, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            await index.sweep(scope_key, take)

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.held(scope_key, keys)

    async def remove(self, scope_key: str, held: Sequence[Held]) -> int:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.remove(scope_key, held)

    async def damaged(self, *, between: Callable[[], Awaitable[None]]) -> Sequence[str]:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.damaged(between=between)

    async def compact(self) -> int:
        """Hand on; see the engine's port."""
        async with self._generations.serving() as index:
            return await index.compact()

    async def purge(self, scope_key: str | None = None) -> int:
        """Hand on; see the engine's port. Of an older generation, which is about to be dropped, nothing is rewritten."""
        async with self._generations.serving() as index:
            return await index.purge(scope_key)


class ServingLexicon(_Serving[Lexicon]):
    """The lexical index of whichever generation is current."""

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Hand on; see ``ports.lexicon``."""
        async with self._generations.serving() as index:
            await index.put(entries, tombstones)

    async def search(self, scope: Scope, text: str, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """Hand on; see ``ports.lexicon``."""
        async with self._generations.serving() as index:
            return await index.search(scope, text, criteria=criteria, limit=limit)

    async def rarities(self, scope: Scope, words: Sequence[str]) -> Mapping[str, float]:
        """On the current generation."""
        async with self._generations.serving() as index:
            return await index.rarities(scope, words)


class ServingVectors(_Serving[Vectors]):
    """The vector index of whichever generation is current."""

    async def put(self, entries: Sequence[VectorEntry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Hand on; see ``ports.vectors``."""
        async with self._generations.serving() as index:
            await index.put(entries, tombstones)

    async def nearest(self, scope: Scope, vector: Array, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """Hand on; see ``ports.vectors``."""
        async with self._generations.serving() as index:
            return await index.nearest(scope, vector, criteria=criteria, limit=limit)

    async def late(self, scope: Scope, tokens: Array, keys: Sequence[EventKey]) -> Mapping[EventKey, float]:
        """Hand on; see ``ports.vectors``."""
        async with self._generations.serving() as index:
            return await index.late(scope, tokens, keys)


def _has_room(base: Path) -> bool:
    """Whether the disk of *base* has room for another generation; a folder that is gone is nothing to wait for."""
    try:
        return shutil.disk_usage(base).free >= files.ROOM_BYTES
    except FileNotFoundError:
        return True


def _current_name(base: Path, first: str) -> str | None:
    """The current generation, which is there; None for a folder in which nothing has begun yet."""
    with translated("disk"):
        base.mkdir(parents=True, exist_ok=True)
        try:
            name = (base / _CURRENT).read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            # the first generation is made before the list that names it
            if set(_generation_names(base)) <= {first}:
                return None
            raise Damaged(f"{base} has generations but does not say which is current") from None
    if not _NAME.fullmatch(name) or not (base / name).is_dir():
        raise Damaged(f"{base / _CURRENT} does not name a generation that is there")
    return name


def _write_current(base: Path, name: str) -> None:
    with translated("disk"):
        files.write_whole(base / _CURRENT, lambda temporary: temporary.write_text(name + "\n", encoding="ascii"))


def _generation_names(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if path.is_dir() and _NAME.fullmatch(path.name))


def _remove(folder: Path) -> None:
    """Rename first, so that a half-deleted folder is never taken for a generation."""
    with translated("disk"):
        doomed = folder.with_name(f".{folder.name}.dropped")
        shutil.rmtree(doomed, ignore_errors=True)
        if folder.exists():
            folder.rename(doomed)
            shutil.rmtree(doomed)
