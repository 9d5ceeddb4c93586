"""Vectors on a Qdrant server.

Belongs here: writing, asking and taking inventory of points. Does not belong here: making collections (``collections``), what a point is
(``points``). What a newcomer would get wrong: an event of several windows is several points, and a server changes points one by one. So
what an event is, window 0 says alone: the windows behind it are written first, under ids that no other version has, then window 0 under the
guard of its version, and then what is older is deleted; a read counts a window only if window 0 has its version. docs/decisions/0016 has
the argument.
"""

import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from qdrant_client import grpc, models
from qdrant_client.conversions import conversion

from kalends.adapters.qdrant import points
from kalends.adapters.qdrant.collections import MOST_FETCHED, OVERSAMPLING, Collections, memory_key
from kalends.adapters.qdrant.connection import Connection
from kalends.adapters.qdrant.failures import DEPENDENCY
from kalends.domain import versions
from kalends.domain.errors import Damaged, DeadlineExceeded, Misconfigured, NotFound, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Held, Scored, Tombstone
from kalends.domain.scope import Scope
from kalends.ports.vectors import Array, VectorEntry

BYTES_PER_CALL = 8 << 20
"""Of one write; servers take 32 MiB over REST and more over gRPC."""

PAGE = 1000
"""Points of one piece of an inventory, and keys of one look-up."""

T = TypeVar("T")


class QdrantVectors:
    """One generation of the vector projection, or the one behind the alias; see ``ports.vectors.VectorIndex``.

    *base* is the collection that memories share, or the alias; memories that are *dedicated* (a question about a memory's key) have one of
    their own beside it. Write to a generation by its name: the alias may be switched between the two calls of a write.
    """

    def __init__(
        self, connection: Connection, collections: Collections, *, base: str, dimension: int, dedicated: Callable[[str], bool]
    ) -> None:
        self._connection = connection
        self._client = connection.client
        self._collections = collections
        self._base = base
        self._dimension = dimension
        self._dedicated = dedicated

    async def put(self, entries: Sequence[VectorEntry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Write what is newer than what is held; on return the servers that had to have it have it, and every search sees it.

        Raises:
            Unavailable, DeadlineExceeded: it may be written in part; the same again finishes it. NotFound: this generation was dropped.
            Invalid: a vector holds what is no number. Misconfigured: vectors of another length.
        """
        sources: list[VectorEntry | Tombstone] = [*entries, *tombstones]
        if not sources:
            # so it is asked whether writing would work
            await self._collections.require(self._base)
            return
        changes = versions.newest(points.Change(source, dimension=self._dimension) for source in sources).values()
        by_memory: dict[str | None, list[points.Change]] = defaultdict(list)
        for change in changes:
            by_memory[self._own(change.scope.key)].append(change)
        for memory, ones in by_memory.items():
            await self._put_in(memory, ones)

    async def nearest(self, scope: Scope, vector: Array, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """The *limit* best events by their best window, as the graph of their scope finds them."""
        if limit <= 0:
            return []
        query = self._checked(vector[None, :])[0]
        condition = points.matching(scope, criteria)
        return await self._ask(scope.key, lambda name: self._nearest(name, query, condition, limit), nothing=list[Scored]())

    async def late(self, scope: Scope, tokens: Array, keys: Sequence[EventKey]) -> Mapping[EventKey, float]:
        """Late interaction by the server, over half-precision token vectors."""
        if not keys or not len(tokens):
            return {}
        query = self._checked(tokens)
        wanted = list(dict.fromkeys(keys))
        return await self._ask(scope.key, lambda name: self._late(name, scope, query, wanted), nothing=dict[EventKey, float]())

    async def digest(self) -> Digest:
        """What is held, from the payloads of every window 0."""
        live: list[tuple[str, int]] = []
        gone: list[tuple[str, int]] = []
        for name in await self._everywhere():
            offset: Any = None
            while True:
                with _there():
                    records, offset = await self._scroll(name, None, offset, PAGE)
                for payload in records:
                    if payload.get("dead"):
                        gone.append((payload["key"], points.version_of(payload)))
                    elif "lead" in payload:
                        live.append((payload["key"], payload["version"]))
                if offset is None:
                    break
        return versions.fold(live, gone)

    async def count(self, scope: Scope) -> int:
        """Live events of one memory, counted one by one."""

        async def counted(name: str) -> int:
            condition, timeout = points.live_in(scope), self._connection.read_timeout
            # the client takes no consistency for counts and facets: one replica answers
            call = self._client.count(name, condition, exact=True, timeout=timeout)
            return int((await self._connection.read(call)).count)

        return await self._ask(scope.key, counted, nothing=0)

    async def scopes(self) -> Sequence[str]:
        """The scopes of which a window 0 is held, by key."""
        found: set[str] = set()
        for name in await self._everywhere():
            for field in ("lead", "grave"):
                with _there():
                    found |= await self._values(name, field)
        return sorted(found)

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What is held of one scope; the ids of windows 0 are the keys, and Qdrant goes through points by id."""
        return await self._ask(scope_key, lambda name: self._inventory(name, scope_key, after, limit), nothing=list[Held]())

    async def sweep(self, scope_key: str, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
        """Everything that is held of one scope, by key: Qdrant goes through points in no other order."""
        after: EventKey | None = None
        while True:
            piece = await self.inventory(scope_key, after=after, limit=PAGE)
            if piece:
                await take(piece)
            if len(piece) < PAGE:
                return
            after = piece[-1].key

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is held of *keys* in one scope."""
        found: list[Held] = []
        for start in range(0, len(keys), PAGE):
            piece = keys[start : start + PAGE]
            payloads = await self._ask(scope_key, lambda name, piece=piece: self._leads(name, piece), nothing=list[dict[str, Any]]())  # type: ignore[misc]
            found += [points.held(payload) for payload in payloads if points.belongs(payload, scope_key)]
        return found

    async def remove(self, scope_key: str, held: Sequence[Held]) -> int:
        """Take out every window, of whatever version up to the one held, of what is held exactly so."""
        removed = 0
        for start in range(0, len(held), PAGE):
            wanted = {one.key: one for one in held[start : start + PAGE]}
            there = await self.held(scope_key, list(wanted))
            doomed = [one for one in there if wanted[one.key] == one]
            if doomed:
                # what was written meanwhile is newer than the filter reaches
                await self._ask(scope_key, lambda name, doomed=doomed: self._delete(name, points.up_to(doomed)), nothing=None)  # type: ignore[misc]
            removed += len(doomed)
        return removed

    async def damaged(self, *, between: Callable[[], Awaitable[None]]) -> Sequence[str]:  # noqa: ARG002 - nothing is read
        """None, which says nothing: a server keeps sums of its write-ahead log and of no vectors or payloads, and tells of neither."""
        return ()

    async def compact(self) -> int:
        """Turn quantization on for what has grown large. How many bytes that frees, and when, is the server's to decide: always 0.

        The server gives back by itself what deleted points took up, once they are a fifth of a segment.
        """
        for name in await self._everywhere():
            with _there():
                await self._collections.quantize(name)
        return 0

    async def purge(self, scope_key: str | None = None) -> int:
        """Have the server rewrite what holds deleted points, of the memory's own collection or of all; always 0.

        A newcomer would get wrong: no answer of a server says how many deleted points its files still hold. It takes up segments of a
        hundred points and more at once, and smaller ones when they are merged; its write-ahead log of 32 MB holds what was written until
        as much again was. What must be gone from a server's disk for certain is gone with its collection: a rebuild, then ``drop``.

        Raises:
            Unavailable, DeadlineExceeded: the server cannot, or goes on after this gave up; again is safe.
        """
        memory = None if scope_key is None else self._own(scope_key)
        names = await self._everywhere()
        if memory is not None:
            own = self._collections.dedicated_name(await self._resolved(), memory)
            names = [name for name in names if name == own]
        for name in names:
            with _there():
                await self._collections.vacuum(name)
        return 0

    def _own(self, scope_key: str) -> str | None:
        memory = memory_key(scope_key)
        return memory if self._dedicated(memory) else None

    def _checked(self, rows: Array) -> list[list[float]]:
        if rows.shape[1] != self._dimension:
            raise Misconfigured(f"vectors of {rows.shape[1]} numbers do not fit an index of {self._dimension}")
        if not bool((abs(rows) < float("inf")).all()):
            # no question is to blame for what a model makes of it
            raise Damaged("vector: a question's vector with something in it that is no number", dependency=DEPENDENCY)
        found: list[list[float]] = rows.tolist()
        return found

    async def _resolved(self) -> str:
        """The collection itself, where *base* is the alias.

        Raises:
            NotFound: the alias names nothing.
        """
        if self._base != self._collections.alias:
            return self._base
        pointed = await self._collections.pointed()
        if pointed is None:
            raise NotFound("vector: no generation serves yet")
        return pointed

    async def _everywhere(self) -> list[str]:
        with _there():
            base = await self._resolved()
            await self._collections.require(base)
            return await self._collections.beside(base)

    async def _ask(self, scope_key: str, call: Callable[[str], Awaitable[T]], *, nothing: T) -> T:
        """What *call* says of the collection in which the scope's points are; *nothing* if a dedicated memory has none yet.

        Raises:
            Unavailable: the generation is gone. And whatever *call* raises.
        """
        memory = self._own(scope_key)
        with _there():
            while memory is not None:
                base = await self._resolved()
                try:
                    return await call(self._collections.dedicated_name(base, memory))
                except NotFound:
                    # behind the alias another generation may serve by now, and the old one be dropped
                    if await self._resolved() != base:
                        continue
                    await self._collections.require(base)
                    return nothing
            return await call(self._base)

    async def _put_in(self, memory: str | None, changes: Sequence[points.Change]) -> None:
        if memory is None:
            await self._write(self._base, changes)
            return
        base = await self._resolved()
        name = await self._collections.make_dedicated(base, memory)
        try:
            await self._write(name, changes)
        except NotFound:
            # deleted since it was made, by whoever erased the memory, or with its generation: then it is not made again
            self._collections.forget(name)
            await self._write(await self._collections.make_dedicated(base, memory), changes)

    async def _write(self, name: str, changes: Sequence[points.Change]) -> None:
        most = self._connection.settings.batch_points
        for start in range(0, len(changes), most):
            batch = changes[start : start + most]
            long = [change for change in batch if change.extra_ids]
            for piece in points.pieces((point for change in long for point in change.extras()), most=most, most_bytes=BYTES_PER_CALL):
                await self._upsert(name, piece)
            guard = points.older_than(batch)
            for piece in points.pieces((change.guard() for change in batch), most=most, most_bytes=BYTES_PER_CALL):
                await self._upsert(name, piece, guard=guard)
            await self._delete(name, guard)
            if long:
                await self._give_up(name, long)

    async def _give_up(self, name: str, changes: Sequence[points.Change]) -> None:
        """Delete the windows of a change that came too late; the winner may have deleted before they were there."""
        versions = {payload["key"]: payload["version"] for payload in await self._leads(name, [change.key for change in changes])}
        late = [change for change in changes if versions.get(change.key) != change.version]
        doomed: list[Any] = [point_id for change in late for point_id in change.extra_ids]
        for start in range(0, len(doomed), PAGE):
            await self._delete(name, models.PointIdsList(points=doomed[start : start + PAGE]))

    async def _upsert(self, name: str, piece: Sequence[grpc.PointStruct], *, guard: models.Filter | None = None) -> None:
        send = self._upsert_over_rest if self._connection.over_rest else self._upsert_over_grpc
        _completed(await self._connection.write(send(name, piece, guard)))

    async def _upsert_over_rest(self, name: str, piece: Sequence[grpc.PointStruct], guard: models.Filter | None) -> models.UpdateStatus:
        structs = [conversion.GrpcToRest.convert_point_struct(point) for point in piece]
        status: models.UpdateStatus = (await self._client.upsert(name, structs, wait=True, update_filter=guard)).status
        return status

    async def _upsert_over_grpc(self, name: str, piece: Sequence[grpc.PointStruct], guard: models.Filter | None) -> models.UpdateStatus:
        """Without the client's own call, whose models take twice as long to make as the messages (118 against 63 ms for 100 points)."""
        condition = None if guard is None else conversion.RestToGrpc.convert_filter(guard)
        message = grpc.UpsertPoints(collection_name=name, wait=True, points=piece, update_filter=condition)
        answer = await self._client.grpc_points.Upsert(message, timeout=self._connection.write_timeout)
        return conversion.GrpcToRest.convert_update_result(answer.result).status

    async def _delete(self, name: str, doomed: models.Filter | models.PointIdsList) -> None:
        selector = models.FilterSelector(filter=doomed) if isinstance(doomed, models.Filter) else doomed
        _completed((await self._connection.write(self._client.delete(name, selector, wait=True))).status)

    async def _nearest(self, name: str, vector: list[float], condition: models.Filter, limit: int) -> list[Scored]:
        fetched, asked_again = limit + 16, False
        while True:
            hits = await self._query(name, vector, points.DENSE, condition, fetched)
            best, stale = await self._counting(name, hits)
            ranked = sorted((Scored(key, score) for key, score in best.items()), key=lambda hit: (-hit.score, hit.key))
            complete = len(hits) < fetched or fetched >= MOST_FETCHED
            # a tie with the last place may continue beyond what was fetched, and its order must not be left to the engine
            if complete or (len(ranked) >= limit and hits[-1].score < ranked[limit - 1].score):
                if not stale or asked_again:
                    return ranked[:limit]
                # an event was changed between the two looks at it; once more sees it whole, unless a writer died in between
                asked_again = True
                continue
            fetched = min(fetched * 4, MOST_FETCHED)

    async def _late(self, name: str, scope: Scope, tokens: list[list[float]], keys: Sequence[EventKey]) -> dict[EventKey, float]:
        condition = points.matching(scope, Criteria(), points.among(keys))
        fetched, asked_again = min(4 * len(keys) + 64, MOST_FETCHED), False
        while True:
            hits = await self._query(name, tokens, points.TOKENS, condition, fetched)
            if len(hits) < fetched or (fetched >= MOST_FETCHED and len(keys) == 1):
                best, stale = await self._counting(name, hits)
                if not stale or asked_again:
                    return best
                asked_again = True
            elif fetched < MOST_FETCHED:
                fetched = min(fetched * 8, MOST_FETCHED)
            else:
                half = len(keys) // 2
                return {
                    **await self._late(name, scope, tokens, keys[:half]),
                    **await self._late(name, scope, tokens, keys[half:]),
                }

    async def _query(self, name: str, query: Any, using: str, condition: models.Filter, limit: int) -> list[Any]:
        quantized = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        call = self._client.query_points(
            name,
            query=query,
            using=using,
            query_filter=condition,
            search_params=models.SearchParams(quantization=quantized) if using == points.DENSE else None,
            limit=limit,
            with_payload=["key", "version", "lead"],
            consistency=self._connection.consistency,
            timeout=self._connection.read_timeout,
        )
        found: list[Any] = (await self._connection.read(call)).points
        return found

    async def _counting(self, name: str, hits: Sequence[Any]) -> tuple[dict[EventKey, float], bool]:
        """Of each event the best score among the windows that count, and whether there were others: older or not yet valid ones."""
        versions: dict[str, int] = {hit.payload["key"]: hit.payload["version"] for hit in hits if "lead" in hit.payload}
        unknown = list(dict.fromkeys(EventKey(hit.payload["key"]) for hit in hits if hit.payload["key"] not in versions))
        for start in range(0, len(unknown), PAGE):
            for payload in await self._leads(name, unknown[start : start + PAGE]):
                if "lead" in payload:
                    versions[payload["key"]] = payload["version"]
        best: dict[EventKey, float] = {}
        stale = False
        for hit in hits:
            if versions.get(hit.payload["key"]) == hit.payload["version"]:
                best.setdefault(EventKey(hit.payload["key"]), hit.score)
            else:
                stale = True
        return best, stale

    async def _leads(self, name: str, keys: Sequence[EventKey]) -> list[dict[str, Any]]:
        """The payload of each window 0."""
        call = self._client.retrieve(
            name,
            points.lead_ids(keys),
            with_payload=points.GUARD_FIELDS,
            with_vectors=False,
            consistency=self._connection.consistency,
            timeout=self._connection.read_timeout,
        )
        return [record.payload or {} for record in await self._connection.read(call)]

    async def _scroll(self, name: str, condition: models.Filter | None, offset: Any, limit: int) -> tuple[list[dict[str, Any]], Any]:
        call = self._client.scroll(
            name,
            scroll_filter=condition,
            limit=limit,
            offset=offset,
            with_payload=points.GUARD_FIELDS,
            with_vectors=False,
            consistency=self._connection.consistency,
            timeout=self._connection.read_timeout,
        )
        records, following = await self._connection.read(call)
        return [record.payload or {} for record in records], following

    async def _inventory(self, name: str, scope_key: str, after: EventKey | None, limit: int) -> list[Held]:
        found: list[Held] = []
        while len(found) < limit:
            wanted = min(limit - len(found), PAGE)
            offset = None if after is None else str(uuid.UUID(hex=after))
            # one more, because the piece begins with *after* itself if that is still there
            payloads, _ = await self._scroll(name, points.held_in(scope_key), offset, wanted + 1)
            piece = [one for one in map(points.held, payloads) if one.key != after][:wanted]
            found += piece
            if len(piece) < wanted:
                break
            after = piece[-1].key
        return found

    async def _values(self, name: str, field: str) -> set[str]:
        """Every value of a field; a server lists so many at a time, without saying whether there are more."""
        found: set[str] = set()
        while True:
            call = self._client.facet(
                name,
                field,
                facet_filter=points.without(field, sorted(found)) if found else None,
                limit=MOST_FETCHED,
                exact=True,
                timeout=self._connection.read_timeout,
            )
            hits = (await self._connection.read(call)).hits
            fresh = {str(hit.value) for hit in hits if hit.count} - found
            found |= fresh
            if len(hits) < MOST_FETCHED or not fresh:
                return found


@contextmanager
def _there() -> Iterator[None]:
    """Let no ``NotFound`` out: to whoever asks about a memory it would say that there is no such memory.

    Raises:
        Unavailable: a collection is gone, or the alias names none; a generation that serves will come.
    """
    try:
        yield
    except NotFound as error:
        raise Unavailable("vector: the index is gone from its store", dependency=DEPENDENCY) from error


def _completed(status: models.UpdateStatus) -> None:
    """Return if a write is done, and not only taken.

    Raises:
        DeadlineExceeded: the server stopped waiting for it.
    """
    if status != models.UpdateStatus.COMPLETED:
        raise DeadlineExceeded(f"vector: the write was only {status.value}", dependency=DEPENDENCY)
