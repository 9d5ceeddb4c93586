"""Agents that log in with a signature, and the bearers that they get."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from tests.support.edge import TENANT, FixedClock
from tests.support.records import MemoryRecords
from tests.support.waiting import until

from kalends.domain.errors import Conflict, NotFound, Throttled, Unauthenticated, Unavailable
from kalends.domain.scope import Tenant
from kalends.edge import sessions
from kalends.edge.agents import AgentRecord, Agents
from kalends.edge.auth import Authenticator
from kalends.edge.sessions import SIGNED_PREFIX, Sessions
from kalends.kit import nkeys
from kalends.kit.nkeys import KeyPair
from kalends.settings import AgentSettings

SECRET = b"s" * 32


@dataclass(kw_only=True)
class Process:
    """One process: its agents and its sessions, over records that others share."""

    agents: Agents
    sessions: Sessions
    authenticator: Authenticator

    async def log_in(self, pair: KeyPair, *, nonce: str | None = None) -> str:
        """A bearer for the agent with that key."""
        given = nonce or self.sessions.nonce(pair.public)[0]
        bearer, _, _ = await self.sessions.open(pair.public, nonce=given, signature=signed(pair, given))
        return bearer

    async def reason(self, bearer: str) -> str:
        """Why *bearer* is refused."""
        with pytest.raises(Unauthenticated) as caught:
            await self.authenticator.identify(f"Bearer {bearer}")
        return caught.value.reason


def signed(pair: KeyPair, nonce: str, *, prefix: bytes = SIGNED_PREFIX) -> str:
    """The signature of a nonce as an agent sends it."""
    return base64.urlsafe_b64encode(pair.sign(prefix + nonce.encode())).decode().rstrip("=")


@contextlib.asynccontextmanager
async def running(records: MemoryRecords, clock: FixedClock, *, secret: bytes = SECRET) -> AsyncIterator[Process]:
    """A process that has read all agents and tokens."""
    agents = Agents(records, clock=clock)
    opened = Sessions(agents, records, clock=clock, settings=AgentSettings(), secret=secret)
    authenticator = Authenticator(records, clock=clock, sessions=opened)
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(agents.run()), tasks.create_task(authenticator.run())]
        async with asyncio.timeout(10):
            await authenticator.wait_ready()
        await until(lambda: agents.health().state == "up")
        yield Process(agents=agents, sessions=opened, authenticator=authenticator)
        for loop in loops:
            loop.cancel()


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands."""
    return FixedClock()


@pytest.fixture
def records() -> MemoryRecords:
    """An empty store."""
    return MemoryRecords()


@pytest.fixture
async def process(records: MemoryRecords, clock: FixedClock) -> AsyncIterator[Process]:
    """One process."""
    async with running(records, clock) as found:
        yield found


@pytest.fixture
def pair() -> KeyPair:
    """An agent's key."""
    return nkeys.new_pair("user")


async def registered(process: Process, pair: KeyPair, **more: object) -> AgentRecord:
    """An agent with that key."""
    return await process.agents.register(TENANT, pair.public, memories=["notes"], rights=["search"], **more)  # type: ignore[arg-type]  # tests choose


async def test_an_agent_logs_in_with_its_key(process: Process, pair: KeyPair) -> None:
    """And is what it was registered as, under its own id."""
    agent = await registered(process, pair)
    found = await process.authenticator.identify(f"Bearer {await process.log_in(pair)}")

    assert (found.token_id, found.tenant, found.memories, found.rights) == (agent.id, TENANT, {"notes"}, {"search"})


async def test_a_nonce_is_good_once_in_all_processes(process: Process, records: MemoryRecords, clock: FixedClock, pair: KeyPair) -> None:
    """Whoever saw a signature cannot use it again, wherever it goes."""
    await registered(process, pair)
    nonce, _ = process.sessions.nonce(pair.public)
    async with running(records, clock) as other:
        await other.log_in(pair, nonce=nonce)
        for one in (process, other):
            with pytest.raises(Unauthenticated) as caught:
                await one.log_in(pair, nonce=nonce)
            assert caught.value.reason == "replayed_nonce"


async def test_of_many_at_once_one_wins_a_nonce(process: Process, pair: KeyPair) -> None:
    """Between looking and noting, nobody else gets in."""
    await registered(process, pair)
    nonce, _ = process.sessions.nonce(pair.public)
    found = await asyncio.gather(*(process.log_in(pair, nonce=nonce) for _ in range(8)), return_exceptions=True)
    assert [type(one).__name__ for one in found].count("str") == 1


async def test_a_nonce_ends(process: Process, clock: FixedClock, pair: KeyPair) -> None:
    """After a minute it must be a new one."""
    await registered(process, pair)
    nonce, ends = process.sessions.nonce(pair.public)
    assert ends - clock.now() == timedelta(seconds=60)
    clock.advance(seconds=60)
    with pytest.raises(Unauthenticated) as caught:
        await process.log_in(pair, nonce=nonce)
    assert caught.value.reason == "expired_nonce"


async def test_a_nonce_is_of_one_key_and_of_this_log(process: Process, records: MemoryRecords, clock: FixedClock, pair: KeyPair) -> None:
    """Neither another agent's nor another instance's counts, nor one that was made up."""
    other = nkeys.new_pair("user")
    await registered(process, pair)
    await registered(process, other)
    async with running(records, clock, secret=b"x" * 32) as elsewhere:
        foreign = [
            process.sessions.nonce(other.public)[0],
            elsewhere.sessions.nonce(pair.public)[0],
            "",
            "x",
            "A" * 64,
            "é",
            "A" * 75 + "=",
        ]
    for nonce in foreign:
        with pytest.raises(Unauthenticated) as caught:
            await process.sessions.open(pair.public, nonce=nonce, signature=signed(pair, nonce))
        assert caught.value.reason == "foreign_nonce"


@pytest.mark.parametrize("wrong", ["another key", "another nonce", "no prefix", "cut", "empty", "not base64", "padded"])
async def test_a_wrong_signature_is_refused_and_uses_nothing_up(process: Process, pair: KeyPair, wrong: str) -> None:
    """Somebody else's tries cost the agent nothing."""
    await registered(process, pair)
    nonce, _ = process.sessions.nonce(pair.public)
    good = signed(pair, nonce)
    signature = {
        "another key": signed(nkeys.new_pair("user"), nonce),
        "another nonce": signed(pair, process.sessions.nonce(pair.public)[0]),
        "no prefix": signed(pair, nonce, prefix=b""),
        "cut": good[:-4],
        "empty": "",
        "not base64": "*" * 86,
        "padded": good + "==",
    }[wrong]
    with pytest.raises(Unauthenticated) as caught:
        await process.sessions.open(pair.public, nonce=nonce, signature=signature)
    assert caught.value.reason == "signature"
    assert await process.log_in(pair, nonce=nonce)


async def test_nobody_learns_whether_a_key_is_registered(process: Process, records: MemoryRecords, pair: KeyPair) -> None:
    """A nonce is given for any key, nothing is written, and the refusal reads the same."""
    await registered(process, pair)
    before = len(await records.list(sessions.KIND))
    unknown = nkeys.new_pair("user")
    details = set()
    for one in (pair, unknown):
        nonce, _ = process.sessions.nonce(one.public)
        with pytest.raises(Unauthenticated) as caught:
            await process.sessions.open(one.public, nonce=nonce, signature=signed(nkeys.new_pair("user"), nonce))
        details.add(caught.value.detail)
    with pytest.raises(Unauthenticated) as caught:
        await process.log_in(unknown)
    assert details == {caught.value.detail}
    assert len(await records.list(sessions.KIND)) == before


async def test_a_session_ends_by_itself(process: Process, clock: FixedClock, pair: KeyPair) -> None:
    """After a quarter of an hour, without any change of the records."""
    await registered(process, pair)
    bearer = await process.log_in(pair)
    clock.advance(minutes=14)
    assert await process.authenticator.identify(f"Bearer {bearer}")
    clock.advance(minutes=1)
    assert await process.reason(bearer) == "expired"


async def test_a_session_does_not_outlive_its_agent(process: Process, clock: FixedClock, pair: KeyPair) -> None:
    """Whichever ends first."""
    await registered(process, pair, expires_at=clock.now() + timedelta(minutes=2))
    bearer = await process.log_in(pair)
    clock.advance(minutes=2)
    assert await process.reason(bearer) == "expired"
    with pytest.raises(Unauthenticated):
        await process.log_in(pair)


async def test_revoking_an_agent_ends_its_sessions_everywhere(
    process: Process, records: MemoryRecords, clock: FixedClock, pair: KeyPair
) -> None:
    """At once here, and elsewhere as soon as the change is seen."""
    agent = await registered(process, pair)
    bearer = await process.log_in(pair)
    async with running(records, clock) as other:
        assert await other.authenticator.identify(f"Bearer {bearer}")
        await process.agents.revoke(TENANT, agent.id)
        assert await process.reason(bearer) == "revoked"
        await until(lambda: other.agents.by_id(agent.id) is None)
        assert await other.reason(bearer) == "revoked"
    with pytest.raises(Unauthenticated):
        await process.log_in(pair)
    assert await process.agents.agents(TENANT) == []


async def test_a_forged_bearer_is_unknown(process: Process, pair: KeyPair) -> None:
    """Each of its characters counts."""
    await registered(process, pair)
    bearer = await process.log_in(pair)
    for at in range(len("kas_"), len(bearer)):
        other = "B" if bearer[at] == "A" else "A"
        assert await process.reason(bearer[:at] + other + bearer[at + 1 :]) == "unknown"
    for text in ("kas_", "kas_A", bearer + "A", bearer[:-1]):
        assert await process.reason(text) == "unknown"


async def test_a_key_is_registered_once_for_ever(process: Process, pair: KeyPair) -> None:
    """Not by another tenant, where the agent would write by mistake, and not again after it was revoked."""
    agent = await registered(process, pair)
    for tenant in (TENANT, Tenant("other")):
        with pytest.raises(Conflict):
            await process.agents.register(tenant, pair.public, memories=None, rights=["search"])
    with pytest.raises(NotFound):
        await process.agents.revoke(Tenant("other"), agent.id)
    await process.agents.revoke(TENANT, agent.id)
    with pytest.raises(Conflict):
        await registered(process, pair)


async def test_too_many_sessions_at_once_are_throttled(process: Process, clock: FixedClock, pair: KeyPair) -> None:
    """What is remembered of nonces has a bound; it empties as they end."""
    await registered(process, pair)
    for _ in range(256):
        await process.log_in(pair)
    with pytest.raises(Throttled):
        await process.log_in(pair)
    clock.advance(seconds=61)
    assert await process.log_in(pair)


async def test_before_the_agents_are_read_nobody_is_told_that_a_session_is_wrong(
    process: Process, records: MemoryRecords, clock: FixedClock, pair: KeyPair
) -> None:
    """A client that gets 401 throws its session away."""
    await registered(process, pair)
    bearer = await process.log_in(pair)
    fresh = Sessions(Agents(records, clock=clock), records, clock=clock, settings=AgentSettings(), secret=SECRET)
    with pytest.raises(Unavailable):
        fresh.recognize(bearer)
