"""The container: which adapter fills which port, and how a process's services are put together.

Belongs here: construction, in order, each thing closed by the same stack that opened it. Does not belong here: running anything
(``host``). A newcomer would get wrong: roles and backends are chosen independently, but that engines of our own tie index and search to one
process; here and in ``engines`` alone is it known which they are.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from kalends import __version__
from kalends.adapters.embedded.phrases import open_phrases
from kalends.adapters.embedded.redactor import PatternRedactor
from kalends.adapters.nats.bus import NatsBus
from kalends.adapters.nats.room import ROOM_BYTES, stall_of
from kalends.adapters.nats.server import LocalServer
from kalends.adapters.nats.work import NatsWork
from kalends.app import (
    backing_up,
    brokers,
    forgetting,
    guarding,
    handing,
    health,
    identities,
    keks,
    metering,
    parts,
    stores,
    transferring,
    upkeep,
)
from kalends.app.engines import Engine, Engines, open_engines
from kalends.app.floors import Current, SharedFloors, StoreWatch
from kalends.app.folders import Folders
from kalends.app.parts import Common
from kalends.app.status import StatusBoard
from kalends.backups.running import Backups
from kalends.domain.errors import Misconfigured
from kalends.domain.queries import Digest
from kalends.edge import long_work, usage
from kalends.edge.auditing import Auditor
from kalends.edge.auth import Authenticator
from kalends.edge.limits import Limits
from kalends.edge.metrics import Metrics, new_metrics
from kalends.edge.services import Health, Loop, Service
from kalends.edge.tls import ListenerTls, open_tls
from kalends.index import consumers, rebuilds
from kalends.index import service as index_service
from kalends.index.compacting import Compact
from kalends.index.reconciling import Index, Reconciled
from kalends.index.usecases import Projection
from kalends.ingest import service as ingest_service
from kalends.ingest.approving import Approvals
from kalends.ingest.erasing_routes import ErasureRoutes
from kalends.ports.lexicon import LexicalIndex
from kalends.ports.phrases import TimePhrases
from kalends.ports.vectors import VectorIndex
from kalends.ports.work import TaskHandler
from kalends.search import service as search_service
from kalends.settings import Settings
from kalends.wire.follower import TimelineFollower
from kalends.wire.generations import CurrentGeneration
from kalends.wire.operations import OperationStore

ROLES = ("ingest", "index", "search", "summarize", "scheduler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Everything a host needs."""

    services: Sequence[Service]
    loops: Sequence[Loop]
    authenticator: Authenticator
    metrics: Metrics
    bus: NatsBus
    broker: LocalServer | None
    tls: ListenerTls | None
    follower: TimelineFollower
    audit: Auditor
    limits: Limits


def check_roles(roles: Sequence[str], settings: Settings) -> None:
    """Refuse what cannot work.

    Raises:
        Misconfigured: unknown roles, index without search (or the reverse) on an embedded engine, or roles apart without a common NATS.
    """
    unknown = set(roles) - set(ROLES)
    if unknown or not roles:
        raise Misconfigured(f"roles are {', '.join(ROLES)}; got {', '.join(sorted(unknown)) or 'none'}")
    servers = bool(settings.opensearch.urls and settings.qdrant.url)
    if ("index" in roles) != ("search" in roles) and not servers:
        raise Misconfigured(
            "the embedded engines tie index and search to one process: serve them together, as in `kalends serve index search`, or set "
            "opensearch.urls and qdrant.url"
        )
    if set(roles) != set(ROLES) and not settings.log.url:
        raise Misconfigured("roles served apart need one NATS in common: set log.url (KALENDS_LOG__URL)")


@asynccontextmanager
async def build(roles: Sequence[str], settings: Settings, folders: Folders) -> AsyncIterator[Built]:
    """Open every port that *roles* need and build their services.

    Raises:
        Misconfigured, Occupied, Unavailable, Damaged: as the detail says.
    """
    check_roles(roles, settings)
    metrics = new_metrics(version=__version__, room=partial(metering.room_of, folders.data))
    tls = await asyncio.to_thread(open_tls, settings.tls)
    async with AsyncExitStack() as stack:
        users = brokers.Users()
        broker, where = await brokers.open_broker(stack, settings, folders, users)
        bus = await parts.open_bus(stack, settings, folders, where, metrics, own=broker is not None)
        common = await parts.open_common(stack, roles, settings, folders, bus, metrics)
        known = await identities.open_known(stack, settings, folders, common)
        authenticator, services, auditor = known.authenticator, [*known.services], guarding.auditor(common)
        shown = _shown(common, folders)
        tasks: dict[str, TaskHandler] = {}
        loops = [] if tls is None else [_certificate(tls, metrics, shown, broker)]
        work = NatsWork(bus.link, drain_s=settings.http.drain_s)
        engines = await _open_engines(stack, folders, settings, bus, metrics) if {"index", "search"} & {*roles} else None
        follow_shared(common, settings, engines)
        if "ingest" in roles:
            approvals = handing.approvals(common, auditor)
            services += _taking_in(common, known, approvals, shown, alone=broker is not None)
            tasks |= upkeep.ingest_tasks(common, forgetting.retain(common), shown.health)
            services.append(await _backups(stack, common, folders, approvals, shown, tasks, alone=broker is not None))
        if engines is not None:
            watches = [StoreWatch(name, engine.ask) for name, engine in parts_of(engines).items() if engine.ask is not None]
            loops += [Loop(name=f"{watch.name}.watch", run=watch.run) for watch in watches]
            services += await _engine_services(stack, roles, common, engines, shown, tasks, folders, own=broker is not None)
            shown.health.append(health.of_engines(engines, shown.projections, watches))
        if "summarize" in roles:
            summarize = await upkeep.summarize(stack, common, folders, engines, shown.health, alone=broker is not None)
            services += [summarize.service, transferring.build(common)]
            tasks |= summarize.tasks
        if "scheduler" in roles:
            scheduler = upkeep.scheduler(common, work, alone=broker is not None)
            services.append(scheduler)
            shown.health.append(scheduler.health)
        services += [guarding.audit_service(common, auditor), *_watchers(roles, common, authenticator, shown)]
        services.append(Service(name="long-work", operations=long_work.operations([one for each in services for one in each.long_work])))
        loops += [*_following(common), *(loop for service in services for loop in service.loops)]
        if tasks:
            loops.append(upkeep.work_loop(work, tasks))
        if broker is not None:
            loops.append(brokers.user_loop(broker, users, authenticator, known.agents))
        yield Built(
            services=guarding.known_first(services, common.follower),
            loops=loops,
            authenticator=authenticator,
            metrics=metrics,
            bus=bus,
            broker=broker,
            tls=tls,
            follower=common.follower,
            audit=auditor,
            limits=Limits(settings.limits, clock=common.clock),
        )


async def _backups(
    stack: AsyncExitStack,
    common: Common,
    folders: Folders,
    approvals: Approvals,
    shown: "_Shown",
    tasks: dict[str, TaskHandler],
    *,
    alone: bool,
) -> Service:
    """Backups, whose scheduled work goes into *tasks*; *alone*: no other process can do their long work."""
    backups = await backing_up.build(stack, common, folders, approvals, forgetting.asking(common), alone=alone)
    tasks |= backups.tasks
    shown.health.append(backups.service.health)
    shown.last_backups.append(backups.made)
    return backups.service


async def _open_engines(stack: AsyncExitStack, folders: Folders, settings: Settings, bus: NatsBus, metrics: Metrics) -> Engines:
    opened = await stack.enter_async_context(open_engines(folders, settings, bus.records, dedicated=bus.log.is_dedicated))
    return metering.metered(opened, metrics)


def _truths(common: Common) -> dict[str, Callable[[], Awaitable[Digest]]]:
    """What the search projections are compared with, as far as this process keeps it."""
    found: dict[str, Callable[[], Awaitable[Digest]]] = {"timeline": common.timeline.digest}
    return found if common.calendar is None else {**found, "toc": common.calendar.digest}


def _certificate(tls: ListenerTls, metrics: Metrics, shown: "_Shown", broker: LocalServer | None) -> Loop:
    """What reads the certificate again, lets *broker* do so too, and tells when it ends."""
    shown.health.append(tls.health)
    return Loop(name="tls", run=partial(tls.follow, metrics.tls_expiry.set, None if broker is None else broker.reload))


def _following(common: Common) -> list[Loop]:
    """What keeps a process up to date with the log and the records."""
    return [
        Loop(name="timeline", run=common.follower.run),
        Loop(name="memories", run=common.memories.follow),
        Loop(name="hidden", run=common.hidden.run),
        Loop(name="pulse", run=partial(usage.pulse, common.metrics.loop_lag.observe)),
        Loop(name="keys", run=partial(keks.follow, common.wrapper, every_s=common.settings.keys.reload_s)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What the status tells of the parts that were built."""

    digests: dict[str, Callable[[], Awaitable[Digest]]]
    health: list[health.Ask]
    generations: dict[str, Callable[[], str]] = field(default_factory=dict)
    projections: dict[str, Projection] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    last_backups: list[Backups] = field(default_factory=list)


def _shown(common: Common, folders: Folders) -> _Shown:
    """What is told of every process: its log, the timeline that follows it, and the disk of the data folder."""
    disk = health.of_disk(folders.data, needed=ROOM_BYTES, stall=stall_of(folders.data))
    return _Shown(digests=_truths(common), health=[health.of_log(common.bus, common.follower), disk])


def _watchers(roles: Sequence[str], common: Common, authenticator: Authenticator, shown: _Shown) -> list[Service]:
    """The services that tell how the others are."""

    def dependencies() -> list[Health]:
        return [one for ask in shown.health for one in ask()]

    board = StatusBoard(
        version=__version__,
        mode="up" if set(roles) == set(ROLES) else "+".join(roles),
        progress=common.progress,
        metrics=common.metrics,
        letters=common.bus.dead_letters,
        format=common.log_format,
        health=lambda: [*dependencies(), authenticator.health()],
        digests=shown.digests,
        generations=shown.generations,
        models=shown.models,
        # who only reads it settles nothing of what is due, and would tell of a backlog that grows for ever
        calendar=common.calendar if "summarize" in roles else None,
        last_backup=lambda: next((one.last_made for one in shown.last_backups), None),
        erasures=common.hidden.every,
    )
    return [board.service(), Service(name="dependencies", health=dependencies)]


async def _engine_services(
    stack: AsyncExitStack,
    roles: Sequence[str],
    common: Common,
    engines: Engines,
    shown: _Shown,
    tasks: dict[str, TaskHandler],
    folders: Folders,
    *,
    own: bool,
) -> list[Service]:
    """Index and search, whichever of *roles* are asked for; what index does on schedule goes into *tasks*."""
    shown.digests.update(lexical=engines.lexicon.digest, vector=engines.vectors.digest)
    shown.generations.update({name: partial(_generation, engine) for name, engine in parts_of(engines).items()})
    shown.models["embedder"] = engines.embedder.identity
    if engines.reranker is not None:
        shown.models["reranker"] = engines.reranker.identity
    services = []
    if "index" in roles:
        operations = OperationStore(records=common.bus.records, clock=common.clock)
        shown.projections.update(await _projections(common, engines, operations, own=own))
        compact = _compact(common, engines)
        tasks |= upkeep.index_tasks(common, partial(_targets, shown.projections), compact)
        services.append(_index(common, engines, shown.projections, compact, operations, own=own))
        notes = await backing_up.notes(stack, common, folders)
        services.append(await forgetting.eraser(common, engines, folders, alone=own, backed_up=notes))
    if "search" in roles:
        phrases = await stack.enter_async_context(open_phrases())
        search = _search(common, engines, phrases)
        services.append(search.service)
        tasks["canary-questions"] = upkeep.task(search.ask_canaries)
    return services


def parts_of(engines: Engines) -> Mapping[str, Engine]:
    """The projections by name."""
    return {"lexical": engines.lexical, "vector": engines.vector}


def _targets(projections: Mapping[str, Projection]) -> Mapping[str, Reconciled]:
    """What is reconciled: the generations that serve now."""
    return {name: Reconciled(index=cast("Index", one.index), sink=one.sink, examine=one.examine) for name, one in projections.items()}


def _generation(engine: Engine) -> str:
    return engine.generations.current


def follow_shared(common: Common, settings: Settings, engines: Engines | None) -> None:
    """Let this process know how far the projections on servers are, whoever feeds them."""
    records = common.bus.records
    if settings.opensearch.urls:
        lexical: Current = engines.lexical.generations if engines is not None else CurrentGeneration(records, projection="lexical")
        _follow(common, "lexical", lexical)
    if settings.qdrant.url:
        identity = engines.embedder.identity if engines is not None else stores.embedder_identity(settings)
        projection = stores.vector_projection(identity)
        vector: Current = engines.vector.generations if engines is not None else CurrentGeneration(records, projection=projection)
        _follow(common, "vector", vector)


def _follow(common: Common, name: str, current: Current) -> None:
    floors = SharedFloors(log=common.bus.log, current=current, projection=name)
    common.progress.add(name, floors.floors, generation=current.refresh)


def _taking_in(common: Common, known: identities.Known, approvals: Approvals, shown: "_Shown", *, alone: bool) -> list[Service]:
    """What takes events in, and what is asked of a memory as a whole; *alone*: no other process can do its long work."""
    erasures = forgetting.requests(common, approvals)
    handed = handing.services(common, approvals, erasures, owners=known.owners, names=known.principals, alone=alone)
    return [_ingest(common, erasures), upkeep.key_rotations(common, shown.health, alone=alone), *handed]


def _ingest(common: Common, erasures: ErasureRoutes) -> Service:
    return ingest_service.build(
        common.settings.ingest,
        log=common.bus.log,
        timeline=common.timeline,
        follower=common.follower,
        vault=common.vault,
        memories=common.memories,
        documents=common.documents,
        tokenizer=common.tokenizer,
        progress=common.progress,
        clock=common.clock,
        metrics=common.metrics,
        traffic=common.traffic,
        hidden=common.hidden,
        erasures=forgetting.operations(common, erasures),
        redactor=PatternRedactor(),
        calendar=common.calendar,
    )


async def _clear_away(common: Common, name: str, engine: Engine, *, keep: Sequence[str], own: bool) -> None:
    """Delete what no rebuild goes on with, in a folder of our own; in a broker of our *own*, every consumer without a folder."""
    if not engine.place:
        return  # other processes may be at work there; who leads a rebuild clears away
    log, generations = common.bus.log, engine.generations
    for leftover in await generations.leftovers():
        if leftover not in keep:
            await log.drop_consumer(f"{name}-{leftover}")
            await generations.drop(leftover)
    if own:
        needed = {f"{name}-{generation}" for generation in (generations.current, *keep)}
        for consumer in await log.consumers():
            if consumer.startswith(f"{name}-") and consumer not in needed:
                await log.drop_consumer(consumer)


async def _projections(common: Common, engines: Engines, operations: OperationStore, *, own: bool) -> Mapping[str, Projection]:
    """The two projections."""
    settings = common.settings.index
    left = await operations.all(rebuilds.KIND)
    keep = [rebuilds.generation_of(one) for one in left if not one.has_ended and one.place == engines.place]
    for name, engine in parts_of(engines).items():
        await _clear_away(common, name, engine, keep=keep, own=own)

    def lexical_sink(index: object) -> consumers.Sink:
        return consumers.LexicalSink(cast("LexicalIndex", index))

    def vector_sink(index: object) -> consumers.Sink:
        return consumers.VectorSink(cast("VectorIndex", index), engines.embedder)

    found = {
        "lexical": Projection(
            name="lexical",
            log=common.bus.log,
            generations=engines.lexical.generations,
            sink_of=lexical_sink,
            index_of=engines.lexical.index_of or (lambda _: engines.lexicon),
            reader=common.reader,
            batch=settings.lexical_batch,
            settings=settings,
            moved=common.progress.moved,
            traffic=common.traffic,
            indexed=brokers.notices(common.bus),
            shared=engines.lexical.ask is not None,
        ),
        "vector": Projection(
            name="vector",
            log=common.bus.log,
            generations=engines.vector.generations,
            sink_of=vector_sink,
            index_of=engines.vector.index_of or (lambda _: engines.vectors),
            reader=common.reader,
            batch=settings.vector_batch,
            settings=settings,
            moved=common.progress.moved,
            traffic=common.traffic,
            shared=engines.vector.ask is not None,
        ),
    }
    for name, projection in found.items():
        common.progress.add(name, projection.floors, generation=parts_of(engines)[name].generations.refresh)
    return found


def _index(
    common: Common,
    engines: Engines,
    projections: Mapping[str, Projection],
    compact: Compact,
    operations: OperationStore,
    *,
    own: bool,
) -> Service:
    return index_service.build(
        common.settings.index,
        log=common.bus.log,
        reader=common.reader,
        projections=projections,
        letters=common.bus.dead_letters,
        clock=common.clock,
        compact=compact,
        operations=operations,
        lease_of=lambda name: upkeep.lease(common, f"{name}-{engines.place}" if engines.place else name, alone=own or bool(engines.place)),
        place=engines.place,
        known=common.follower.known,
        observe_rebuild=lambda name, done, total: common.metrics.rebuild_progress.labels(name).set(done / total if total else 1.0),
    )


def _compact(common: Common, engines: Engines) -> Compact:
    stores = {"lexical": engines.lexicon.compact, "vector": engines.vectors.compact, "timeline": common.timeline.compact}
    if common.calendar is not None:
        stores["calendar"] = common.calendar.compact
    return Compact(stores=stores, traffic=common.traffic)


def _search(common: Common, engines: Engines, phrases: TimePhrases) -> search_service.Search:
    common.metrics.expect_canaries(common.settings.search.canary_accuracy)

    def observe(arm: str, seconds: float) -> None:
        common.metrics.arm_seconds.labels(arm).observe(seconds)

    if common.calendar is None:
        raise Misconfigured("search reads the calendar, which this process did not open")
    return search_service.build(
        common.settings.search,
        log=common.bus.log,
        timeline=common.timeline,
        calendar=common.calendar,
        nodes=common.nodes,
        reader=common.reader,
        lexicon=engines.lexicon,
        vectors=engines.vectors,
        embedder=engines.embedder,
        reranker=engines.reranker,
        tokenizer=common.tokenizer,
        memories=common.memories,
        documents=common.documents,
        canaries=common.canaries,
        progress=common.progress,
        phrases=phrases,
        clock=common.clock,
        traffic=common.traffic,
        observe=observe,
        count_feedback=common.metrics.judged,
        count_canary=lambda verdict: common.metrics.canary_answers.labels(verdict).inc(),
        hidden=common.hidden,
    )
