"""Backups as the operator asks Kalends for them: started, and followed as long work.

Belongs here: questions about backups and restores. Does not belong here: when they are asked (``desired``). A newcomer would get wrong: a
backup has the id of the operation that makes it, and the operator chooses that id from the resource; so one that was killed before it could
note the id asks again and gets the same backup.
"""

from datetime import datetime
from typing import Any

from kalends.domain.errors import Conflict, NotFound
from kalends_operator.desired.conditions import stamp
from kalends_operator.desired.seen import SeenBackup
from kalends_operator.kalends import Platform


class Backups:
    """Kalends' backups."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def start(self, memory: str | None, *, operation_id: str) -> str:
        """Ask for a backup of a memory, None: of all of the tenant's; again it is the same."""
        begun = await self._platform.ask(
            lambda client: client.backups.create(memory=memory, tenant=memory is None, operation_id=operation_id)
        )
        return begun.operation_id

    async def seen(self, operation_id: str) -> SeenBackup:
        """How a backup or a restore goes."""
        found = await self._platform.ask(lambda client: client.operation(operation_id))
        return SeenBackup(operation_id=found.operation_id, state=found.state, error=found.error or "")

    async def described(self, backup_id: str) -> dict[str, Any]:
        """A whole backup as a status has it."""
        found = await self._platform.ask(lambda client: client.backups.get(backup_id))
        times = {"startedAt": found.made_at, "stoppedAt": found.finished_at}
        said: dict[str, Any] = {name: stamp(at) for name, at in times.items() if at is not None}
        return {**said, "backupId": found.backup_id, "events": found.events, "bytes": found.bytes}

    async def remove(self, backup_id: str) -> None:
        """Take a backup away; one that is gone is gone, and one that others build on goes when its time is over."""
        try:
            await self._platform.ask(lambda client: client.backups.remove(backup_id))
        except (NotFound, Conflict):
            return

    async def restore(
        self, backup_id: str, *, memory: str, into: str, replace: bool, to_time: datetime | None, operation_id: str
    ) -> tuple[str, str]:
        """Begin a restore: the ids of the operation and of the approval that is awaited, one of them empty.

        *memory* empty: the one that the backup is of, or the one that is restored.
        """
        found = await self._platform.ask(lambda client: client.backups.get(backup_id))
        source = found.memory or memory or into
        begun = await self._platform.ask(
            lambda client: client.backups.restore(
                backup_id,
                memory=source,
                into=None if replace else into,
                replace=replace,
                to_time=to_time,
                operation_id=operation_id,
            )
        )
        return begun.operation_id or "", begun.approval_id or ""
