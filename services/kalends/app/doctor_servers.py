"""The doctor's look at servers: those that the settings name and that some roles need.

Belongs here: one check for each kind of server, changing nothing there. Does not belong here: the machine itself (``doctor``). A newcomer
would get wrong: a server is checked with the same client, credentials and certificates as a service would use, from where the doctor runs;
what another machine reaches is not known here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import msgspec

from kalends.app import archives, folders
from kalends.app.findings import Finding
from kalends.domain.errors import KalendsError, NotFound, Unavailable
from kalends.ports.archive import Archive
from kalends.settings import Settings

ANSWER_S = 5.0
_WHOLE_S = 20.0
_NOBODYS = "doctor"
"""A name that no object has or begins with, so that looking costs a short answer."""

_BUCKET_STEP = "see that it runs and can be reached from here; s3.url says where, {setting} which bucket, and the group s3 who we are"

Check = Callable[[Settings], Awaitable[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A kind of server: whose it is, where it stands in the settings, and how it is looked at."""

    name: str
    roles: frozenset[str]
    setting: str
    where: Callable[[Settings], str]
    check: Check
    step: str = "see that it runs and can be reached from here; {setting} says where, and its group how to log in"


async def _nats(settings: Settings) -> Finding:
    from kalends.adapters.nats.looking import look
    from kalends.app.brokers import password_of, tls_of

    password = await password_of(settings)
    seen = await look(url=settings.log.url, user=settings.log.user or None, password=password, timeout=ANSWER_S, tls=tls_of(settings))
    if seen.leaderless:
        detail = f"no replica leads {', '.join(seen.leaderless)}; it takes no writes"
        return Finding(name="NATS", state="failed", detail=detail, next_step="bring back a majority of its nodes")
    fewer = sorted(name for name, replicas in seen.replicas.items() if replicas < settings.log.replicas)
    if fewer:
        detail = f"{', '.join(fewer)} have fewer replicas than log.replicas = {settings.log.replicas}"
        return Finding(name="NATS", state="degraded", detail=detail, next_step="start a role with this setting; it raises them")
    return Finding(name="NATS", state="ok", detail=f"nats-server {seen.version}, {len(seen.replicas)} streams")


async def _opensearch(settings: Settings) -> Finding:
    from kalends.adapters.opensearch.client import open_opensearch

    quick = msgspec.structs.replace(settings.opensearch, search_deadline_s=ANSWER_S, bulk_deadline_s=ANSWER_S)
    async with open_opensearch(quick) as client:
        await client.probe()
        told = await client.call("GET", "/_cluster/health", deadline_s=ANSWER_S)
    status, nodes = str(told.get("status")), int(told.get("number_of_nodes", 0))
    detail = f"{status}, {nodes} nodes"
    if status == "red":
        step = "a shard has no copy: bring its node back; else delete the index, which is then built anew from the log"
        return Finding(name="OpenSearch", state="failed", detail=detail, next_step=step)
    if nodes <= settings.opensearch.replicas:
        step = f"add nodes, or set opensearch.replicas below {settings.opensearch.replicas}: a copy needs a node of its own"
        return Finding(name="OpenSearch", state="degraded", detail=detail, next_step=step)
    return Finding(name="OpenSearch", state="ok", detail=detail)


async def _qdrant(settings: Settings) -> Finding:
    from kalends.adapters.qdrant.generations import open_generations
    from kalends.app.stores import embedder_identity

    quick = msgspec.structs.replace(settings.qdrant, deadline_s=ANSWER_S, write_deadline_s=ANSWER_S)
    dimension = settings.embedder.dimension
    async with open_generations(quick, identity=embedder_identity(settings), dimension=dimension) as store:
        names = await store.names()
    return Finding(name="Qdrant", state="ok", detail=f"answers, {len(names)} generations of {embedder_identity(settings)}")


async def _embedder(settings: Settings) -> Finding:
    from kalends.adapters.vllm.embedder import open_embedder

    embedder = open_embedder(msgspec.structs.replace(settings.embedder, deadline_s=ANSWER_S))
    try:
        await embedder.warm()
        if embedder.failure is not None:
            raise embedder.failure
    finally:
        await embedder.close()
    return Finding(name="embedding model", state="ok", detail=embedder.identity)


async def _reranker(settings: Settings) -> Finding:
    from kalends.adapters.vllm.reranker import open_reranker

    reranker = open_reranker(msgspec.structs.replace(settings.reranker, deadline_s=ANSWER_S))
    try:
        await reranker.warm()
        if reranker.failure is not None:
            raise reranker.failure
    finally:
        await reranker.close()
    return Finding(name="reranking model", state="ok", detail=reranker.identity)


async def _chat(settings: Settings) -> Finding:
    from kalends.adapters.vllm.chat import open_chat

    chosen = settings.summarize
    chat = open_chat(
        chosen.chat_url, model=chosen.chat_model, deadline_s=ANSWER_S, key_file=chosen.chat_key_file, ca_file=chosen.chat_ca_file
    )
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    try:
        await chat.complete("Answer in JSON.", "Is this a test?", schema=schema, max_tokens=16)
    finally:
        await chat.close()
    return Finding(name="chat model", state="ok", detail=chosen.chat_model)


async def _issuers(settings: Settings) -> Finding:
    from kalends.adapters.oidc.identities import open_identities

    quick = msgspec.structs.replace(settings.oidc, deadline_s=ANSWER_S)
    identities = open_identities(quick, settings.kubernetes)
    if identities is None:
        return Finding(name="issuers", state="ok", detail="none is trusted")
    try:
        failures = await identities.look()
    finally:
        await identities.close()
    if failures:
        step = "see that the addresses and certificates of oidc.issuers and kubernetes are right and can be reached from here"
        return Finding(name="issuers", state="failed", detail="; ".join(failures), next_step=step)
    return Finding(name="issuers", state="ok", detail=f"{len(identities.states())} can be asked")


async def _backups(settings: Settings) -> Finding:
    async with AsyncExitStack() as stack:
        archive = await archives.of_backups(stack, _quick_s3(settings), folders.folders_of(settings))
        return await _archive(archive, name="backup store", setting="backup.store")


async def _log_archive(settings: Settings) -> Finding:
    async with AsyncExitStack() as stack:
        archive = await archives.of_log(stack, _quick_s3(settings))
        if archive is None:
            return Finding(name="log archive", state="ok", detail="the log is not archived")
        return await _archive(archive, name="log archive", setting="archive.store")


def _quick_s3(settings: Settings) -> Settings:
    quick = msgspec.structs.replace(settings.s3, connect_s=ANSWER_S, request_s=ANSWER_S, deadline_s=ANSWER_S, retries=0)
    return msgspec.structs.replace(settings, s3=quick)


async def _archive(archive: Archive, *, name: str, setting: str) -> Finding:
    """It is read and not written to: a key that may not write is found out by the first backup."""
    with suppress(NotFound):  # whoever says that there is none of it answers, and knows our key
        async for _ in archive.get(_NOBODYS):
            break
    try:
        await archive.list(f"{_NOBODYS}/")
    except Unavailable as error:
        # the client tells a bucket that is not there from one that fails by its message alone, which may name keys
        detail = f"the server takes our key, and yet: {error.detail}; there may be no bucket of the name in {setting}, or we may not list"
        raise Unavailable(detail, dependency=error.dependency) from error
    return Finding(name=name, state="ok", detail="answers and lets us read")


async def _receiver(settings: Settings) -> Finding:
    from kalends.adapters.otlp.exporter import open_exporter

    exporter = open_exporter(msgspec.structs.replace(settings.telemetry, otlp_deadline_s=ANSWER_S))
    try:
        wrong = await asyncio.to_thread(exporter.look)
    finally:
        exporter.shutdown()
    if wrong:
        raise Unavailable(f"the receiver of traces takes none: {wrong}")
    return Finding(name="traces", state="ok", detail="the receiver takes them")


def _bucket(store: str) -> str:
    """*store*, unless it is a folder, which is no server."""
    return "" if store.startswith("file:") else store


EVERY = frozenset({"ingest", "index", "search", "summarize", "scheduler"})
SERVERS: Sequence[Needed] = (
    Needed(name="NATS", roles=EVERY, setting="log.url", where=lambda given: given.log.url, check=_nats),
    Needed(
        name="OpenSearch",
        roles=frozenset({"index", "search"}),
        setting="opensearch.urls",
        where=lambda given: given.opensearch.urls,
        check=_opensearch,
    ),
    Needed(name="Qdrant", roles=frozenset({"index", "search"}), setting="qdrant.url", where=lambda given: given.qdrant.url, check=_qdrant),
    Needed(
        name="embedding model",
        roles=frozenset({"index", "search", "summarize"}),
        setting="embedder.urls",
        where=lambda given: given.embedder.urls,
        check=_embedder,
    ),
    Needed(
        name="reranking model",
        roles=frozenset({"search"}),
        setting="reranker.urls",
        where=lambda given: given.reranker.urls,
        check=_reranker,
    ),
    Needed(
        name="chat model",
        roles=frozenset({"summarize"}),
        setting="summarize.chat_url",
        where=lambda given: given.summarize.chat_url,
        check=_chat,
    ),
    Needed(
        name="issuers",
        roles=EVERY,
        setting="oidc.issuers",
        where=lambda given: given.kubernetes.url or "".join(one.issuer for one in given.oidc.issuers),
        check=_issuers,
    ),
    Needed(
        name="backup store",
        roles=frozenset({"ingest"}),
        setting="backup.store",
        where=lambda given: _bucket(given.backup.store),
        check=_backups,
        step=_BUCKET_STEP,
    ),
    Needed(
        name="log archive",
        roles=frozenset({"ingest"}),
        setting="archive.store",
        where=lambda given: _bucket(given.archive.store),
        check=_log_archive,
        step=_BUCKET_STEP,
    ),
    Needed(name="traces", roles=EVERY, setting="telemetry.otlp_url", where=lambda given: given.telemetry.otlp_url, check=_receiver),
)


def needed(settings: Settings, roles: Collection[str]) -> list[Needed]:
    """The servers that *settings* name and one of *roles* needs."""
    return [server for server in SERVERS if server.where(settings) and server.roles & set(roles)]


def examine(settings: Settings, roles: Collection[str]) -> list[Finding]:
    """A finding for each server that *settings* name and one of *roles* needs, looked at side by side."""
    return asyncio.run(_examine(settings, needed(settings, roles)))


async def _examine(settings: Settings, servers: Sequence[Needed]) -> list[Finding]:
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(_looked_at(settings, server)) for server in servers]
    return [look.result() for look in looks]


async def _looked_at(settings: Settings, server: Needed) -> Finding:
    step = server.step.format(setting=server.setting)
    try:
        async with asyncio.timeout(_WHOLE_S):
            return await server.check(settings)
    except KalendsError as error:
        return Finding(name=server.name, state="failed", detail=error.detail, next_step=step)
    except TimeoutError:
        return Finding(name=server.name, state="failed", detail=f"no answer within {_WHOLE_S:g} s", next_step=step)
