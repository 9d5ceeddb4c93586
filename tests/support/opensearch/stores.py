"""The adapter on a test's own part of a real OpenSearch.

Belongs here: opening it with a prefix of its own, and clearing away. Does not belong here: nodes (``nodes``). A newcomer would get wrong: a
node is shared by all tests of a process, so nothing may be assumed of indexes of another prefix.
"""

import asyncio
import contextlib
import secrets
import urllib.error
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from kalends.adapters.opensearch import OpenSearchGenerations, open_generations
from kalends.settings import OpensearchSettings
from tests.support.opensearch.nodes import Node, shared_node

SMALL = OpensearchSettings(shards=2, replicas=0, search_deadline_s=20.0, bulk_deadline_s=60.0)
"""Few shards and long deadlines, for a machine that is busy with other things."""


def settings_of(node: Node, *, basis: OpensearchSettings = SMALL) -> OpensearchSettings:
    """*basis* on *node*, with a prefix that nobody else has."""
    return msgspec.structs.replace(basis, urls=node.url, prefix=f"t{secrets.token_hex(8)}")


@asynccontextmanager
async def fresh_settings(*, basis: OpensearchSettings = SMALL) -> AsyncIterator[OpensearchSettings]:
    """Settings for the session's node; what was made under their prefix is deleted afterwards."""
    node = await asyncio.to_thread(shared_node)
    settings = settings_of(node, basis=basis)
    try:
        yield settings
    finally:
        with contextlib.suppress(urllib.error.HTTPError):
            await asyncio.to_thread(node.ask, "DELETE", f"/{settings.prefix}-*")


@asynccontextmanager
async def fresh_generations(
    *, basis: OpensearchSettings = SMALL, dedicated: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[OpenSearchGenerations]:
    """A store on the session's node in which nothing has happened yet."""
    async with fresh_settings(basis=basis) as settings, open_generations(settings, dedicated=dedicated) as store:
        yield store


async def made(store: OpenSearchGenerations, name: str = "g1") -> OpenSearchGenerations:
    """*store* with one generation, which serves."""
    await store.make(name)
    await store.point(name)
    return store
