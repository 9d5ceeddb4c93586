"""Backups, as values, requests and the two objects that send them.

Belongs here: what is sent and answered about backups. Does not belong here: whole restores into an empty installation, which are done by a
command before anything serves. A newcomer would get wrong: a backup has the id of the operation that makes it.
"""

from datetime import UTC, datetime
from typing import Protocol, TypeVar
from urllib.parse import quote

from msgspec import Struct

from kalends.client.requests import Request, encoded
from kalends.client.results import OperationStarted
from kalends.domain.events import new_ulid

T = TypeVar("T")


class _Sends(Protocol):
    def send(self, request: Request[T]) -> T: ...


class _SendsAsync(Protocol):
    async def send(self, request: Request[T]) -> T: ...


class Backup(Struct, frozen=True, kw_only=True):
    """One backup. ``scope`` is memory, tenant or all; ``keys_expire_at`` is None where its keys are gone; ``bytes`` of all its objects."""

    backup_id: str
    scope: str
    tenant: str | None = None
    memory: str | None = None
    made_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    keys_expire_at: datetime | None = None
    incremental_from: str | None = None
    events: int = 0
    nodes: int = 0
    memories: int = 0
    bytes: int = 0


class Drill(Struct, frozen=True, kw_only=True):
    """The last restore drill: of which backup, when it ended, how many seconds it took, whether everything came back, and in words."""

    backup_id: str
    ended_at: datetime | None = None
    seconds: float = 0.0
    succeeded: bool = False
    result: str = ""


class BackupList(Struct, frozen=True, kw_only=True):
    """Backups, newest first; of ``unreadable`` ones the manifest cannot be read; ``drill`` is None where there was none."""

    items: list[Backup]
    unreadable: list[str] = []
    drill: Drill | None = None


class RestoreStarted(Struct, frozen=True, kw_only=True):
    """How a restore was taken: an operation, or an approval that it waits for."""

    operation_id: str | None = None
    approval_id: str | None = None


class BackupRemoved(Struct, frozen=True, kw_only=True):
    """What is gone."""

    backup_id: str


def create(
    *, memory: str | None, tenant: bool, incremental_from: str | None, dry_run: bool, operation_id: str | None
) -> Request[OperationStarted]:
    """Begin a backup of a memory, of the tenant, or of everything."""
    said = {"memory": memory, "tenant": tenant, "all": memory is None and not tenant, "incremental_from": incremental_from}
    body = encoded({**said, "dry_run": dry_run, "operation_id": operation_id or new_ulid(datetime.now(UTC))})
    return Request(method="POST", path="/admin/backups", body=body, result=OperationStarted)


def list_backups() -> Request[BackupList]:
    """All that may be known of."""
    return Request(method="GET", path="/admin/backups", result=BackupList)


def get(backup_id: str) -> Request[Backup]:
    """One backup."""
    return Request(method="GET", path=_one(backup_id), result=Backup)


def remove(backup_id: str) -> Request[BackupRemoved]:
    """Take one away."""
    return Request(method="DELETE", path=_one(backup_id), result=BackupRemoved)


def verify(backup_id: str, *, deep: bool) -> Request[OperationStarted]:
    """Begin to check one."""
    body = encoded({"backup_id": backup_id, "deep": deep})
    return Request(method="POST", path="/admin/verifications", body=body, result=OperationStarted)


def restore(
    backup_id: str, *, memory: str, into: str | None, replace: bool, to_time: datetime | None, dry_run: bool, operation_id: str | None
) -> Request[RestoreStarted]:
    """Begin to restore a memory."""
    said = {"backup_id": backup_id, "memory": memory, "into": into, "replace": replace, "to_time": to_time, "dry_run": dry_run}
    body = encoded({**said, "operation_id": operation_id or new_ulid(datetime.now(UTC))})
    # in place it may wait for a second person, and would be asked for twice
    return Request(method="POST", path="/admin/restores", body=body, result=RestoreStarted, repeatable=not replace)


def _one(backup_id: str) -> str:
    return f"/admin/backups/{quote(backup_id, safe='')}"


class Backups:
    """Backups of the instance; ``wait_for`` of the client waits for the operations that begin here."""

    def __init__(self, driver: _Sends) -> None:
        self._driver = driver

    def create(
        self,
        *,
        memory: str | None = None,
        tenant: bool = False,
        incremental_from: str | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> OperationStarted:
        """Begin a backup of *memory*, of the whole *tenant*, or of everything; on *incremental_from* it builds, if that is given.

        The same again with the same *operation_id*, a ULID, is the same backup.
        """
        asked = create(memory=memory, tenant=tenant, incremental_from=incremental_from, dry_run=dry_run, operation_id=operation_id)
        return self._driver.send(asked)

    def list(self) -> BackupList:
        """The backups, newest first."""
        return self._driver.send(list_backups())

    def get(self, backup_id: str) -> Backup:
        """One backup."""
        return self._driver.send(get(backup_id))

    def remove(self, backup_id: str) -> None:
        """Take a backup away before its time is over; none that another builds on."""
        self._driver.send(remove(backup_id))

    def verify(self, backup_id: str, *, deep: bool = False) -> OperationStarted:
        """Begin to check a backup and what it builds on; *deep* also opens every seal. With a flaw the operation fails, and says where."""
        return self._driver.send(verify(backup_id, deep=deep))

    def restore(
        self,
        backup_id: str,
        *,
        memory: str,
        into: str | None = None,
        replace: bool = False,
        to_time: datetime | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> RestoreStarted:
        """Begin to restore *memory* into the new memory *into*, or in place with *replace*; as it was at *to_time*, if given.

        The same again with the same *operation_id*, a ULID, is the same restore.
        """
        asked = restore(backup_id, memory=memory, into=into, replace=replace, to_time=to_time, dry_run=dry_run, operation_id=operation_id)
        return self._driver.send(asked)


class AsyncBackups:
    """Backups of the instance; ``wait_for`` of the client waits for the operations that begin here."""

    def __init__(self, driver: _SendsAsync) -> None:
        self._driver = driver

    async def create(
        self,
        *,
        memory: str | None = None,
        tenant: bool = False,
        incremental_from: str | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> OperationStarted:
        """Begin a backup of *memory*, of the whole *tenant*, or of everything; on *incremental_from* it builds, if that is given.

        The same again with the same *operation_id*, a ULID, is the same backup.
        """
        asked = create(memory=memory, tenant=tenant, incremental_from=incremental_from, dry_run=dry_run, operation_id=operation_id)
        return await self._driver.send(asked)

    async def list(self) -> BackupList:
        """The backups, newest first."""
        return await self._driver.send(list_backups())

    async def get(self, backup_id: str) -> Backup:
        """One backup."""
        return await self._driver.send(get(backup_id))

    async def remove(self, backup_id: str) -> None:
        """Take a backup away before its time is over; none that another builds on."""
        await self._driver.send(remove(backup_id))

    async def verify(self, backup_id: str, *, deep: bool = False) -> OperationStarted:
        """Begin to check a backup and what it builds on; *deep* also opens every seal. With a flaw the operation fails, and says where."""
        return await self._driver.send(verify(backup_id, deep=deep))

    async def restore(
        self,
        backup_id: str,
        *,
        memory: str,
        into: str | None = None,
        replace: bool = False,
        to_time: datetime | None = None,
        dry_run: bool = False,
        operation_id: str | None = None,
    ) -> RestoreStarted:
        """Begin to restore *memory* into the new memory *into*, or in place with *replace*; as it was at *to_time*, if given.

        The same again with the same *operation_id*, a ULID, is the same restore.
        """
        asked = restore(backup_id, memory=memory, into=into, replace=replace, to_time=to_time, dry_run=dry_run, operation_id=operation_id)
        return await self._driver.send(asked)
