"""Who is let in: tokens of ours, agents with a key, and whoever issuers of the settings vouch for.

Belongs here: putting these together for a process. Does not belong here: checking any of them (``edge.auth``, ``edge.sessions``,
``adapters.oidc``). A newcomer would get wrong: nothing of other issuers is imported unless the settings name one.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from kalends.app.folders import Folders
from kalends.app.parts import Common
from kalends.domain.scope import tenant_name
from kalends.edge.agent_operations import agent_service
from kalends.edge.agents import Agents
from kalends.edge.auth import Authenticator
from kalends.edge.principals import Principals
from kalends.edge.services import Health, Loop, Service
from kalends.edge.sessions import Sessions
from kalends.edge.tokens import token_service
from kalends.ports.identities import Identities
from kalends.settings import Settings
from kalends.wire.owners import Owners
from kalends.wire.session_secret import session_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What tells who asks, and the services around it."""

    authenticator: Authenticator
    agents: Agents
    owners: Owners
    principals: Principals
    services: Sequence[Service]


async def open_known(stack: AsyncExitStack, settings: Settings, folders: Folders, common: Common) -> Known:
    """Everything that knows a credential, closed with *stack*; the first admin token is made or looked for.

    Raises:
        Misconfigured: the admin token's file or an issuer of the settings cannot work. Unavailable, DeadlineExceeded: the records are away.
    """
    records, clock = common.bus.records, common.clock
    agents = Agents(records, clock=clock)
    secret = await session_secret(records, common.wrapper)
    sessions = Sessions(agents, records, clock=clock, settings=settings.agents, secret=secret)
    foreign = await _foreign(stack, settings)
    owners = Owners(records, clock=clock)
    authenticator = Authenticator(records, clock=clock, sessions=sessions, foreign=foreign, owners=owners)
    await authenticator.ensure_admin_token(folders.token, tenant=tenant_name(settings.auth.tenant, pointer="/auth/tenant"))
    services = [token_service(authenticator, clock=clock), agent_service(agents, sessions, clock=clock, settled=authenticator.settled)]
    services.append(Service(name="owners", loops=(Loop(name="owners", run=owners.run),), health=lambda: [health_of_owners(owners)]))
    if foreign is not None:
        services.append(Service(name="identities", health=lambda: health_of(foreign)))
    principals = Principals(
        authenticator=authenticator,
        agents=agents,
        issuers=[one.issuer for one in settings.oidc.issuers],
        cluster=settings.kubernetes.issuer if settings.kubernetes.url else "",
        clock=clock,
    )
    return Known(authenticator=authenticator, agents=agents, owners=owners, principals=principals, services=services)


async def _foreign(stack: AsyncExitStack, settings: Settings) -> Identities | None:
    if not settings.oidc.issuers and not settings.kubernetes.url:
        return None
    from kalends.adapters.oidc import open_identities

    identities = open_identities(settings.oidc, settings.kubernetes)
    if identities is not None:
        stack.push_async_callback(identities.close)
    return identities


def health_of_owners(owners: Owners) -> Health:
    """Whether changes of owners are seen."""
    detail = {"up": "", "degraded": "owners known before stay; hand-overs are not seen", "down": "nobody is let in before owners are known"}
    return Health(name="owners of memories", state=owners.state, since=owners.since.isoformat(), detail=detail[owners.state])


def health_of(identities: Identities) -> Sequence[Health]:
    """How the issuers are; none of them is needed for anything but its own tokens."""
    step = "see that its address can be reached from here and answers; `kalends doctor` asks it"
    return [
        Health(
            name=f"issuer {one.name}",
            state=one.state,
            since=one.since.isoformat(),
            detail=one.detail,
            next_step="" if one.state == "up" else step,
            required=False,
        )
        for one in identities.states()
    ]
