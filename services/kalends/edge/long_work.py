"""Long work: the operations that a person started and asks about later, whichever service does them.

Belongs here: their common shape, and ``/operations``. Does not belong here: doing any. A newcomer would get wrong: a service lists its own
work in ``Service.long_work``; the routes exist once in a process and ask all of them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from kalends.domain.errors import NotFound
from kalends.domain.events import moment
from kalends.domain.operations import LongOperation
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.edge.operations import Answer, Call, Operation


class LongWork(Protocol):
    """What a service does for long."""

    async def find(self, operation_id: str) -> LongOperation | None:
        """One of this service's operations."""
        ...

    async def all(self) -> Sequence[LongOperation]:
        """This service's operations."""
        ...

    async def cancel(self, operation_id: str) -> None:
        """Stop one of this service's operations.

        Raises:
            Conflict: it has ended already.
        """
        ...


class OperationStarted(Struct, frozen=True, kw_only=True):
    """Where to ask how it goes."""

    operation_id: str


class OperationOut(Struct, frozen=True, kw_only=True):
    """A long piece of work: ``state`` is queued, running, succeeded, failed or cancelled; ``done`` of ``total``."""

    operation_id: str
    kind: str
    projection: str
    state: str
    done: int
    total: int
    error: str | None
    result: str | None
    dry_run: bool
    created_at: datetime
    updated_at: datetime


class OperationList(Struct, frozen=True, kw_only=True):
    """Operations, newest first."""

    items: list[OperationOut]
    next_cursor: str | None = None


class OperationsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the list goes on."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class LongWorkRoutes:
    """``/operations``."""

    def __init__(self, providers: Sequence[LongWork]) -> None:
        self._providers = providers

    async def show(self, call: Call) -> Answer:
        """One operation."""
        _, work = await self._find(call.path["operation_id"])
        return Answer(body=work_out(work))

    async def list(self, call: Call) -> Answer:
        """Operations, newest first."""
        query: OperationsQuery = call.query
        before = str(decode_cursor(query.cursor, bound_to="operations", shape=(str,))[0]) if query.cursor else "~"
        every = [work for provider in self._providers for work in await provider.all()]
        found = sorted((work for work in every if work.operation_id < before), key=lambda work: work.operation_id, reverse=True)
        page = found[: query.limit]
        cursor = encode_cursor([page[-1].operation_id], bound_to="operations") if len(found) > len(page) else None
        return Answer(body=OperationList(items=[work_out(work) for work in page], next_cursor=cursor))

    async def cancel(self, call: Call) -> Answer:
        """Cancel an operation that has not ended."""
        provider, work = await self._find(call.path["operation_id"])
        await provider.cancel(work.operation_id)
        _, work = await self._find(work.operation_id)
        return Answer(body=work_out(work))

    async def _find(self, operation_id: str) -> tuple[LongWork, LongOperation]:
        for provider in self._providers:
            work = await provider.find(operation_id)
            if work is not None:
                return provider, work
        raise NotFound("no such operation")


def work_out(work: LongOperation) -> OperationOut:
    """*work* as JSON."""
    return OperationOut(
        operation_id=work.operation_id,
        kind=work.kind,
        projection=work.subject,
        state=work.state,
        done=work.done,
        total=work.total,
        error=work.error or None,
        result=work.result or None,
        dry_run=work.dry_run,
        created_at=moment(work.created_us),
        updated_at=moment(work.updated_us),
    )


def operations(providers: Sequence[LongWork]) -> list[Operation]:
    """The rows for long work; all need ``admin``."""
    routes = LongWorkRoutes(providers)
    return [
        Operation(
            name="operations.list",
            method="GET",
            path="/operations",
            right="admin",
            summary="Long work, newest first",
            handle=routes.list,
            answer=OperationList,
            query=OperationsQuery,
        ),
        Operation(
            name="operations.show",
            method="GET",
            path="/operations/{operation_id}",
            right="admin",
            summary="How one piece of long work goes",
            handle=routes.show,
            answer=OperationOut,
        ),
        Operation(
            name="operations.cancel",
            method="DELETE",
            path="/operations/{operation_id}",
            right="admin",
            summary="Cancel long work",
            handle=routes.cancel,
            answer=OperationOut,
        ),
    ]
