"""Ingest's row of the operation table for handing a memory over.

A newcomer would get wrong: it is for admins of all memories only; an owner cannot give its memory away, and neither can an admin who is
limited to it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct

from kalends.domain.approvals import HAND_OVER, Approval
from kalends.domain.errors import Forbidden
from kalends.domain.events import microseconds, moment
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.edge.operations import Answer, Call, Operation
from kalends.ingest.approval_routes import ApprovalOut, approval_out
from kalends.ingest.approving import Approvals
from kalends.ingest.handing_over import HandOvers
from kalends.ports.clock import Clock
from kalends.wire.memories import MemoryRegistry

NAME = "memories.hand_over"


class Names(Protocol):
    """Knows whom a text means (``edge.principals``)."""

    async def named(self, tenant: Tenant, text: str, *, pointer: str) -> str:
        """The name of a principal.

        Raises:
            Invalid: there is nobody of that name.
        """
        ...


class HandOverIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who gets the memory: ``token:ID``, ``agent:ID``, ``oidc:ISSUER#SUBJECT``, ``kubernetes:NAMESPACE/ACCOUNT`` or ``outsider:ID``."""

    to: Annotated[str, Meta(min_length=1, max_length=2000)]
    reason_code: Literal["request", "reorganization", "departure", "incident", "other"] = "request"


class HandOverOut(Struct, frozen=True, kw_only=True):
    """Whose the memory is. ``operation_id``: how wrapping its keys anew goes; null if nothing was changed.

    ``approval``: a second person must approve first, and nothing has happened; ``owner`` is whose it is until then.
    """

    memory: str
    owner: str | None
    handed_over_at: datetime | None
    operation_id: str | None = None
    approval: ApprovalOut | None = None


class HandOverRoutes:
    """``/memories/{memory}/hand-over``."""

    def __init__(self, *, hand_overs: HandOvers, names: Names, memories: MemoryRegistry, approvals: Approvals, clock: Clock) -> None:
        self._hand_overs = hand_overs
        self._names = names
        self._memories = memories
        self._approvals = approvals
        self._clock = clock

    async def hand_over(self, call: Call) -> Answer:
        """Give the memory a new owner; 202 if a second person must approve it first.

        Raises:
            Forbidden: the credential is for some memories only.
        """
        body: HandOverIn = call.body
        if call.principal.memories is not None:
            raise Forbidden("this is for a credential of all memories")
        memory = await self._memories.reread(call.scoped)
        to = await self._names.named(call.principal.tenant, body.to, pointer="/to")
        if self._approvals.needs(HAND_OVER) and memory.owner != to:
            asked = await self._approvals.ask(
                call.principal,
                HAND_OVER,
                memories=[call.scoped.memory],
                arguments={"to": to, "reason_code": body.reason_code},
                wide=True,
            )
            waiting = approval_out(asked, now_us=microseconds(self._clock.now()))
            since = moment(memory.handed_over_us) if memory.handed_over_us else None
            out = HandOverOut(memory=call.scoped.memory, owner=memory.owner or None, handed_over_at=since, approval=waiting)
            return Answer(body=out, status=202, outcome="pending")
        done = await self._hand_overs.hand_over(call.scoped, to, reason=body.reason_code)
        return Answer(
            body=HandOverOut(
                memory=call.scoped.memory,
                owner=done.memory.owner,
                handed_over_at=moment(done.memory.handed_over_us),
                operation_id=done.operation_id or None,
            )
        )

    async def act(self, approval: Approval) -> str:
        """Do what was approved; a hand-over that came after the decision stays as it is."""
        scope = Scope(tenant=approval.tenant, memory=MemoryName(approval.memories[0]))
        to, reason = approval.arguments["to"], approval.arguments["reason_code"]
        done = await self._hand_overs.hand_over(scope, to, reason=reason, unless_since_us=approval.decided_us)
        return f"the owner is {done.memory.owner}"


def operations(routes: HandOverRoutes) -> Sequence[Operation]:
    """The row."""
    return [
        Operation(
            name=NAME,
            method="POST",
            path="/memories/{memory}/hand-over",
            right="admin",
            every_label=True,
            summary="Give a memory a new owner: nobody else but admins of all memories reaches it from then on",
            handle=routes.hand_over,
            answer=HandOverOut,
            statuses=(202,),
            body=HandOverIn,
        )
    ]
