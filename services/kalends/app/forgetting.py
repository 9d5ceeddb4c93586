"""Forgetting: how asking for erasures and doing them are put together.

Belongs here: building both from what the roles share. Does not belong here: what either does. A newcomer would get wrong: asking is done
where events are taken in, and erasing where the projections are, for it ends in their files; between them is nothing but records and the
log.
"""

import asyncio
from pathlib import Path

from kalends.adapters.embedded.signing_key import open_signer
from kalends.adapters.nats.work import NatsWork
from kalends.app import upkeep
from kalends.app.engines import Engines
from kalends.app.folders import Folders
from kalends.app.parts import Common
from kalends.domain.errors import Misconfigured
from kalends.edge.operations import Operation
from kalends.edge.services import Loop, Service
from kalends.index.erasing import BackedUp, Erase, Stores
from kalends.index.erasures import Erasures
from kalends.ingest import erasing_routes, retention_routes
from kalends.ingest.approving import Approvals
from kalends.ingest.ending import EndSession
from kalends.ingest.erasing import RequestErasures
from kalends.ingest.erasing_routes import ErasureRoutes
from kalends.ingest.retaining import Retain
from kalends.wire.holding import Holds
from kalends.wire.selecting import Select


def requests(common: Common, approvals: Approvals) -> ErasureRoutes:
    """What asks for erasures and sets holds; erasing everything waits for a second person where *approvals* say so."""
    return ErasureRoutes(erasures=asking(common), memories=common.memories, clock=common.clock, approvals=approvals)


def operations(common: Common, erasures: ErasureRoutes) -> list[Operation]:
    """The operations that ask for erasures, set holds, run retention and end sessions."""
    asked = asking(common)
    end = EndSession(erasures=asked, hidden=common.hidden, memories=common.memories, keys=common.bus.keys, clock=common.clock)
    kept = retention_routes.RetentionRoutes(retain=retain(common), end=end, memories=common.memories)
    return [*erasing_routes.operations(erasures), *retention_routes.operations(kept)]


def retain(common: Common) -> Retain:
    """What asks for the erasure of what memories keep no longer."""
    return Retain(
        erasures=asking(common),
        holds=Holds(store=common.erasures, select=_select(common)),
        hidden=common.hidden,
        timeline=common.timeline,
        documents=common.documents,
        memories=common.memories,
        source=common.bus.log,
        progress=common.progress,
        clock=common.clock,
        traffic=common.traffic,
        settings=common.settings.retention,
        observe=common.metrics.events_expired.inc,
    )


def asking(common: Common) -> RequestErasures:
    """What hides and records what is to be erased."""
    select = _select(common)
    return RequestErasures(
        store=common.erasures,
        hidden=common.hidden,
        select=select,
        holds=Holds(store=common.erasures, select=select),
        memories=common.memories,
        ledger=common.bus.ledger,
        clock=common.clock,
    )


async def eraser(common: Common, engines: Engines, folders: Folders, *, alone: bool, backed_up: BackedUp | None = None) -> Service:
    """What does them; *alone*: no other can be there.

    Raises:
        Misconfigured: the signing key cannot be used.
    """
    if common.calendar is None:
        raise Misconfigured("erasing needs the calendar, which this process did not open")
    settings = common.settings
    path = Path(settings.erasure.signing_key_file) if settings.erasure.signing_key_file else folders.data / "keys" / "receipt-key"
    signer = await asyncio.to_thread(open_signer, path)
    select = _select(common)
    erase = Erase(
        stores=Stores(
            log=common.bus.log,
            timeline=common.timeline,
            calendar=common.calendar,
            lexicon=engines.lexicon,
            vectors=engines.vectors,
            keys=common.bus.keys,
            documents=common.documents,
            canaries=common.canaries,
            memories=common.memories,
            ledger=common.bus.ledger,
        ),
        records=common.erasures,
        hidden=common.hidden,
        select=select,
        holds=Holds(store=common.erasures, select=select),
        reader=common.reader,
        progress=common.progress,
        work=NatsWork(common.bus.link, drain_s=settings.http.drain_s),
        signer=signer,
        clock=common.clock,
        settings=settings.erasure,
        replicas=settings.log.replicas,
        backed_up=backed_up,
    )
    lease = upkeep.lease(common, "erasure", alone=alone)
    doing = Erasures(erase=erase, store=common.erasures, hidden=common.hidden, lease=lease, clock=common.clock)
    return Service(name="erasures", loops=[Loop(name="index.erasures", run=doing.run)])


def _select(common: Common) -> Select:
    return Select(timeline=common.timeline, source=common.bus.log, reader=common.reader)
