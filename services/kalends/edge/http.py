"""The HTTP edge: every row of the operation table, over one raw litestar handler.

Belongs here: what is particular to HTTP. Does not belong here: what an operation does, or what both transports share (``dispatch``).
A newcomer would get wrong: the API is mounted into litestar as a raw ``asgi`` handler. Litestar isolates what goes wrong around a request;
its argument injection and response classes cost more than the rest of a small request together and are not used, because the table
already says how a call is decoded. Its router is not used either: it decodes a path before it splits it, and fails for raw handlers
with path parameters.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request, Response, asgi
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import HTTPScope, Receive, Scope, Send
from prometheus_client import Gauge

from kalends.domain.credentials import NOBODY, Principal
from kalends.domain.errors import KalendsError, Malformed, NotFound, TooLarge, UnsupportedMedia
from kalends.edge import decoding, dispatch, logs, openapi, problems, tracing
from kalends.edge.auditing import Audit, NoAudit
from kalends.edge.auth import Authenticator
from kalends.edge.dispatch import Refused, Route, tell_nobody
from kalends.edge.limits import Limits
from kalends.edge.metrics import Meter, Metrics
from kalends.edge.operations import Answer, Call
from kalends.edge.routing import Router
from kalends.edge.services import Service
from kalends.settings import HttpSettings

BASE = "/v1"
_FIXED_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_JSON = ("application/json", "application/json; charset=utf-8", "application/json;charset=utf-8")


class _ClientLeft(Exception):
    """The client closed the connection before its body was complete."""


class _Resource:
    """All operations of one path."""

    def __init__(self, methods: Mapping[str, Route]) -> None:
        self.methods = methods
        allowed = sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})
        self.allow = (b"allow", ", ".join(allowed).encode())


_DOCUMENT = _Resource({})
_DOCUMENT.allow = (b"allow", b"GET, HEAD, OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """What answering needs."""

    authenticator: Authenticator
    refused: Refused
    audit: Audit
    limits: Limits | None
    settings: HttpSettings
    router: Router[_Resource]
    document: bytes
    unrouted: Meter
    in_flight: Gauge


def build_api(
    services: Sequence[Service],
    *,
    authenticator: Authenticator,
    settings: HttpSettings,
    metrics: Metrics,
    version: str,
    refused: Refused = tell_nobody,
    audit: Audit | None = None,
    limits: Limits | None = None,
) -> Litestar:
    """The API of *services* as an application; ``listeners.serve`` hosts it.

    Raises:
        Misconfigured: the operation table contradicts itself.
    """
    table = dispatch.routes(services, metrics=metrics, transport="http")
    described = openapi.document([route.operation for route in table], version=version, base=BASE)
    templates: dict[str, dict[str, Route]] = {}
    for route in table:
        templates.setdefault(BASE + route.operation.path, {})[route.operation.method] = route
    edge = _Edge(
        authenticator=authenticator,
        refused=refused,
        audit=audit or NoAudit(),
        limits=limits,
        settings=settings,
        router=Router({template: _Resource(methods) for template, methods in templates.items()}),
        document=problems.encode(described),
        unrouted=metrics.meter(service="edge", transport="http", operation="unrouted"),
        in_flight=metrics.requests_in_flight.labels("http"),
    )

    @asgi("/", is_mount=True, copy_scope=False)
    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            with edge.in_flight.track_inprogress():
                await _route(edge, scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    return Litestar(
        route_handlers=[api], openapi_config=None, logging_config=None, exception_handlers={HTTPException: _outside, Exception: _outside}
    )


def _outside(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """What litestar answers where a request does not reach the API, or where the edge itself failed."""
    request_id = _request_id(_joined(request.scope["headers"]))
    named = Malformed("the request's target or host cannot be read") if isinstance(error, HTTPException) else error
    told = problems.problem_of(named, request_id=request_id)
    headers = {name.decode(): value.decode() for name, value in (*_FIXED_HEADERS, (b"x-request-id", request_id.encode()))}
    return Response(problems.encode(told), status_code=told.status, media_type=problems.CONTENT_TYPE, headers=headers)


async def _route(edge: _Edge, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Find the row that is asked for; what has none is told so before any credential is looked at."""
    raw_path = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path else scope["path"]
    method = scope["method"]
    if path == f"{BASE}/openapi.json":
        resource, values = _DOCUMENT, dict[str, str]()
    else:
        found = edge.router.find(path)
        if found is None:
            told = problems.problem_of(NotFound("no such route"), request_id=_request_id(_joined(scope["headers"])))
            edge.unrouted.observe(told.code, seconds=0.0, trace_id=None)
            await _refuse(send, told, head=method == "HEAD")
            return
        resource, values = found
    route = resource.methods.get("GET" if method == "HEAD" else method)
    if route is not None:
        await _answer(edge, route, values, scope, receive, send)
    elif resource is _DOCUMENT and method in ("GET", "HEAD"):
        headers = [(b"content-type", b"application/json")]
        await _send(send, status=200, headers=headers, body=edge.document, head=method == "HEAD")
    elif method == "OPTIONS":
        await _send(send, status=204, headers=[resource.allow], body=b"")
    else:
        told = problems.method_not_allowed(_request_id(_joined(scope["headers"])))
        edge.unrouted.observe(told.code, seconds=0.0, trace_id=None)
        await _refuse(send, told, resource.allow)


async def _answer(edge: _Edge, route: Route, values: Mapping[str, str], scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Answer one request, whatever happens; only cancellation passes through."""
    started = time.perf_counter()
    headers = _joined(scope["headers"])
    parent = tracing.parse(headers.get(tracing.HEADER))
    with tracing.span(route.operation.name, parent=parent, kind="server") as context:
        request_id = dispatch.safe_request_id(headers.get("x-request-id")) or context.trace_id
        logs.request_id.set(request_id)
        headers[tracing.HEADER] = context.traceparent
        outcome, principal = "ok", None
        try:
            principal = NOBODY if route.operation.open else await edge.authenticator.identify(headers.get("authorization"))
            answer = await _call(edge, route, principal, values, scope["query_string"], receive, headers, request_id)
            body = b"" if answer.body is None else problems.encode(answer.body)
            status = answer.status or route.operation.status
            extra = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in answer.headers.items()]
            if body and "content-type" not in answer.headers:
                extra.append((b"content-type", b"application/json"))
        except _ClientLeft:
            tracing.ended("client_left")
            route.meter.observe("client_left", seconds=time.perf_counter() - started, trace_id=None)
            return
        except Exception as error:  # noqa: BLE001 - the edge reports whatever a handler raises, as a problem
            route.settle(error, principal, refused=edge.refused)
            told = problems.problem_of(error, request_id=request_id)
            outcome, status, body, extra = told.code, told.status, problems.encode(told), _problem_headers(told)
        extra.append((b"x-request-id", request_id.encode()))
        await _send(send, status=status, headers=extra, body=body, head=scope["method"] == "HEAD")
        seconds = time.perf_counter() - started
        tracing.ended(outcome)
        route.meter.observe(outcome, seconds=seconds, trace_id=context.trace_id if context.sampled else None)


async def _call(
    edge: _Edge,
    route: Route,
    principal: Principal,
    values: Mapping[str, str],
    query_string: bytes,
    receive: Receive,
    headers: Mapping[str, str],
    request_id: str,
) -> Answer:
    """Check, decode and handle; the deadline covers the reading of the body too."""
    operation = route.operation
    path = {name: dispatch.checked_parameter(name, value) for name, value in values.items()}
    memory = route.authorize(principal, path.get("memory"))
    deadline = asyncio.get_running_loop().time() + edge.settings.deadline_s
    async with asyncio.timeout_at(deadline):
        raw = b"" if operation.body is None else await _body(route, headers, receive, limit=edge.settings.body_bytes)
        query = dispatch.query(operation, decoding.parameters_of(query_string))
        call = Call(
            principal=principal,
            scope=memory,
            path=path,
            query=query,
            body=route.body(raw),
            raw=raw,
            headers={name: value for name, value in headers.items() if name not in _PRIVATE_HEADERS},
            request_id=request_id,
            deadline=deadline,
        )
        return await route.perform(call, audit=edge.audit, limits=edge.limits)


async def _body(route: Route, headers: Mapping[str, str], receive: Receive, *, limit: int) -> bytes:
    """The whole body, refused by its type and size as early as they are known."""
    length = headers.get("content-length")
    too_large = f"the body is larger than {limit} bytes"
    if length is not None and length.isdecimal() and int(length[:20]) > limit:
        raise TooLarge(too_large)
    declared = headers.get("content-type")
    empty_allowed = route.body_optional and declared is None
    if not empty_allowed and (declared is None or declared.lower() not in _JSON):
        raise UnsupportedMedia("the body must be application/json in UTF-8")
    message: Any = await receive()
    if message["type"] == "http.disconnect":
        raise _ClientLeft
    first: bytes = message.get("body", b"")
    if not message.get("more_body"):
        chunks, size = [first], len(first)
    else:
        chunks, size = await _rest(receive, first, limit=limit)
    if size > limit:
        raise TooLarge(too_large)
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if body and declared is None:
        raise UnsupportedMedia("the body must be application/json in UTF-8")
    return body


async def _rest(receive: Receive, first: bytes, *, limit: int) -> tuple[list[bytes], int]:
    """The chunks from *first* on and their size; stops reading once that is over *limit*."""
    chunks, size, more = [first], len(first), True
    while more and size <= limit:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = message.get("more_body", False)
    return chunks, size


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; a repeated one is joined as RFC 9110 says, which makes two credentials one that nobody has."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _request_id(headers: Mapping[str, str]) -> str:
    return dispatch.safe_request_id(headers.get("x-request-id")) or tracing.begin(None).trace_id


def _problem_headers(told: problems.Problem) -> list[tuple[bytes, bytes]]:
    found = [(b"content-type", problems.CONTENT_TYPE.encode())]
    if told.retry_after_s is not None:
        found.append((b"retry-after", str(max(1, -int(-told.retry_after_s // 1))).encode()))
    if told.status == 401:
        found.append((b"www-authenticate", b'Bearer realm="kalends"'))
    return found


async def _refuse(send: Send, told: problems.Problem, *headers: tuple[bytes, bytes], head: bool = False) -> None:
    shown = [*headers, *_problem_headers(told), (b"x-request-id", told.request_id.encode())]
    await _send(send, status=told.status, headers=shown, body=problems.encode(told), head=head)


async def _send(send: Send, *, status: int, headers: list[tuple[bytes, bytes]], body: bytes, head: bool = False) -> None:
    """Send a whole answer; to HEAD, all but its body."""
    shown = [*headers, *_FIXED_HEADERS]
    if status not in (204, 304):
        shown.append((b"content-length", str(len(body)).encode()))
    for _, value in shown:
        if b"\r" in value or b"\n" in value:
            raise KalendsError("a header must not hold a line break")
    await send({"type": "http.response.start", "status": status, "headers": shown})
    await send({"type": "http.response.body", "body": b"" if head else body, "more_body": False})
