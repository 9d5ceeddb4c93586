"""Approvals as records: one each, of their tenant, kept for good.

Belongs here: the mapping to records. Does not belong here: who may decide (``domain.approvals``), doing what was approved
(``ingest.approving``). A newcomer would get wrong: a decision is a compare-and-set, so of two at once one is told that it came second.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.approvals import Approval
from kalends.domain.errors import Damaged
from kalends.domain.scope import Tenant
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import approvals_pb2 as pb

log = structlog.get_logger(__name__)

KIND = "approval"


class ApprovalStore:
    """The approvals of an instance."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def begin(self, approval: Approval) -> Approval:
        """Store a new one."""
        revision = await self._records.put(KIND, approval.tenant, approval.approval_id, encode(approval), revision=0)
        return replace(approval, revision=revision)

    async def put(self, approval: Approval, **changes: object) -> Approval:
        """Store *approval* with *changes*.

        Raises:
            Conflict: it was changed since it was read.
        """
        changed = replace(approval, **changes)  # type: ignore[arg-type]  # names of its fields
        revision = await self._records.put(KIND, changed.tenant, changed.approval_id, encode(changed), revision=approval.revision)
        return replace(changed, revision=revision)

    async def find(self, tenant: Tenant, approval_id: str) -> Approval | None:
        """One of the tenant's, or None."""
        record = await self._records.get(KIND, tenant, approval_id)
        return None if record is None else decode(record)

    async def watch(self) -> AsyncGenerator[Approval, None]:
        """Every approval of every tenant that exists now, then each as it changes; one that cannot be read is left out.

        Raises:
            Unavailable, DeadlineExceeded: the store does not answer.
        """
        async with aclosing(self._records.watch(KIND)) as changes:
            async for record in changes:
                if record is not None and not record.deleted:
                    for found in _readable([record]):
                        yield found

    async def all(self, tenant: Tenant | None = None) -> Sequence[Approval]:
        """Those of *tenant*, or of every tenant, oldest first; one that cannot be read is left out and logged."""
        return sorted(_readable(await self._records.list(KIND, tenant)), key=lambda one: one.approval_id)


def _readable(records: Iterable[Record]) -> list[Approval]:
    found = []
    for record in records:
        try:
            found.append(decode(record))
        except Damaged as error:
            log.warning("record skipped", name=record.name, reason=error.detail)
    return found


def encode(approval: Approval) -> bytes:
    """The bytes of an approval's record."""
    return pb.Approval(
        approval_id=approval.approval_id,
        tenant=approval.tenant,
        operation=approval.operation,
        memories=approval.memories,
        arguments=approval.arguments,
        wide=approval.wide,
        requested_by=approval.requested_by,
        makers=sorted(approval.makers),
        requested_with=approval.requested_with,
        requested_us=approval.requested_us,
        expires_us=approval.expires_us,
        state=approval.state,
        decided_by=approval.decided_by,
        decided_with=approval.decided_with,
        decided_us=approval.decided_us,
        result=approval.result,
        error=approval.error,
    ).SerializeToString()


def decode(record: Record) -> Approval:
    """The approval that a record holds.

    Raises:
        Damaged: the bytes are not what ``encode`` makes.
    """
    try:
        stored = pb.Approval.FromString(record.value)
    except DecodeError as error:
        raise Damaged(f"the record of approval {record.name} cannot be read") from error
    return Approval(
        approval_id=stored.approval_id,
        tenant=Tenant(stored.tenant),
        operation=stored.operation,
        memories=tuple(stored.memories),
        arguments=dict(stored.arguments),
        wide=stored.wide,
        requested_by=stored.requested_by,
        makers=frozenset(stored.makers),
        requested_with=stored.requested_with,
        requested_us=stored.requested_us,
        expires_us=stored.expires_us,
        state=stored.state,
        decided_by=stored.decided_by,
        decided_with=stored.decided_with,
        decided_us=stored.decided_us,
        result=stored.result,
        error=stored.error,
        revision=record.revision,
    )
