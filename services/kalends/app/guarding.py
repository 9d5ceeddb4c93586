"""What guards a process: its audit, and that it answers for no memory that it does not know yet.

Belongs here: building these from the settings. Does not belong here: what they do (``edge.auditing``). A newcomer would get wrong: every
process writes the one chain; none of them owns it.
"""

from collections.abc import Sequence
from dataclasses import replace

from kalends.app.parts import Common
from kalends.domain.errors import Unavailable
from kalends.edge import audit_operations
from kalends.edge.auditing import Auditor
from kalends.edge.operations import Answer, Call, Handler, Operation
from kalends.edge.services import Loop, Service
from kalends.wire.follower import TimelineFollower

_WRITES = frozenset({"events.append", "documents.put"})


def auditor(common: Common) -> Auditor:
    """Who writes this process's part of the audit."""
    counted = _WRITES if common.settings.audit.writes == "counted" else frozenset[str]()
    return Auditor(store=common.bus.audit, clock=common.clock, need_room=common.bus.room.need_spare, counted=counted)


def audit_service(common: Common, audit: Auditor) -> Service:
    """The questions about the audit, and the loop that writes it."""
    routes = audit_operations.AuditRoutes(store=common.bus.audit, operator=common.settings.auth.tenant)
    return Service(name="audit", operations=audit_operations.operations(routes), loops=(Loop(name="audit", run=audit.run),))


def known_first(services: Sequence[Service], follower: TimelineFollower) -> list[Service]:
    """*services* that answer for a memory only once the timeline of this process knows the log.

    Before that a hit would be left out, a list be empty and an event not be found, all of them untrue. Whoever asks is told to ask again,
    and by a load balancer's choice another replica.
    """

    def guarded(operation: Operation) -> Operation:
        return replace(operation, handle=_after(follower, operation.handle)) if "{memory}" in operation.path else operation

    return [replace(service, operations=[guarded(operation) for operation in service.operations]) for service in services]


def _after(follower: TimelineFollower, handle: Handler) -> Handler:
    async def handle_if_known(call: Call) -> Answer:
        if follower.is_new:
            raise Unavailable("this process follows the log before it answers", dependency="timeline", retry_after=1.0)
        return await handle(call)

    return handle_if_known
