"""One look at a MemoryErasure: ask once, follow, and keep the receipt.

Belongs here: observing for the planner, and doing its one step. Does not belong here: deciding (``desired.erasures``). A newcomer would get
wrong: it names an AgentMemory of its own namespace, and the memory is only touched if it is that resource's.
"""

import re
from collections.abc import Mapping
from typing import Any

import structlog

from kalends.domain.errors import Conflict, KalendsError, NotFound
from kalends.kit import failpoints
from kalends_operator import specs
from kalends_operator.cluster import Object
from kalends_operator.crds.erasures import MemoryErasureSpec, Selector
from kalends_operator.desired import erasures, naming
from kalends_operator.desired.erasures import ErasureSpec
from kalends_operator.desired.seen import SeenErasure
from kalends_operator.desired.steps import StartErasure
from kalends_operator.looking import Looked
from kalends_operator.working import Worker

log = structlog.get_logger(__name__)

_ERASURES = re.compile(r"erasures: ([0-9A-Za-z]+)")
_OVER = {"erased", "undone", "failed"}


class ErasureWork(Worker):
    """Looks at MemoryErasures."""

    async def look(self, resource: Object) -> Looked:
        """Ask for the erasure if nobody did, and say how it goes.

        Raises:
            KalendsError: something did not answer, or refused; the status says so.
        """
        meta, before = resource["metadata"], resource.get("status") or {}
        if meta.get("deletionTimestamp"):
            return Looked(phase="Deleting", gone=True)
        if before.get("state") in _OVER:
            return Looked(phase=str(before["state"]))
        seen: SeenErasure | None = None
        spec = ErasureSpec(memory="", options={})
        try:
            spec = await self._spec(resource, before)
            seen = await self._see(spec, before)
            for step in erasures.plan(spec, uid=meta["uid"], seen=seen, deleting=False):
                if isinstance(step, StartErasure):
                    self._check()
                    await failpoints.reach("operator.before-start-erasure")
                    seen = await self._ask(step)
                    log.info("step", step="start-erasure", kind="MemoryErasure", uid=meta["uid"])
                    await failpoints.reach("operator.after-start-erasure")
        except KalendsError as error:
            await self._say(resource, spec, seen, before, trouble=error)
            raise
        state = await self._say(resource, spec, seen, before)
        return Looked(phase=state or "asked", again_s=None if state in _OVER or (seen and seen.held) else self._settings.poll_s)

    async def _say(
        self,
        resource: Object,
        spec: ErasureSpec,
        seen: SeenErasure | None,
        before: Mapping[str, Any],
        *,
        trouble: KalendsError | None = None,
    ) -> str:
        generation = resource["metadata"].get("generation", 0)
        status, notes = erasures.shown(spec, seen, before=before, generation=generation, trouble=trouble, now=self._now())
        if status != before:
            self._check()
            await failpoints.reach("operator.before-erasure-status")
            await self._cluster.write_status(resource, status)
            await failpoints.reach("operator.after-erasure-status")
        for note in notes:
            await self._cluster.tell(resource, note)
        return str(status.get("state", ""))

    async def _spec(self, resource: Object, before: Mapping[str, Any]) -> ErasureSpec:
        """What is asked for; with a refusal if the memory is not that of an AgentMemory beside it."""
        spec, namespace = specs.read(resource, MemoryErasureSpec), resource["metadata"]["namespace"]
        options = {**_options(spec.selector), "reason": spec.reason, "undo_s": spec.undo_seconds}
        beside = await self._cluster.get("AgentMemory", namespace, spec.memory_ref.name)
        under_way = _named(before) if before.get("erasureId") else ""
        if beside is None and under_way:
            return ErasureSpec(memory=under_way, options=options)
        if beside is None:
            return ErasureSpec(memory="", options=options, refusal=f"there is no AgentMemory {spec.memory_ref.name} in this namespace")
        memory = specs.memory(beside, cluster=self._settings.cluster)
        found = await self._platform.memory(memory.memory)
        if found is not None and naming.claimed_by(found.description) != memory.claim:
            return ErasureSpec(memory="", options=options, refusal="the memory of this name belongs to another resource")
        return ErasureSpec(memory=memory.memory, options=options)

    async def _see(self, spec: ErasureSpec, before: Mapping[str, Any]) -> SeenErasure | None:
        approval_id = _awaited(before)
        erasure_id = str(before.get("erasureId") or "")
        if not erasure_id and approval_id:
            state, result = await self._platform.approval_state(approval_id)
            found = _ERASURES.search(result)
            if state == "expired":
                return None
            if found is None:
                return SeenErasure(state="waiting", approval_id=approval_id, approval_state=state)
            erasure_id = found[1]
        return await self._platform.erasure(spec.memory, erasure_id) if erasure_id and spec.memory else None

    async def _ask(self, step: StartErasure) -> SeenErasure:
        try:
            return await self._platform.erase(step.memory, key=step.key, options=step.options)
        except NotFound:
            return SeenErasure(state="absent")
        except Conflict as error:
            return SeenErasure(held=error.detail)


def _named(before: Mapping[str, Any]) -> str:
    """The memory of an erasure that is under way."""
    for one in before.get("conditions") or []:
        message = str(one.get("message", ""))
        if one.get("type") == "Complete" and message.startswith(erasures.IN_MEMORY):
            return message.removeprefix(erasures.IN_MEMORY)
    return ""


def _awaited(before: Mapping[str, Any]) -> str:
    """The approval that is waited for, which the condition names."""
    for one in before.get("conditions") or []:
        if one.get("type") == "Approved" and one.get("reason") == "Pending":
            return str(one.get("message", "")).rpartition(" ")[2]
    return ""


def _options(selector: Selector) -> dict[str, Any]:
    """A selector as the SDK wants it."""
    given: dict[str, Any] = {
        "event_ids": None if selector.event_ids is None else list(selector.event_ids),
        "session_id": selector.session_id,
        "actor": selector.actor,
        "document_id": selector.document_id,
        "label": selector.label,
        "everything": selector.everything or None,
        "since": None if selector.time_range is None else selector.time_range.since,
        "until": None if selector.time_range is None else selector.time_range.until,
    }
    return {name: value for name, value in given.items() if value is not None}
