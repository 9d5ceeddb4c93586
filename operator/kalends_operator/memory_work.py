"""One look at an AgentMemory: see, plan, do, see again, and say how it stands.

Belongs here: observing for the planner, and doing its steps. Does not belong here: deciding (``desired.memories``), kopf. A newcomer would
get wrong: the fresh token and the fresh seed live between two steps of one look and nowhere else; before every step it is seen that the
lease is still ours.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from kalends.domain.errors import Conflict, Invalid, KalendsError, Misconfigured, NotFound
from kalends.kit import failpoints
from kalends_operator import credentials, specs
from kalends_operator.child_schedules import Schedules, backed_up
from kalends_operator.cluster import Object
from kalends_operator.credentials import Pair
from kalends_operator.desired import memories, naming
from kalends_operator.desired.conditions import Note, moment
from kalends_operator.desired.memories import Limits, MemorySpec, Seen
from kalends_operator.desired.memory_status import Shown, Surroundings, log_intact, shown
from kalends_operator.desired.seen import SeenErasure, SeenMemory, SeenSecret
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
from kalends_operator.looking import Looked
from kalends_operator.working import Parts, Worker

log = structlog.get_logger(__name__)

ROUNDS = 4
_ABANDONED = Note(reason="Abandoned", message="let go as its annotation asks, before everything was done", warning=True)
_ERASURES = re.compile(r"erasures: ([0-9A-Za-z]+)")


@dataclass(slots=True, kw_only=True)
class _Look:
    """What one look carries from step to step."""

    resource: Object
    spec: MemorySpec
    pair: Pair = field(default_factory=Pair)
    kept: dict[str, str] = field(default_factory=dict)
    secret: SeenSecret | None = None
    ca: str = ""
    erasure: SeenErasure | None = None
    handed_owner: str = ""
    hand_over: str = ""
    """How the hand-over stands: empty, pending or refused."""

    refusal: str = ""
    approval_id: str = ""
    backup_id: str = ""
    notes: list[Note] = field(default_factory=list)
    stopped: bool = False

    @property
    def uid(self) -> str:
        return str(self.resource["metadata"]["uid"])

    @property
    def abandon(self) -> bool:
        notes: Mapping[str, str] = self.resource["metadata"].get("annotations") or {}
        return notes.get(naming.ABANDON) == "true"

    @property
    def deleting_since(self) -> datetime | None:
        return moment(self.resource["metadata"].get("deletionTimestamp"))


class MemoryWork(Worker):
    """Looks at AgentMemories."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._schedules = Schedules(parts.cluster, check=parts.check)
        self._limits = Limits(abandon_after_s=parts.settings.abandon_after_s)

    async def look(self, resource: Object) -> Looked:
        """Bring the world nearer to what *resource* asks for.

        Raises:
            KalendsError: something did not answer, or refused; the status says so.
        """
        before: Mapping[str, Any] = resource.get("status") or {}
        look = _remembered(resource, specs.memory(resource, cluster=self._settings.cluster), before)
        spec = look.spec
        look.ca = await asyncio.to_thread(_certificates, self._settings.ca_file)
        seen = _unseen(look)
        steps: tuple[Step, ...] = ()
        try:
            seen = await self._see(look)
            for _ in range(ROUNDS):
                steps = memories.plan(spec, seen, now=self._now(), limits=self._limits)
                if look.stopped or all(isinstance(step, WAITS) for step in steps):
                    break
                for step in steps:
                    await self._take(look, step)
                seen = await self._see(look)
            scheduled = None if seen.deleting_since or memories.blocked(spec, seen) else await self._schedules.see(resource, spec)
        except KalendsError as error:
            if memories.may_abandon(_unseen(look), now=self._now(), limits=self._limits):
                await self._cluster.tell(resource, _ABANDONED)
                return Looked(phase="Deleting", gone=True)
            await self._say(look, seen, before, trouble=error)
            raise
        gone = any(isinstance(step, RemoveFinalizer) for step in steps)
        if gone and memories.may_abandon(seen, now=self._now(), limits=self._limits) and not _settled(spec, seen):
            look.notes.append(_ABANDONED)
        told = await self._say(look, seen, before, steps=steps, scheduled=scheduled)
        return Looked(phase=told.phase, gone=gone, again_s=self._settings.poll_s if told.under_way else None)

    async def _say(
        self,
        look: _Look,
        seen: Seen,
        before: Mapping[str, Any],
        *,
        steps: tuple[Step, ...] = (),
        trouble: KalendsError | None = None,
        scheduled: Object | None = None,
    ) -> Shown:
        """Write the status if it changed, and tell of what happened."""
        told = shown(
            look.spec,
            seen,
            steps,
            await self._around(look, before, trouble=trouble, scheduled=scheduled),
            before=before,
            generation=look.resource["metadata"].get("generation", 0),
            trouble=trouble,
            now=self._now(),
            limits=self._limits,
        )
        await self._write(look.resource, told.status, [*look.notes, *told.notes])
        return told

    async def _around(
        self, look: _Look, before: Mapping[str, Any], *, trouble: KalendsError | None, scheduled: Object | None
    ) -> Surroundings:
        """What the status says of Kalends as a whole, and of backups."""
        intact, models = None, None
        if trouble is None and look.deleting_since is None:
            found = await self._platform.status()
            intact, models = log_intact({one.name: one.state for one in found.dependencies}), found.models
        return Surroundings(
            endpoints={"http": self._settings.url, "nats": self._settings.nats_url},
            tenant=self._settings.tenant,
            subject_prefix=credentials.subject_prefix(look.spec, self._settings),
            log_intact=intact,
            models=models,
            waits_for=look.approval_id or look.backup_id,
            refusal=look.refusal,
            **backed_up(scheduled, before),
        )

    async def _see(self, look: _Look) -> Seen:
        """Everything that the planner wants to know."""
        memory = await self._platform.memory(look.spec.memory)
        tokens, agents = await self._platform.credentials(look.spec.label)
        await self._see_secret(look)
        if look.hand_over == "pending":
            await self._see_hand_over(look)
        if look.deleting_since is not None and look.spec.deletion_policy == "Erase":
            look.erasure = await self._see_erasure(look, memory)
        backup = await self._backups.seen(look.backup_id) if look.backup_id else None
        return Seen(
            uid=look.uid,
            memory=memory,
            tokens=tokens,
            agents=agents,
            secret=look.secret,
            handed_owner=look.handed_owner,
            handing_over=look.hand_over == "pending",
            hand_over_refused=look.hand_over == "refused",
            deleting_since=look.deleting_since,
            abandon=look.abandon,
            erasure=look.erasure,
            backup=backup,
        )

    async def _see_secret(self, look: _Look) -> None:
        found = await self._cluster.secret(look.resource["metadata"]["namespace"], look.spec.secret)
        if found is None:
            look.secret, look.kept = None, {}
            return
        seen, look.kept = credentials.read(found, uid=look.uid)
        said = {key: value for key, value in look.kept.items() if key not in {credentials.TOKEN, credentials.SEED}}
        wanted = credentials.connection(look.spec, self._settings, agent_id=seen.agent_id, ca=look.ca)
        look.secret = replace(seen, current=seen.intact and said == wanted)

    async def _see_hand_over(self, look: _Look) -> None:
        state, result = await self._platform.approval_state(look.approval_id)
        if state in {"refused", "failed"}:
            look.hand_over, look.refusal, look.approval_id = "refused", result or "a second person said no", ""
        elif state not in {"pending", "approved"}:
            look.hand_over, look.approval_id = "", ""

    async def _see_erasure(self, look: _Look, memory: SeenMemory | None) -> SeenErasure | None:
        """How the erasure goes that was asked for; one that waited for a second person has an id once that agreed."""
        known = look.erasure or SeenErasure()
        if known.state == "absent" or known.held:
            return known
        if look.approval_id and not known.erasure_id:
            state, result = await self._platform.approval_state(look.approval_id)
            found = _ERASURES.search(result)
            if state == "expired":
                look.approval_id = ""
                return None
            if found is None:
                return SeenErasure(state="waiting", approval_id=look.approval_id, approval_state=state)
            known, look.approval_id = SeenErasure(erasure_id=found[1]), ""
        if known.erasure_id:
            return await self._platform.erasure(look.spec.memory, known.erasure_id)
        if memory is not None or look.deleting_since is None:
            return None
        # killed between asking and writing it down: what is gone was erased since the deletion, or never was
        found_again = await self._platform.erasure_of_all(look.spec.memory, since=look.deleting_since)
        return found_again or SeenErasure(state="absent")

    async def _take(self, look: _Look, step: Step) -> None:
        """Do one step; a failpoint lies before and after each."""
        if isinstance(step, WAITS):
            return
        self._check()
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(step).__name__).lower()
        await failpoints.reach(f"operator.before-{name}")
        await self._do(look, step)
        log.info("step", step=name, kind="AgentMemory", uid=look.uid)
        await failpoints.reach(f"operator.after-{name}")

    async def _do(self, look: _Look, step: Step) -> None:
        match step:
            case CreateMemory():
                await self._platform.create_memory(step.memory, isolation=step.isolation, wanted=step.wanted)
                look.notes.append(Note(reason="MemoryCreated", message=f"made the memory {step.memory}"))
            case ChangeMemory():
                await self._platform.change_memory(step.memory, step.changes)
                look.notes.append(Note(reason="MemoryChanged", message=f"set {', '.join(sorted(step.changes))} as the spec says"))
            case WriteSecret():
                await self._write_secret(look, step)
            case DeleteSecret():
                await self._cluster.delete_secret(look.resource["metadata"]["namespace"], look.spec.secret)
            case HandOver():
                await self._hand_over(look, step)
            case StartErasure():
                await self._erase(look, step)
            case StartBackup():
                look.backup_id = await self._backups.start(step.memory, operation_id=naming.once(look.deleting_since, step.key))
                look.notes.append(Note(reason="SnapshotStarted", message="a backup is made before the resource goes"))
            case _:
                await self._do_access(look, step)

    async def _do_access(self, look: _Look, step: Step) -> None:
        """Make or end a credential."""
        match step:
            case RegisterAgent():
                agent, pair = await self._platform.register_agent(step.memory, role=step.role, label=step.label)
                look.pair = replace(look.pair, agent_id=agent.agent_id, seed=pair.seed)
            case IssueToken():
                made = await self._platform.issue_token(step.memory, role=step.role, label=step.label)
                look.pair = replace(look.pair, token_id=made.token_id, token=made.secret)
            case RotateToken():
                made = await self._platform.rotate_token(step.token_id, label=look.spec.label, overlap_s=step.overlap_s)
                look.pair = replace(look.pair, token_id=made.token_id, token=made.secret)
            case RevokeToken():
                await self._platform.revoke_token(step.token_id, label=look.spec.label)
            case RevokeAgent():
                await self._platform.revoke_agent(step.agent_id, label=look.spec.label)
            case _:
                raise AssertionError(step)

    async def _write_secret(self, look: _Look, step: WriteSecret) -> None:
        pair = Pair()
        if step.fresh:
            pair = look.pair
        elif step.credentials and look.secret is not None:
            kept = look.kept
            pair = Pair(
                token_id=look.secret.token_id,
                token=kept.get(credentials.TOKEN, ""),
                agent_id=look.secret.agent_id,
                seed=kept.get(credentials.SEED, ""),
            )
        data, annotations = credentials.written(step, look.spec, self._settings, pair=pair, ca=look.ca)
        await self._cluster.apply_secret(owner=look.resource, name=look.spec.secret, data=data, annotations=annotations)
        look.pair = Pair()
        if step.reason:
            mended = step.reason.endswith("Mended")
            look.notes.append(Note(reason=step.reason, message=f"wrote the Secret {look.spec.secret}", warning=mended))

    async def _hand_over(self, look: _Look, step: HandOver) -> None:
        """Give the memory away; what Kalends refuses is not asked for again."""
        try:
            done = await self._platform.hand_over(step.memory, to=step.to, reason=step.reason)
        except (Invalid, Conflict) as error:
            look.hand_over, look.refusal = "refused", error.detail[:1000]
            return
        if done.approval is not None:
            look.hand_over, look.approval_id = "pending", done.approval.approval_id
            return
        look.hand_over, look.handed_owner = "", done.owner or ""
        look.notes.append(Note(reason="HandedOver", message="the memory has a new owner; the credentials of this resource are revoked"))

    async def _erase(self, look: _Look, step: StartErasure) -> None:
        try:
            look.erasure = await self._platform.erase(step.memory, key=step.key, options=step.options)
        except NotFound:
            look.erasure = SeenErasure(state="absent")
        except Conflict as error:
            look.erasure = SeenErasure(held=error.detail)
            look.stopped = True
            return
        look.approval_id = look.erasure.approval_id


def _remembered(resource: Object, spec: MemorySpec, before: Mapping[str, Any]) -> _Look:
    """What the status remembers of what was begun: each would be found again, or begun again without harm."""
    look = _Look(resource=resource, spec=spec)
    by_type = {one.get("type"): one for one in before.get("conditions") or []}
    handed = by_type.get("HandedOver", {})
    look.handed_owner = str(before.get("owner") or "") if handed.get("status") == "True" else ""
    waits = str(before.get("operationId") or "")
    if look.deleting_since is None:
        if handed.get("reason") == "ApprovalPending" and waits:
            look.hand_over, look.approval_id = "pending", waits
        elif handed.get("reason") == "Refused":
            look.hand_over, look.refusal = "refused", str(handed.get("message", ""))
    elif spec.deletion_policy == "Snapshot":
        look.backup_id = waits
    elif spec.deletion_policy == "Erase":
        reason = by_type.get("Erasing", {}).get("reason")
        look.approval_id = waits if reason in {"ApprovalPending", "ApprovalRefused"} else ""
        if before.get("erasureId"):
            look.erasure = SeenErasure(erasure_id=str(before["erasureId"]))
    return look


def _unseen(look: _Look) -> Seen:
    return Seen(uid=look.uid, deleting_since=look.deleting_since, abandon=look.abandon)


def _settled(spec: MemorySpec, seen: Seen) -> bool:
    erased = seen.erasure is not None and seen.erasure.state in {"erased", "absent"}
    saved = seen.backup is not None and seen.backup.state == "succeeded"
    done = {"Erase": erased, "Snapshot": saved or seen.memory is None, "Retain": True}[spec.deletion_policy]
    return done and not seen.tokens and not seen.agents


def _certificates(path: str) -> str:
    """The certificates that pods should trust.

    Raises:
        Misconfigured: they cannot be read.
    """
    try:
        return Path(path).read_text(encoding="ascii") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("the file of Kalends' certificates cannot be read") from error
