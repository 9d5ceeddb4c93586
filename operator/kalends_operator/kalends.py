"""Kalends as the operator talks to it: the SDK with deadlines, and lists of credentials that are remembered for a moment.

Belongs here: every question to Kalends, answered in the planner's values. Does not belong here: Kubernetes, decisions. A newcomer would get
wrong: Kalends lists all credentials of a tenant or none, so with a hundred resources one list serves them all; what the operator itself
makes and revokes is entered at once, and whatever fails has the list read anew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kalends.client import Agent, AsyncKalends, Erasure, HandOver, MemoryInfo, NewToken, RetryPolicy, Status, Token
from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, NotFound
from kalends.kit import nkeys
from kalends.kit.nkeys import KeyPair
from kalends_operator.desired.seen import SeenAgent, SeenErasure, SeenMemory, SeenToken
from kalends_operator.settings import OperatorSettings

T = TypeVar("T")
STATUS_S = 10.0


@dataclass(slots=True)
class _Known:
    """Credentials by label and id, as of *at*."""

    tokens: dict[str, dict[str, SeenToken]] = field(default_factory=dict)
    agents: dict[str, dict[str, SeenAgent]] = field(default_factory=dict)
    at: float = float("-inf")


class Platform:
    """Kalends, as its admin; close it at the end."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._client: AsyncKalends | None = None
        self._retired: list[AsyncKalends] = []
        self._token = ""
        self._known = _Known()
        self._listing = asyncio.Lock()
        self._status: tuple[float, Status] | None = None

    async def close(self) -> None:
        """Close the connections."""
        for client in [*self._retired, *([self._client] if self._client is not None else [])]:
            await client.close()

    async def memory(self, name: str) -> SeenMemory | None:
        """One memory; None if there is none."""
        try:
            return seen_memory(await self.ask(lambda client: client.memory(name).info()))
        except NotFound:
            return None

    async def create_memory(self, name: str, *, isolation: str, wanted: Mapping[str, Any]) -> None:
        """Make a memory, dedicated or shared."""
        kind: Any = isolation
        await self.ask(lambda client: client.memory(name).create(isolation=kind, **wanted))

    async def change_memory(self, name: str, changes: Mapping[str, Any]) -> None:
        """Set whole members of a memory."""
        await self.ask(lambda client: client.memory(name).change(**changes))

    async def hand_over(self, name: str, *, to: str, reason: str) -> HandOver:
        """Give a memory to somebody, or ask for that."""
        return await self.ask(lambda client: client.memory(name).hand_over(to, reason_code=reason))

    async def approval_state(self, approval_id: str) -> tuple[str, str]:
        """How an approval stands, and what came of it."""
        found = await self.ask(lambda client: client.approval(approval_id))
        return found.state, found.result or found.error or ""

    async def status(self) -> Status:
        """Kalends as a whole, at most ten seconds old."""
        if self._status is None or time.monotonic() - self._status[0] > STATUS_S:
            self._status = time.monotonic(), await self.ask(lambda client: client.status())
        return self._status[1]

    async def credentials(self, label: str) -> tuple[tuple[SeenToken, ...], tuple[SeenAgent, ...]]:
        """The tokens and agents of a label that were not revoked."""
        async with self._listing:
            if time.monotonic() - self._known.at > self._settings.credentials_cache_s:
                self._known = await self.ask(_listed)
            known = self._known
        return tuple(known.tokens.get(label, {}).values()), tuple(known.agents.get(label, {}).values())

    async def issue_token(self, memory: str, *, role: str, label: str) -> NewToken:
        """Make a token for one memory."""
        made = await self._changing(lambda client: client.create_token(memories=[memory], role=role, label=label))
        self._enter(made)
        return made

    async def rotate_token(self, token_id: str, *, label: str, overlap_s: int) -> NewToken:
        """Make a token's successor."""
        made = await self._changing(lambda client: client.rotate_token(token_id, overlap_s=overlap_s))
        self._enter(made)
        old = self._known.tokens.get(label, {}).get(token_id)
        if old is not None:
            self._known.tokens[label][token_id] = SeenToken(
                token_id=token_id, role=old.role, memories=old.memories, replaced_by=made.token_id
            )
        return made

    async def revoke_token(self, token_id: str, *, label: str) -> None:
        """End a token; one that is no more is ended."""
        try:
            await self._changing(lambda client: client.revoke_token(token_id))
        except NotFound:
            self._known.at = float("-inf")
        self._known.tokens.get(label, {}).pop(token_id, None)

    async def register_agent(self, memory: str, *, role: str, label: str) -> tuple[Agent, KeyPair]:
        """Make a key, and an agent of it."""
        pair = nkeys.new_pair("user")
        made = await self._changing(lambda client: client.create_agent(pair.public, memories=[memory], role=role, label=label))
        self._known.agents.setdefault(label, {})[made.agent_id] = _seen_agent(made)
        return made, pair

    async def revoke_agent(self, agent_id: str, *, label: str) -> None:
        """End an agent; one that is no more is ended."""
        try:
            await self._changing(lambda client: client.revoke_agent(agent_id))
        except NotFound:
            self._known.at = float("-inf")
        self._known.agents.get(label, {}).pop(agent_id, None)

    async def erase(self, memory: str, *, key: str, options: Mapping[str, Any] | None) -> SeenErasure:
        """Ask for an erasure, once for each key; *options* None: of the memory itself."""
        if options is None:
            begun = seen_erasure(await self.ask(lambda client: client.memory(memory).forget_all(idempotency_key=key)))
        else:
            given: dict[str, Any] = {**options, "idempotency_key": key}
            begun = seen_erasure(await self.ask(lambda client: client.memory(memory).forget(**given)))
        # one that was asked for before, and is over, has its receipt already
        return await self.erasure(memory, begun.erasure_id) if begun.state == "erased" else begun

    async def erasure(self, memory: str, erasure_id: str) -> SeenErasure:
        """How an erasure goes, with its receipt once there is one."""
        found = seen_erasure(await self.ask(lambda client: client.memory(memory).erasure(erasure_id)))
        if found.state != "erased":
            return found
        receipt = await self.ask(lambda client: client.memory(memory).erasure_receipt(erasure_id))
        return SeenErasure(erasure_id=found.erasure_id, state=found.state, times=found.times, counts=found.counts, receipt=receipt)

    async def erasure_of_all(self, memory: str, *, since: datetime) -> SeenErasure | None:
        """The newest erasure of everything in a memory that was asked for since then; None if there is none."""
        try:
            return await self.ask(lambda client: _newest_of_all(client, memory, since))
        except NotFound:
            return None

    def _enter(self, made: NewToken) -> None:
        self._known.tokens.setdefault(made.label, {})[made.token_id] = _seen_token(made)

    async def _changing(self, act: Callable[[AsyncKalends], Awaitable[T]]) -> T:
        """Have credentials changed; whatever fails may have been done all the same."""
        try:
            return await self.ask(act)
        except BaseException:
            self._known.at = float("-inf")
            raise

    async def ask(self, act: Callable[[AsyncKalends], Awaitable[T]]) -> T:
        """Do *act* within the deadline.

        Raises:
            KalendsError: whatever Kalends says. DeadlineExceeded: it said nothing in time. Misconfigured: there is no token.
        """
        client = await self._connected()
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                return await act(client)
        except TimeoutError:
            raise DeadlineExceeded("Kalends did not answer in time", dependency="kalends") from None

    async def _connected(self) -> AsyncKalends:
        token = await asyncio.to_thread(_read_token, self._settings.token_file)
        if self._client is None or token != self._token:
            if self._client is not None:
                self._retired.append(self._client)  # a question may be under way on it
            self._client = AsyncKalends(
                self._settings.reached,
                token=token,
                ca_file=self._settings.ca_file or None,
                timeout_s=self._settings.deadline_s,
                retry=RetryPolicy(total_s=self._settings.deadline_s / 3),
            )
            self._token = token
        return self._client


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("the file of the operator's token cannot be read") from error


async def _listed(client: AsyncKalends) -> _Known:
    known = _Known(at=time.monotonic())
    async for token in client.tokens():
        known.tokens.setdefault(token.label, {})[token.token_id] = _seen_token(token)
    async for agent in client.agents():
        known.agents.setdefault(agent.label, {})[agent.agent_id] = _seen_agent(agent)
    return known


async def _newest_of_all(client: AsyncKalends, memory: str, since: datetime) -> SeenErasure | None:
    async for one in client.memory(memory).erasures():
        if one.selector == "everything" and one.requested_at is not None and one.requested_at >= since:
            return seen_erasure(one)
    return None


def _seen_token(token: Token) -> SeenToken:
    return SeenToken(token_id=token.token_id, role=token.role, memories=_names(token.memories), replaced_by=token.replaced_by)


def _seen_agent(agent: Agent) -> SeenAgent:
    return SeenAgent(agent_id=agent.agent_id, role=agent.role, memories=_names(agent.memories))


def _names(memories: list[str] | None) -> tuple[str, ...] | None:
    return None if memories is None else tuple(memories)


def seen_memory(info: MemoryInfo) -> SeenMemory:
    """A memory as planners see it."""
    quota = {} if info.quota is None else {key: value for key, value in msgspec.structs.asdict(info.quota).items() if value is not None}
    counts = {
        "events": info.events,
        "documents": info.documents,
        "sessions": info.sessions,
        "tocNodes": info.toc_nodes,
        "grips": info.grips,
    }
    return SeenMemory(
        isolation=info.isolation,
        description=info.description,
        quota=quota,
        redaction=info.redaction or {},
        retention=info.retention,
        owner=info.owner,
        counts={name: count for name, count in counts.items() if count is not None},
        log_bytes=info.log_bytes,
        lag={name: (lag.events, lag.seconds) for name, lag in info.lag.items()},
    )


def seen_erasure(found: Erasure) -> SeenErasure:
    """An erasure as planners see it."""
    return SeenErasure(
        erasure_id=found.erasure_id,
        state=found.state,
        approval_id="" if found.approval is None else found.approval.approval_id,
        approval_state="" if found.approval is None else found.approval.state,
        times={name: at.isoformat() for name, at in found.times.items()},
        counts=found.counts,
    )


def is_outage(error: KalendsError) -> bool:
    """Whether trying again later may help without anybody doing anything."""
    return error.code in {"unreachable", "unavailable", "deadline_exceeded", "throttled", "unreadable", "internal"}
