"""The operations about agents: register, list, revoke; and how an agent logs in.

Belongs here: rows and their bodies. Does not belong here: how agents are stored (``agents``) or recognized (``sessions``). A newcomer would
get wrong: the two rows of logging in want no credential, and tell nobody whether a key is registered until its holder has signed.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from kalends.domain import ownership
from kalends.domain.credentials import Principal, role_of
from kalends.domain.errors import Fault, Invalid, NotFound
from kalends.edge import granting
from kalends.edge.agents import AgentRecord, Agents
from kalends.edge.granting import GrantRequest
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.services import Loop, Service
from kalends.edge.sessions import Sessions
from kalends.kit import nkeys
from kalends.ports.clock import Clock

PublicKey = Annotated[str, Meta(min_length=56, max_length=56, pattern="^U[A-Z2-7]{55}$")]


class AgentRequest(GrantRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent to be registered: its public key, an NKey of a user, and what it may do."""

    public_key: PublicKey


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as it is listed."""

    id: str
    tenant: str
    public_key: str
    memories: tuple[str, ...] | None
    rights: tuple[str, ...]
    role: str | None
    created_at: datetime
    expires_at: datetime | None
    label: str
    labels: tuple[str, ...] | None


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """Every agent that the asker may see, oldest first."""

    items: Sequence[AgentView]
    next_cursor: str | None = None


class NonceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose signature is going to come."""

    public_key: PublicKey


class Nonce(msgspec.Struct, frozen=True, kw_only=True):
    """What to sign, once: the bytes FF, ``kalends session v1``, a line feed, and the nonce as it is written."""

    nonce: str
    expires_at: datetime


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signed nonce; ``signature`` is base64url without padding."""

    public_key: PublicKey
    nonce: Annotated[str, Meta(min_length=1, max_length=200)]
    signature: Annotated[str, Meta(min_length=1, max_length=200)]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer of the agent, until it ends."""

    agent_id: str
    token: str
    expires_at: datetime


Settled = Callable[[Principal], Principal]
"""A principal with the memories that are its own now (``auth.Authenticator.settled``)."""


def agent_service(agents: Agents, sessions: Sessions, *, clock: Clock, settled: Settled) -> Service:
    """Agents as a service: operations, loop and health."""
    return Service(
        name="agents",
        operations=agent_operations(agents, sessions, clock=clock, settled=settled),
        loops=(Loop(name="agents", run=agents.run),),
        health=lambda: (agents.health(),),
    )


def agent_operations(agents: Agents, sessions: Sessions, *, clock: Clock, settled: Settled) -> tuple[Operation, ...]:
    """The rows ``agents.*`` and ``auth.*``."""

    async def list_agents(call: Call) -> Answer:
        found = await agents.agents(call.principal.tenant)
        return Answer(body=AgentList(items=[_view(agent) for agent in found if _within(agent, call.principal, settled)]))

    async def create(call: Call) -> Answer:
        request: AgentRequest = call.body
        rights = granting.check(request, call.principal, now=clock.now())
        if not nkeys.is_public(request.public_key, kind="user"):
            detail = "is no public key of a user: a letter is wrong"
            raise Invalid(f"public_key {detail}", faults=[Fault(pointer="/public_key", detail=detail, code="key")])
        agent = await agents.register(
            call.principal.tenant,
            request.public_key,
            memories=request.memories,
            rights=rights,
            label=request.label,
            labels=request.labels,
            expires_at=request.expires_at,
            makers=ownership.makers_of(call.principal),
        )
        return Answer(body=_view(agent))

    async def revoke(call: Call) -> Answer:
        wanted = call.path["agent_id"]
        found = await agents.agents(call.principal.tenant)
        if not any(agent.id == wanted and _within(agent, call.principal, settled) for agent in found):
            raise NotFound("no such agent")
        await agents.revoke(call.principal.tenant, wanted)
        return Answer()

    return (
        Operation(
            name="agents.list", method="GET", path="/agents", right="admin", summary="List agents.", handle=list_agents, answer=AgentList
        ),
        Operation(
            name="agents.create",
            method="POST",
            path="/agents",
            right="admin",
            summary="Register an agent by its public key.",
            handle=create,
            body=AgentRequest,
            answer=AgentView,
            status=201,
        ),
        Operation(
            name="agents.revoke",
            method="DELETE",
            path="/agents/{agent_id}",
            right="admin",
            summary="Revoke an agent and its sessions, at once.",
            handle=revoke,
            answer=None,
            status=204,
        ),
        *_logging_in(sessions),
    )


def _logging_in(sessions: Sessions) -> tuple[Operation, ...]:
    async def nonce(call: Call) -> Answer:
        request: NonceRequest = call.body
        given, ends = sessions.nonce(request.public_key)
        return Answer(body=Nonce(nonce=given, expires_at=ends))

    async def session(call: Call) -> Answer:
        request: SessionRequest = call.body
        bearer, ends, agent = await sessions.open(request.public_key, nonce=request.nonce, signature=request.signature)
        return Answer(body=Session(agent_id=agent.id, token=bearer, expires_at=ends))

    return (
        Operation(
            name="auth.nonce",
            method="POST",
            path="/auth/nonce",
            right="",
            open=True,
            summary="Get a nonce for an agent's key to sign.",
            handle=nonce,
            body=NonceRequest,
            answer=Nonce,
        ),
        Operation(
            name="auth.session",
            method="POST",
            path="/auth/session",
            right="",
            open=True,
            summary="Get a bearer for a signed nonce.",
            handle=session,
            body=SessionRequest,
            answer=Session,
        ),
    )


def _within(agent: AgentRecord, principal: Principal, settled: Settled) -> bool:
    """Whether *principal* may see *agent*: by its labels, and the memories that are the agent's own now."""
    return granting.within(settled(agent.principal(expires_at=None)).memories, principal, held=agent.labels)


def _view(agent: AgentRecord) -> AgentView:
    return AgentView(
        id=agent.id,
        tenant=agent.tenant,
        public_key=agent.public_key,
        memories=agent.memories,
        rights=agent.rights,
        role=role_of(agent.rights),
        created_at=agent.created_at,
        expires_at=agent.expires_at,
        label=agent.label,
        labels=agent.labels,
    )
