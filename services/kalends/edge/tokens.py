"""The operations about tokens: list, create, rotate, revoke.

Belongs here: what an admin may ask about credentials. Does not belong here: how they are stored and recognized (``auth``). A newcomer
would get wrong: a rotated token gets a new id with its new secret, so that it is another user of the broker while both are valid.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from kalends.domain import ownership
from kalends.domain.credentials import Principal, role_of
from kalends.domain.errors import NotFound
from kalends.edge import granting
from kalends.edge.auth import Authenticator, TokenRecord
from kalends.edge.granting import GrantRequest
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.services import Loop, Service
from kalends.ports.clock import Clock

OVERLAP_S = 300
MOST_OVERLAP_S = 7 * 86_400


class TokenRequest(GrantRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made; ``memories`` null: all of the tenant's."""


class RotationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long, in seconds, the old secret stays valid beside the new one."""

    overlap_s: Annotated[int, Meta(ge=0, le=MOST_OVERLAP_S)] = OVERLAP_S


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is listed; the secret itself is never shown again."""

    id: str
    tenant: str
    memories: tuple[str, ...] | None
    rights: tuple[str, ...]
    role: str | None
    created_at: datetime
    expires_at: datetime | None
    label: str
    labels: tuple[str, ...] | None
    replaces: str | None
    replaced_by: str | None


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
    """The rows ``tokens.*``."""
    return (*_making(authenticator, clock=clock), *_ending(authenticator))


def _making(authenticator: Authenticator, *, clock: Clock) -> tuple[Operation, ...]:
    async def list_tokens(call: Call) -> Answer:
        found = await authenticator.tokens(call.principal.tenant)
        return Answer(body=TokenList(items=[_view(token) for token in found if _within(authenticator, token, call.principal)]))

    async def create(call: Call) -> Answer:
        request: TokenRequest = call.body
        rights = granting.check(request, call.principal, now=clock.now())
        token, stored = await authenticator.issue(
            call.principal.tenant,
            memories=request.memories,
            rights=rights,
            label=request.label,
            labels=request.labels,
            expires_at=request.expires_at,
            makers=ownership.makers_of(call.principal),
        )
        return Answer(body=TokenCreated(token=token, **msgspec.structs.asdict(_view(stored))))

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
    )


def _ending(authenticator: Authenticator) -> tuple[Operation, ...]:
    async def rotate(call: Call) -> Answer:
        request: RotationRequest = call.body
        wanted = await _seen(authenticator, call.path["token_id"], call.principal)
        granting.check_lifetime(wanted.expires_at, call.principal)
        token, stored = await authenticator.rotate(
            call.principal.tenant, wanted.id, overlap=timedelta(seconds=request.overlap_s), makers=ownership.makers_of(call.principal)
        )
        return Answer(body=TokenCreated(token=token, **msgspec.structs.asdict(_view(stored))))

    async def revoke(call: Call) -> Answer:
        wanted = await _seen(authenticator, call.path["token_id"], call.principal)
        await authenticator.revoke(call.principal.tenant, wanted.id)
        return Answer()

    return (
        Operation(
            name="tokens.rotate",
            method="POST",
            path="/tokens/{token_id}/rotate",
            right="admin",
            summary="Give a token a new secret and id; the old ones stay valid for a while.",
            handle=rotate,
            body=RotationRequest,
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


async def _seen(authenticator: Authenticator, token_id: str, principal: Principal) -> TokenRecord:
    """The token that *principal* names, if it may see it.

    Raises:
        NotFound: there is none, or it may not.
    """
    for token in await authenticator.tokens(principal.tenant):
        if token.id == token_id and _within(authenticator, token, principal):
            return token
    raise NotFound("no such token")


def _within(authenticator: Authenticator, token: TokenRecord, principal: Principal) -> bool:
    """Whether *principal* may see *token*: by its labels and the memories that are its own now; else a new owner's could be rotated."""
    return granting.within(authenticator.settled(token.principal).memories, principal, held=token.labels)


def _view(token: TokenRecord) -> TokenView:
    return TokenView(
        id=token.id,
        tenant=token.tenant,
        memories=token.memories,
        rights=token.rights,
        role=role_of(token.rights),
        created_at=token.created_at,
        expires_at=token.expires_at,
        label=token.label,
        labels=token.labels,
        replaces=token.replaces or None,
        replaced_by=token.replaced_by or None,
    )
