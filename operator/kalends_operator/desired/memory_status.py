"""AgentMemory: what is shown of it.

Belongs here: conditions, phase, counts. Does not belong here: steps (``memories``). A newcomer would get wrong: the status is also what the
operator remembers of an erasure, a snapshot or a hand-over that was asked for, though each would be found again without it, because each is
asked for with a key or changes nothing the second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kalends.domain.errors import KalendsError
from kalends_operator.desired import memories
from kalends_operator.desired.conditions import Condition, Note, Truth, merged, stamp, transitions
from kalends_operator.desired.memories import Limits, MemorySpec, Seen
from kalends_operator.desired.steps import RemoveFinalizer, Step

BAD: Mapping[str, Truth] = {
    "Ready": "False",
    "Provisioned": "False",
    "IndexesCurrent": "False",
    "LogIntact": "False",
    "BackupHealthy": "False",
    "QuotaExceeded": "True",
    "ModelsServed": "False",
    "AccountsMapped": "False",
}
"""Which status of a condition is one to warn of."""

_REFUSALS: Mapping[str, str] = {
    "unauthenticated": "CredentialsRefused",
    **dict.fromkeys(("invalid", "conflict", "forbidden", "malformed", "not_found", "misconfigured"), "Refused"),
}
"""Errors that do not go away by waiting, with the reason that is shown."""


def log_intact(states: Mapping[str, str]) -> bool | None:
    """Whether the log is there and, as far as its archive tells, what was written; None where Kalends says nothing of it.

    The archive is ``down`` once a check has found a break, in itself or in the log.
    """
    told = [state for name, state in states.items() if name in {"log", "nats", "archive"}]
    return all(state != "down" for state in told) if told else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A status as it is written, what is worth an event, and whether something is under way that is worth looking at soon."""

    status: Mapping[str, Any]
    notes: Sequence[Note]
    phase: str
    under_way: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a status says besides the memory itself.

    ``waits_for``: the operation or approval in Kalends that is waited for. ``refusal``: why a hand-over was refused. ``models``: those that
    Kalends serves, None: not known. ``backup``: the newest whole backup as a status has it, and ``backup_tried`` when one was begun last.
    """

    endpoints: Mapping[str, str]
    tenant: str
    subject_prefix: str
    log_intact: bool | None = None
    models: Mapping[str, str] | None = None
    waits_for: str = ""
    refusal: str = ""
    backup: Mapping[str, Any] | None = None
    backup_tried: str = ""
    backup_overdue: bool = False


def shown(
    spec: MemorySpec,
    seen: Seen,
    steps: Sequence[Step],
    around: Surroundings,
    *,
    before: Mapping[str, Any],
    generation: int,
    trouble: KalendsError | None,
    now: datetime,
    limits: Limits,
) -> Shown:
    """The status of an AgentMemory, given what was seen of it last and the *steps* that are still to be done."""
    if trouble is not None:
        return _troubled(seen, trouble, before=before, generation=generation, now=now)
    conditions = list(_conditions(spec, seen, steps, around, limits=limits))
    past: Sequence[Mapping[str, Any]] = before.get("conditions") or []
    phase = _phase(spec, seen, conditions)
    owner = None if seen.memory is None else seen.memory.owner
    said: dict[str, Any] = {
        "observedGeneration": generation,
        "phase": phase,
        "memory": spec.memory,
        "tenant": around.tenant,
        "owner": owner if memories.given_away(spec, seen) or memories.given_by_hand(spec, seen) else None,
        "conditions": merged(past, conditions, at=now, generation=generation),
        "endpoints": {**{name: url for name, url in around.endpoints.items() if url}, "subjectPrefix": around.subject_prefix},
        **_numbers(seen),
        **_credentials(spec, seen),
        "lastBackup": around.backup,
        "lastBackupAttemptAt": around.backup_tried,
        "erasureId": "" if seen.erasure is None else seen.erasure.erasure_id,
        "operationId": around.waits_for,
    }
    status = {name: value for name, value in said.items() if value not in (None, "", {})}
    under_way = bool(steps) and not any(isinstance(step, RemoveFinalizer) for step in steps)
    return Shown(status=status, notes=transitions(past, conditions, bad=BAD), phase=phase, under_way=under_way or seen.handing_over)


def _phase(spec: MemorySpec, seen: Seen, conditions: Sequence[Condition]) -> str:
    if seen.deleting_since is not None:
        return "Deleting"
    ready = next(one for one in conditions if one.type == "Ready")
    if ready.status == "True":
        return "Ready"
    if memories.blocked(spec, seen) is not None:
        return "Failed"
    if ready.reason in {"HandedOver", "HandOverRefused"}:
        return "Degraded"
    return "Provisioning" if seen.memory is not None else "Pending"


def _conditions(spec: MemorySpec, seen: Seen, steps: Sequence[Step], around: Surroundings, *, limits: Limits) -> Iterator[Condition]:
    yield _ready(spec, seen, steps, around)
    made = seen.memory is not None
    yield Condition(type="Provisioned", status="True" if made else "False", reason="MemoryExists" if made else "NoMemory")
    if seen.deleting_since is not None:
        yield _erasing(spec, seen)
        return
    yield _indexes(seen, limits=limits)
    known: Truth = "Unknown" if around.log_intact is None else "True" if around.log_intact else "False"
    yield Condition(type="LogIntact", status=known, reason={"True": "LogUp", "False": "LogDown", "Unknown": "NotSeen"}[known])
    yield _backups(spec, around)
    yield _quota(spec, seen)
    yield Condition(type="Erasing", status="False", reason="NotAsked")
    if spec.service_accounts:
        message = (
            "Kalends lets service accounts in by its own settings (kubernetes.workloads); it cannot be asked whether these are among them"
        )
        yield Condition(type="AccountsMapped", status="Unknown", reason="SetInKalends", message=message)
    if spec.models:
        yield _models(spec, around)
    if spec.hand_over_to:
        yield _handed_over(spec, seen, around)


def _backups(spec: MemorySpec, around: Surroundings) -> Condition:
    if spec.backup is None:
        return Condition(type="BackupHealthy", status="Unknown", reason="NotScheduled", message="no backup is asked for in the spec")
    if around.backup is None:
        return Condition(type="BackupHealthy", status="Unknown", reason="NoneYet", message="no backup is done yet")
    if around.backup_overdue:
        return Condition(type="BackupHealthy", status="False", reason="Overdue", message="the newest backup that was tried is not whole")
    return Condition(type="BackupHealthy", status="True", reason="BackedUp")


def _models(spec: MemorySpec, around: Surroundings) -> Condition:
    if around.models is None:
        return Condition(type="ModelsServed", status="Unknown", reason="NotSeen")
    others = sorted(name for name, wanted in spec.models.items() if wanted not in around.models.get(name, ""))
    if others:
        message = f"models are set for the whole of Kalends, and others are served: {', '.join(others)}"
        return Condition(type="ModelsServed", status="False", reason="OthersServed", message=message)
    return Condition(type="ModelsServed", status="True", reason="AsNamed")


def _handed_over(spec: MemorySpec, seen: Seen, around: Surroundings) -> Condition:
    if memories.given_away(spec, seen):
        return Condition(type="HandedOver", status="True", reason="Done")
    if seen.handing_over:
        message = f"a second person must approve {around.waits_for}"
        return Condition(type="HandedOver", status="False", reason="ApprovalPending", message=message)
    if seen.hand_over_refused:
        return Condition(type="HandedOver", status="False", reason="Refused", message=around.refusal)
    return Condition(type="HandedOver", status="False", reason="UnderWay")


def _troubled(seen: Seen, trouble: KalendsError, *, before: Mapping[str, Any], generation: int, now: datetime) -> Shown:
    """What is shown while something does not answer or refuses: what was known stays, what cannot be known now is Unknown."""
    past: Sequence[Mapping[str, Any]] = before.get("conditions") or []
    refused = trouble.code in _REFUSALS
    reason = _REFUSALS.get(trouble.code, "Unavailable")
    conditions = [Condition(type="Ready", status="False" if refused else "Unknown", reason=reason, message=trouble.detail[:1000])]
    names = ("Provisioned",) if seen.deleting_since is not None else ("Provisioned", "IndexesCurrent", "LogIntact")
    conditions += [Condition(type=name, status="Unknown", reason="NotSeen") for name in names]
    told = {one.type for one in conditions}
    kept = [dict(one) for one in past if one.get("type") not in told]
    opened = bool(before.get("credentialsSecret"))
    phase = "Deleting" if seen.deleting_since is not None else "Degraded" if opened else "Failed" if refused else "Pending"
    written = merged(past, conditions, at=now, generation=generation)
    status = {**before, "observedGeneration": generation, "phase": phase, "conditions": [*written, *kept]}
    return Shown(status=status, notes=transitions(past, conditions, bad=BAD), phase=phase, under_way=False)


def _ready(spec: MemorySpec, seen: Seen, steps: Sequence[Step], around: Surroundings) -> Condition:
    if seen.deleting_since is not None:
        return Condition(type="Ready", status="False", reason="Deleting", message="it is being deleted")
    why = memories.blocked(spec, seen)
    if why is not None:
        return Condition(type="Ready", status="False", reason=why[0], message=why[1])
    if memories.given_away(spec, seen) or memories.given_by_hand(spec, seen):
        owner = "" if seen.memory is None else seen.memory.owner
        return Condition(
            type="Ready", status="False", reason="HandedOver", message=f"the memory belongs to {owner}; this Secret opens it no more"
        )
    if seen.hand_over_refused:
        return Condition(type="Ready", status="False", reason="HandOverRefused", message=around.refusal)
    if steps:
        return Condition(type="Ready", status="False", reason="Progressing", message="something is still to be done")
    message = "a second person must approve the hand-over" if seen.handing_over else f"the Secret {spec.secret} opens the memory"
    return Condition(type="Ready", status="True", reason="SecretOpensMemory", message=message)


def _indexes(seen: Seen, *, limits: Limits) -> Condition:
    if seen.memory is None or not seen.memory.lag:
        return Condition(type="IndexesCurrent", status="Unknown", reason="NotSeen")
    late = sorted(name for name, (_, seconds) in seen.memory.lag.items() if seconds > limits.lag_s)
    if late:
        return Condition(type="IndexesCurrent", status="False", reason="Behind", message=f"behind the log: {', '.join(late)}")
    return Condition(type="IndexesCurrent", status="True", reason="CaughtUp")


def _quota(spec: MemorySpec, seen: Seen) -> Condition:
    if not spec.quota:
        return Condition(type="QuotaExceeded", status="False", reason="NoQuota")
    memory = seen.memory
    used = {} if memory is None else {"events": memory.counts.get("events"), "bytes": memory.log_bytes}
    full = [name for name, bound in spec.quota.items() if (used.get(name) or 0) >= bound]
    if full:
        return Condition(type="QuotaExceeded", status="True", reason="Full", message=f"no room is left by {' and '.join(sorted(full))}")
    return Condition(type="QuotaExceeded", status="False", reason="Within")


def _erasing(spec: MemorySpec, seen: Seen) -> Condition:
    if spec.deletion_policy != "Erase":
        message = "the data stays: that is the deletionPolicy"
        return Condition(type="Erasing", status="False", reason=f"Policy{spec.deletion_policy}", message=message)
    return erasing(seen)


def erasing(seen: Seen) -> Condition:
    """How far an erasure is, as a condition."""
    erasure = seen.erasure
    if erasure is None:
        return Condition(type="Erasing", status="True", reason="NotAskedYet")
    if erasure.held:
        return Condition(type="Erasing", status="False", reason="UnderHold", message=erasure.held[:1000])
    if erasure.approval_id and not erasure.erasure_id:
        if erasure.approval_state in {"refused", "failed"}:
            message = "a second person said no, or it could not be done; change deletionPolicy, or see the annotation of abandoning"
            return Condition(type="Erasing", status="False", reason="ApprovalRefused", message=message)
        return Condition(
            type="Erasing", status="True", reason="ApprovalPending", message=f"a second person must approve {erasure.approval_id}"
        )
    if erasure.state in {"erased", "absent"}:
        return Condition(type="Erasing", status="False", reason="Erased" if erasure.state == "erased" else "NothingToErase")
    return Condition(type="Erasing", status="True", reason={"hidden": "Hidden", "unreadable": "Unreadable"}.get(erasure.state, "UnderWay"))


def _numbers(seen: Seen) -> dict[str, Any]:
    """Counts and lag."""
    if seen.memory is None:
        return {}
    counts: dict[str, int] = {**seen.memory.counts}
    if seen.memory.log_bytes is not None:
        counts["bytes"] = seen.memory.log_bytes
    lag = {name: {"events": events, "seconds": int(seconds)} for name, (events, seconds) in seen.memory.lag.items()}
    return {"counts": counts, "lag": lag}


def _credentials(spec: MemorySpec, seen: Seen) -> dict[str, Any]:
    secret = seen.secret
    if secret is None or not secret.ours:
        return {}
    due = None if secret.rotated_at is None or spec.rotate_every is None else secret.rotated_at + spec.rotate_every
    return {
        "credentialsSecret": spec.secret,
        "credentialsExpireAt": "" if due is None else stamp(due),
        "tokenId": secret.token_id,
        "agentRegistration": secret.agent_id,
        "publicKey": secret.public_key,
    }
