"""What guards a process: its audit.

Belongs here: building these from the settings. Does not belong here: what they do (``edge.auditing``). A newcomer would get wrong: every
process writes the one chain; none of them owns it.
"""

from kalends.app.parts import Common
from kalends.edge import audit_operations
from kalends.edge.auditing import Auditor
from kalends.edge.services import Loop, Service

_WRITES = frozenset({"events.append", "documents.put"})


def auditor(common: Common) -> Auditor:
    """Who writes this process's part of the audit."""
    counted = _WRITES if common.settings.audit.writes == "counted" else frozenset[str]()
    return Auditor(store=common.bus.audit, clock=common.clock, need_room=common.bus.room.need_spare, counted=counted)


def audit_service(common: Common, audit: Auditor) -> Service:
    """The questions about the audit, and the loop that writes it."""
    routes = audit_operations.AuditRoutes(store=common.bus.audit, operator=common.settings.auth.tenant)
    return Service(name="audit", operations=audit_operations.operations(routes), loops=(Loop(name="audit", run=audit.run),))
