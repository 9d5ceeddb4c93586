"""Summarize's rows of the operation table: writing the calendar anew."""

from kalends.domain.credentials import scope_for
from kalends.domain.errors import Fault, Invalid
from kalends.domain.scope import memory_name
from kalends.edge.long_work import OperationStarted
from kalends.edge.operations import Answer, Call, Operation
from kalends.summarize import schemas
from kalends.summarize.rebuilding import RebuildCalendar

_MEMORY_MISSING = Fault(pointer="/memory", detail="must be given", code="missing")


class RebuildRoutes:
    """``/admin/toc-rebuilds``."""

    def __init__(self, *, rebuild: RebuildCalendar) -> None:
        self._rebuild = rebuild

    async def start(self, call: Call) -> Answer:
        """Write the calendar anew while it is read; a dry run only counts, and its operation has ended when this answers."""
        body: schemas.TocRebuildIn = call.body
        memory = None
        if body.memory is not None:
            memory = scope_for(call.principal, memory_name(body.memory), right="admin").memory
        elif call.principal.memories is not None:
            raise Invalid("name a memory: this token is limited to some", faults=[_MEMORY_MISSING])
        begun = await self._rebuild.ask(tenant=call.principal.tenant, memory=memory, since=body.from_date, dry_run=body.dry_run)
        return Answer(body=OperationStarted(operation_id=begun.operation_id))


def operations(rebuilds: RebuildRoutes) -> list[Operation]:
    """The rows; all need ``admin``."""
    return [
        Operation(
            name="toc_rebuilds.start",
            method="POST",
            path="/admin/toc-rebuilds",
            right="admin",
            summary="Write the calendar anew, all of it or from a date on",
            handle=rebuilds.start,
            answer=OperationStarted,
            status=202,
            body=schemas.TocRebuildIn,
        )
    ]
