"""Handing over and approving: how they are put together.

Belongs here: building both from what the roles share. Does not belong here: what either does (``ingest``). A newcomer would get wrong:
every process follows the owners, for every process must refuse; only where events are taken in is a memory handed over.
"""

from collections.abc import Sequence

from kalends.app import upkeep
from kalends.app.parts import Common
from kalends.domain.approvals import ERASE_EVERYTHING, HAND_OVER
from kalends.edge.auditing import Auditor
from kalends.edge.operations import Operation
from kalends.edge.principals import Principals
from kalends.edge.services import Loop, Service
from kalends.ingest import approval_routes, hand_over_routes
from kalends.ingest.approval_routes import ApprovalRoutes
from kalends.ingest.approving import Approvals
from kalends.ingest.erasing_routes import ErasureRoutes
from kalends.ingest.hand_over_routes import HandOverRoutes
from kalends.ingest.handing_over import HandOvers, RewrapKeys
from kalends.wire.approvals import ApprovalStore
from kalends.wire.operations import OperationStore
from kalends.wire.owners import Owners

ERASING = "memories.remove"
"""As what an approved erasure stands in the audit."""


def approvals(common: Common, audit: Auditor) -> Approvals:
    """What asks for a second person; acts are given to it by ``services``."""
    settings = common.settings.approvals
    required = [name for name in settings.operations.split(",") if name]
    store = ApprovalStore(common.bus.records)
    return Approvals(required=required, store=store, noted=audit.noted, clock=common.clock, expire_s=settings.expire_s)


def services(
    common: Common, known: Approvals, erasures: ErasureRoutes, *, owners: Owners, names: Principals, alone: bool
) -> Sequence[Service]:
    """Handing over, and approvals; *alone*: no other process can do either, as the broker is our own."""
    hand_overs = HandOvers(
        rewrap=RewrapKeys(keys=common.bus.keys, wrapper=common.wrapper, traffic=common.traffic),
        memories=common.memories,
        owners=owners,
        store=OperationStore(records=common.bus.records, clock=common.clock),
        lease=upkeep.lease(common, "hand-over", alone=alone),
        clock=common.clock,
    )
    routes = HandOverRoutes(hand_overs=hand_overs, names=names, memories=common.memories, approvals=known, clock=common.clock)
    known.perform(HAND_OVER, routes.act, audited_as=hand_over_routes.NAME)
    known.perform(ERASE_EVERYTHING, erasures.act, audited_as=ERASING)
    loops = [Loop(name="hand-overs", run=hand_overs.run), Loop(name="hand-overs.watch", run=hand_overs.watch)]
    rows: Sequence[Operation] = hand_over_routes.operations(routes)
    asked = approval_routes.operations(ApprovalRoutes(known, clock=common.clock))
    return [
        Service(name="hand-overs", operations=rows, loops=loops, long_work=[hand_overs]),
        Service(name="approvals", operations=asked, loops=[Loop(name="approvals", run=known.run)]),
    ]
