"""Principals by name: every form that a person may write."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.support.edge import TENANT, FixedClock
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.domain.errors import Invalid, Unavailable
from kalends.domain.grants import outsider
from kalends.domain.scope import Tenant
from kalends.edge.agents import Agents
from kalends.edge.auth import Authenticator
from kalends.edge.principals import Principals
from kalends.kit import nkeys

ISSUER, CLUSTER = "https://issuer.example/realm", "https://kubernetes.default.svc"


class Place:
    """Tokens and agents, an issuer and a cluster."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        records = MemoryRecords()
        self.agents = Agents(records, clock=self.clock)
        self.authenticator = Authenticator(records, clock=self.clock)
        self.principals = self.knowing(issuers=[ISSUER], cluster=CLUSTER)

    def knowing(self, *, issuers: list[str], cluster: str) -> Principals:
        """With those issuers in the settings."""
        return Principals(authenticator=self.authenticator, agents=self.agents, issuers=issuers, cluster=cluster, clock=self.clock)

    async def unknown(self, text: str, *, tenant: Tenant = TENANT) -> bool:
        """Whether nobody is meant."""
        try:
            await self.principals.named(tenant, text, pointer="/to")
        except Invalid as error:
            return [(one.pointer, one.code) for one in error.faults] == [("/to", "unknown_principal")]
        return False


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """One that has read all agents."""
    made = Place()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.agents.run())

        async def read() -> bool:
            with contextlib.suppress(Unavailable):
                return made.agents.by_key("none") is None
            return False

        await until(read)
        yield made
        task.cancel()


async def test_an_agent_is_named_by_its_id_in_its_tenant_while_it_lasts(place: Place) -> None:
    """A revoked one is nobody."""
    agent = await place.agents.register(TENANT, nkeys.new_pair("user").public, memories=None, rights=["search"])

    assert await place.principals.named(TENANT, f"agent:{agent.id}", pointer="/to") == f"agent:{agent.id}"
    assert await place.unknown(f"agent:{agent.id}", tenant=Tenant("globex"))
    await place.agents.revoke(TENANT, agent.id)
    assert await place.unknown(f"agent:{agent.id}")


async def test_a_token_is_named_by_any_of_its_chain(place: Place) -> None:
    """And kept by the first; one that has ended or was revoked names nobody."""
    _, first = await place.authenticator.issue(TENANT, memories=None, rights=["search"])
    _, second = await place.authenticator.rotate(TENANT, first.id, overlap=timedelta(seconds=60))
    _, third = await place.authenticator.rotate(TENANT, second.id, overlap=timedelta(seconds=60))
    for one in (first, second, third):
        assert await place.principals.named(TENANT, f"token:{one.id}", pointer="/to") == f"token:{first.id}"
        assert await place.unknown(f"token:{one.id}", tenant=Tenant("globex"))

    place.clock.advance(seconds=61)
    assert await place.unknown(f"token:{second.id}")
    # the name that is shown of an owner is good as long as any of the chain is
    assert await place.principals.named(TENANT, f"token:{first.id}", pointer="/to") == f"token:{first.id}"
    await place.authenticator.revoke(TENANT, third.id)
    assert await place.unknown(f"token:{first.id}")


async def test_somebody_of_an_issuer_and_a_service_account_are_kept_as_digests(place: Place) -> None:
    """The same as their tokens give; a subject may hold any sign."""
    for subject in ("ann@example.com", "a#b", "ä ö"):
        named = await place.principals.named(TENANT, f"oidc:{ISSUER}#{subject}", pointer="/to")
        assert named == f"outsider:{outsider(ISSUER, subject)}"
        assert await place.principals.named(TENANT, named, pointer="/to") == named
    account = await place.principals.named(TENANT, "kubernetes:prod/agent.one", pointer="/to")
    assert account == f"outsider:{outsider(CLUSTER, 'system:serviceaccount:prod:agent.one')}"


STRANGE = ["", "ann", "agent:", "token:", f"oidc:{ISSUER}", f"oidc:{ISSUER}#", "oidc:https://other.example#ann", "kubernetes:prod"]


@pytest.mark.parametrize("text", [*STRANGE, "outsider:x-1"])
async def test_whatever_else_is_written_names_nobody(place: Place, text: str) -> None:
    """With a pointer to where it was written."""
    assert await place.unknown(text)


async def test_without_issuers_there_are_no_outsiders(place: Place) -> None:
    """Nobody could ever log in as such a one."""
    place.principals = place.knowing(issuers=[], cluster="")
    for text in (f"oidc:{ISSUER}#ann", "kubernetes:prod/agent", f"outsider:{outsider(ISSUER, 'ann')}"):
        assert await place.unknown(text)
