"""Ingest's rows of the operation table for approvals.

A newcomer would get wrong: who asked cannot decide, and what an approval is about decides who sees it, so a list may be empty for an admin
of other memories.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from kalends.domain.approvals import Approval
from kalends.domain.events import microseconds, moment
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.edge.operations import Answer, Call, Operation
from kalends.ingest.approving import OF, WHOLE_TENANT, Approvals
from kalends.ports.clock import Clock

State = Literal["pending", "approved", "refused", "done", "failed", "expired"]


class ApprovalOut(Struct, frozen=True, kw_only=True):
    """A risky operation and its second person. ``state``: pending, approved (being done), refused, done, failed or expired.

    ``memory`` is null for one about all of them. ``requested_by`` and ``decided_by`` are principals, as an owner is named.
    """

    approval_id: str
    operation: str
    memory: str | None
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    state: str
    arguments: dict[str, str] = {}
    decided_by: str | None = None
    decided_at: datetime | None = None
    result: str | None = None
    error: str | None = None


class ApprovalList(Struct, frozen=True, kw_only=True):
    """Approvals, newest first."""

    items: list[ApprovalOut]
    next_cursor: str | None = None


class ApprovalsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which approvals, and where the list goes on."""

    state: State | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


def approval_out(approval: Approval, *, now_us: int) -> ApprovalOut:
    """An approval as JSON."""
    return ApprovalOut(
        approval_id=approval.approval_id,
        operation=approval.operation,
        memory=None if approval.arguments.get(OF) == WHOLE_TENANT else approval.memories[0],
        requested_by=approval.requested_by,
        requested_at=moment(approval.requested_us),
        expires_at=moment(approval.expires_us),
        state=approval.state_at(now_us),
        arguments=dict(approval.arguments),
        decided_by=approval.decided_by or None,
        decided_at=moment(approval.decided_us) if approval.decided_us else None,
        result=approval.result or None,
        error=approval.error or None,
    )


class ApprovalRoutes:
    """``/approvals``."""

    def __init__(self, approvals: Approvals, *, clock: Clock) -> None:
        self._approvals = approvals
        self._clock = clock

    async def list(self, call: Call) -> Answer:
        """Approvals, newest first."""
        query: ApprovalsQuery = call.query
        bound = f"approvals\0{call.principal.tenant}\0{query.state or ''}"
        before = str(decode_cursor(query.cursor, bound_to=bound, shape=(str,))[0]) if query.cursor else "~"
        shown = [self._out(one) for one in await self._approvals.all(call.principal) if one.approval_id < before]
        found = [one for one in shown if query.state in {None, one.state}]
        page = found[: query.limit]
        cursor = encode_cursor([page[-1].approval_id], bound_to=bound) if len(found) > len(page) else None
        return Answer(body=ApprovalList(items=page, next_cursor=cursor))

    async def show(self, call: Call) -> Answer:
        """One approval."""
        return Answer(body=self._out(await self._approvals.find(call.principal, call.path["approval_id"])))

    async def approve(self, call: Call) -> Answer:
        """Have it done."""
        return Answer(body=self._out(await self._approvals.approve(call.principal, call.path["approval_id"])))

    async def refuse(self, call: Call) -> Answer:
        """Have it left undone."""
        return Answer(body=self._out(await self._approvals.refuse(call.principal, call.path["approval_id"])))

    def _out(self, approval: Approval) -> ApprovalOut:
        return approval_out(approval, now_us=microseconds(self._clock.now()))


def operations(routes: ApprovalRoutes) -> Sequence[Operation]:
    """The rows; all need ``admin``."""
    one = "/approvals/{approval_id}"
    return [
        Operation(
            name="approvals.list",
            method="GET",
            path="/approvals",
            right="admin",
            summary="What waits for a second person, or did, newest first",
            handle=routes.list,
            answer=ApprovalList,
            query=ApprovalsQuery,
        ),
        Operation(
            name="approvals.show", method="GET", path=one, right="admin", summary="One approval", handle=routes.show, answer=ApprovalOut
        ),
        Operation(
            name="approvals.approve",
            method="POST",
            path=f"{one}/approve",
            right="admin",
            every_label=True,
            summary="Have done what somebody else asked for",
            handle=routes.approve,
            answer=ApprovalOut,
        ),
        Operation(
            name="approvals.refuse",
            method="POST",
            path=f"{one}/refuse",
            right="admin",
            summary="Have left undone what somebody else asked for",
            handle=routes.refuse,
            answer=ApprovalOut,
        ),
    ]
