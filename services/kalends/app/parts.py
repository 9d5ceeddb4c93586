"""What every role of a process shares: the log, the timeline that follows it, and what both need.

Belongs here: opening these, in order. Does not belong here: services (``container``, ``upkeep``). A newcomer would get wrong: the calendar
is only opened where somebody reads or writes it; ingest alone follows the log without one.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from kalends.adapters.embedded.calendar import SqliteCalendar
from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.embedded.timeline import SqliteTimeline
from kalends.adapters.embedded.tokens import MiniLmTokenizer
from kalends.adapters.nats.bus import NatsBus, open_nats
from kalends.adapters.nats.options import NatsOptions
from kalends.app import brokers, keks, lineage
from kalends.app.folders import Folders
from kalends.backups.replaying import check_whole
from kalends.edge.metrics import Metrics
from kalends.edge.progress import Progress
from kalends.kit.traffic import Traffic
from kalends.ports.kek import Wrapper
from kalends.settings import Settings
from kalends.wire.canaries import CanaryStore
from kalends.wire.documents import DocumentStore
from kalends.wire.erasures import ErasureStore
from kalends.wire.follower import TimelineFollower
from kalends.wire.formats import check_format
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import MemoryRegistry
from kalends.wire.node_store import NodeStore
from kalends.wire.reader import Reader
from kalends.wire.seal import check_seal
from kalends.wire.vault import Vault

CALENDAR_ROLES = frozenset({"index", "search", "summarize"})
"""The roles that need the calendar; index compares the nodes that its projections hold with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every role shares."""

    settings: Settings
    bus: NatsBus
    clock: SystemClock
    metrics: Metrics
    wrapper: Wrapper
    vault: Vault
    reader: Reader
    memories: MemoryRegistry
    documents: DocumentStore
    canaries: CanaryStore
    timeline: SqliteTimeline
    follower: TimelineFollower
    progress: Progress
    traffic: Traffic
    tokenizer: MiniLmTokenizer
    nodes: NodeStore
    calendar: SqliteCalendar | None
    erasures: ErasureStore
    hidden: HiddenView
    log_format: int


async def open_bus(
    stack: AsyncExitStack, settings: Settings, folders: Folders, where: brokers.Where, metrics: Metrics, *, own: bool
) -> NatsBus:
    """The connection to the log, closed with *stack*; *own*: to a broker that is a child of this process."""
    options = NatsOptions(
        partitions=settings.log.partitions,
        replicas=settings.log.replicas,
        events_bytes=settings.log.max_bytes,
        dedicated_bytes=settings.log.dedicated_max_bytes,
        keys_bytes=settings.log.keys_max_bytes,
        batch_max=settings.log.batch_max,
        request_timeout=settings.log.deadline_s,
        sole_reader=own,
        named_only=settings.network.local_only,
        store=folders.nats if own else None,
    )
    return await stack.enter_async_context(
        open_nats(
            url=where.url,
            user=where.user,
            password=where.password,
            options=options,
            violated=lambda _: metrics.permission_violations.inc(),
            tls=where.tls,
        )
    )


async def open_common(
    stack: AsyncExitStack, roles: Sequence[str], settings: Settings, folders: Folders, bus: NatsBus, metrics: Metrics
) -> Common:
    """Everything that *roles* share, closed with *stack*.

    Raises:
        Misconfigured: the log is of a format that is not read here, or the key file is not its own. Others: as they say.
    """
    clock = SystemClock()
    wrapper = await keks.open_wrapper(stack, settings, folders)
    log_format = await check_format(bus.records)
    log_id = await check_seal(bus.records, wrapper)
    await check_whole(bus.records)
    vault = Vault(keys=bus.keys, wrapper=wrapper)
    reader = Reader(vault)
    timeline = await lineage.open_timeline(folders, log_id=log_id, heads=await bus.log.heads())
    stack.push_async_callback(timeline.close)
    calendar = None
    if CALENDAR_ROLES & set(roles):
        calendar = await lineage.open_calendar(folders)
        stack.push_async_callback(calendar.close)
    erasures = ErasureStore(records=bus.records, keys=bus.keys, vault=vault)
    hidden = HiddenView(store=erasures, clock=clock, fresh_s=settings.erasure.fence_s, changed=reader.forget)
    await hidden.refresh()
    traffic = Traffic()
    progress = Progress(log=bus.log, clock=clock, floors={"timeline": timeline.floors})
    if calendar is not None:
        progress.add("toc", calendar.floors)
    follower = TimelineFollower(
        source=bus.log,
        timeline=timeline,
        reader=reader,
        clock=clock,
        batch=settings.index.timeline_batch,
        moved=progress.moved,
        traffic=traffic,
        calendar=calendar,
    )
    return Common(
        settings=settings,
        bus=bus,
        clock=clock,
        metrics=metrics,
        wrapper=wrapper,
        vault=vault,
        reader=reader,
        memories=MemoryRegistry(bus.records, dedicate=bus.log.dedicate),
        documents=DocumentStore(records=bus.records, vault=vault),
        canaries=CanaryStore(records=bus.records, keys=bus.keys, vault=vault),
        timeline=timeline,
        follower=follower,
        progress=progress,
        traffic=traffic,
        tokenizer=MiniLmTokenizer(Path(settings.model.folder) if settings.model.folder else None),
        nodes=NodeStore(source=bus.log, reader=reader, vault=vault, clock=clock, hidden=hidden),
        calendar=calendar,
        erasures=erasures,
        hidden=hidden,
        log_format=log_format,
    )
