"""Operations that outlive the process that began them: one record each.

Belongs here: the record's mapping and its store. Does not belong here: doing the work, or long work that a restart simply ends (``index``).
A newcomer would get wrong: only how an operation stands is kept, and not what is left to do; that is found in the projection it is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.errors import Damaged
from kalends.domain.events import EventId, microseconds, new_ulid
from kalends.ports.clock import Clock
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

log = structlog.get_logger(__name__)

KIND = "operation"
KEPT = 100
"""Operations that are remembered; the oldest that have ended go first."""

_OWNER = "instance"
ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOperation:
    """An operation as it is kept; ``memory`` is empty for all memories, ``since`` an ISO date or empty. Times in microseconds."""

    operation_id: EventId
    kind: str
    subject: str
    state: str
    created_us: int
    updated_us: int
    tenant: str = ""
    memory: str = ""
    since: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    result: str = ""
    dry_run: bool = False


class OperationStore:
    """Operations of an instance."""

    def __init__(self, *, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def begin(self, kind: str, subject: str, *, tenant: str = "", memory: str = "", since: str = "") -> StoredOperation:
        """A new operation, queued."""
        now = self._clock.now()
        begun = StoredOperation(
            operation_id=new_ulid(now),
            kind=kind,
            subject=subject,
            state="queued",
            created_us=microseconds(now),
            updated_us=microseconds(now),
            tenant=tenant,
            memory=memory,
            since=since,
        )
        await self._records.put(KIND, _OWNER, begun.operation_id, _encode(begun), revision=0)
        await self._forget_oldest()
        return begun

    async def put(self, operation: StoredOperation, **changes: object) -> StoredOperation:
        """Store *operation* with *changes*."""
        changed = replace(operation, updated_us=microseconds(self._clock.now()), **changes)  # type: ignore[arg-type]
        await self._records.put(KIND, _OWNER, changed.operation_id, _encode(changed))
        return changed

    async def find(self, operation_id: str) -> StoredOperation | None:
        """An operation, or None."""
        record = await self._records.get(KIND, _OWNER, operation_id)
        return None if record is None else _decode(record)

    async def all(self, kind: str) -> Sequence[StoredOperation]:
        """The operations of *kind*, oldest first; one that cannot be read is left out and logged."""
        found = []
        for record in await self._records.list(KIND, _OWNER):
            try:
                operation = _decode(record)
            except Damaged as error:
                log.warning("record skipped", name=record.name, reason=error.detail)
                continue
            if operation.kind == kind:
                found.append(operation)
        return found

    async def _forget_oldest(self) -> None:
        records = await self._records.list(KIND, _OWNER)
        for record in records[: max(0, len(records) - KEPT)]:
            if _is_over(record):
                await self._records.delete(KIND, _OWNER, record.name)


def _is_over(record: Record) -> bool:
    """What cannot be read will never end."""
    try:
        return _decode(record).state in ENDED
    except Damaged:
        return True


def _encode(operation: StoredOperation) -> bytes:
    return pb.Operation(
        operation_id=operation.operation_id,
        kind=operation.kind,
        subject=operation.subject,
        state=operation.state,
        created_us=operation.created_us,
        updated_us=operation.updated_us,
        tenant=operation.tenant,
        memory=operation.memory,
        since=operation.since,
        done=operation.done,
        total=operation.total,
        error=operation.error,
        result=operation.result,
        dry_run=operation.dry_run,
    ).SerializeToString()


def _decode(record: Record) -> StoredOperation:
    try:
        stored = pb.Operation.FromString(record.value)
    except DecodeError as error:
        raise Damaged(f"the record of operation {record.name} cannot be read") from error
    return StoredOperation(
        operation_id=EventId(stored.operation_id),
        kind=stored.kind,
        subject=stored.subject,
        state=stored.state,
        created_us=stored.created_us,
        updated_us=stored.updated_us,
        tenant=stored.tenant,
        memory=stored.memory,
        since=stored.since,
        done=stored.done,
        total=stored.total,
        error=stored.error,
        result=stored.result,
        dry_run=stored.dry_run,
    )
