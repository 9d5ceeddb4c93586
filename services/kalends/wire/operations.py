"""Operations that outlive the process that began them: one record each.

Belongs here: the record's mapping and its store. Does not belong here: who does the work and when (``running``), or the work itself. A
newcomer would get wrong: only how an operation stands is kept, and not what is left to do; that is found in the projection it is about.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.errors import Damaged
from kalends.domain.events import EventId, microseconds, new_ulid
from kalends.domain.operations import LongOperation
from kalends.ports.clock import Clock
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

log = structlog.get_logger(__name__)

KIND = "operation"
KEPT = 100
"""Operations that are remembered; the oldest that have ended go first."""

_OWNER = "instance"


class OperationStore:
    """Operations of an instance."""

    def __init__(self, *, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def begin(self, kind: str, subject: str, **more: object) -> LongOperation:
        """A new operation, queued; *more* are further fields of it."""
        now = self._clock.now()
        begun = LongOperation(
            operation_id=new_ulid(now),
            kind=kind,
            subject=subject,
            state="queued",
            created_us=microseconds(now),
            updated_us=microseconds(now),
        )
        begun = replace(begun, **more)  # type: ignore[arg-type]
        revision = await self._records.put(KIND, _OWNER, begun.operation_id, encode(begun), revision=0)
        await self._forget_oldest()
        return replace(begun, revision=revision)

    async def put(self, operation: LongOperation, **changes: object) -> LongOperation:
        """Store *operation* with *changes*.

        Raises:
            Conflict: it was changed since *operation* was read.
        """
        changed = replace(operation, updated_us=microseconds(self._clock.now()), **changes)  # type: ignore[arg-type]
        revision = await self._records.put(KIND, _OWNER, changed.operation_id, encode(changed), revision=operation.revision)
        return replace(changed, revision=revision)

    async def watch(self) -> AsyncGenerator[LongOperation | None, None]:
        """Every operation that exists now, then None once, then each change as it comes; what was forgotten or is unreadable is left out.

        Raises:
            Unavailable, DeadlineExceeded: the store did not answer at the start.
        """
        async with aclosing(self._records.watch(KIND)) as changes:
            async for record in changes:
                if record is None:
                    yield None
                elif not record.deleted:
                    operation = _readable(record)
                    if operation is not None:
                        yield operation

    async def find(self, operation_id: str) -> LongOperation | None:
        """An operation, or None."""
        record = await self._records.get(KIND, _OWNER, operation_id)
        return None if record is None else decode(record)

    async def all(self, kind: str) -> Sequence[LongOperation]:
        """The operations of *kind*, oldest first; one that cannot be read is left out and logged."""
        found = (_readable(record) for record in await self._records.list(KIND, _OWNER))
        return [operation for operation in found if operation is not None and operation.kind == kind]

    async def _forget_oldest(self) -> None:
        records = await self._records.list(KIND, _OWNER)
        for record in records[: max(0, len(records) - KEPT)]:
            if _is_over(record):
                await self._records.delete(KIND, _OWNER, record.name)


def _is_over(record: Record) -> bool:
    """What cannot be read will never end."""
    operation = _readable(record)
    return operation is None or operation.has_ended


def _readable(record: Record) -> LongOperation | None:
    try:
        return decode(record)
    except Damaged as error:
        log.warning("record skipped", name=record.name, reason=error.detail)
        return None


def encode(operation: LongOperation) -> bytes:
    """The bytes of an operation's record."""
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
        place=operation.place,
        arguments=operation.arguments,
    ).SerializeToString()


def decode(record: Record) -> LongOperation:
    """The operation that a record holds.

    Raises:
        Damaged: the bytes are not what ``encode`` makes.
    """
    try:
        stored = pb.Operation.FromString(record.value)
    except DecodeError as error:
        raise Damaged(f"the record of operation {record.name} cannot be read") from error
    return LongOperation(
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
        place=stored.place,
        arguments=dict(stored.arguments),
        revision=record.revision,
    )
