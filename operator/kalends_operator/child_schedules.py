"""The MemoryBackupSchedule of an AgentMemory whose spec asks for backups.

Belongs here: making it, taking it away, what it says of the newest backup. Does not belong here: what a schedule does (``backup_work``).
A newcomer would get wrong: it belongs to the AgentMemory and goes with it, while the backups that it made stay; one of the same name that
somebody else made is left alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kalends_operator.cluster import Cluster, Object, owned_by, owner_uids
from kalends_operator.desired import naming
from kalends_operator.desired.memories import MemorySpec

KIND = "MemoryBackupSchedule"


class Schedules:
    """The schedules that belong to AgentMemories; *check* raises if the lease is not ours."""

    def __init__(self, cluster: Cluster, *, check: Callable[[], None]) -> None:
        self._cluster = cluster
        self._check = check

    async def see(self, resource: Object, spec: MemorySpec) -> Object | None:
        """The schedule of an AgentMemory, made, changed or taken away as its spec says; None if there is none."""
        meta = resource["metadata"]
        name = f"{meta['name']}-backup"
        found = await self._cluster.get(KIND, meta["namespace"], name)
        ours = found is not None and meta["uid"] in owner_uids(found)
        if found is not None and not ours:
            return None
        if spec.backup is None:
            if ours:
                self._check()
                await self._cluster.delete(KIND, meta["namespace"], name)
            return None
        schedule, keep = spec.backup
        wanted = {"schedule": schedule, "keep": keep, "template": {"memoryRef": {"name": meta["name"]}, "deletionPolicy": "Delete"}}
        if found is None or any(found["spec"].get(field) != value for field, value in wanted.items()):
            self._check()
            await self._cluster.apply(_body(resource, name, wanted))
        return found


def backed_up(schedule: Object | None, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the status of an AgentMemory says of backups; without a schedule, what it said before."""
    said: Mapping[str, Any] = {} if schedule is None else schedule.get("status") or {}
    last, when = said.get("lastBackup"), said.get("lastSuccessfulTime")
    failed = any(one.get("type") == "LastBackupSucceeded" and one.get("status") == "False" for one in said.get("conditions") or [])
    return {
        "backup": {"name": last, "time": when} if last and when else before.get("lastBackup"),
        "backup_tried": said.get("lastScheduleTime") or before.get("lastBackupAttemptAt", ""),
        "backup_overdue": failed,
    }


def _body(owner: Object, name: str, spec: Mapping[str, Any]) -> Object:
    metadata = {"name": name, "namespace": owner["metadata"]["namespace"], "ownerReferences": [owned_by(owner)]}
    return {"apiVersion": f"{naming.GROUP}/{naming.VERSION}", "kind": KIND, "metadata": metadata, "spec": dict(spec)}
