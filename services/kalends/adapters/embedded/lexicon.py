"""BM25 in this process: one tantivy index for each memory.

Belongs here: which memories' indexes are open, and the threads that use them. Does not belong here: one index (``memory_lexicon``). What
a newcomer would get wrong: memories do not share an index, because BM25's statistics would then be of all of them: rankings of one memory
would depend on what others hold, which is worse (measured) and tells one owner about another.
"""

import asyncio
import shutil
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from kalends.adapters.embedded import files, lexicon_checking, words
from kalends.adapters.embedded.lexicon_rewriting import Copy
from kalends.adapters.embedded.memory_lexicon import MemoryLexicon
from kalends.adapters.embedded.threads import Lane
from kalends.domain import versions
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Entry, Held, Scored, Tombstone
from kalends.domain.scope import CALENDAR_SUFFIX, Scope

FORMAT = "tantivy5"
"""Grows with every change of the schema or of ``words``."""

READERS = 2
OPEN_INDEXES = 256
"""Indexes kept open; each costs a few file handles and pages that the system may take back."""

_COPY, _OLD = ".copy", ".old"
"""Endings of folders while an index is written anew: the copy in the making, and the index that it replaced."""

OPEN_WRITERS = 4
"""Writers kept open; each may hold 20 MB between commits."""


class TantivyLexicon:
    """One generation of the lexical projection; see ``ports.lexicon.LexicalIndex``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._analysers = words.analysers()
        self._open: OrderedDict[str, MemoryLexicon] = OrderedDict()
        self._opening = threading.Lock()
        self._writers: OrderedDict[str, MemoryLexicon] = OrderedDict()
        self._copied: dict[str, MemoryLexicon] = {}
        self._owned: IO[bytes] | None = None
        self._write_lane = Lane("lexical-write")
        self._read_lane = Lane("lexical-read", threads=READERS)
        self._purging = asyncio.Lock()

    @classmethod
    async def open(cls, folder: Path) -> "TantivyLexicon":
        """Open the indexes in *folder*, or begin there.

        Raises:
            Misconfigured: they have another format. Damaged: one cannot be read; drop them and rebuild. Occupied: they are open already.
        """
        lexicon = cls(folder)
        try:
            await lexicon._write_lane.run(lexicon._examine)
        except BaseException:
            await lexicon._write_lane.close()
            await lexicon._read_lane.close()
            lexicon._let_go()
            raise
        return lexicon

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Write what is newer than what is held, in one commit for each memory; on return it is synced and every search sees it."""
        # also when there is nothing to write, for so it is asked whether writing would work
        files.need_room(self._folder)
        by_scope: dict[Scope, list[Entry | Tombstone]] = {}
        every: list[Entry | Tombstone] = [*entries, *tombstones]
        for change in every:
            by_scope.setdefault(change.scope, []).append(change)
        for scope, changes in by_scope.items():
            await self._write_lane.run(self._put, scope, changes)

    async def _purge(self, name: str) -> None:
        begun = await self._write_lane.run(self._begin_purge, name)
        if begun is None:
            return
        memory, copy, pieces = begun
        done = False
        try:
            for searcher, piece in pieces:
                await self._write_lane.run(copy.add, searcher, piece)
            await self._write_lane.run(self._end_purge, name, memory, copy)
            done = True
        finally:
            if not done:
                # behind whatever of it still runs there: an end that has begun needs what changed
                self._write_lane.post(memory.give_up_copy)

    async def search(self, scope: Scope, text: str, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """The *limit* best events by BM25 over the fields, each weighted by ``memory_lexicon.BOOSTS``."""
        if limit <= 0:
            return []
        return await self._read_lane.run(self._search, scope, text, criteria, limit)

    async def rarities(self, scope: Scope, asked: Sequence[str]) -> Mapping[str, float]:
        """How rare each word is in the memory, by its stem."""
        return await self._read_lane.run(self._rarities, scope, asked)

    async def digest(self) -> Digest:
        """What is held, from the number columns of every document of every memory."""
        return await self._read_lane.run(self._digest)

    async def count(self, scope: Scope) -> int:
        """Live events of one memory."""
        return await self._read_lane.run(self._count, scope)

    async def scopes(self) -> Sequence[str]:
        """The scopes whose index is not empty, by key."""
        return await self._read_lane.run(self._scopes)

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What is held of one scope, from the number columns of its index."""
        return await self._read_lane.run(self._inventory, scope_key, after, limit)

    async def sweep(self, scope_key: str, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
        """Everything that is held of one scope, from the number columns of its index, one share of all possible keys after the other."""
        shares = await self._read_lane.run(self._shares, scope_key)
        for share in range(shares):
            if piece := await self._read_lane.run(self._share, scope_key, share, shares):
                await take(piece)

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is held of *keys* in one scope."""
        return await self._read_lane.run(self._held, scope_key, keys)

    async def remove(self, scope_key: str, held: Sequence[Held]) -> int:
        """Take out what is held exactly so; synced on return."""
        return await self._write_lane.run(self._remove, scope_key, held)

    async def damaged(self, *, between: Callable[[], Awaitable[None]]) -> Sequence[str]:
        """Files of any memory's index whose sum is not that of their bytes, as ``index/file``."""
        found: list[str] = []
        for name in await self._read_lane.run(self._names):
            found += await self._read_lane.run(self._damaged, name)
            await between()
        return found

    async def compact(self) -> int:
        """Compact one index after the other; writes go between them. The bytes that were freed."""
        names = await self._read_lane.run(self._names)
        return sum([await self._write_lane.run(self._compact, name) for name in names])

    async def purge(self, scope_key: str | None = None) -> int:
        """Write anew every index, or those of one memory and its calendar, that holds anything that is not held any more; always 0.

        Copying goes on between writes. Searches go on in the old files until the new ones take their place; then the old are deleted.
        """
        async with self._purging:
            for name in await self._read_lane.run(self._names):
                if scope_key is None or name.removesuffix(CALENDAR_SUFFIX) == scope_key:
                    await self._purge(name)
        return 0

    async def close(self) -> None:
        """Finish merges and give the folder free; once is enough, and again goes on where a cancellation cut it off."""
        try:
            if not self._write_lane.closed:
                await self._write_lane.run(self._release, 0)
        finally:
            await self._write_lane.close()
            await self._read_lane.close()
            self._open.clear()
            self._let_go()

    def _let_go(self) -> None:
        if self._owned is not None:
            self._owned.close()
            self._owned = None

    def _examine(self) -> None:
        """Check the format, open every index once (so that damage shows now) and clear away what a crash left half made."""
        self._owned = files.hold(self._folder)
        files.claim_identity(self._folder, FORMAT)
        self._finish_purges()
        for path in sorted(self._folder.iterdir()):
            if path.is_dir() and not (path / "meta.json").exists():
                shutil.rmtree(path)
            elif path.is_dir():
                self._memory(path.name)

    def _finish_purges(self) -> None:
        """What a kill left of a purge: an index that was put aside was written anew to the end; without that, the copy is a part of one."""
        for old in sorted(self._folder.glob(f"*{_OLD}")):
            index = old.with_suffix("")
            if not index.exists():
                index.with_suffix(_COPY).rename(index)
            shutil.rmtree(old)
        for copy in self._folder.glob(f"*{_COPY}"):
            shutil.rmtree(copy)
        files.sync_folder(self._folder)

    def _begin_purge(self, name: str) -> tuple[MemoryLexicon, Copy, list[tuple[Any, list[Any]]]] | None:
        memory = self._to_write(name, make=False)
        if memory is None:
            return None
        memory.compact()
        if memory.is_clean():
            self._release(OPEN_WRITERS)
            return None
        files.need_room(self._folder)
        folder = (self._folder / name).with_suffix(_COPY)
        shutil.rmtree(folder, ignore_errors=True)
        begun = memory.begin_copy(folder)
        with self._opening:
            # it notes what changes meanwhile, so nobody may open another in its place
            self._copied = {name: memory}
        return memory, *begun

    def _end_purge(self, name: str, memory: MemoryLexicon, copy: Copy) -> None:
        """Put the copy in the index's place. In between neither has its name, which ``_finish_purges`` knows."""
        memory.end_copy(copy)
        memory.release()
        index = self._folder / name
        old = index.with_suffix(_OLD)
        with self._opening:
            self._writers.pop(name, None)
            self._open.pop(name, None)
            self._copied = {}
            index.rename(old)
            copy.folder.rename(index)
            files.sync_folder(self._folder)
            self._open[name] = MemoryLexicon(index, self._analysers)
        shutil.rmtree(old)
        files.sync_folder(self._folder)

    def _memory(self, name: str, *, make: bool = True) -> MemoryLexicon | None:
        with self._opening:
            memory = self._open.get(name)
            if memory is None:
                if not make and not (self._folder / name).exists():
                    return None
                memory = self._open[name] = self._copied.get(name) or MemoryLexicon(self._folder / name, self._analysers)
                while len(self._open) > OPEN_INDEXES:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
            return memory

    def _put(self, scope: Scope, changes: Sequence[Entry | Tombstone]) -> None:
        memory = self._to_write(scope.key)
        if memory is not None:
            memory.put(changes)
            self._release(OPEN_WRITERS)

    def _to_write(self, name: str, *, make: bool = True) -> MemoryLexicon | None:
        """The index *name* among those that may have a writer."""
        memory = self._writers.get(name) or self._memory(name, make=make)
        if memory is None:
            return None
        self._writers[name] = memory
        self._writers.move_to_end(name)
        with self._opening:
            # the index that has the writer is the one that must be read, even if it was put away meanwhile
            self._open[name] = memory
        return memory

    def _remove(self, scope_key: str, held: Sequence[Held]) -> int:
        memory = self._to_write(scope_key, make=False)
        removed = memory.remove(held) if memory else 0
        self._release(OPEN_WRITERS)
        return removed

    def _compact(self, name: str) -> int:
        memory = self._to_write(name, make=False)
        freed = memory.compact() if memory else 0
        self._release(OPEN_WRITERS)
        return freed

    def _release(self, keep: int) -> None:
        while len(self._writers) > keep:
            _, memory = self._writers.popitem(last=False)
            memory.release()

    def _search(self, scope: Scope, text: str, criteria: Criteria, limit: int) -> list[Scored]:
        memory = self._memory(scope.key, make=False)
        return memory.search(text, criteria, limit) if memory else []

    def _rarities(self, scope: Scope, asked: Sequence[str]) -> Mapping[str, float]:
        memory = self._memory(scope.key, make=False)
        return memory.rarities(asked) if memory else dict.fromkeys(asked, 0.0)

    def _digest(self) -> Digest:
        live: list[tuple[str, int]] = []
        gone: list[tuple[str, int]] = []
        for name in self._names():
            memory = self._memory(name, make=False)
            for key, version, dead in memory.pairs() if memory else ():
                (gone if dead else live).append((key, version))
        return versions.fold(live, gone)

    def _count(self, scope: Scope) -> int:
        memory = self._memory(scope.key, make=False)
        return memory.count() if memory else 0

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir() and path.suffix not in (_COPY, _OLD))

    def _damaged(self, name: str) -> list[str]:
        return [f"{name}/{file}" for file in lexicon_checking.damaged_files(self._folder / name)]

    def _scopes(self) -> list[str]:
        found = ((name, self._memory(name, make=False)) for name in self._names())
        return [name for name, memory in found if memory and not memory.is_empty()]

    def _inventory(self, scope_key: str, after: EventKey | None, limit: int) -> list[Held]:
        memory = self._memory(scope_key, make=False)
        return memory.inventory(after, limit) if memory else []

    def _shares(self, scope_key: str) -> int:
        memory = self._memory(scope_key, make=False)
        return memory.shares() if memory else 0

    def _share(self, scope_key: str, share: int, shares: int) -> list[Held]:
        memory = self._memory(scope_key, make=False)
        return memory.share(share, shares) if memory else []

    def _held(self, scope_key: str, keys: Sequence[EventKey]) -> list[Held]:
        memory = self._memory(scope_key, make=False)
        return memory.held(keys) if memory else []
