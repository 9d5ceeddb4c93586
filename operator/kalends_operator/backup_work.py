"""One look at a MemoryBackup, a MemoryBackupSchedule or a MemoryRestore.

Belongs here: asking Kalends for backups and restores on behalf of resources, and the objects that schedules make. Does not belong here:
when something is due (``desired.backups``). A newcomer would get wrong: a backup holds what is in it for whoever may restore it, so a
namespace backs up and restores only what is its own; all memories, and backups by id, are for the namespaces that the settings name.
"""

from collections.abc import Callable
from typing import Any

from kalends.domain.errors import Conflict, Invalid, KalendsError, NotFound
from kalends.kit import failpoints
from kalends_operator import specs
from kalends_operator.cluster import Object
from kalends_operator.crds.backups import MemoryBackupScheduleSpec, MemoryBackupSpec
from kalends_operator.crds.restores import MemoryRestoreSpec
from kalends_operator.desired import backups, naming
from kalends_operator.desired.conditions import Note, moment
from kalends_operator.desired.seen import SeenBackup
from kalends_operator.kalends import is_outage
from kalends_operator.looking import Looked
from kalends_operator.working import Worker

SCHEDULE = f"{naming.GROUP}/schedule-uid"
NOT_HERE = "this is for the namespaces that the operator's settings name (admin_namespaces)"


class _Works(Worker):
    """What the three have in common."""

    async def _owned(self, namespace: str, name: str) -> tuple[str, str]:
        """The memory of the AgentMemory *name*, or why it may not be touched."""
        beside = await self._cluster.get("AgentMemory", namespace, name)
        if beside is None:
            return "", f"there is no AgentMemory {name} in this namespace"
        spec = specs.memory(beside, cluster=self._settings.cluster)
        found = await self._platform.memory(spec.memory)
        if found is None or naming.claimed_by(found.description) != spec.claim:
            return "", "there is no memory of this AgentMemory yet, or its name belongs to another resource"
        return spec.memory, ""

    def _say(self, resource: Object, seen: SeenBackup | None, **more: Any) -> tuple[dict[str, Any], list[Note]]:
        generation, before = resource["metadata"].get("generation", 0), resource.get("status") or {}
        return backups.work_shown(seen, before=before, generation=generation, now=self._now(), **more)

    async def _follow(self, resource: Object, act: Callable[[], Any]) -> Looked:
        """Have *act* done and its status written; what is refused for good is ``Failed``.

        Raises:
            KalendsError: something did not answer.
        """
        try:
            status, notes = await act()
        except KalendsError as error:
            lasting = isinstance(error, (Invalid, Conflict, NotFound)) and not is_outage(error)
            told = {"refusal": error.detail[:1000]} if lasting else {"trouble": error.detail[:1000]}
            status, notes = self._say(resource, None, **told)
            await self._write(resource, status, notes)
            if not lasting:
                raise
        else:
            await self._write(resource, status, notes)
        phase = str(status["phase"])
        return Looked(phase=phase, again_s=None if phase in backups.OVER else self._settings.poll_s)


class BackupWork(_Works):
    """Looks at MemoryBackups."""

    async def look(self, resource: Object) -> Looked:
        """Have the backup made once, and say how it went.

        Raises:
            KalendsError: something did not answer, or refused; the status says so.
        """
        before, spec = resource.get("status") or {}, specs.read(resource, MemoryBackupSpec)
        if resource["metadata"].get("deletionTimestamp"):
            if spec.deletion_policy == "Delete" and before.get("backupId"):
                self._check()
                await self._backups.remove(str(before["backupId"]))
            return Looked(phase="Deleting", gone=True)
        if before.get("phase") in backups.OVER:
            return Looked(phase=str(before["phase"]))
        return await self._follow(resource, lambda: self._make(resource, spec))

    async def _make(self, resource: Object, spec: MemoryBackupSpec) -> tuple[dict[str, Any], list[Note]]:
        before, namespace = resource.get("status") or {}, resource["metadata"]["namespace"]
        operation_id = str(before.get("operationId") or "")
        if not operation_id:
            memory: str | None = None
            if spec.memory_ref is not None:
                memory, refusal = await self._owned(namespace, spec.memory_ref.name)
            else:
                refusal = "" if namespace in self._settings.admin_namespaces else NOT_HERE
            if refusal:
                return self._say(resource, None, refusal=refusal)
            self._check()
            await failpoints.reach("operator.before-start-backup")
            operation_id = await self._backups.start(memory, operation_id=_once(resource))
            await failpoints.reach("operator.after-start-backup")
        seen = await self._backups.seen(operation_id)
        extra = await self._backups.described(operation_id) if seen.state == "succeeded" else {}
        return self._say(resource, seen, extra=extra)


class RestoreWork(_Works):
    """Looks at MemoryRestores."""

    async def look(self, resource: Object) -> Looked:
        """Have the restore made once, and say how it went.

        Raises:
            KalendsError: something did not answer, or refused; the status says so.
        """
        before, spec = resource.get("status") or {}, specs.read(resource, MemoryRestoreSpec)
        if resource["metadata"].get("deletionTimestamp"):
            return Looked(phase="Deleting", gone=True)
        if before.get("phase") in backups.OVER:
            return Looked(phase=str(before["phase"]))
        return await self._follow(resource, lambda: self._restore(resource, spec))

    async def _restore(self, resource: Object, spec: MemoryRestoreSpec) -> tuple[dict[str, Any], list[Note]]:
        before, namespace = resource.get("status") or {}, resource["metadata"]["namespace"]
        operation_id = str(before.get("operationId") or "")
        backup_id = str(before.get("backupId") or "")
        if before.get("phase") == "Waiting":
            state, result = await self._platform.approval_state(operation_id)
            if state in {"refused", "failed", "expired"}:
                return self._say(resource, None, refusal=result or f"the approval is {state}")
            if not result.startswith("operation "):
                return self._say(resource, None, waiting=operation_id)
            operation_id = result.removeprefix("operation ")
        elif not operation_id:
            backup_id, refusal = await self._source(namespace, spec)
            refusal = refusal or await self._target(namespace, spec)
            if refusal:
                return self._say(resource, None, refusal=refusal)
            self._check()
            started, approval = await self._backups.restore(
                backup_id,
                memory=spec.source_memory or "",
                into=spec.memory,
                replace=spec.replace,
                to_time=spec.to_time,
                operation_id=_once(resource),
            )
            if approval:
                return self._say(resource, None, waiting=approval, extra={"backupId": backup_id})
            operation_id = started
        seen = await self._backups.seen(operation_id)
        if seen.state == "succeeded" and not spec.replace:
            await self._claim(namespace, spec.memory)
        return self._say(resource, seen, extra={"backupId": backup_id})

    async def _source(self, namespace: str, spec: MemoryRestoreSpec) -> tuple[str, str]:
        """The backup, or why it may not be restored from here."""
        if spec.backup_ref is None:
            return (spec.backup_id or "", "") if namespace in self._settings.admin_namespaces else ("", NOT_HERE)
        found = await self._cluster.get("MemoryBackup", namespace, spec.backup_ref.name)
        status = {} if found is None else found.get("status") or {}
        if status.get("phase") != "Succeeded":
            return "", f"there is no whole MemoryBackup {spec.backup_ref.name} in this namespace"
        return str(status["backupId"]), ""

    async def _target(self, namespace: str, spec: MemoryRestoreSpec) -> str:
        """Why the memory may not be written; empty if it may."""
        found = await self._platform.memory(spec.memory)
        if not spec.replace:
            return "" if found is None else "there is a memory of this name; take another, or set replace"
        mine = found is not None and naming.namespace_of(naming.claimed_by(found.description)) == (self._settings.cluster or "-", namespace)
        return "" if mine else "the memory that would be replaced belongs to no resource of this namespace"

    async def _claim(self, namespace: str, memory: str) -> None:
        """Let an AgentMemory of the memory's own name in this namespace open what was restored."""
        found = await self._platform.memory(memory)
        if found is None:
            return
        claim = naming.claim(cluster=self._settings.cluster, namespace=namespace, name=memory)
        held = naming.claimed_by(found.description)
        text = found.description.rstrip().removesuffix(held)
        if held != claim:
            self._check()
            await self._platform.change_memory(memory, {"description": naming.described(text, claim)})


class ScheduleWork(_Works):
    """Looks at MemoryBackupSchedules."""

    async def look(self, resource: Object) -> Looked:
        """Make the MemoryBackup that is due, and take away those beyond the number to keep.

        Raises:
            KalendsError: something did not answer, or refused.
        """
        meta, before = resource["metadata"], resource.get("status") or {}
        if meta.get("deletionTimestamp"):
            return Looked(phase="Deleting", gone=True)
        spec = specs.read(resource, MemoryBackupScheduleSpec)
        made = backups.made_of(await self._cluster.list("MemoryBackup", meta["namespace"], labels={SCHEDULE: meta["uid"]}))
        since = moment(before.get("lastScheduleTime")) or moment(meta["creationTimestamp"]) or self._now()
        turned = backups.turn(
            spec.schedule, name=meta["name"], since=since, now=self._now(), keep=spec.keep, suspended=spec.suspend, made=made
        )
        if turned.due is not None:
            self._check()
            await self._cluster.create("MemoryBackup", self._body(resource, turned.name))
        for name in turned.surplus:
            self._check()
            await self._cluster.delete("MemoryBackup", meta["namespace"], name)
        generation = meta.get("generation", 0)
        status, notes = backups.schedule_shown(made, turned, before=before, generation=generation, suspended=spec.suspend, now=self._now())
        await self._write(resource, status, notes)
        return Looked(phase="Suspended" if spec.suspend else "Scheduled")

    def _body(self, resource: Object, name: str) -> Object:
        meta = resource["metadata"]
        return {
            "apiVersion": f"{naming.GROUP}/{naming.VERSION}",
            "kind": "MemoryBackup",
            "metadata": {"name": name, "namespace": meta["namespace"], "labels": {SCHEDULE: meta["uid"]}},
            "spec": resource["spec"]["template"],
        }


def _once(resource: Object) -> str:
    """The id of what is asked for on behalf of *resource*, the same each time."""
    meta = resource["metadata"]
    return naming.once(moment(meta["creationTimestamp"]), str(meta["uid"]))
