"""The summarize service as a value."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from kalends.domain.scope import Scope
from kalends.domain.segments import Cutting
from kalends.edge.progress import Progress
from kalends.edge.services import Loop, Service
from kalends.kit.traffic import Traffic
from kalends.ports.calendar import Calendar
from kalends.ports.clock import Clock
from kalends.ports.log import Log
from kalends.ports.models import Tokenizer
from kalends.ports.summarizer import Summarizer
from kalends.ports.timeline import Timeline
from kalends.ports.work import TaskCall, TaskHandler
from kalends.settings import SummarizeSettings
from kalends.summarize import routes
from kalends.summarize.rebuilding import RebuildCalendar
from kalends.summarize.rolling import RollPeriods
from kalends.summarize.segmenting import CutUnits
from kalends.summarize.usecases import ROLLED, KeepCalendar, Timing, nothing_held
from kalends.wire.leases import Lease
from kalends.wire.memories import MemoryRegistry
from kalends.wire.node_store import NodeStore
from kalends.wire.operations import OperationStore
from kalends.wire.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Summarize:
    """The service, and the tasks that the scheduler may ask of it."""

    service: Service
    tasks: Mapping[str, TaskHandler]
    keep: KeepCalendar


def build(
    settings: SummarizeSettings,
    *,
    log: Log,
    calendar: Calendar,
    timeline: Timeline,
    reader: Reader,
    nodes: NodeStore,
    memories: MemoryRegistry,
    operations: OperationStore,
    lease: Lease,
    summarizer: Summarizer,
    tokenizer: Tokenizer,
    progress: Progress,
    clock: Clock,
    traffic: Traffic,
    held: Callable[[], Awaitable[Collection[Scope]]] = nothing_held,
) -> Summarize:
    """Summarize from its settings and ports; its own loop only works off rebuilds, all else is asked for by the scheduler."""
    cut = CutUnits(
        calendar=calendar,
        timeline=timeline,
        source=log,
        reader=reader,
        summarizer=summarizer,
        tokenizer=tokenizer,
        clock=clock,
        cutting=Cutting(silence_us=round(settings.silence_s * 1e6), tokens=settings.segment_tokens),
    )
    keep = KeepCalendar(
        calendar=calendar,
        cut=cut,
        roll=RollPeriods(calendar=calendar, store=nodes, summarizer=summarizer),
        store=nodes,
        progress=progress,
        clock=clock,
        traffic=traffic,
        timing=Timing(silence_s=settings.silence_s, settle_s=settings.settle_s),
        held=held,
    )
    rebuild = RebuildCalendar(
        keep=keep, calendar=calendar, timeline=timeline, memories=memories, store=operations, lease=lease, clock=clock
    )
    service = Service(
        name="summarize",
        operations=routes.operations(routes.RebuildRoutes(rebuild=rebuild)),
        loops=[Loop(name="summarize.rebuilds", run=rebuild.run)],
        long_work=[rebuild],
    )
    return Summarize(service=service, tasks=_tasks(keep), keep=keep)


def _tasks(keep: KeepCalendar) -> Mapping[str, TaskHandler]:
    async def sweep(_: TaskCall) -> str:
        return (await keep.sweep()).text

    def rolling(level: str) -> TaskHandler:
        async def roll(_: TaskCall) -> str:
            return (await keep.roll(next(one for one in ROLLED if one == level))).text

        return roll

    return {"segment-sweep": sweep, **{f"toc-{level}": rolling(level) for level in ROLLED}}
