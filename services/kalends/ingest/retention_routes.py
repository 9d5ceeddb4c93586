"""Ingest's rows of the operation table for retention: running it, counting what it would do, and ending a session.

A newcomer would get wrong: a session is ended by whoever may write to it; that it is erased then was decided by who made the memory so.
"""

from kalends.domain.credentials import scope_for
from kalends.domain.scope import memory_name
from kalends.edge.operations import Answer, Call, Operation
from kalends.ingest import retention_schemas as schemas
from kalends.ingest.ending import EndSession
from kalends.ingest.retaining import Found, Retain
from kalends.wire.memories import MemoryRegistry


class RetentionRoutes:
    """``/admin/retention`` and ``/memories/{memory}/sessions/{session_id}/end``."""

    def __init__(self, *, retain: Retain, end: EndSession, memories: MemoryRegistry) -> None:
        self._retain = retain
        self._end = end
        self._memories = memories

    async def run(self, call: Call) -> Answer:
        """Erase what is due in one memory or in all of the credential's; a dry run only counts."""
        body: schemas.RetentionIn = call.body
        principal = call.principal
        if body.memory is not None:
            scope = scope_for(principal, memory_name(body.memory), right="admin")
            scopes = [(await self._memories.find(scope)).scope]
        else:
            known = [memory.scope for memory in await self._memories.of_tenant(principal.tenant)]
            scopes = [scope for scope in known if principal.reaches(scope.memory)]
        report = await self._retain.of(scopes, dry_run=body.dry_run)
        return Answer(body=schemas.RetentionRunOut(items=[_out(one) for one in report.memories], dry_run=body.dry_run))

    async def end(self, call: Call) -> Answer:
        """End a session: in a session-only memory it is hidden with this answer and erased soon after; else nothing changes."""
        session = call.path["session_id"]
        ended = await self._end(call.scoped, session, by=call.principal.token_id)
        body = schemas.SessionEnded(session_id=session, state=ended.state, erasure_id=ended.erasure_id)  # type: ignore[arg-type]  # one of these
        return Answer(body=body, status=200 if ended.erasure_id is None else 202)


def _out(found: Found) -> schemas.RetentionOut:
    return schemas.RetentionOut(
        memory=found.scope.memory,
        expired=found.due.get("expired", 0),
        age=found.due.get("age", 0),
        count=found.due.get("count", 0),
        session=found.due.get("session", 0),
        held=found.held,
        erasures=found.erasures,
        more=found.more,
    )


def operations(routes: RetentionRoutes) -> list[Operation]:
    """The rows for retention."""
    return [
        Operation(
            name="retention.run",
            method="POST",
            path="/admin/retention",
            right="admin",
            every_label=True,
            summary="Erase what memories keep no longer, or count it in a dry run",
            handle=routes.run,
            answer=schemas.RetentionRunOut,
            body=schemas.RetentionIn,
        ),
        Operation(
            name="sessions.end",
            method="POST",
            path="/memories/{memory}/sessions/{session_id}/end",
            right="append",
            summary="End a session; a session-only memory forgets it then",
            handle=routes.end,
            answer=schemas.SessionEnded,
            statuses=(202,),
            subject="sessions.end",
        ),
    ]
