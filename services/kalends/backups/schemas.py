"""What is asked of backups and answered about them, as JSON.

A newcomer would get wrong: a backup's id is that of the operation that made it.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct, structs

from kalends.backups.catalogue import Backup
from kalends.backups.drilling import Drilled

_Id = Annotated[str, Meta(min_length=1, max_length=40)]
_Name = Annotated[str, Meta(min_length=1, max_length=40)]
_Ulid = Annotated[str, Meta(pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]


class BackupIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to back up: one ``memory``, the credential's whole ``tenant``, or ``all``; exactly one of them.

    ``incremental_from``: a backup of the same, on which it builds. ``operation_id``: a ULID of the caller's, with which the same request
    again is the same backup; null: one is made.
    """

    memory: _Name | None = None
    tenant: bool = False
    all: bool = False
    incremental_from: _Id | None = None
    operation_id: _Ulid | None = None
    dry_run: bool = False


class VerificationIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which backup to check, with all that it builds on; ``deep`` also opens every seal."""

    backup_id: _Id
    deep: bool = False


class RestoreIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which memory of which backup to restore: ``into`` a new one, or in its own place with ``replace``.

    ``to_time``: as it was then, by when things were recorded; null: as the backup has it. ``operation_id``: a ULID of the caller's, with
    which the same request again is the same restore; null: one is made.
    """

    backup_id: _Id
    memory: _Name
    into: _Name | None = None
    replace: bool = False
    to_time: datetime | None = None
    operation_id: _Ulid | None = None
    dry_run: bool = False


class BackupStarted(Struct, frozen=True, kw_only=True):
    """Where to ask how it goes; the backup will have the same id."""

    operation_id: str


class RestoreStarted(Struct, frozen=True, kw_only=True):
    """Where to ask how it goes; null while a second person has to approve it first, by ``approval_id``."""

    operation_id: str | None = None
    approval_id: str | None = None


class BackupOut(Struct, frozen=True, kw_only=True):
    """One backup. ``scope`` is memory, tenant or all; ``keys_expire_at`` is null where its keys are gone."""

    backup_id: str
    scope: str
    tenant: str | None
    memory: str | None
    made_at: datetime
    finished_at: datetime
    expires_at: datetime
    keys_expire_at: datetime | None
    incremental_from: str | None
    events: int
    nodes: int
    memories: int
    bytes: int


class DrillOut(Struct, frozen=True, kw_only=True):
    """The last restore drill: of which backup, when it ended, how many seconds it took, whether everything came back, and in words."""

    backup_id: str
    ended_at: datetime
    seconds: float
    succeeded: bool
    result: str


class BackupList(Struct, frozen=True, kw_only=True):
    """Backups, newest first; ``unreadable`` ids have a manifest that cannot be read; ``drill`` is null where there was none."""

    items: list[BackupOut]
    unreadable: list[str] = []
    drill: DrillOut | None = None


class ArchiveCheckQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``accept_lost``: take the records as they are, and give up those that cannot be read; what could be restored was."""

    accept_lost: Annotated[bool, Meta(description="Take the records as they are now, and give up those that cannot be read")] = False


class ArchiveOut(Struct, frozen=True, kw_only=True):
    """The archive of the log: how many links it has, and what the last check found; ``breaks`` is 0 before the first."""

    enabled: bool
    links: int = 0
    checked_at: datetime | None = None
    breaks: int = 0
    result: str | None = None


class Removed(Struct, frozen=True, kw_only=True):
    """What is gone."""

    backup_id: str


def backup_out(backup: Backup) -> BackupOut:
    """*backup* as JSON."""
    manifest, contents = backup.manifest, backup.contents
    return BackupOut(
        backup_id=manifest.backup_id,
        scope=contents.selection,
        tenant=contents.tenant or None,
        memory=contents.memory or None,
        made_at=manifest.made_at,
        finished_at=manifest.finished_at,
        expires_at=manifest.expires_at,
        keys_expire_at=backup.known.keys_expire_at,
        incremental_from=manifest.previous,
        events=manifest.counts.get("events", 0),
        nodes=manifest.counts.get("nodes", 0),
        memories=manifest.counts.get("memories", 0),
        bytes=manifest.size,
    )


def drill_out(drilled: Drilled | None) -> DrillOut | None:
    """*drilled* as JSON."""
    return None if drilled is None else DrillOut(**structs.asdict(drilled))
