"""Vectors in this process, on qdrant-edge.

Belongs here: reads, writes and durability of an Edge shard. Does not belong here: what its points are (``edge_points``), making vectors
(``models``). What a newcomer would get wrong: every Edge call holds the interpreter's lock, whatever thread it runs in, so each call here
is kept to a few milliseconds; ``flush`` syncs dozens of files that way, so a write is made durable by syncing the shard's write-ahead log
from Python instead, which does release the lock; and ``optimize`` would stop the process for seconds, so it is never called here
(``vacuuming``): an exact search over 50,000 half-precision vectors takes 3 ms.
"""

import asyncio
import contextlib
import itertools
import shutil
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kalends.adapters.embedded import edge_points, edge_sums, files, reserving, residency, shards, vacuuming, vector_checking
from kalends.adapters.embedded.edge_points import PER_CALL
from kalends.adapters.embedded.failures import translated
from kalends.adapters.embedded.threads import Lane
from kalends.domain import versions
from kalends.domain.errors import Misconfigured
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Held, Scored, Tombstone
from kalends.domain.scope import Scope
from kalends.ports.vectors import Array, VectorEntry

POINTS_PER_FLUSH = 512
"""Points after which the shard is flushed, so that its write-ahead log (6 MB per 100 points) is let go."""

SCROLL_PAGE = 1000
MOST_FETCHED = 8192
"""Points of one search at most; ties beyond are cut wherever the engine cuts them."""

READS_PER_RELEASE = 16
"""Late interactions after which the pages of token vectors are given back; each touches about six megabytes, read ahead included."""

PAGES_PER_RELEASE = 64
"""Pages of points that are looked at before the pages of token vectors are given back; each touches a few hundred kilobytes."""

MOST_NAMED = 100
"""So many damaged points are enough to know what to do."""

_TOKEN_FILES = "vector_storage-tokens"  # noqa: S105 - vectors of words, no secret

CATCH_UPS = 50
"""So often what changed while the shard was written anew is copied in pieces between writes; then the rest at once."""

_MOST_SCOPES = 1 << 20


class EdgeVectors:
    """One generation of the vector projection; see ``ports.vectors.VectorIndex``.

    One point per window. Window 0 has the event's key as its id and carries ``lead``, the scope again, so that counting points by
    ``lead`` counts events. A tombstone is a window 0 without vectors, scope or lead, so that no search can reach it; its ``grave`` is the
    scope, for whoever takes inventory.
    """

    def __init__(self, shard: Any, *, path: Path, dimension: int) -> None:
        self._shard = shard
        self._path = path
        self._log = path / "wal"
        self._reserve = reserving.Reserve(path)
        self._purging = asyncio.Lock()
        self._changed: dict[EventKey, None] | None = None
        self._clean = False
        self._dimension = dimension
        self._unflushed = 0
        self._reads = 0
        self._writer = Lane("vector-write")
        self._reader = Lane("vector-read")

    @classmethod
    async def open(cls, folder: Path, *, identity: str, dimension: int) -> "EdgeVectors":
        """Open the index in *folder*, or make it for vectors of the model *identity*.

        Raises:
            Misconfigured: it holds another model's vectors. Damaged: it cannot be read; drop it and rebuild. Occupied: it is open already.
        """
        opener = Lane("vector-open")
        try:
            path, shard = await opener.run(partial(shards.open_current, folder, identity=identity, dimension=dimension))
            opened = cls(shard, path=path, dimension=dimension)
            await opener.run(opened._give_back)
        finally:
            await opener.close()
        return opened

    async def put(self, entries: Sequence[VectorEntry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Write what is newer than what is held; on return it is in the synced write-ahead log and every search sees it."""
        # also when there is nothing to write, for so it is asked whether writing would work
        files.need_room(self._log)
        changes = versions.newest(
            [*(edge_points.Change(entry) for entry in entries), *(edge_points.Change(tombstone) for tombstone in tombstones)]
        )
        pending = list(changes.values())
        while pending:
            chunk, pending = edge_points.first_of(pending)
            await self._writer.run(self._apply, chunk)
        if changes:
            await self._writer.run(self._sync)

    async def nearest(self, scope: Scope, vector: Array, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """The *limit* best events by their best window, exactly (up to half precision)."""
        if limit <= 0:
            return []
        query = self._checked(vector[None, :])[0]
        return await self._reader.run(self._nearest, scope, query, criteria, limit)

    async def late(self, scope: Scope, tokens: Array, keys: Sequence[EventKey]) -> Mapping[EventKey, float]:
        """Late interaction by the engine, over 8-bit token vectors."""
        if not keys or not len(tokens):
            return {}
        query = self._checked(tokens)
        return await self._reader.run(self._late, scope, query, keys)

    async def digest(self) -> Digest:
        """What is held, from the payloads of every window 0."""
        live: list[tuple[str, int]] = []
        gone: list[tuple[str, int]] = []
        offset: object = None
        while True:
            page, offset = await self._reader.run(self._scroll, offset)
            for payload in page:
                if payload.get("dead"):
                    gone.append((payload["key"], payload["version"]))
                elif "lead" in payload:
                    live.append((payload["key"], payload["version"]))
            if offset is None:
                return versions.fold(live, gone)

    async def count(self, scope: Scope) -> int:
        """Live events of one memory."""
        return await self._reader.run(self._count, scope)

    async def scopes(self) -> Sequence[str]:
        """The scopes of which a window 0 is held, by key."""
        return await self._reader.run(self._scopes)

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What is held of one scope, from the payloads of every window 0; their ids are the keys, and Edge goes through points by id."""
        found: list[Held] = []
        while len(found) < limit:
            wanted = min(limit - len(found), SCROLL_PAGE)
            piece = await self._reader.run(self._inventory, scope_key, after, wanted)
            found += piece
            if len(piece) < wanted:
                break
            after = piece[-1].key
        return found

    async def sweep(self, scope_key: str, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
        """Everything that is held of one scope, by key: no other order costs Edge less."""
        after: EventKey | None = None
        while piece := await self._reader.run(self._inventory, scope_key, after, SCROLL_PAGE):
            await take(piece)
            after = piece[-1].key

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is held of *keys* in one scope."""
        found: list[Held] = []
        for start in range(0, len(keys), SCROLL_PAGE):
            payloads = await self._reader.run(self._payloads, scope_key, keys[start : start + SCROLL_PAGE])
            found += [edge_points.held(payload) for payload in payloads.values()]
        return found

    async def remove(self, scope_key: str, held: Sequence[Held]) -> int:
        """Take out every window of what is held exactly so; in the synced write-ahead log on return."""
        removed = 0
        for start in range(0, len(held), PER_CALL):
            removed += await self._writer.run(self._remove, scope_key, held[start : start + PER_CALL])
        if removed:
            await self._writer.run(self._sync)
        return removed

    async def damaged(self, *, between: Callable[[], Awaitable[None]]) -> Sequence[str]:
        """Points that are not what was written, as ``shard/point/part``; after ``MOST_NAMED`` nobody looks on.

        Token vectors that have no sum to compare, as after a kill or on another kind of processor, get one.
        """
        found: list[str] = []
        offset: object = None
        for pages in itertools.count(1):
            doubted, offset = await self._reader.run(self._look, offset, release=pages % PAGES_PER_RELEASE == 0)
            if doubted:
                found += await self._writer.run(self._settle, doubted)
            if offset is None or len(found) >= MOST_NAMED:
                break
            await between()
        return found

    async def compact(self) -> int:
        """Flush, which lets the write-ahead log go (30 MB at most); what deleted points take up, only ``purge`` gives back."""
        return await self._writer.run(self._compact)

    async def purge(self, scope_key: str | None = None) -> int:  # noqa: ARG002 - memories share a shard
        """Write the whole shard anew if anything was taken out of it or written over; always 0.

        Another process does it to a copy (writes wait while that is made); what is written meanwhile is then copied over, and the copy
        takes the shard's place.
        """
        async with self._purging:
            if self._clean:
                return 0
            fresh = None
            path = await self._writer.run(self._begin_purge)
            reserve = reserving.Reserve(path)
            try:
                await vacuuming.vacuum(path, dimension=self._dimension)
                fresh = await self._writer.run(shards.load, path)
                for _ in range(CATCH_UPS):
                    if len(self._changed or ()) <= PER_CALL:
                        break
                    await self._writer.run(self._catch_up, fresh, reserve, PER_CALL)
                old, fresh = await self._writer.run(self._take_over, fresh, path, reserve), None
                await self._reader.run(_discard, *old)
            finally:
                self._changed = None
                if path != self._path:
                    await asyncio.to_thread(_discard, fresh, path)
            return 0

    async def close(self) -> None:
        """Flush and give the folder free; once is enough, and again goes on where a cancellation cut it off."""
        try:
            if not self._writer.closed:
                await self._writer.run(self._close)
        finally:
            await self._writer.close()
            await self._reader.close()

    def _checked(self, rows: Array) -> list[list[float]]:
        if rows.shape[1] != self._dimension:
            raise Misconfigured(f"vectors of {rows.shape[1]} numbers do not fit an index of {self._dimension}")
        found: list[list[float]] = rows.tolist()
        return found

    def _apply(self, changes: Sequence[edge_points.Change]) -> None:
        from qdrant_edge import UpdateOperation

        points: list[Any] = []
        surplus: list[Any] = []
        files.need_room(self._log)
        self._make_ready(edge_points.need_of(changes, self._dimension))
        with translated("vector"):
            leads = [edge_points.point_id(change.key, 0) for change in changes]
            held = {uuid.UUID(str(record.id)): record.payload for record in self._shard.retrieve(leads, True, False)}
            for change, lead in zip(changes, leads, strict=True):
                known = held.get(lead)
                if known is not None and known["version"] >= change.version:
                    continue
                self._note(change.key, replaced=known is not None)
                points += change.points(self._dimension)
                surplus += [edge_points.point_id(change.key, window) for window in range(change.windows, known["windows"] if known else 0)]
            # first the windows that the newer text no longer has: window 0, the guard, must not say "done" before everything is
            if surplus:
                self._shard.update(UpdateOperation.delete_points(surplus))
            if points:
                self._shard.update(UpdateOperation.upsert_points(points))
                vector_checking.sum_up(self._shard, [point.id for point in points])
        self._unflushed += len(points)

    def _make_ready(self, need: reserving.Need) -> None:
        """Have the disk take what is about to be written, and wait for one that hangs."""
        self._reserve.ahead(need)
        files.wait_for_disk(self._log)

    def _sync(self) -> None:
        if self._unflushed >= POINTS_PER_FLUSH:
            self._flush()
            return
        # folders are what a kill left of Edge's own writing of small files; nothing reads them
        for path in (path for path in self._log.iterdir() if not path.is_dir()):
            # the shard may drop a full log file at any time; what it held is then flushed
            with contextlib.suppress(FileNotFoundError):
                files.sync_file(path)
        files.sync_folder(self._log)

    def _flush(self) -> None:
        files.wait_for_disk(self._log)
        with translated("vector"):
            self._shard.flush()
        self._unflushed = 0
        self._give_back()

    def _give_back(self) -> None:
        """Token vectors are read for the few candidates of a question; what was only written or read once need not stay in memory."""
        residency.give_back(self._log.parent, named=_TOKEN_FILES)

    def _nearest(self, scope: Scope, vector: list[float], criteria: Criteria, limit: int) -> list[Scored]:
        from qdrant_edge import PayloadSelector, Query, QueryRequest

        query, condition = Query.Nearest(vector, shards.DENSE), edge_points.matching(scope, criteria)
        fetched = limit + 16
        while True:
            request = QueryRequest(limit=fetched, query=query, filter=condition, with_payload=PayloadSelector.Include(["key"]))
            with translated("vector"):
                points = self._shard.query(request)
            best: dict[EventKey, float] = {}
            for point in points:
                best.setdefault(EventKey(point.payload["key"]), point.score)
            ranked = sorted((Scored(key, score) for key, score in best.items()), key=lambda hit: (-hit.score, hit.key))
            complete = len(points) < fetched or fetched >= MOST_FETCHED
            # a tie with the last place may continue beyond what was fetched, and its order must not be left to the engine
            if complete or (len(ranked) >= limit and points[-1].score < ranked[limit - 1].score):
                return ranked[:limit]
            fetched = min(fetched * 4, MOST_FETCHED)

    def _late(self, scope: Scope, tokens: list[list[float]], keys: Sequence[EventKey]) -> dict[EventKey, float]:
        from qdrant_edge import FieldCondition, MatchAny, PayloadSelector, Query, QueryRequest

        wanted = FieldCondition("key", match=MatchAny(list(dict.fromkeys(str(key) for key in keys))))
        condition = edge_points.matching(scope, Criteria(), wanted)
        query, fetched = Query.Nearest(tokens, shards.TOKENS), 4 * len(keys) + 64
        while True:
            request = QueryRequest(limit=fetched, query=query, filter=condition, with_payload=PayloadSelector.Include(["key"]))
            with translated("vector"):
                points = self._shard.query(request)
            if len(points) < fetched:
                break
            fetched *= 8
        best: dict[EventKey, float] = {}
        for point in points:
            best.setdefault(EventKey(point.payload["key"]), point.score)
        self._reads += 1
        if self._reads % READS_PER_RELEASE == 0:
            self._give_back()
        return best

    def _scroll(self, offset: object) -> tuple[list[dict[str, Any]], object]:
        from qdrant_edge import PayloadSelector, ScrollRequest

        fields = PayloadSelector.Include(["key", "lead", "dead", "version"])
        with translated("vector"):
            records, following = self._shard.scroll(ScrollRequest(offset=offset, limit=SCROLL_PAGE, with_payload=fields, with_vector=False))  # type: ignore[arg-type]
            return [record.payload or {} for record in records], following

    def _look(self, offset: object, *, release: bool) -> vector_checking.Page:
        page = vector_checking.look(self._shard, offset)
        if release or page.following is None:
            self._give_back()
        return page

    def _settle(self, doubted: Sequence[uuid.UUID]) -> list[str]:
        self._make_ready(edge_points.need_of_ids(len(doubted)))
        return [f"{self._path.name}/{name}" for name in vector_checking.settle(self._shard, doubted)]

    def _count(self, scope: Scope) -> int:
        from qdrant_edge import CountRequest, FieldCondition, Filter, MatchValue

        lead = FieldCondition("lead", match=MatchValue(scope.key))
        with translated("vector"):
            return int(self._shard.count(CountRequest(exact=True, filter=Filter(must=[lead]))))

    def _scopes(self) -> list[str]:
        from qdrant_edge import FacetRequest

        found: set[str] = set()
        with translated("vector"):
            for field in ("lead", "grave"):
                answer = self._shard.facet(FacetRequest(field, limit=_MOST_SCOPES))
                found.update(str(hit.value) for hit in answer.hits if hit.count)
        return sorted(found)

    def _inventory(self, scope_key: str, after: EventKey | None, limit: int) -> list[Held]:
        from qdrant_edge import FieldCondition, Filter, MatchValue, PayloadSelector, ScrollRequest

        either = Filter(should=[FieldCondition(field, match=MatchValue(scope_key)) for field in ("lead", "grave")])
        fields = PayloadSelector.Include(["key", "dead", "version"])
        offset = None if after is None else edge_points.point_id(after, 0)
        with translated("vector"):
            request = ScrollRequest(offset=offset, limit=limit + 1, filter=either, with_payload=fields, with_vector=False)
            records, _ = self._shard.scroll(request)
        found = [edge_points.held(record.payload) for record in records]
        return [one for one in found if one.key != after][:limit]

    def _payloads(self, scope_key: str, keys: Sequence[EventKey]) -> dict[EventKey, dict[str, Any]]:
        """The payload of each window 0 that belongs to the scope."""
        with translated("vector"):
            records = self._shard.retrieve([edge_points.point_id(key, 0) for key in keys], True, False)
        payloads = (record.payload for record in records)
        return {EventKey(one["key"]): one for one in payloads if scope_key in (one.get("lead"), one.get("grave"))}

    def _remove(self, scope_key: str, held: Sequence[Held]) -> int:
        from qdrant_edge import UpdateOperation

        there = self._payloads(scope_key, [one.key for one in held])
        doomed = [there[one.key] for one in held if one.key in there and edge_points.held(there[one.key]) == one]
        points: list[Any] = [edge_points.point_id(EventKey(one["key"]), window) for one in doomed for window in range(one["windows"])]
        for one in doomed:
            self._note(EventKey(one["key"]), replaced=True)
        if points:
            self._make_ready(edge_points.need_of_ids(len(points)))
            with translated("vector"):
                self._shard.update(UpdateOperation.delete_points(points))
        self._unflushed += len(points)
        return len(doomed)

    def _note(self, key: EventKey, *, replaced: bool) -> None:
        """Remember what changed: for a purge under way, and that there is something to purge."""
        if replaced:
            self._clean = False
        if self._changed is not None:
            self._changed[key] = None

    def _begin_purge(self) -> Path:
        """Copy the shard to where it will be written anew; from now on changes are noted."""
        self._flush()
        files.need_room(self._path, beside=2 * files.bytes_on_disk(self._path))
        path = shards.next_path(self._path.parent)
        self._changed, self._clean = {}, True
        try:
            vacuuming.copy(self._path, path)
        except BaseException:
            self._changed, self._clean = None, False
            shutil.rmtree(path, ignore_errors=True)
            raise
        return path

    def _catch_up(self, fresh: Any, reserve: reserving.Reserve, most: int) -> None:
        """Bring up to *most* of the events that changed meanwhile to *fresh* as they are here."""
        from qdrant_edge import Point, UpdateOperation

        changed = self._changed or {}
        keys = list(changed)[:most]
        with translated("vector"):
            points: list[Any] = []
            surplus: list[Any] = []
            for key in keys:
                windows = _windows(self._shard, key)
                surplus += [edge_points.point_id(key, number) for number in range(windows, _windows(fresh, key))]
                records = self._shard.retrieve([edge_points.point_id(key, number) for number in range(windows)], True, True)
                points += [Point(record.id, record.vector or {}, vector_checking.carried(record)) for record in records]
            reserve.ahead(edge_points.need_of_copies(points, self._dimension))
            if surplus:
                fresh.update(UpdateOperation.delete_points(surplus))
            if points:
                fresh.update(UpdateOperation.upsert_points(points))
                unsummed = [point.id for point in points if edge_sums.TOKENS not in (point.payload or {})]
                vector_checking.sum_up(fresh, unsummed)
        for key in keys:
            changed.pop(key, None)

    def _take_over(self, fresh: Any, path: Path, reserve: reserving.Reserve) -> tuple[Any, Path]:
        """Have *fresh* serve from now on, also after a restart; returns what did so until now."""
        while self._changed:
            self._catch_up(fresh, reserve, PER_CALL)
        with translated("vector"):
            fresh.flush()
        shards.point_at(path)
        old = (self._shard, self._path)
        self._shard, self._path, self._log, self._reserve = fresh, path, path / "wal", reserve
        self._unflushed, self._changed = 0, None
        self._give_back()
        return old

    def _compact(self) -> int:
        before = files.bytes_on_disk(self._log.parent)
        self._flush()
        return max(0, before - files.bytes_on_disk(self._log.parent))

    def _close(self) -> None:
        with translated("vector"):
            self._shard.flush()
            self._shard.close()


def _windows(shard: Any, key: EventKey) -> int:
    """How many windows a shard has of an event."""
    records = shard.retrieve([edge_points.point_id(key, 0)], ["windows"], False)
    return int(records[0].payload["windows"]) if records else 0


def _discard(shard: Any, path: Path) -> None:
    """Close a shard that does not count and delete its folder."""
    if shard is not None:
        with translated("vector"):
            shard.close()
    shutil.rmtree(path, ignore_errors=True)
    files.sync_folder(path.parent)
