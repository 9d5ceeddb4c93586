"""A small real operation table, and the edge around it, for tests of the edge.

Belongs here: operations that exercise every way of answering. Does not belong here: anything of a service.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import httpx
import msgspec
from msgspec import Meta

from kalends.domain.credentials import RIGHTS
from kalends.domain.errors import KalendsError, Unavailable
from kalends.domain.scope import Tenant
from kalends.edge import listeners
from kalends.edge.auth import Authenticator
from kalends.edge.http import build_api
from kalends.edge.metrics import Metrics, new_metrics
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.services import Service
from kalends.edge.tokens import token_service
from kalends.settings import HttpSettings
from tests.support.records import MemoryRecords

TENANT = Tenant("acme")


class FixedClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def advance(self, **delta: float) -> None:
        self.moment += timedelta(**delta)


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body with most kinds of fields."""

    text: Annotated[str, Meta(min_length=1, max_length=1000)]
    count: int = 0
    weight: float | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    mode: Literal["a", "b"] = "a"
    labels: dict[str, str] = {}
    parts: tuple[int, ...] = ()
    anything: Any = None


class NoteQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of most kinds."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    order: Literal["asc", "desc"] = "asc"
    since: Annotated[datetime, Meta(tz=True)] | None = msgspec.field(default=None, name="from")
    share: float | None = None
    q: str | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body in which everything has a default."""

    dry_run: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler saw of its call."""

    memory: str | None
    path: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    query: Any = None
    request_id: str = ""
    raw_size: int = 0


async def echo(call: Call) -> Answer:
    """Answer with the call."""
    return Answer(
        body=Seen(
            memory=None if call.scope is None else call.scope.memory,
            path=dict(call.path),
            headers=dict(call.headers),
            body=call.body,
            query=call.query,
            request_id=call.request_id,
            raw_size=len(call.raw),
        )
    )


async def stall(call: Call) -> Answer:
    """Never answer."""
    await asyncio.Event().wait()
    return Answer()


async def throttled(call: Call) -> Answer:
    """Answer as an overloaded dependency does."""
    raise Unavailable("the lexicon is away", dependency="lexicon", retry_after=1.2)


def failing(error: BaseException) -> Callable[[Call], Awaitable[Answer]]:
    """A handler that raises *error*."""

    async def handle(call: Call) -> Answer:
        raise error

    return handle


def operations(*extra: Operation) -> tuple[Operation, ...]:
    """The table: one row for each shape of operation."""
    plain: dict[str, Any] = {"right": "search", "answer": Seen, "handle": echo}
    notes = "/memories/{memory}/notes"
    return (
        Operation(
            name="notes.add",
            method="POST",
            path=notes,
            summary="Add.",
            body=Note,
            status=202,
            subject="notes.add",
            **{**plain, "right": "append"},
        ),
        Operation(name="notes.list", method="GET", path=notes, summary="List.", query=NoteQuery, subject="notes.list", **plain),
        Operation(name="notes.get", method="GET", path=notes + "/{id}", summary="Get.", subject="notes.get", **plain),
        Operation(name="notes.batch", method="POST", path="/memories/{memory}/batch", summary="Batch.", body=Note, lenient=True, **plain),
        Operation(name="jobs.run", method="POST", path="/jobs/{name}/run", summary="Run.", body=Options, **{**plain, "right": "admin"}),
        Operation(name="stall", method="GET", path="/stall", summary="Stall.", **{**plain, "handle": stall}),
        Operation(name="away", method="GET", path="/away", summary="Be away.", **{**plain, "handle": throttled}),
        *extra,
    )


@dataclass(kw_only=True)
class Edge:
    """The edge over real sockets, with an admin's token."""

    client: httpx.AsyncClient
    authenticator: Authenticator
    records: MemoryRecords
    clock: FixedClock
    metrics: Metrics
    admin: str
    services: tuple[Service, ...] = ()
    port: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def bearer(self, token: str | None = None) -> dict[str, str]:
        return {"authorization": f"Bearer {token or self.admin}"}

    async def token(self, *, memories: list[str] | None = None, rights: tuple[str, ...] = ("search",), **given: Any) -> str:
        secret, _ = await self.authenticator.issue(TENANT, memories=memories, rights=rights, **given)
        return secret


@contextlib.asynccontextmanager
async def hosted(*extra: Operation, settings: HttpSettings | None = None) -> AsyncIterator[Edge]:
    """The table served on a free loopback port."""
    settings = settings or HttpSettings(deadline_s=10.0, body_bytes=64 * 1024)
    clock, records, metrics = FixedClock(), MemoryRecords(), new_metrics(version="0.0.0")
    authenticator = Authenticator(records, clock=clock)
    services = (Service(name="notes", operations=operations(*extra)), token_service(authenticator, clock=clock))
    api = build_api(services, authenticator=authenticator, settings=settings, metrics=metrics, version="0.0.0")
    listening = listeners.bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(authenticator.run()),
            tasks.create_task(listeners.serve(api, listening, drain_s=1.0, ready=ready)),
        ]
        async with asyncio.timeout(10):
            await authenticator.wait_ready()
            await ready.wait()
        admin, _ = await authenticator.issue(TENANT, memories=None, rights=RIGHTS)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", headers={"authorization": f"Bearer {admin}"}) as client:
            yield Edge(
                client=client,
                authenticator=authenticator,
                records=records,
                clock=clock,
                metrics=metrics,
                admin=admin,
                services=services,
                port=port,
            )
        for task in running:
            task.cancel()


def raised(error: BaseException) -> BaseException:
    """*error* as it looks after being raised, with a traceback."""

    def fail() -> None:
        raise error

    try:
        fail()
    except BaseException as caught:  # noqa: BLE001 - it is handed back, not swallowed
        return caught
    return error


def error_types() -> list[type[KalendsError]]:
    """Every error type of the platform that was imported; the client's own, and a module's private ones, reach nobody through an edge."""
    found = [KalendsError]
    for kind in found:
        ours = [child for child in kind.__subclasses__() if child.__module__.startswith("kalends.") and not _of_client(child)]
        found += [child for child in ours if not child.__name__.startswith("_")]
    return found


def _of_client(kind: type[KalendsError]) -> bool:
    return kind.__module__.startswith("kalends.client.")
