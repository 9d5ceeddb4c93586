"""Exports and imports: how they are put together.

Belongs here: building them from what the roles share. Does not belong here: what they do (``transfers``). A newcomer would get wrong:
events come in by the use case that every writer's events come in by, so nothing of redaction, quotas and erasures is done twice, or left
out.
"""

from collections.abc import Sequence

from kalends.adapters.embedded.redactor import PatternRedactor
from kalends.app.parts import Common
from kalends.domain import events
from kalends.domain.errors import Misconfigured
from kalends.domain.events import Event
from kalends.domain.scope import Scope
from kalends.edge.services import Service
from kalends.ingest.redacting import Redact
from kalends.ingest.usecases import AppendEvents
from kalends.transfers import service
from kalends.transfers.importing import Appended, Stores
from kalends.wire.arrivals import Arrivals


def build(common: Common) -> Service:
    """The service.

    Raises:
        Misconfigured: the calendar is not open here, which is a mistake of ours.
    """
    if common.calendar is None:
        raise Misconfigured("transfers need the calendar")
    redactor, settings = PatternRedactor(), common.settings.ingest
    append = AppendEvents(
        log=common.bus.log,
        timeline=common.timeline,
        follower=common.follower,
        vault=common.vault,
        memories=common.memories,
        traffic=common.traffic,
        redact=Redact(redactor, observe=lambda label: common.metrics.masked.labels(label).inc()),
        hidden=common.hidden,
    )

    async def appended(scope: Scope, given: Sequence[Event]) -> Sequence[Appended]:
        outcomes = await append(scope, given)
        return [Appended(position=one.position, duplicate=one.duplicate, fault=one.fault, masked=one.masked) for one in outcomes]

    stores = Stores(
        log=common.bus.log,
        timeline=common.timeline,
        calendar=common.calendar,
        nodes=common.nodes,
        documents=common.documents,
        memories=common.memories,
        progress=common.progress,
        redactor=redactor,
        clock=common.clock,
        limits=events.Limits(text_bytes=settings.text_bytes, metadata_keys=settings.metadata_keys),
    )
    return service.build(
        stores,
        append=appended,
        reader=common.reader,
        hidden=common.hidden,
        traffic=common.traffic,
        arrivals=Arrivals(records=common.bus.records, clock=common.clock),
    )
