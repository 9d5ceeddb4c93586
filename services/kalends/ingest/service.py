"""The ingest service as a value."""

from collections.abc import Sequence

from kalends.edge.metrics import Metrics
from kalends.edge.operations import Operation
from kalends.edge.progress import Progress
from kalends.edge.services import Service
from kalends.ingest import administration, routes
from kalends.ingest.documents import KeepDocument
from kalends.ingest.redacting import Redact
from kalends.ingest.usecases import AppendEvents
from kalends.kit.traffic import Traffic
from kalends.ports.calendar import Calendar
from kalends.ports.clock import Clock
from kalends.ports.log import Log
from kalends.ports.models import Tokenizer
from kalends.ports.redactor import Redactor
from kalends.ports.timeline import Timeline
from kalends.settings import IngestSettings
from kalends.wire.documents import DocumentStore
from kalends.wire.follower import TimelineFollower
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import MemoryRegistry
from kalends.wire.vault import Vault


def build(
    settings: IngestSettings,
    *,
    log: Log,
    timeline: Timeline,
    follower: TimelineFollower,
    vault: Vault,
    memories: MemoryRegistry,
    documents: DocumentStore,
    tokenizer: Tokenizer,
    progress: Progress,
    clock: Clock,
    metrics: Metrics,
    traffic: Traffic,
    redactor: Redactor,
    calendar: Calendar | None = None,
    hidden: HiddenView | None = None,
    erasures: Sequence[Operation] = (),
) -> Service:
    """Ingest from its settings and ports; it has no loop of its own."""
    redact = Redact(redactor, observe=lambda label: metrics.masked.labels(label).inc())
    append = AppendEvents(
        log=log,
        timeline=timeline,
        follower=follower,
        vault=vault,
        memories=memories,
        traffic=traffic,
        redact=redact,
        hidden=hidden,
        took=metrics.append_seconds.observe,
    )
    keep = KeepDocument(
        append=append,
        log=log,
        store=documents,
        memories=memories,
        vault=vault,
        tokenizer=tokenizer,
        clock=clock,
        chunk_tokens=settings.chunk_tokens,
        redact=redact,
    )
    events = routes.EventRoutes(append=append, progress=progress, clock=clock, settings=settings, metrics=metrics)
    document_routes = routes.DocumentRoutes(keep=keep, progress=progress, settings=settings)
    memory_routes = administration.MemoryRoutes(memories=memories, timeline=timeline, calendar=calendar, progress=progress, clock=clock)

    return Service(
        name="ingest",
        operations=[*routes.operations(events, document_routes), *administration.operations(memory_routes), *erasures],
    )
