"""BM25 on OpenSearch: one index for the memories of a generation, routed by memory, and one of its own for each that is dedicated.

Belongs here: the port ``lexicon``, and which index each memory is in. Does not belong here: bodies of requests (``questions``, ``writing``,
``scanning``). A newcomer would get wrong: the serving lexicon does not know its generation but asks the alias, because another process may
switch; and an index is written only through an alias of its own, so that a write that comes late cannot make a dropped index again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kalends.adapters.opensearch import questions, scanning, writing
from kalends.adapters.opensearch.client import OpenSearchClient
from kalends.adapters.opensearch.failures import DEPENDENCY, RETRY_AFTER_S
from kalends.adapters.opensearch.names import Names, for_writing, memory_of
from kalends.adapters.opensearch.questions import Analysed, Statistics, Term
from kalends.domain import versions
from kalends.domain.errors import KalendsError, NotFound, Unavailable
from kalends.domain.events import EventKey
from kalends.domain.queries import Criteria, Digest, Entry, Held, Scored, Tombstone
from kalends.domain.scope import Scope
from kalends.domain.terms import normalised
from kalends.kit.backoff import pauses


class Indexes(Protocol):
    """What a lexicon needs of the store of its generations."""

    @property
    def called(self) -> Names:
        """How indexes are called."""
        ...

    def is_dedicated(self, memory_key: str) -> bool:
        """Whether this memory has an index of its own."""
        ...

    async def pointed(self) -> str | None:
        """The generation that the alias names."""
        ...

    async def exists(self, generation: str) -> bool:
        """Whether this generation exists."""
        ...

    async def make_dedicated(self, generation: str, memory_key: str) -> None:
        """Make a dedicated memory's index.

        Raises:
            Unavailable: its generation does not exist.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a memory is read and written; ``generation`` is known if that is an index of its own."""

    read: str
    write: str
    memory_key: str
    generation: str = ""

    @property
    def own(self) -> bool:
        """Whether it is a dedicated memory's, which is made by its first write."""
        return bool(self.generation)


class OpenSearchLexicon:
    """See ``ports.lexicon.LexicalIndex``; of *generation*, or of whichever serves."""

    def __init__(self, client: OpenSearchClient, indexes: Indexes, *, generation: str | None) -> None:
        self._client = client
        self._indexes = indexes
        self._called = indexes.called
        self._generation = generation
        self._search_s = client.settings.search_deadline_s
        self._bulk_s = client.settings.bulk_deadline_s

    async def put(self, entries: Sequence[Entry], tombstones: Sequence[Tombstone] = ()) -> None:
        """Write what is newer than what is held; on return it is on the disk of every copy and every search sees it.

        Raises:
            Unavailable: the store is away, too busy, or takes no writes, or the generation was dropped.
            DeadlineExceeded: whether it was written is unknown. Invalid: OpenSearch refuses a document; the others are written.
        """
        every: list[Entry | Tombstone] = [*entries, *tombstones]
        changes = list(versions.newest(every).values())
        if not changes:
            await self._need_writable()
            return
        places = {key: await self._place(key) for key in dict.fromkeys(change.scope.key for change in changes)}
        operations = [writing.indexing(change, alias=places[change.scope.key].write) for change in changes]
        outcomes = await writing.write(self._client, operations, deadline_s=self._bulk_s)
        unmade = [one.operation for one in outcomes if writing.is_missing(one) and places[one.operation.scope_key].own]
        failed: dict[Place, KalendsError] = {}
        if unmade:
            failed = await self._make({places[one.scope_key] for one in unmade})
            outcomes = [one for one in outcomes if not (writing.is_missing(one) and places[one.operation.scope_key].own)]
            possible = [one for one in unmade if places[one.scope_key] not in failed]
            outcomes += await writing.write(self._client, possible, deadline_s=self._bulk_s)
        await self._insist([one.operation for one in outcomes if one.status == writing.CONFLICT], places)
        if not failed:
            _check(outcomes)
        # where an index could not be made, the memories beside it are served first
        settled = {place.write for place in places.values() if place not in failed}
        if settled:
            await self._refresh(settled)
        if failed:
            place, error = next(iter(failed.items()))
            detail = f"the index {place.read} of a dedicated memory cannot be made: {error.detail}"
            raise Unavailable(detail, dependency=DEPENDENCY, retry_after=RETRY_AFTER_S) from error

    async def search(self, scope: Scope, text: str, *, criteria: Criteria, limit: int) -> Sequence[Scored]:
        """The *limit* best events by BM25 over the fields, each weighted by ``scoring.BOOSTS``, with the memory's own statistics."""
        asked = questions.asked_words(text)
        if limit <= 0 or not asked:
            return []
        place = await self._place(scope.key)
        terms = questions.terms_of(text, await self._analysed(place, asked))
        if not terms:
            return []
        statistics = await self._statistics(place, scope.key, terms)
        body = questions.search_body(scope.key, terms, statistics=statistics, criteria=criteria, limit=limit)
        return questions.read_hits(await self._ask(place, scope.key, body)) if body else []

    async def rarities(self, scope: Scope, asked: Sequence[str]) -> Mapping[str, float]:
        """How rare each word is in the memory, by its stem."""
        place = await self._place(scope.key)
        different = list(dict.fromkeys(asked))
        prepared = [normalised(word) for word in different]
        analysed = await self._analysed(place, prepared)
        stems = dict.fromkeys(stem for one in analysed for stem in one.stems)
        statistics = await self._statistics(place, scope.key, [(field, stem) for stem in stems for field in ("stemmed", "lead")])
        return questions.read_rarities(different, analysed, statistics)

    async def digest(self) -> Digest:
        """What is held, from the columns of every document of every index."""
        generation = await self._known_generation()
        return await scanning.digest(self._client, self._everything(generation))

    async def count(self, scope: Scope) -> int:
        """Live events of one memory."""
        place = await self._place(scope.key)
        condition = [questions.of_scope(scope.key), {"term": {"dead": False}}]
        answer = await self._ask(place, scope.key, {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": condition}}})
        return questions.total(answer)

    async def scopes(self) -> Sequence[str]:
        """The keys of the scopes of which something is held, in order."""
        generation = await self._known_generation()
        return await scanning.scopes(self._client, self._everything(generation))

    async def inventory(self, scope_key: str, *, after: EventKey | None, limit: int) -> Sequence[Held]:
        """What is held of one scope, by key."""
        place = await self._place(scope_key)
        found: list[Held] = []
        while len(found) < limit:
            wanted = min(limit - len(found), questions.MOST_HITS)
            piece = scanning.read_held(await self._ask(place, scope_key, scanning.inventory_body(scope_key, after=after, limit=wanted)))
            found += piece
            if len(piece) < wanted:
                break
            after = piece[-1].key
        return found

    async def sweep(self, scope_key: str, take: Callable[[Sequence[Held]], Awaitable[None]]) -> None:
        """Everything that is held of one scope, in the order of the disk.

        Raises:
            Unavailable: the store is away or lost its place, as when a node left or the generation was dropped.
        """
        place = await self._place(scope_key)
        first = await self._ask(place, scope_key, scanning.sweep_body(scope_key), keep=scanning.KEEP)
        await scanning.sweep(self._client, first, take)

    async def held(self, scope_key: str, keys: Sequence[EventKey]) -> Sequence[Held]:
        """What is held of *keys* in one scope."""
        return [one.held for one in await self._stored(await self._place(scope_key), scope_key, keys)]

    async def remove(self, scope_key: str, held: Sequence[Held]) -> int:
        """Take out what is held exactly so and was not written since; durable and no longer visible on return."""
        place = await self._place(scope_key)
        wanted = set(held)
        doomed = [one for one in await self._stored(place, scope_key, [one.key for one in held]) if one.held in wanted]
        operations = [
            writing.deleting(one.held.key, scope_key=scope_key, alias=place.write, seq_no=one.seq_no, primary_term=one.primary_term)
            for one in doomed
        ]
        # a deletion that is sent twice would find nothing and not be counted
        outcomes = await writing.write(self._client, operations, deadline_s=self._bulk_s, again=False)
        gone = [one for one in outcomes if one.status not in {writing.CONFLICT, writing.MISSING} or writing.is_missing(one)]
        _check(gone)
        if gone:
            await self._refresh({place.write})
        return len(gone)

    async def damaged(self, *, between: Callable[[], Awaitable[None]]) -> Sequence[str]:  # noqa: ARG002 - nothing is read
        """None: Lucene compares its own sums when it opens, merges and copies, and a shard that is damaged goes away."""
        return ()

    async def compact(self) -> int:
        """Merge segments with much that was deleted or written over; the bytes of disk that this freed."""
        everything = self._everything(await self._known_generation())
        before = await scanning.stored_bytes(self._client, everything)
        await scanning.merge(self._client, everything, deadline_s=self._client.settings.merge_deadline_s)
        return max(0, before - await scanning.stored_bytes(self._client, everything))

    async def purge(self, scope_key: str | None = None) -> int:
        """Rewrite every segment that holds anything deleted or written over; how many such documents are still on disk.

        Of a memory with an index of its own only that one is rewritten; otherwise all. A newcomer would get wrong: right after a deletion
        this may change nothing. OpenSearch keeps what was deleted until every copy of the shard has said that it has seen it (a retention
        lease, renewed about every half minute), so whoever needs the bytes gone asks again until the answer is 0.

        Raises:
            Unavailable: the store is away, or could not merge, or the generation is gone. DeadlineExceeded: it goes on merging. Again is
                safe.
        """
        place = None if scope_key is None else await self._place(scope_key)
        indexes = place.read if place is not None and place.own else self._everything(await self._known_generation())
        try:
            return await scanning.expunge(self._client, indexes, deadline_s=self._client.settings.merge_deadline_s)
        except NotFound as error:
            if place is not None and place.own and await self._indexes.exists(place.generation):
                return 0  # nothing was ever written to it
            raise _gone() from error

    async def _make(self, places: Collection[Place]) -> dict[Place, KalendsError]:
        """Make the indexes of dedicated memories; which cannot be made, and why: a cluster may have as many shards as it is allowed."""
        failed: dict[Place, KalendsError] = {}
        for place in places:
            try:
                await self._indexes.make_dedicated(place.generation, place.memory_key)
            except KalendsError as error:
                failed[place] = error
        return failed

    async def _insist(self, refused: Sequence[writing.Operation], places: Mapping[str, Place]) -> None:
        """Write again what was refused for a version that nothing has: OpenSearch remembers for a moment what ``remove`` took out."""
        until = asyncio.get_running_loop().time() + self._bulk_s
        for pause in pauses(first=writing.FIRST_PAUSE_S, longest=writing.FIRST_PAUSE_S):
            there = await scanning.existing(self._client, [(places[one.scope_key].read, one.scope_key, one.key) for one in refused])
            refused = [one for one in refused if one.key not in there]
            if not refused:
                return
            if asyncio.get_running_loop().time() > until:
                raise Unavailable("OpenSearch does not forget what was removed", dependency=DEPENDENCY, retry_after=RETRY_AFTER_S)
            await asyncio.sleep(pause)
            outcomes = await writing.write(self._client, refused, deadline_s=self._bulk_s)
            _check(outcomes)
            refused = [one.operation for one in outcomes if one.status == writing.CONFLICT]

    async def _place(self, scope_key: str) -> Place:
        memory_key = memory_of(scope_key)
        if not self._indexes.is_dedicated(memory_key):
            read = self._called.serving if self._generation is None else self._called.shared(self._generation)
            return Place(read=read, write=read if self._generation is None else for_writing(read), memory_key=memory_key)
        generation = await self._known_generation()
        index = self._called.dedicated(generation, memory_key)
        return Place(read=index, write=for_writing(index), memory_key=memory_key, generation=generation)

    async def _known_generation(self) -> str:
        generation = self._generation or await self._indexes.pointed()
        if generation is None:
            raise _gone()
        return generation

    def _everything(self, generation: str) -> str:
        return f"{self._called.shared(generation)},{self._called.every_dedicated(generation)}"

    async def _analysed(self, place: Place, asked: Sequence[str]) -> list[Analysed]:
        if not any(asked):
            return questions.read_analysis({}, asked)
        # any index of the generation has the analysers, and that of a dedicated memory may not be made yet
        index = self._called.shared(place.generation) if place.own else place.read
        path = f"/{index}/_analyze"
        answer = await self._read("POST", path, body=questions.analysis_body(asked), params=questions.ANALYSIS_PARAMS)
        return questions.read_analysis(answer, asked)

    async def _statistics(self, place: Place, scope_key: str, terms: Sequence[Term]) -> Statistics:
        return questions.read_statistics(await self._ask(place, scope_key, questions.statistics_body(scope_key, terms)), terms)

    async def _stored(self, place: Place, scope_key: str, keys: Sequence[EventKey]) -> list[scanning.Stored]:
        found: list[scanning.Stored] = []
        for start in range(0, len(keys), questions.MOST_HITS):
            body = scanning.held_body(scope_key, keys[start : start + questions.MOST_HITS])
            found += scanning.read_stored(await self._ask(place, scope_key, body))
        return found

    async def _ask(self, place: Place, scope_key: str, body: Mapping[str, Any], *, keep: str | None = None) -> Any:
        """The answer to a search of one scope; a dedicated memory that was never written to is empty. With *keep* it begins a scroll."""
        params = {
            "routing": scope_key,
            "allow_partial_search_results": "false",
            "ignore_unavailable": str(place.own).lower(),
            # nobody reads the answer any more then
            "cancel_after_time_interval": f"{max(1, round(self._search_s * 1000))}ms",
            **({} if keep is None else {"scroll": keep}),
        }
        answer = await self._read("POST", f"/{place.read}/_search", body=body, params=params)
        if place.own and not questions.shards_asked(answer) and not await self._indexes.exists(place.generation):
            if self._generation is None and await self._known_generation() != place.generation:
                return await self._ask(await self._place(scope_key), scope_key, body, keep=keep)
            raise _gone()
        return answer

    async def _read(self, method: str, path: str, *, body: Mapping[str, Any], params: Mapping[str, str]) -> Any:
        try:
            return await self._client.call(method, path, body=body, params=params, deadline_s=self._search_s)
        except NotFound as error:
            raise _gone() from error

    async def _refresh(self, aliases: set[str]) -> None:
        path = f"/{','.join(sorted(aliases))}/_refresh"
        try:
            answer = await self._client.call("POST", path, deadline_s=self._bulk_s)
        except NotFound as error:
            raise _gone() from error
        if answer.get("_shards", {}).get("failed", 1):
            raise Unavailable("OpenSearch cannot show what was written", dependency=DEPENDENCY, retry_after=RETRY_AFTER_S)

    async def _need_writable(self) -> None:
        """Raise what a write would raise if nothing could be written now."""
        generation = await self._known_generation()
        try:
            await scanning.need_writable(self._client, self._called.shared(generation), self._everything(generation))
        except NotFound as error:
            raise _gone() from error


def _check(outcomes: Sequence[writing.Outcome]) -> None:
    error = writing.verdict(outcomes)
    if error is not None:
        raise error


def _gone() -> Unavailable:
    """Not ``NotFound``: nothing is wrong with what was to be written, and a generation that serves will come."""
    return Unavailable("there is no such generation of the lexicon", dependency=DEPENDENCY, retry_after=RETRY_AFTER_S)
