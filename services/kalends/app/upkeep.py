"""What keeps an instance as it should be: the calendar, the scheduler, and the tasks that it asks for.

Belongs here: building these from what the roles share. Does not belong here: what a task does, or when it is due (``scheduler.jobs``). A
newcomer would get wrong: the scheduler asks over NATS even where both are one process, so that it makes no difference who does a task.
"""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol

from kalends.adapters.nats.work import NatsWork
from kalends.adapters.vllm.chat import open_chat
from kalends.app import health
from kalends.app.engines import Engines, open_embedder
from kalends.app.folders import Folders
from kalends.app.metering import MeteredChat, MeteredEmbedder
from kalends.app.parts import Common
from kalends.domain.errors import Misconfigured
from kalends.domain.scope import CALENDAR_SUFFIX, Scope
from kalends.edge.services import Loop, Service
from kalends.index.compacting import Compact
from kalends.index.reconciling import EVENTS, Reconcile, Reconciled
from kalends.index.truths import CalendarTruth, TimelineTruth, Truth
from kalends.ingest.checking import CheckKeys
from kalends.ingest.retaining import Retain
from kalends.ingest.rotating import KeyRotations, RotateKeys
from kalends.ingest.rotation_routes import service as rotation_service
from kalends.ports.calendar import Calendar
from kalends.ports.models import Embedder
from kalends.ports.work import TaskCall, TaskHandler, Work
from kalends.scheduler import jobs
from kalends.scheduler import service as scheduler_service
from kalends.summarize import service as summarize_service
from kalends.summarize.budget import Budget, Spent
from kalends.summarize.chat import ChatSummarizer
from kalends.summarize.extractive import ExtractiveSummarizer
from kalends.summarize.writing import Writer
from kalends.wire.arrivals import Arrivals
from kalends.wire.comparisons import ComparisonStore
from kalends.wire.jobs import JobStore
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore
from kalends.wire.session_secret import session_secret
from kalends.wire.spending import SpendingStore
from kalends.wire.vault import node_key_reference


class Report(Protocol):
    """What a task did."""

    @property
    def text(self) -> str:
        """One line without content."""
        ...


def task(work: Callable[[], Awaitable[Report]]) -> TaskHandler:
    """*work* as a task."""

    async def run(_: TaskCall) -> str:
        return (await work()).text

    return run


async def summarize(
    stack: AsyncExitStack, common: Common, folders: Folders, engines: Engines | None, told: list[health.Ask], *, alone: bool
) -> summarize_service.Summarize:
    """The summarize service; on the model of *engines* where this process has them, else on one of its own. *told* gets its health.

    Raises:
        Misconfigured: the calendar is not open here, which is a mistake of ours.
    """
    if common.calendar is None:
        raise Misconfigured("summarize needs the calendar")
    embedder: Embedder
    if engines is not None:
        embedder = engines.embedder
    else:
        embedder = MeteredEmbedder(await open_embedder(stack, folders, common.settings, common.bus.records), common.metrics)
    writer = _writer(stack, common, embedder)
    if common.settings.summarize.chat_url:
        told.append(health.of_chat(writer, url=common.settings.summarize.chat_url))
    return summarize_service.build(
        common.settings.summarize,
        log=common.bus.log,
        calendar=common.calendar,
        timeline=common.timeline,
        reader=common.reader,
        nodes=common.nodes,
        memories=common.memories,
        operations=OperationStore(records=common.bus.records, clock=common.clock),
        lease=lease(common, "toc-rebuild", alone=alone),
        summarizer=writer,
        tokenizer=common.tokenizer,
        progress=common.progress,
        clock=common.clock,
        traffic=common.traffic,
        held=Arrivals(records=common.bus.records, clock=common.clock).held,
    )


def _writer(stack: AsyncExitStack, common: Common, embedder: Embedder) -> Writer:
    """The extractive summarizer, and the chat model before it where one is set."""
    settings, metrics = common.settings.summarize, common.metrics
    chat = None
    if settings.chat_url:
        if not settings.chat_model:
            raise Misconfigured("summarize.chat_url needs summarize.chat_model (KALENDS_SUMMARIZE__CHAT_MODEL)")
        client = open_chat(
            settings.chat_url,
            model=settings.chat_model,
            deadline_s=settings.chat_deadline_s,
            key_file=settings.chat_key_file,
            ca_file=settings.chat_ca_file,
            concurrency=settings.chat_concurrency,
        )
        stack.push_async_callback(client.close)
        chat = ChatSummarizer(
            MeteredChat(client, metrics),
            tokenizer=common.tokenizer,
            prompt_tokens=settings.chat_prompt_tokens,
            answer_tokens=settings.chat_answer_tokens,
        )
    spending = SpendingStore(common.bus.records)

    async def load(memory: str) -> Spent | None:
        stored = await spending.load(memory)
        return None if stored is None else Spent(day=stored[0], tokens=stored[1])

    async def save(memory: str, spent: Spent) -> None:
        await spending.save(memory, spent.day, spent.tokens)

    return Writer(
        ExtractiveSummarizer(embedder),
        chat=chat,
        budget=Budget(tokens=settings.budget_tokens, clock=common.clock, load=load, save=save),
        clock=common.clock,
        fell_back=lambda reason: metrics.summarizer_fallbacks.labels(reason).inc(),
        took=lambda summarizer, seconds: metrics.summarizer_seconds.labels(summarizer).observe(seconds),
    )


def lease(common: Common, name: str, *, alone: bool) -> Lease:
    """A lease of this process; *alone*: no other can want it, because the broker or what it is about is our own."""
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    lease_s = common.settings.scheduler.lease_s
    return Lease(common.bus.records, name=name, holder=holder, lease_s=lease_s, clock=common.clock, alone=alone)


def scheduler(common: Common, work: Work, *, alone: bool) -> Service:
    """The scheduler; *alone*: no other can be there, because the broker is our own."""
    records, clock = common.bus.records, common.clock
    settings = common.settings.scheduler
    crons = {job.name: str(getattr(settings, job.name.replace("-", "_"))) for job in jobs.JOBS}
    return scheduler_service.build(
        jobs.chosen(crons=crons),
        store=JobStore(records),
        lease=lease(common, "scheduler", alone=alone),
        work=work,
        clock=clock,
        metrics=common.metrics,
    )


def ingest_tasks(common: Common, retain: Retain, told: list[health.Ask]) -> Mapping[str, TaskHandler]:
    """*retain* and the check of keys; *told* gets what the check found."""
    metrics = common.metrics
    check = CheckKeys(
        keys=common.bus.keys,
        vault=common.vault,
        timeline=common.timeline,
        memories=common.memories,
        traffic=common.traffic,
        clock=common.clock,
        others=[] if common.calendar is None else [partial(node_references, common.calendar)],
        observe=lambda finding, count: metrics.keys_wrong.labels(finding).set(count),
    )
    told.append(check.health)
    return {"retention": task(retain), "key-check": task(check)}


async def node_references(calendar: Calendar, scope: Scope) -> AsyncIterator[Sequence[str]]:
    """The keys of what stands above conversations, a year's worth of days at once."""
    for year in await calendar.years(scope):
        found = [year.period]
        for period in found:  # grows while it is walked: months, weeks, days
            if period.level != "day":
                found += [child.period for child in await calendar.children(scope, period)]
        yield [node_key_reference(scope, period.id) for period in found]


def index_tasks(common: Common, targets: Callable[[], Mapping[str, Reconciled]], compact: Compact) -> Mapping[str, TaskHandler]:
    """Reconciling *targets*, as they are when it begins, and compacting."""
    truths: dict[str, Truth] = {EVENTS: TimelineTruth(common.timeline)}
    if common.calendar is not None:
        truths[CALENDAR_SUFFIX] = CalendarTruth(common.calendar)

    async def reconcile() -> Report:
        run = Reconcile(
            targets=targets(),
            truths=truths,
            log=common.bus.log,
            reader=common.reader,
            memories=common.memories,
            progress=common.progress,
            traffic=common.traffic,
            place=ComparisonStore(common.bus.records),
            observe=lambda projection, finding, count: common.metrics.reconcile_findings.labels(projection, finding).inc(count),
        )
        return await run()

    return {"reconcile": task(reconcile), "compaction": task(compact)}


def work_loop(work: NatsWork, tasks: Mapping[str, TaskHandler]) -> Loop:
    """Serves *tasks* until it is cancelled."""
    return Loop(name="work", run=partial(work.serve, tasks))


def key_rotations(common: Common, told: list[health.Ask], *, alone: bool) -> Service:
    """Rotations of the key-encryption key; *told* gets how the keys are; *alone*: no other process can do one, as the broker is our own."""
    records, wrapper = common.bus.records, common.wrapper
    rotate = RotateKeys(
        keys=common.bus.keys,
        wrapper=wrapper,
        records=records,
        memories=common.memories,
        traffic=common.traffic,
        clock=common.clock,
        others=[partial(session_secret, records, wrapper)],
    )
    rotations = KeyRotations(
        rotate=rotate,
        wrapper=wrapper,
        records=records,
        store=OperationStore(records=records, clock=common.clock),
        lease=lease(common, "key-rotation", alone=alone),
        clock=common.clock,
        every_s=common.settings.keys.reload_s,
    )
    told.append(rotations.health)
    return rotation_service(rotations)
