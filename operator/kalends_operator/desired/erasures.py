"""MemoryErasure: from spec and what is seen to steps, and what is shown of it.

Belongs here: when an erasure is asked for, what is asked, and how it stands. Does not belong here: asking. A newcomer would get wrong: the
key of the request is the resource's uid, so one resource is one erasure however often it is asked for; and a resource that is deleted
stops nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kalends.domain.errors import KalendsError
from kalends_operator.desired.conditions import Condition, Note, Truth, merged, transitions
from kalends_operator.desired.memories import erasing
from kalends_operator.desired.seen import SeenErasure
from kalends_operator.desired.steps import RemoveFinalizer, Step

BAD: Mapping[str, Truth] = {"Held": "True"}
IN_MEMORY = "in the memory "
"""What the message of an erasure under way begins with; the name after it is how it is found once the AgentMemory is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureSpec:
    """What a MemoryErasure asks for: the memory, and the options of the request; ``refusal``: why it may not be asked for."""

    memory: str
    options: Mapping[str, Any]
    refusal: str = ""


def plan(spec: ErasureSpec, *, uid: str, seen: SeenErasure | None, deleting: bool) -> tuple[Step, ...]:
    """The steps that are to be done now; empty once there is a receipt, or never will be."""
    if deleting:
        return (RemoveFinalizer(),)
    if spec.refusal:
        return ()
    return tuple(erasing(spec.memory, uid, seen, options=spec.options))


def shown(
    spec: ErasureSpec,
    seen: SeenErasure | None,
    *,
    before: Mapping[str, Any],
    generation: int,
    trouble: KalendsError | None,
    now: datetime,
) -> tuple[dict[str, Any], list[Note]]:
    """The status, and what is worth an event."""
    past: Sequence[Mapping[str, Any]] = before.get("conditions") or []
    conditions = list(_conditions(spec, seen, trouble=trouble))
    state = _state(spec, seen) or before.get("state")
    times = {} if seen is None else seen.times
    receipt = "" if seen is None or seen.receipt is None else json.dumps(seen.receipt, separators=(",", ":"), ensure_ascii=False)
    said: dict[str, Any] = {
        "observedGeneration": generation,
        "state": state,
        "conditions": merged(past, conditions, at=now, generation=generation),
        "erasureId": (seen.erasure_id if seen is not None else "") or before.get("erasureId"),
        "requestedAt": times.get("hidden") or before.get("requestedAt"),
        "completedAt": times.get("erased") or before.get("completedAt"),
        "counts": dict(seen.counts) if seen is not None and seen.counts else before.get("counts"),
        "receipt": receipt or before.get("receipt"),
        "error": spec.refusal or (trouble.detail[:1000] if trouble is not None else ""),
    }
    return {name: value for name, value in said.items() if value not in (None, "", {})}, transitions(past, conditions, bad=BAD)


def _state(spec: ErasureSpec, seen: SeenErasure | None) -> str:
    if spec.refusal or (seen is not None and seen.state == "absent"):
        return "failed"
    if seen is None:
        return ""
    if seen.approval_state in {"refused", "failed"}:
        return "failed"
    return seen.state if seen.state in {"waiting", "hidden", "unreadable", "erased", "undone"} else ""


def _conditions(spec: ErasureSpec, seen: SeenErasure | None, *, trouble: KalendsError | None) -> Iterator[Condition]:
    yield _complete(spec, seen, trouble=trouble)
    if seen is not None and (seen.approval_id or seen.approval_state):
        given: dict[str, Truth] = {"approved": "True", "done": "True", "refused": "False", "failed": "False"}
        status = given.get(seen.approval_state, "Unknown")
        message = f"a second person must approve {seen.approval_id}" if status == "Unknown" else ""
        reason = "Pending" if status == "Unknown" else seen.approval_state.capitalize()
        yield Condition(type="Approved", status=status, reason=reason, message=message)
    held = "" if seen is None else seen.held
    yield Condition(type="Held", status="True" if held else "False", reason="UnderHold" if held else "NoHold", message=held[:1000])


def _complete(spec: ErasureSpec, seen: SeenErasure | None, *, trouble: KalendsError | None) -> Condition:
    if spec.refusal:
        return Condition(type="Complete", status="False", reason="Refused", message=spec.refusal)
    if trouble is not None:
        return Condition(type="Complete", status="Unknown", reason="Unavailable", message=trouble.detail[:1000])
    if seen is None or not seen.state:
        return Condition(type="Complete", status="False", reason="NotAskedYet")
    if seen.state == "erased":
        return Condition(type="Complete", status="True", reason="Erased", message="the receipt is in the status")
    reasons = {"waiting": "ApprovalPending", "hidden": "Hidden", "unreadable": "Unreadable", "undone": "Undone", "absent": "NothingThere"}
    return Condition(type="Complete", status="False", reason=reasons.get(seen.state, "UnderWay"), message=f"{IN_MEMORY}{spec.memory}")
