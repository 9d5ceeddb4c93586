"""A world in memory: Kalends and a Secret, as far as the planner of AgentMemories knows them.

Belongs here: doing steps to it, whole or cut off. Does not belong here: any server's own rules but those that planners rely on. A newcomer
would get wrong: what was made and not written into the Secret is lost with the operator, but stays in this world as a stray.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from kalends_operator.desired import memories
from kalends_operator.desired.memories import Limits, MemorySpec, Seen
from kalends_operator.desired.seen import SeenAgent, SeenBackup, SeenErasure, SeenMemory, SeenSecret, SeenToken
from kalends_operator.desired.steps import (
    WAITS,
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

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits(abandon_after_s=600)
CLAIM = "[kubernetes - acme/notes]"
LABEL = "kalends-operator u-1"


def spec_of(**given: object) -> MemorySpec:
    """A spec with everything that most tests do not care for."""
    plain = MemorySpec(
        memory="notes", secret="notes-kalends", claim=CLAIM, label=LABEL, description=CLAIM, rotate_every=timedelta(days=90), overlap_s=3600
    )
    return replace(plain, **given)


@dataclass(kw_only=True)
class World:
    """What there is, and what was done to it."""

    memory: SeenMemory | None = None
    tokens: dict[str, SeenToken] = field(default_factory=dict)
    agents: dict[str, SeenAgent] = field(default_factory=dict)
    secret: SeenSecret | None = None
    erasures: dict[str, SeenErasure] = field(default_factory=dict)
    backups: dict[str, SeenBackup] = field(default_factory=dict)
    handed_owner: str = ""
    deleting_since: datetime | None = None
    abandon: bool = False
    now: datetime = NOW
    done: list[Step] = field(default_factory=list)
    gone: bool = False
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    def seen(self) -> Seen:
        """What an operator sees that was started just now."""
        return Seen(
            uid="u-1",
            memory=self.memory,
            tokens=tuple(self.tokens.values()),
            agents=tuple(self.agents.values()),
            secret=self.secret,
            handed_owner=self.handed_owner,
            deleting_since=self.deleting_since,
            abandon=self.abandon,
            erasure=self._erasure(),
            backup=next(iter(self.backups.values()), None),
        )

    def _erasure(self) -> SeenErasure | None:
        known = next(iter(self.erasures.values()), None)
        return SeenErasure(state="absent") if known is None and self.memory is None and self.deleting_since else known

    def plan(self, spec: MemorySpec) -> tuple[Step, ...]:
        """What the planner wants now."""
        return memories.plan(spec, self.seen(), now=self.now, limits=LIMITS)

    def settle(self, spec: MemorySpec, *, rounds: int = 6) -> bool:
        """Plan and do until nothing is left to be done; whether it came to that."""
        for _ in range(rounds):
            steps = self.plan(spec)
            if all(isinstance(step, WAITS) for step in steps):
                self.gone = any(isinstance(step, RemoveFinalizer) for step in steps)
                return True
            self.do(spec, steps)
        return False

    def do(self, spec: MemorySpec, steps: Sequence[Step]) -> None:
        """Do *steps* one after another; what is fresh lives between them."""
        fresh = {"token": "", "agent": ""}
        for step in steps:
            self.done.append(step)
            self._do_credential(step, fresh)
            match step:
                case CreateMemory():
                    self.memory = SeenMemory(isolation=step.isolation, **step.wanted)
                case ChangeMemory():
                    assert self.memory is not None
                    self.memory = replace(self.memory, **step.changes)
                case WriteSecret():
                    self._write(spec, step, token=fresh["token"], agent=fresh["agent"])
                case DeleteSecret():
                    self.secret = None
                case HandOver():
                    assert self.memory is not None
                    self.memory = replace(self.memory, owner=f"owner of {step.to}")
                    self.handed_owner = f"owner of {step.to}"
                case StartErasure():
                    assert self.memory is not None
                    self.erasures.setdefault(step.key, SeenErasure(erasure_id=f"e-{step.key}", state="hidden"))
                case StartBackup():
                    self.backups.setdefault(step.key, SeenBackup(operation_id=f"b-{step.key}", state="running"))

    def _do_credential(self, step: Step, fresh: dict[str, str]) -> None:
        match step:
            case RegisterAgent():
                fresh["agent"] = self._new("a")
                self.agents[fresh["agent"]] = SeenAgent(agent_id=fresh["agent"], role=step.role, memories=(step.memory,))
            case IssueToken():
                fresh["token"] = self._new("t")
                self.tokens[fresh["token"]] = SeenToken(token_id=fresh["token"], role=step.role, memories=(step.memory,))
            case RotateToken():
                old = self.tokens[step.token_id]
                assert not old.replaced_by, "a token is rotated once"
                fresh["token"] = self._new("t")
                self.tokens[fresh["token"]] = replace(old, token_id=fresh["token"])
                self.tokens[step.token_id] = replace(old, replaced_by=fresh["token"])
            case RevokeToken():
                for one in list(self.tokens.values()):
                    if step.token_id in {one.token_id, one.replaced_by}:
                        del self.tokens[one.token_id]
            case RevokeAgent():
                del self.agents[step.agent_id]

    def _new(self, kind: str) -> str:
        return f"{kind}{next(self._ids)}"

    def _write(self, spec: MemorySpec, step: WriteSecret, *, token: str, agent: str) -> None:
        kept = self.secret if step.credentials else None
        ids = (token, agent) if step.fresh else ("", "") if kept is None else (kept.token_id, kept.agent_id)
        self.secret = SeenSecret(
            ours=True,
            intact=True,
            current=True,
            token_id=ids[0],
            agent_id=ids[1],
            previous_tokens=step.previous_tokens,
            previous_agents=step.previous_agents,
            previous_until=step.previous_until,
            rotated_at=step.rotated_at,
            rotate_seen=spec.rotate_wish,
        )
