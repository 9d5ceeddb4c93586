"""Principals by name: from what a person writes to the one form in which a principal is kept.

Belongs here: finding tokens, agents and those whom issuers vouch for. Does not belong here: comparing names (``domain.ownership``). A
newcomer would get wrong: whether an issuer knows a subject cannot be asked, so of outsiders only the issuer is checked.
"""

import re
from collections.abc import Collection

from kalends.domain import grants, ownership
from kalends.domain.errors import Fault, Invalid
from kalends.domain.scope import Tenant
from kalends.edge.agents import Agents
from kalends.edge.auth import Authenticator
from kalends.ports.clock import Clock

_OUTSIDER = re.compile(r"x-[a-z2-7]{24}")
_ACCOUNT = re.compile(r"(?P<namespace>[a-z0-9-]{1,63})/(?P<name>[a-z0-9.-]{1,253})")
FORMS = "token:ID, agent:ID, oidc:ISSUER#SUBJECT, kubernetes:NAMESPACE/ACCOUNT or outsider:ID"


class Principals:
    """Everybody who can be named; *issuers* are those of the settings, *cluster* the one of service accounts, empty if there is none."""

    def __init__(self, *, authenticator: Authenticator, agents: Agents, issuers: Collection[str], cluster: str, clock: Clock) -> None:
        self._authenticator = authenticator
        self._agents = agents
        self._issuers = frozenset(issuers)
        self._cluster = cluster
        self._clock = clock

    async def named(self, tenant: Tenant, text: str, *, pointer: str) -> str:
        """The name of whom *text* means, in *tenant*.

        Raises:
            Invalid: there is nobody of that name, at *pointer*. Unavailable, DeadlineExceeded: that cannot be told now.
        """
        kind, _, rest = text.partition(":")
        found = None
        match kind:
            case ownership.TOKEN:
                found = await self._token(tenant, rest)
            case ownership.AGENT:
                agent = self._agents.by_id(rest)
                found = ownership.agent_name(rest) if agent is not None and agent.tenant == tenant else None
            case "oidc":
                issuer, _, subject = rest.partition("#")
                found = ownership.outsider_name(grants.outsider(issuer, subject)) if issuer in self._issuers and subject else None
            case "kubernetes":
                found = self._account(rest)
            case ownership.OUTSIDER:
                known = bool(self._issuers or self._cluster) and _OUTSIDER.fullmatch(rest)
                found = ownership.outsider_name(rest) if known else None
        if found is None:
            detail = f"names nobody who is known here; write {FORMS}"
            raise Invalid(detail, faults=[Fault(pointer=pointer, detail=detail, code="unknown_principal")])
        return found

    async def _token(self, tenant: Tenant, token_id: str) -> str | None:
        now = self._clock.now()
        for token in await self._authenticator.tokens(tenant):
            lasts = token.expires_at is None or token.expires_at > now
            # the name that is shown of an owner is that of the first of a chain of rotations
            if lasts and (token.id == token_id or token.name == ownership.token_name(token_id)):
                return token.name
        return None

    def _account(self, text: str) -> str | None:
        found = _ACCOUNT.fullmatch(text)
        if found is None or not self._cluster:
            return None
        subject = f"system:serviceaccount:{found['namespace']}:{found['name']}"
        return ownership.outsider_name(grants.outsider(self._cluster, subject))
