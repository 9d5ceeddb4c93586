"""The operations about tokens: list, create, revoke.

Belongs here: what an admin may ask about credentials. Does not belong here: how they are stored and recognized (``auth``). A newcomer
would get wrong: an admin who is limited to some memories sees and makes only tokens within them, and none that outlives its own.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kalends.domain.credentials import Principal
from kalends.domain.errors import Fault, Forbidden, Invalid, NotFound
from kalends.domain.events import check_text
from kalends.domain.scope import memory_name
from kalends.edge.auth import Authenticator, TokenRecord
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.services import Loop, Service
from kalends.ports.clock import Clock

Right = Literal["append", "search", "erase", "admin"]
Time = Annotated[datetime, Meta(tz=True)]


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made; ``memories`` null: all of the tenant's."""

    memories: Annotated[tuple[str, ...], Meta(min_length=1, max_length=200)] | None
    rights: Annotated[tuple[Right, ...], Meta(min_length=1, max_length=4)]
    label: Annotated[str, Meta(max_length=200)] = ""
    expires_at: Time | None = None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is listed; the secret itself is never shown again."""

    id: str
    tenant: str
    memories: tuple[str, ...] | None
    rights: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    label: str


class TokenCreated(TokenView, frozen=True, kw_only=True):
    """A token just made, with its secret, this once."""

    token: str


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    """Every token that the asker may see, oldest first."""

    items: Sequence[TokenView]
    next_cursor: str | None = None


def token_service(authenticator: Authenticator, *, clock: Clock) -> Service:
    """The authenticator as a service: its operations, its loop and its health."""
    return Service(
        name="tokens",
        operations=token_operations(authenticator, clock=clock),
        loops=(Loop(name="tokens", run=authenticator.run),),
        health=lambda: (authenticator.health(),),
    )


def token_operations(authenticator: Authenticator, *, clock: Clock) -> tuple[Operation, ...]:
    """The rows ``tokens.list``, ``tokens.create`` and ``tokens.revoke``."""

    async def list_tokens(call: Call) -> Answer:
        found = await authenticator.tokens(call.principal.tenant)
        return Answer(body=TokenList(items=[_view(token) for token in found if _within(token, call.principal)]))

    async def create(call: Call) -> Answer:
        request: TokenRequest = call.body
        _check(request, call.principal, now=clock.now())
        token, stored = await authenticator.issue(
            call.principal.tenant, memories=request.memories, rights=request.rights, label=request.label, expires_at=request.expires_at
        )
        return Answer(body=TokenCreated(token=token, **msgspec.structs.asdict(_view(stored))))

    async def revoke(call: Call) -> Answer:
        wanted = call.path["token_id"]
        found = await authenticator.tokens(call.principal.tenant)
        if not any(token.id == wanted and _within(token, call.principal) for token in found):
            raise NotFound("no such token")
        await authenticator.revoke(call.principal.tenant, wanted)
        return Answer()

    return (
        Operation(
            name="tokens.list", method="GET", path="/tokens", right="admin", summary="List tokens.", handle=list_tokens, answer=TokenList
        ),
        Operation(
            name="tokens.create",
            method="POST",
            path="/tokens",
            right="admin",
            summary="Make a token; its secret is shown once.",
            handle=create,
            body=TokenRequest,
            answer=TokenCreated,
            status=201,
        ),
        Operation(
            name="tokens.revoke",
            method="DELETE",
            path="/tokens/{token_id}",
            right="admin",
            summary="Revoke a token, at once.",
            handle=revoke,
            answer=None,
            status=204,
        ),
    )


def _check(request: TokenRequest, creator: Principal, *, now: datetime) -> None:
    """See that nobody gives away more than they have.

    Raises:
        Invalid: a name that no memory has, a time in the past. NotFound: a memory outside the creator's. Forbidden: more than the
        creator may do, or for longer.
    """
    for index, name in enumerate(request.memories or ()):
        memory_name(name, pointer=f"/memories/{index}")
        if creator.memories is not None and name not in creator.memories:
            raise NotFound(f"no memory {name!r}")
    fault = check_text(request.label, pointer="/label", limit=800, empty=True)
    if fault is None and request.expires_at is not None and request.expires_at <= now:
        fault = Fault(pointer="/expires_at", detail="must be in the future", code="range")
    if fault is not None:
        raise Invalid(fault.detail, faults=[fault])
    if creator.memories is not None and request.memories is None:
        raise Forbidden("a credential for some memories cannot give access to all")
    if "admin" not in creator.rights and not set(request.rights) <= creator.rights:
        raise Forbidden("a credential cannot give rights that it lacks")
    if creator.expires_at is not None and (request.expires_at is None or request.expires_at > creator.expires_at):
        raise Forbidden("a credential that expires cannot make one that lasts longer")


def _within(token: TokenRecord, principal: Principal) -> bool:
    if principal.memories is None:
        return True
    return token.memories is not None and set(token.memories) <= principal.memories


def _view(token: TokenRecord) -> TokenView:
    return TokenView(
        id=token.id,
        tenant=token.tenant,
        memories=token.memories,
        rights=token.rights,
        created_at=token.created_at,
        expires_at=token.expires_at,
        label=token.label,
    )
