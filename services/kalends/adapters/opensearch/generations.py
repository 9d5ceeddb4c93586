"""Generations of the lexicon in OpenSearch: an index for each, and the alias that readers follow.

Belongs here: making, pointing, dropping, and the indexes of dedicated memories. Does not belong here: which generation serves
(``wire.generations``). A newcomer would get wrong: OpenSearch looks up what an alias names *before* it queues the change, so two that point
at once can both win; whoever points looks again and mends it.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import opensearchpy

from kalends.adapters.opensearch import failures, schema
from kalends.adapters.opensearch.client import OpenSearchClient, open_opensearch
from kalends.adapters.opensearch.lexicon import OpenSearchLexicon
from kalends.adapters.opensearch.names import Names, for_writing
from kalends.domain.errors import Invalid, Misconfigured, NotFound, Unavailable
from kalends.settings import OpensearchSettings

_POINTINGS: Final = 5


class OpenSearchGenerations:
    """See ``ports.generations.GenerationStore``; memories whose key *dedicated* says yes to have an index of their own."""

    def __init__(self, client: OpenSearchClient, *, dedicated: Callable[[str], bool] = lambda _: False) -> None:
        self._client = client
        self._dedicated = dedicated
        self._deadline_s = client.settings.bulk_deadline_s
        self._called = Names(prefix=client.settings.prefix)
        self._serving = OpenSearchLexicon(client, self, generation=None)

    @property
    def called(self) -> Names:
        """How indexes are called."""
        return self._called

    @property
    def serving(self) -> OpenSearchLexicon:
        """The index behind the alias, whichever generation that is."""
        return self._serving

    def index(self, name: str) -> OpenSearchLexicon:
        """The index of generation *name*.

        Raises:
            Invalid: this is no name for a generation.
        """
        self._called.shared(name)
        return OpenSearchLexicon(self._client, self, generation=name)

    async def names(self) -> Sequence[str]:
        """The generations that exist, in order."""
        return self._called.generations(await self._indexes_like(self._called.everything()))

    async def pointed(self) -> str | None:
        """The generation that the alias names.

        Raises:
            Unavailable: it names two, which whoever pointed last is mending.
        """
        found = await self._targets()
        if len(found) > 1:
            raise Unavailable("the alias of the lexicon names two generations", dependency=failures.DEPENDENCY, retry_after=0.5)
        return found[0] if found else None

    async def make(self, name: str) -> None:
        """Make an empty generation; one that exists stays as it is.

        Raises:
            Misconfigured: what exists has another format, or is no index of ours. Invalid: this is no name for a generation.
        """
        await self._client.probe()
        await self._make_index(self._called.shared(name), shards=self._client.settings.shards)

    async def point(self, name: str) -> None:
        """Let the alias name *name*, in one step.

        Raises:
            NotFound: no such generation exists; the alias is as before. Misconfigured: it has another format than this version writes.
        """
        wanted, alias = self._called.shared(name), self._called.serving
        await self._check_format(wanted)
        for _ in range(_POINTINGS):
            targets = await self._targets()
            if targets == [name]:
                return
            others = [self._called.shared(other) for other in targets if other != name]
            actions = [{"remove": {"index": other, "alias": alias, "must_exist": False}} for other in others]
            actions.append({"add": {"index": wanted, "alias": alias}})
            try:
                await self._client.exchange("POST", "/_aliases", body={"actions": actions}, deadline_s=self._deadline_s)
            except opensearchpy.exceptions.NotFoundError as error:
                if not others or not await self.exists(name):
                    raise failures.translate(error) from error
                continue  # another one was dropped meanwhile
            except tuple(failures.OPENSEARCH_ERRORS) as error:
                raise failures.translate(error) from error
            if await self._targets() == [name]:
                return
        raise Unavailable("others keep pointing the alias of the lexicon elsewhere", dependency=failures.DEPENDENCY, retry_after=1.0)

    async def drop(self, name: str) -> None:
        """Delete a generation: the shared index first, without which none is made for a dedicated memory, and then what that leaves."""
        try:
            shared = self._called.shared(name)
        except Invalid:
            return
        await self._delete(shared)
        there = await self._indexes_like(self._called.everything())
        for index in self._called.orphans(there):
            await self._delete(index)

    async def exists(self, name: str) -> bool:
        """Whether generation *name* exists."""
        shared = self._called.shared(name)
        return shared in await self._indexes_like(shared)

    def is_dedicated(self, memory_key: str) -> bool:
        """Whether this memory has an index of its own."""
        return self._dedicated(memory_key)

    async def make_dedicated(self, generation: str, memory_key: str) -> None:
        """Make a dedicated memory's index.

        Raises:
            Unavailable: its generation does not exist.
        """
        index = self._called.dedicated(generation, memory_key)
        if await self.exists(generation):
            await self._make_index(index, shards=1)
            if await self.exists(generation):
                return
            # the generation was dropped meanwhile, maybe before this index could be seen
            await self._delete(index)
        raise Unavailable("there is no such generation", dependency=failures.DEPENDENCY, retry_after=failures.RETRY_AFTER_S)

    async def _make_index(self, index: str, *, shards: int) -> None:
        body = schema.index_body(shards=shards, replicas=self._client.settings.replicas, aliases={for_writing(index): {}})
        try:
            told = await self._client.exchange("PUT", f"/{index}", body=body, deadline_s=self._deadline_s)
        except opensearchpy.exceptions.RequestError as error:
            if failures.name_of(error) != failures.EXISTS:
                raise failures.translate(error) from error
        except tuple(failures.OPENSEARCH_ERRORS) as error:
            raise failures.translate(error) from error
        else:
            if not told.get("acknowledged") or not told.get("shards_acknowledged"):
                raise Unavailable("OpenSearch has not started a new index yet", dependency=failures.DEPENDENCY, retry_after=1.0)
            return
        await self._check_format(index)

    async def _check_format(self, index: str) -> None:
        told = await self._client.call("GET", f"/{index}/_mapping", deadline_s=self._deadline_s)
        found = schema.format_of(told.get(index, {}).get("mappings"))
        if found != schema.FORMAT:
            raise Misconfigured(f"the index {index} has the format {found[:40]!r} and not {schema.FORMAT!r}; drop it and rebuild")

    async def _targets(self) -> list[str]:
        try:
            told = await self._client.call("GET", f"/_alias/{self._called.serving}", deadline_s=self._deadline_s)
        except NotFound:
            return []
        return self._called.generations(told)

    async def _indexes_like(self, pattern: str) -> list[str]:
        params = {
            "expand_wildcards": "all",
            "ignore_unavailable": "true",
            "allow_no_indices": "true",
            "filter_path": "*.settings.index.uuid",
        }
        told: Any = await self._client.call("GET", f"/{pattern}/_settings", params=params, deadline_s=self._deadline_s)
        return sorted(told or {})

    async def _delete(self, index: str) -> None:
        try:
            await self._client.call("DELETE", f"/{index}", params={"ignore_unavailable": "true"}, deadline_s=self._deadline_s)
        except NotFound:
            return


@asynccontextmanager
async def open_generations(
    settings: OpensearchSettings, *, dedicated: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[OpenSearchGenerations]:
    """The generations in the cluster at ``settings.urls``. Nothing is sent yet.

    Raises:
        Misconfigured: a URL is none, or a file cannot be read or does not hold what it should.
    """
    async with open_opensearch(settings) as client:
        yield OpenSearchGenerations(client, dedicated=dedicated)
