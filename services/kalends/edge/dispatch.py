"""Dispatch: from a row of the table to something that a transport can call.

Belongs here: what both transports do alike (rights, decoders, request ids, counting). Does not belong here: how bytes arrive. A newcomer
would get wrong: the order is part of the contract. The credential comes first (401), then whose memory it is (404), then the right (403),
and only then is anything read of the body, so that nobody learns from an error about somebody else's memory.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kalends.domain.credentials import Principal, require, require_every_label, scope_for
from kalends.domain.errors import Fault, Forbidden, Invalid, KalendsError, Misconfigured, NotFound, Unauthenticated
from kalends.domain.scope import Scope, memory_name
from kalends.edge import decoding
from kalends.edge.auditing import Audit
from kalends.edge.limits import Limits
from kalends.edge.metrics import Meter, Metrics
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.services import Service

_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_REFUSALS: Mapping[type[KalendsError], str] = {Unauthenticated: "credential", Forbidden: "right", NotFound: "absent"}
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


Refused = Callable[[Principal | None, Operation, str], None]
"""Told of every call that is refused: who asked (None: not known), for which operation, and why, in a word. It neither waits nor raises."""


def tell_nobody(principal: Principal | None, operation: Operation, reason: str) -> None:
    """What is called where nobody keeps account of refusals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An operation, ready to be called: decoders are built, labels are bound."""

    operation: Operation
    service: str
    meter: Meter
    decoder: "msgspec.json.Decoder[Any] | None"
    body_optional: bool
    """Every field has a default, so that an empty body means ``{}``."""

    def authorize(self, principal: Principal, memory: str | None) -> Scope | None:
        """The scope of a call by *principal* on *memory*, None where the operation has none.

        Raises:
            Invalid: that is no memory's name. NotFound: not the principal's memory. Forbidden: the right is missing, or a label.
        """
        right = self.operation.right
        if memory is None:
            if right:
                require(principal, right=right)
            scope = None
        else:
            scope = scope_for(principal, memory_name(memory), right=right)
        if self.operation.every_label:
            require_every_label(principal)
        return scope

    def settle(self, error: BaseException, principal: Principal | None, *, refused: Refused) -> None:
        """Count *error*, and tell *refused* of it, if it is a refusal: 401, 403 or 404, whoever raised it and over whatever transport."""
        if not isinstance(error, KalendsError):
            return
        for kind, reason in _REFUSALS.items():
            if isinstance(error, kind):
                self.meter.metrics.refused.labels(error.reason or reason).inc()
                refused(principal, self.operation, error.reason or reason)
                return

    async def perform(self, call: Call, *, audit: Audit, limits: Limits | None = None) -> Answer:
        """Handle *call* within *limits*, in its turn, and as ``recorded`` says.

        Raises:
            Throttled: it is too much. And what ``recorded`` raises.
        """
        if limits is None:
            return await self.recorded(call, audit=audit)
        limits.admit(call)
        async with limits.turn(call, self.operation) as turned:
            answer = await self.recorded(turned, audit=audit)
        limits.charge(call, answer)
        return answer

    async def recorded(self, call: Call, *, audit: Audit) -> Answer:
        """Handle *call*; one that may change something is in *audit* before its outcome is told, refusals apart (``settle``).

        Raises:
            Throttled, Unavailable: the audit takes nothing now. And whatever the handler raises.
        """
        operation = self.operation
        if not operation.changes:
            return await operation.handle(call)
        audit.admit(operation)
        try:
            answer = await operation.handle(call)
        except asyncio.CancelledError:
            audit.unknown(call, operation)
            raise
        except tuple(_REFUSALS):
            raise
        except Exception as error:
            await audit.changed(call, operation, getattr(error, "code", KalendsError.code))
            raise
        await audit.changed(call, operation, answer.outcome)
        return answer

    def body(self, raw: bytes) -> Any:
        """The decoded body; None for lenient operations, which decode by themselves, and those without one.

        Raises:
            Malformed, Invalid: as ``decoding.body_of``.
        """
        if self.decoder is None or self.operation.lenient:
            return None
        return decoding.body_of(self.decoder, raw or b"{}" if self.body_optional else raw)


def routes(services: Sequence[Service], *, metrics: Metrics, transport: str) -> list[Route]:
    """Every operation of *services* for one transport, in the table's order.

    Raises:
        Misconfigured: two rows have one name, or one method and path, or a row has a method that does not exist.
    """
    found: list[Route] = []
    seen: set[object] = set()
    for service in services:
        for operation in service.operations:
            for identity in (operation.name, (operation.method, _PARAMETER.sub("{}", operation.path))):
                if identity in seen:
                    raise Misconfigured(f"operation {operation.name} is in the table twice")
                seen.add(identity)
            if operation.method not in _METHODS:
                raise Misconfigured(f"operation {operation.name} has the method {operation.method}")
            found.append(
                Route(
                    operation=operation,
                    service=service.name,
                    meter=metrics.meter(service=service.name, transport=transport, operation=operation.name),
                    decoder=None if operation.body is None else msgspec.json.Decoder(operation.body),
                    body_optional=operation.body is not None and not required(operation.body),
                )
            )
    return found


def parameters(path: str) -> list[str]:
    """The names of the parameters in a row's *path*, in order."""
    return _PARAMETER.findall(path)


def required(kind: type[msgspec.Struct]) -> list[str]:
    """The fields of *kind* that must be given, as callers name them."""
    return [field.encode_name for field in msgspec.structs.fields(kind) if field.required]


def query(operation: Operation, given: Mapping[str, Any]) -> Any:
    """The operation's query struct from *given*.

    Raises:
        Invalid: as ``decoding.query_of``.
    """
    if operation.query is None and not given:
        return None
    return decoding.query_of(operation.query, given)


def checked_parameter(name: str, value: str) -> str:
    """A path parameter's decoded *value*.

    Raises:
        Malformed, Invalid: as ``decoding.percent_decoded``.
    """
    try:
        return decoding.percent_decoded(value, what="the path")
    except Invalid as error:
        raise Invalid(
            error.detail, faults=[Fault(pointer=f"/{name}", detail=fault.detail, code=fault.code) for fault in error.faults]
        ) from None


def safe_request_id(given: str | None) -> str | None:
    """The caller's request id if it is short and plain enough to be echoed and logged."""
    return given if given and _SAFE_ID.fullmatch(given) else None
