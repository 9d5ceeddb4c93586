"""Collections: their names, what they are made of, and the calls that make, find and delete them.

Belongs here: everything about a collection but its points. Does not belong here: which generation serves. What a newcomer would get wrong:
Qdrant applies the actions of one alias update one after the other, so whatever could fail in it is checked before it is sent; and a memory
that is dedicated has a collection of its own in every generation, which nobody makes before its first write.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from qdrant_client import models

from kalends.adapters.qdrant.connection import Connection
from kalends.adapters.qdrant.failures import DEPENDENCY
from kalends.adapters.qdrant.points import DENSE, TOKENS
from kalends.domain.errors import Conflict, DeadlineExceeded, Invalid, Misconfigured, NotFound, Unavailable
from kalends.domain.scope import CALENDAR_SUFFIX
from kalends.kit.backoff import pauses

MOST_FETCHED: Final = 8192
"""Points of one answer at most, by our own strict mode; ties beyond are cut wherever the engine cuts them."""

OVERSAMPLING: Final = 2.0
"""How many more points are taken by their 8-bit vectors than are wanted, before the full ones decide."""

_USUAL: Final = models.OptimizersConfigDiff(deleted_threshold=0.2, vacuum_min_vector_number=1000)
"""When a server rewrites a segment by itself; its own defaults, but ours to say, so that whoever changed it knows what was before."""

_EAGER: Final = models.OptimizersConfigDiff(deleted_threshold=0.0, vacuum_min_vector_number=100)
"""While a collection is rewritten; the least that a server takes: smaller segments are left alone until they are merged."""

_VACUUM_S: Final = 3600.0
"""Longest wait for a server to rewrite a collection."""

_KEYWORDS = ("key", "lead", "grave", "tags")
_GENERATION = re.compile(r"[a-z0-9-]{1,40}")
_MEMORY = r"-m-(?P<memory>[a-z2-7]{26})"
_PLAIN = re.compile(r"[a-z0-9]{1,40}")


class Shelf(NamedTuple):
    """A collection's place: the generation, and the key of the memory that has it for itself, or None for the one that is shared."""

    generation: str
    memory: str | None


class Collections:
    """The collections of one projection. *identity* is of the model; its vectors have *dimension* numbers."""

    def __init__(self, connection: Connection, *, identity: str, dimension: int) -> None:
        self._connection = connection
        self._dimension = dimension
        self.alias = f"{connection.settings.prefix}-vector-{_slug(identity)}"
        self._pattern = re.compile(rf"{re.escape(self.alias)}-(?P<generation>[a-z0-9-]{{1,40}}?)({_MEMORY})?")
        self._made: set[str] = set()

    def name(self, generation: str) -> str:
        """The collection that the memories of *generation* share.

        Raises:
            Invalid: it is no name of a generation.
        """
        if not _GENERATION.fullmatch(generation) or re.search(f"{_MEMORY}$", generation):
            raise Invalid("vector: a generation's name is 1 to 40 of a-z, 0-9 and '-', and not a dedicated memory's")
        return f"{self.alias}-{generation}"

    def dedicated_name(self, base: str, scope_key: str) -> str:
        """The collection that the memory of a scope has for itself beside the collection *base*; its calendar lies in it too."""
        return f"{base}-m-{memory_key(scope_key)}"

    async def shelves(self) -> dict[str, Shelf]:
        """Every collection of this projection, by name."""
        answer = await self._connection.read(self._connection.client.get_collections())
        found = {one.name: self._pattern.fullmatch(one.name) for one in answer.collections}
        return {name: Shelf(match["generation"], match["memory"]) for name, match in found.items() if match}

    async def beside(self, base: str) -> list[str]:
        """The collection *base* and those of dedicated memories beside it, which may come and go meanwhile."""
        everything = await self.shelves()
        return [base, *sorted(name for name, shelf in everything.items() if shelf.memory and name.startswith(f"{base}-m-"))]

    async def pointed(self) -> str | None:
        """The collection that the alias names."""
        answer = await self._connection.read(self._connection.client.get_aliases())
        return next((str(one.collection_name) for one in answer.aliases if one.alias_name == self.alias), None)

    def generation_of(self, collection: str) -> str | None:
        """The generation that *collection* is of, None if it is no shared one of this projection."""
        match = self._pattern.fullmatch(collection)
        return match["generation"] if match and not match["memory"] else None

    async def point(self, collection: str) -> None:
        """Let the alias name *collection*, which exists.

        Raises:
            NotFound: it does not. Misconfigured: it holds vectors of another length.
        """
        await self._fit(collection)
        before = await self.pointed()
        if before == collection:
            return
        create = models.CreateAlias(collection_name=collection, alias_name=self.alias)
        actions: list[Any] = [models.CreateAliasOperation(create_alias=create)]
        if before is not None:
            delete = models.DeleteAlias(alias_name=self.alias)
            actions.insert(0, models.DeleteAliasOperation(delete_alias=delete))
        await self._connection.write(self._connection.client.update_collection_aliases(actions))

    async def exists(self, collection: str) -> bool:
        """Whether a collection or an alias has this name."""
        return bool(await self._connection.read(self._connection.client.collection_exists(collection)))

    async def require(self, collection: str) -> None:
        """Return if it exists.

        Raises:
            NotFound: it does not.
        """
        if not await self.exists(collection):
            raise NotFound("vector: no such generation is there")

    async def make(self, collection: str) -> None:
        """Make it empty, or finish making it; what it holds stays.

        Raises:
            Misconfigured: it is there and holds vectors of another length.
        """
        try:
            await self._connection.write(self._create(collection))
        except Conflict:
            # somebody else was first, or it is the second time: the fields' indexes may still be missing after a crash between the two
            await self._fit(collection)
        for field, schema in _indexes().items():
            await self._connection.write(self._connection.client.create_payload_index(collection, field, field_schema=schema, wait=True))

    async def make_dedicated(self, base: str, scope_key: str) -> str:
        """The dedicated collection beside *base*, made if this is the memory's first write.

        Raises:
            NotFound: the generation itself does not exist (any more): what was dropped is not made again.
        """
        name = self.dedicated_name(base, scope_key)
        if name in self._made:
            return name
        await self.require(base)
        await self.make(name)
        if not await self.exists(base):
            # dropped between the two calls, after whoever dropped it had listed what to delete
            await self.delete(name)
            raise NotFound("vector: the generation was dropped")
        self._made.add(name)
        return name

    def forget(self, collection: str) -> None:
        """It turned out that *collection* is gone."""
        self._made.discard(collection)

    async def delete(self, collection: str) -> None:
        """Delete it; one that does not exist is no error."""
        self._made.discard(collection)
        timeout = self._connection.write_timeout
        await self._connection.write(self._connection.client.delete_collection(collection, timeout=timeout))

    async def quantize(self, collection: str) -> bool:
        """Turn 8-bit vectors on if the collection has grown that large; whether it was done now. The server converts on its own time."""
        above = self._connection.settings.quantize_above
        info = await self._connection.read(self._connection.client.get_collection(collection))
        dense = _vectors(info).get(DENSE)
        if not above or (info.points_count or 0) <= above or dense is None or dense.quantization_config is not None:
            return False
        # the copies of 8 bits are kept in memory, the vectors they are made of stay on the disk
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        change = {DENSE: models.VectorParamsDiff(quantization_config=models.ScalarQuantization(scalar=scalar))}
        await self._connection.write(self._connection.client.update_collection(collection, vectors_config=change))
        return True

    async def vacuum(self, collection: str) -> None:
        """Have the server rewrite segments with deleted points, and return once it says that it has nothing left to optimize.

        Raises:
            Unavailable: it says that it cannot. DeadlineExceeded: it goes on after ``_VACUUM_S``; it finishes it nevertheless.
        """
        client = self._connection.client
        try:
            await self._connection.write(client.update_collection(collection, optimizers_config=_EAGER))
            await self._until_optimized(collection)
        finally:
            # not what the server had before: that may be what another one, or one that was killed, has left there
            await self._connection.write(client.update_collection(collection, optimizers_config=_USUAL))

    async def _until_optimized(self, collection: str) -> None:
        until = asyncio.get_running_loop().time() + _VACUUM_S
        for pause in pauses(first=0.1, longest=2.0):
            info = await self._connection.read(self._connection.client.get_collection(collection))
            if info.status == models.CollectionStatus.GREEN:
                return
            if info.status == models.CollectionStatus.RED or info.optimizer_status != models.OptimizersStatusOneOf.OK:
                raise Unavailable("vector: the server cannot rewrite a collection", dependency=DEPENDENCY)
            if asyncio.get_running_loop().time() > until:
                raise DeadlineExceeded("vector: the server goes on rewriting a collection", dependency=DEPENDENCY)
            await asyncio.sleep(pause)

    async def _create(self, collection: str) -> Any:
        settings = self._connection.settings
        return await self._connection.client.create_collection(
            collection,
            vectors_config=_vector_params(self._dimension),
            shard_number=settings.shards,
            replication_factor=settings.replicas,
            write_consistency_factor=min(settings.write_consistency or settings.replicas // 2 + 1, settings.replicas),
            on_disk_payload=True,
            # no graph of everything, one for each scope
            hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
            optimizers_config=_USUAL,
            strict_mode_config=self._strict_mode(),
            timeout=self._connection.write_timeout,
        )

    def _strict_mode(self) -> models.StrictModeConfig:
        """What this program never does, nobody shall: a filter without an index would read everybody's points."""
        return models.StrictModeConfig(
            enabled=True,
            max_query_limit=MOST_FETCHED,
            max_timeout=self._connection.longest_timeout,
            unindexed_filtering_retrieve=False,
            unindexed_filtering_update=False,
            search_allow_exact=False,
            search_max_oversampling=OVERSAMPLING,
            upsert_max_batchsize=max(1000, self._connection.settings.batch_points),
        )

    async def _fit(self, collection: str) -> None:
        """See that our vectors fit it and that it lets our deadlines pass, which may have been shorter when it was made."""
        client = self._connection.client
        info = await self._connection.read(client.get_collection(collection))
        sizes = {name: int(params.size) for name, params in _vectors(info).items()}
        if sizes != {DENSE: self._dimension, TOKENS: self._dimension}:
            raise Misconfigured(f"vector: a collection has vectors of {sizes} numbers, not of {self._dimension}; drop it and rebuild")
        strict = info.config.strict_mode_config
        longest = strict.max_timeout if strict is not None else None
        # never lowered: another process may have longer ones
        if longest is not None and longest < self._connection.longest_timeout:
            await self._connection.write(client.update_collection(collection, strict_mode_config=self._strict_mode()))


async def delete_all(collections: Collections, names: Sequence[str]) -> None:
    """Delete them one after the other, in this order."""
    for name in names:
        await collections.delete(name)
        # deleting hundreds must not keep a stop waiting
        await asyncio.sleep(0)


def memory_key(scope_key: str) -> str:
    """The key of the memory: a calendar belongs to its memory."""
    return scope_key.removesuffix(CALENDAR_SUFFIX)


def _slug(identity: str) -> str:
    """*identity* in a word without hyphens, so that no name of one model begins like another's."""
    if _PLAIN.fullmatch(identity):
        return identity
    words = re.sub(r"[^a-z0-9]+", "_", identity.lower()).strip("_")[:60]
    return f"{words}_{hashlib.blake2b(identity.encode(), digest_size=4).hexdigest()}"


def _vectors(info: Any) -> dict[str, Any]:
    vectors = info.config.params.vectors
    return dict(vectors) if isinstance(vectors, dict) else {}


def _vector_params(dimension: int) -> dict[str, models.VectorParams]:
    return {
        DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE, on_disk=True),
        TOKENS: models.VectorParams(
            size=dimension,
            distance=models.Distance.DOT,
            datatype=models.Datatype.FLOAT16,
            on_disk=True,
            # only ever asked for a few candidates by key
            hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        ),
    }


def _indexes() -> dict[str, Any]:
    """Every field that is filtered by; only the scope has graphs, each other's would be built for every value it has."""
    keyword, integer = models.KeywordIndexType.KEYWORD, models.IntegerIndexType.INTEGER
    fields: dict[str, Any] = {"scope": models.KeywordIndexParams(type=keyword, is_tenant=True)}
    fields |= {name: models.KeywordIndexParams(type=keyword, enable_hnsw=False) for name in _KEYWORDS}
    ranges = models.IntegerIndexParams(type=integer, lookup=False, range=True, enable_hnsw=False)
    return {**fields, "at": ranges, "version": ranges}
