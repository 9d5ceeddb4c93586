"""The NATS edge: the same table as micro services, and notices without content.

Belongs here: what is particular to request and reply over NATS. Does not belong here: the log (``adapters/nats``), or what both
transports share (``dispatch``). A newcomer would get wrong: a handler of nats-py's micro services must neither raise, since the error's
repr would be sent to the caller, nor take its time, since each subscription waits for it; so it only starts a task.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import nats.errors
import structlog
from nats import micro
from nats.aio.client import Client
from nats.micro.request import Request
from nats.micro.service import Service as MicroService

from kalends.domain.credentials import Principal
from kalends.domain.errors import Fault, Invalid, KalendsError, Malformed, NotFound, TooLarge
from kalends.domain.scope import MemoryName, Scope, token
from kalends.edge import decoding, dispatch, logs, problems, tracing
from kalends.edge.auditing import Audit, NoAudit
from kalends.edge.auth import Authenticator
from kalends.edge.dispatch import Refused, Route, tell_nobody
from kalends.edge.limits import Limits
from kalends.edge.metrics import Metrics
from kalends.edge.operations import Answer, Call
from kalends.edge.services import Service
from kalends.kit.tasks import heeded
from kalends.settings import HttpSettings

log = structlog.get_logger(__name__)

PREFIX = "kalends.v1"
QUEUE = "kalends"
STATUS_HEADER = "Kalends-Status"
"""The HTTP status of a success, so that 202 and 200 can be told apart."""

ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(Any)
_HEADER_ROOM = 4096
_INBOX = "_INBOX"
_PRIVATE_HEADERS = frozenset({"authorization", "cookie"})


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What subscribers of ``out`` learn: ids, never content."""

    event_ids: Sequence[str] = ()
    node_ids: Sequence[str] = ()
    stream: str = ""
    sequence: int = 0
    visibility: str = ""
    projection: str = ""
    code: str = ""


async def notice(client: Client, scope: Scope, kind: Literal["indexed", "summarized", "erased", "failed"], body: Notice) -> None:
    """Tell whoever listens to the memory, at most once. What cannot be sent is dropped and logged."""
    subject = f"{PREFIX}.{token(scope.tenant)}.{token(scope.memory)}.out.{kind}"
    try:
        await client.publish(subject, problems.encode(body), headers=tracing.headers() or None)
    except nats.errors.Error as error:
        log.warning("a notice was dropped", kind=kind, error_type=type(error).__name__)


@dataclass(kw_only=True)
class NatsEdge:
    """Answers the table's rows that have a subject, until cancelled; host ``run`` as a loop.

    At most *concurrency* requests run at once; more wait in their subscriptions. A cancelled ``run`` stops listening, gives running
    requests ``settings.drain_s`` seconds, and only then leaves.
    """

    client: Client
    services: Sequence[Service]
    authenticator: Authenticator
    settings: HttpSettings
    metrics: Metrics
    version: str
    refused: Refused = tell_nobody
    audit: Audit = field(default_factory=NoAudit)
    limits: Limits | None = None
    concurrency: int = 64
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _running: set["asyncio.Task[None]"] = field(default_factory=set)

    async def run(self) -> None:
        """Serve until cancelled."""
        slots = asyncio.Semaphore(self.concurrency)
        async with asyncio.TaskGroup() as tasks:
            listening: list[MicroService] = []
            try:
                with heeded():
                    for service in self.services:
                        rows = [row for row in self._routes() if row.service == service.name]
                        if rows:
                            listening.append(await self._listen(service.name, rows, tasks, slots))
                    # nats-py writes a flush's PING past the subscriptions that it still buffers; only the second one comes after them.
                    for _ in range(2):
                        await self.client.flush(timeout=max(1, round(self.settings.deadline_s)))
                self.ready.set()
                await asyncio.Event().wait()
            finally:
                self.ready.clear()
                await self._leave(listening)

    def _routes(self) -> list[Route]:
        table = dispatch.routes(self.services, metrics=self.metrics, transport="nats")
        return [row for row in table if row.operation.subject is not None]

    async def _listen(self, name: str, rows: Sequence[Route], tasks: asyncio.TaskGroup, slots: asyncio.Semaphore) -> MicroService:
        listening = await micro.add_service(
            self.client, name=f"kalends-{name}", version=self.version, description=f"Kalends: {name}", queue_group=QUEUE
        )
        for row in rows:
            subject = str(row.operation.subject)
            await listening.add_endpoint(
                name=subject.replace(".", "-"),
                subject=f"{PREFIX}.*.*.{subject}",
                handler=self._starter(row, tasks, slots),
                metadata={"operation": row.operation.name, "right": row.operation.right},
            )
        return listening

    def _starter(self, row: Route, tasks: asyncio.TaskGroup, slots: asyncio.Semaphore) -> Any:
        async def start(request: Request) -> None:
            await slots.acquire()
            task = tasks.create_task(self._answer(row, request), name=f"nats {row.operation.name}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            task.add_done_callback(lambda _: slots.release())

        return start

    async def _leave(self, listening: Sequence[MicroService]) -> None:
        for service in listening:
            try:
                async with asyncio.timeout(self.settings.deadline_s):
                    await service.stop()
            except (nats.errors.Error, TimeoutError) as error:
                log.warning("a subscription was not closed in order", error_type=type(error).__name__)
        if self._running:
            await asyncio.wait(set(self._running), timeout=self.settings.drain_s)

    async def _answer(self, row: Route, request: Request) -> None:
        """Answer one request, whatever happens; only cancellation passes through."""
        started = time.perf_counter()
        headers = {name.lower(): value for name, value in (request.headers or {}).items()}
        with tracing.span(row.operation.name, parent=tracing.parse(headers.get(tracing.HEADER)), kind="server") as context:
            request_id = dispatch.safe_request_id(headers.get("x-request-id")) or context.trace_id
            logs.request_id.set(request_id)
            headers[tracing.HEADER] = context.traceparent
            outcome, principal = "ok", None
            try:
                principal = await self.authenticator.identify(headers.get("authorization"))
                answer = await self._call(row, request, principal, headers, request_id)
                body = self._encoded(answer)
                shown = {STATUS_HEADER: str(answer.status or row.operation.status)}
            except Exception as error:  # noqa: BLE001 - the edge reports whatever a handler raises, as a problem
                row.settle(error, principal, refused=self.refused)
                told = problems.problem_of(error, request_id=request_id)
                outcome, body = told.code, problems.encode(told)
                shown = {ERROR_CODE_HEADER: str(told.status), ERROR_HEADER: told.title}
            await self._reply(request, principal, body, {**shown, "X-Request-Id": request_id})
            seconds = time.perf_counter() - started
            tracing.ended(outcome)
            row.meter.observe(outcome, seconds=seconds, trace_id=context.trace_id if context.sampled else None)

    def _encoded(self, answer: Answer) -> bytes:
        body = b"" if answer.body is None else problems.encode(answer.body)
        if len(body) > self.client.max_payload - _HEADER_ROOM:
            raise TooLarge("the answer does not fit a NATS message; ask for less, or over HTTP")
        return body

    async def _reply(self, request: Request, principal: Principal | None, body: bytes, headers: dict[str, str]) -> None:
        # The caller chooses the reply subject and the broker does not check it, but we may publish anywhere: an answer goes to an inbox or
        # nowhere, or a caller could have us call the broker's own interface, or answer somebody who has not asked.
        reply = request._msg.reply or ""  # noqa: SLF001 - nats.micro does not show the reply subject
        if not reply.startswith(_INBOX) or self._somebody_elses(reply, principal):
            log.warning("an answer was not sent: its reply subject is no inbox of the caller")
            return
        try:
            await request.respond(body, headers=headers)
        except (nats.errors.Error, ValueError) as error:
            # ValueError: there is no reply subject. Nobody waits for this answer, or nobody can be told.
            log.warning("an answer could not be sent", error_type=type(error).__name__)

    def _somebody_elses(self, reply: str, principal: Principal | None) -> bool:
        """Whether *reply* is the inbox of another token than the caller's."""
        owner = reply.removeprefix(f"{_INBOX}_").partition(".")[0]
        if principal is None or owner == principal.token_id:
            return False
        return any(owner == holder.id for holder in self.authenticator.holders())

    async def _call(self, row: Route, request: Request, principal: Principal, headers: Mapping[str, str], request_id: str) -> Answer:
        operation = row.operation
        scope = row.authorize(principal, _memory(principal, request.subject))
        if scope is None:
            raise KalendsError("an operation with a subject is about a memory")
        if len(request.data) > self.settings.body_bytes:
            raise TooLarge(f"the request is larger than {self.settings.body_bytes} bytes")
        path, query, raw = split(row, request.data)
        deadline = asyncio.get_running_loop().time() + self.settings.deadline_s
        async with asyncio.timeout_at(deadline):
            call = Call(
                principal=principal,
                scope=scope,
                path={**path, "memory": scope.memory},
                query=dispatch.query(operation, query),
                body=row.body(raw),
                raw=raw,
                headers={name: value for name, value in headers.items() if name not in _PRIVATE_HEADERS},
                request_id=request_id,
                deadline=deadline,
            )
            return await row.perform(call, audit=self.audit, limits=self.limits)


def _memory(principal: Principal, subject: str) -> MemoryName:
    """The memory that *subject* names for *principal*.

    Raises:
        NotFound: the subject is another tenant's, or names a memory that the principal cannot have.
    """
    tenant, memory = subject.split(".")[2:4]
    if tenant != token(principal.tenant):
        raise NotFound("no such memory", reason="foreign_memory")
    if not memory.startswith("x--"):
        return MemoryName(memory)
    # A digest cannot be read back, but a principal with a list can be searched for the name that it was made of.
    found = next((name for name in principal.memories or () if token(name) == memory), None)
    if found is None:
        raise NotFound("no such memory", reason="foreign_memory")
    return MemoryName(found)


def split(row: Route, raw: bytes) -> tuple[dict[str, str], dict[str, Any], bytes]:
    """Take the members of *raw* that are path and query parameters out of it: path, query, and what is left as JSON.

    Raises:
        Malformed: no JSON object. Invalid: a path parameter is missing or no text.
    """
    operation = row.operation
    path_names = [name for name in dispatch.parameters(operation.path) if name != "memory"]
    query_names = [] if operation.query is None else [member.encode_name for member in msgspec.structs.fields(operation.query)]
    if operation.body is not None and not path_names and not query_names:
        return {}, {}, raw
    members: dict[str, msgspec.Raw] = decoding.body_of(_MEMBERS, raw or b"{}")
    path: dict[str, str] = {}
    for name in path_names:
        value = decoding.body_of(_ANY, bytes(members.pop(name, b"null")))
        if not isinstance(value, str) or not value or "\0" in value:
            detail = "is required and must be text without NUL"
            raise Invalid(f"{name} {detail}", faults=[Fault(pointer=f"/{name}", detail=detail, code="missing")])
        path[name] = value
    query = {name: decoding.body_of(_ANY, bytes(members.pop(name))) for name in query_names if name in members}
    if operation.body is None and members:
        name = next(iter(members))
        raise Invalid(
            f"{name} is not a known field",
            faults=[Fault(pointer=f"/{decoding.escaped(name)}", detail="is not a known field", code="unknown_field")],
        )
    try:
        return path, query, msgspec.json.encode(members)
    except (UnicodeEncodeError, ValueError):
        raise Malformed("the body is not valid UTF-8") from None
