"""AgentMemory: from spec and what is seen to steps.

Belongs here: every decision about a memory, its credentials and its end. Does not belong here: what is shown of it (``memory_status``). A
newcomer would get wrong: credentials are known by their label, so what a killed operator made and could not write down is a stray that the
next plan revokes; and a Secret that is somebody else's is never touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from kalends_operator.desired import naming
from kalends_operator.desired.seen import SeenAgent, SeenBackup, SeenErasure, SeenMemory, SeenSecret, SeenToken
from kalends_operator.desired.steps import (
    AwaitBackup,
    AwaitErasure,
    ChangeMemory,
    CreateMemory,
    DeleteSecret,
    HandOver,
    IssueToken,
    RegisterAgent,
    RemoveFinalizer,
    RevokeAgent,
    RevokeToken,
    RotateToken,
    StartBackup,
    StartErasure,
    Step,
    WriteSecret,
)

DeletionPolicy = Literal["Retain", "Snapshot", "Erase"]
ROLES = ("reader", "writer", "curator", "admin")
"""Each may what the one before may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySpec:
    """What an AgentMemory asks for, in Kalends' words."""

    memory: str
    secret: str
    claim: str
    label: str
    isolation: str = "shared"
    description: str = ""
    quota: Mapping[str, int] = field(default_factory=dict)
    redaction: Mapping[str, Any] = field(default_factory=dict)
    retention: Mapping[str, Any] | None = None
    role: str = "writer"
    overlap_s: int = 3600
    rotate_every: timedelta | None = None
    rotate_wish: str = ""
    hand_over_to: str = ""
    hand_over_reason: str = "request"
    deletion_policy: DeletionPolicy = "Retain"
    service_accounts: tuple[str, ...] = ()
    models: Mapping[str, Any] = field(default_factory=dict)
    backup: tuple[str, int] | None = None
    """When it is backed up, as cron in UTC, and how many backups are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operator's settings say; times in seconds."""

    abandon_after_s: int = 3600
    lag_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that is known of one AgentMemory and what belongs to it.

    ``handed_owner``: who owned the memory after it was handed over for this resource.
    ``handing_over``: a second person is awaited; ``hand_over_refused``: and said no, or Kalends did.
    """

    uid: str
    memory: SeenMemory | None = None
    tokens: tuple[SeenToken, ...] = ()
    agents: tuple[SeenAgent, ...] = ()
    secret: SeenSecret | None = None
    handed_owner: str = ""
    handing_over: bool = False
    hand_over_refused: bool = False
    deleting_since: datetime | None = None
    abandon: bool = False
    erasure: SeenErasure | None = None
    backup: SeenBackup | None = None


def blocked(spec: MemorySpec, seen: Seen) -> tuple[str, str] | None:
    """Why nothing can be done, as a reason and a sentence; None if it can."""
    if seen.secret is not None and not seen.secret.ours:
        return "SecretTaken", f"there is a Secret {spec.secret!r} that belongs to somebody else; it is left alone"
    if seen.memory is not None and naming.claimed_by(seen.memory.description) != spec.claim:
        return "MemoryTaken", "there is a memory of this name that is not this resource's; whose it is stands at the end of its description"
    if seen.memory is not None and seen.memory.isolation != spec.isolation:
        return "IsolationDiffers", f"the memory is {seen.memory.isolation}, and isolation cannot be changed"
    return None


def given_away(spec: MemorySpec, seen: Seen) -> bool:
    """Whether the memory is whose the spec says."""
    owner = None if seen.memory is None else seen.memory.owner
    return bool(owner and spec.hand_over_to) and owner == seen.handed_owner


def given_by_hand(spec: MemorySpec, seen: Seen) -> bool:
    """Whether somebody handed the memory over of whom the spec says nothing; that is a decision, and no drift."""
    return not spec.hand_over_to and seen.memory is not None and bool(seen.memory.owner)


def plan(spec: MemorySpec, seen: Seen, *, now: datetime, limits: Limits) -> tuple[Step, ...]:
    """The steps that are to be done now, in order; empty once everything is as it should be."""
    if seen.deleting_since is not None:
        return tuple(_ending(spec, seen, now=now, limits=limits))
    if blocked(spec, seen) is not None:
        return ()
    return (*_memory(spec, seen), *_access(spec, seen, now=now))


def _memory(spec: MemorySpec, seen: Seen) -> Iterator[Step]:
    if seen.memory is None:
        wanted = {"description": spec.description, "quota": spec.quota, "redaction": spec.redaction, "retention": spec.retention}
        yield CreateMemory(memory=spec.memory, isolation=spec.isolation, wanted=wanted)
        return
    changes = differences(spec, seen.memory)
    if changes:
        yield ChangeMemory(memory=spec.memory, changes=changes, by_hand=False)


def differences(spec: MemorySpec, memory: SeenMemory) -> dict[str, Any]:
    """Members of the memory that are not as the spec says, with what they should be."""
    wanted: dict[str, Any] = {}
    if memory.description != spec.description:
        wanted["description"] = spec.description
    if dict(memory.quota) != dict(spec.quota):
        wanted["quota"] = dict(spec.quota)
    if plain(memory.redaction) != plain(spec.redaction):
        wanted["redaction"] = dict(spec.redaction)
    if (memory.retention is None) != (spec.retention is None) or plain(memory.retention or {}) != plain(spec.retention or {}):
        wanted["retention"] = None if spec.retention is None else dict(spec.retention)
    return wanted


def plain(value: Any) -> Any:
    """*value* without members that say nothing, so that what was left out equals what is written as a default."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items() if plain(one) not in (None, {}, [], False)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sorted((plain(one) for one in value), key=str)
    return value


def _access(spec: MemorySpec, seen: Seen, *, now: datetime) -> Iterator[Step]:
    if given_away(spec, seen):
        yield from _revoke_all(seen)
        if seen.secret is None or seen.secret.opens or not seen.secret.current:
            yield WriteSecret(fresh=False, credentials=False, reason="HandedOver")
        return
    if given_by_hand(spec, seen):
        return
    if spec.hand_over_to and seen.memory is not None and not seen.hand_over_refused and not seen.handing_over:
        yield HandOver(memory=spec.memory, to=spec.hand_over_to, reason=spec.hand_over_reason)
        return
    yield from _credentials(spec, seen, now=now)


def _credentials(spec: MemorySpec, seen: Seen, *, now: datetime) -> Iterator[Step]:
    secret = seen.secret
    token = next((one for one in seen.tokens if secret is not None and one.token_id == secret.token_id), None)
    agent = next((one for one in seen.agents if secret is not None and one.agent_id == secret.agent_id), None)
    reason = _why_new(spec, secret, token, agent, now=now)
    if secret is None or reason == "":
        kept = () if secret is None else _kept(secret, now=now)
        yield from _strays(seen, kept=kept)
    if reason == "" and secret is not None:
        if not secret.current:
            yield WriteSecret(
                fresh=False,
                previous_tokens=secret.previous_tokens,
                previous_agents=secret.previous_agents,
                previous_until=secret.previous_until,
                rotated_at=secret.rotated_at,
                reason="SecretUpdated",
            )
        elif secret.previous_until is not None and secret.previous_until <= now and not _still(seen, secret):
            yield WriteSecret(fresh=False, rotated_at=secret.rotated_at, reason="")
        return
    yield from _anew(spec, seen, token, reason=reason, now=now)


def _still(seen: Seen, secret: SeenSecret) -> bool:
    live = {one.token_id for one in seen.tokens} | {one.agent_id for one in seen.agents}
    return bool(live & {*secret.previous_tokens, *secret.previous_agents})


def _why_new(spec: MemorySpec, secret: SeenSecret | None, token: SeenToken | None, agent: SeenAgent | None, *, now: datetime) -> str:
    """Why new credentials are needed, as the reason of an event; empty if they are not."""
    if secret is None:
        return "SecretCreated"
    if not secret.intact:
        return "SecretMended"
    if token is None or agent is None or token.replaced_by:
        return "CredentialsMended"  # a successor's secret was lost with whoever rotated it
    if not (token.role == agent.role == spec.role and token.memories == agent.memories == (spec.memory,)):
        return "RoleChanged"
    wished = bool(spec.rotate_wish) and spec.rotate_wish != secret.rotate_seen
    due = spec.rotate_every is not None and (secret.rotated_at is None or secret.rotated_at + spec.rotate_every <= now)
    return "CredentialsRotated" if wished or due else ""


def _anew(spec: MemorySpec, seen: Seen, token: SeenToken | None, *, reason: str, now: datetime) -> Iterator[Step]:
    """New credentials; those that the Secret has stay valid for a while, unless they may more than they should."""
    secret = seen.secret
    tokens: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    if secret is not None and secret.opens:
        tokens = tuple(one.token_id for one in seen.tokens if one.token_id == secret.token_id)
        tokens += tuple(one.replaced_by for one in seen.tokens if one.token_id in tokens and one.replaced_by)
        agents = tuple(one.agent_id for one in seen.agents if one.agent_id == secret.agent_id)
        yield from _strays(seen, kept=(*tokens, *agents))
    lowered = token is not None and ROLES.index(spec.role) < _rank(token.role)
    yield RegisterAgent(memory=spec.memory, role=spec.role, label=spec.label)
    if reason == "CredentialsRotated" and token is not None:
        yield RotateToken(token_id=token.token_id, overlap_s=spec.overlap_s)
    else:
        yield IssueToken(memory=spec.memory, role=spec.role, label=spec.label)
    yield WriteSecret(
        fresh=True,
        previous_tokens=tokens,
        previous_agents=agents,
        previous_until=None if not tokens and not agents else now + timedelta(seconds=0 if lowered else spec.overlap_s),
        rotated_at=now,
        reason=reason,
    )


def _rank(role: str | None) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _kept(secret: SeenSecret, *, now: datetime) -> tuple[str, ...]:
    """Ids of what must not be revoked yet."""
    held = [secret.token_id, secret.agent_id]
    if secret.previous_until is not None and now < secret.previous_until:
        held += [*secret.previous_tokens, *secret.previous_agents]
    return tuple(held)


def _strays(seen: Seen, *, kept: Sequence[str]) -> Iterator[Step]:
    yield from (RevokeToken(token_id=one.token_id) for one in seen.tokens if one.token_id not in kept)
    yield from (RevokeAgent(agent_id=one.agent_id) for one in seen.agents if one.agent_id not in kept)


def _revoke_all(seen: Seen) -> Iterator[Step]:
    yield from _strays(seen, kept=())


def may_abandon(seen: Seen, *, now: datetime, limits: Limits) -> bool:
    """Whether a resource that cannot be deleted may go all the same."""
    since = seen.deleting_since
    return seen.abandon and since is not None and now >= since + timedelta(seconds=limits.abandon_after_s)


def _ending(spec: MemorySpec, seen: Seen, *, now: datetime, limits: Limits) -> Iterator[Step]:
    if may_abandon(seen, now=now, limits=limits):
        yield from _letting_go(seen)
        return
    theirs = seen.memory is not None and naming.claimed_by(seen.memory.description) != spec.claim
    if theirs:
        yield from _letting_go(seen)
        return
    if (
        spec.deletion_policy == "Snapshot"
        and not (seen.backup is not None and seen.backup.state == "succeeded")
        and seen.memory is not None
    ):
        yield from _saving(spec, seen)
        return
    if spec.deletion_policy == "Erase" and not _erased(seen.erasure):
        yield from _revoke_all(seen)
        yield from erasing(spec.memory, seen.uid, seen.erasure)
        return
    yield from _letting_go(seen)


def _letting_go(seen: Seen) -> Iterator[Step]:
    yield from _revoke_all(seen)
    if seen.secret is not None and seen.secret.ours:
        yield DeleteSecret()
    yield RemoveFinalizer()


def _erased(erasure: SeenErasure | None) -> bool:
    return erasure is not None and erasure.state in {"erased", "absent"}


def erasing(memory: str, key: str, erasure: SeenErasure | None, *, options: Mapping[str, Any] | None = None) -> Iterator[Step]:
    """Ask for an erasure that was not asked for, or wait for the one that was; what a hold keeps is asked for again."""
    if erasure is None or not erasure.state:
        yield StartErasure(memory=memory, key=key, options=options)
    elif erasure.state not in {"erased", "undone", "absent"}:
        yield AwaitErasure(erasure_id=erasure.erasure_id)


def _saving(spec: MemorySpec, seen: Seen) -> Iterator[Step]:
    if seen.backup is None:
        yield StartBackup(memory=spec.memory, key=f"{seen.uid}-snapshot")
    else:
        yield AwaitBackup(operation_id=seen.backup.operation_id)
