"""BM25 in this process: one tantivy index for each memory.

Belongs here: which memories' indexes are open, and the threads that use them. Does not belong here: one index (``memory_lexicon``). What
a newcomer would get wrong: memories do not share an index, because BM25's statistics would then be of all of them: rankings of one memory
would depend on what others hold, which is worse (measured) and tells one owner about another.
"""

import shutil
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from kalends.adapters.embedded import files, words, writes
from kalends.adapters.embedded.memory_lexicon import MemoryLexicon
from kalends.adapters.embedded.threads import Lane
from kalends.domain.queries import Criteria, Digest, Entry, Scored, Tombstone
from kalends.domain.scope import Scope

FORMAT = "tantivy3"
"""Grows with every change of the schema or of ``words``."""

READERS = 2
OPEN_INDEXES = 256
"""Indexes kept open; each costs a few file handles and pages that the system may take back."""

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
        self._owned: IO[bytes] | None = None
        self._write_lane = Lane("lexical-write")
        self._read_lane = Lane("lexical-read", threads=READERS)

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
        for path in sorted(self._folder.iterdir()):
            if path.is_dir() and not (path / "meta.json").exists():
                shutil.rmtree(path)
            elif path.is_dir():
                self._memory(path.name)

    def _memory(self, name: str, *, make: bool = True) -> MemoryLexicon | None:
        with self._opening:
            memory = self._open.get(name)
            if memory is None:
                if not make and not (self._folder / name).exists():
                    return None
                memory = self._open[name] = MemoryLexicon(self._folder / name, self._analysers)
                while len(self._open) > OPEN_INDEXES:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
            return memory

    def _put(self, scope: Scope, changes: Sequence[Entry | Tombstone]) -> None:
        memory = self._writers.get(scope.key) or self._memory(scope.key)
        if memory is None:
            return
        self._writers[scope.key] = memory
        self._writers.move_to_end(scope.key)
        with self._opening:
            # the index that has the writer is the one that must be read, even if it was put away meanwhile
            self._open[scope.key] = memory
        memory.put(changes)
        self._release(OPEN_WRITERS)

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
        for path in self._folder.iterdir():
            memory = self._memory(path.name, make=False) if path.is_dir() else None
            for key, version, dead in memory.pairs() if memory else ():
                (gone if dead else live).append((key, version))
        return writes.fold(live, gone)

    def _count(self, scope: Scope) -> int:
        memory = self._memory(scope.key, make=False)
        return memory.count() if memory else 0
