"""MemoryBackup and MemoryBackupSchedule: one backup, and backups again and again.

Belongs here: their specs, statuses and rules. Does not belong here: where backups are stored; that is a setting of Kalends. A newcomer
would get wrong: deleting the object keeps the backup unless it says otherwise, and deleting a schedule keeps what it made.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from kalends_operator.crds.conditions import Condition, Reference
from kalends_operator.crds.rules import NOTHING_CHANGES, Rule, exactly_one
from kalends_operator.crds.scalars import BackupId, Count, Digest, Moment, ObjectName, Schedule, Short, Text

Phase = Literal["Pending", "Running", "Succeeded", "Failed"]
DeletionPolicy = Literal["Retain", "Delete"]
ConditionType = Literal["Complete", "Verified"]
ScheduleConditionType = Literal["Ready", "LastBackupSucceeded"]

_ONE = exactly_one("has(self.memoryRef)", "self.all", message="say what is backed up: memoryRef or all: true, one of them")


class Backed(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is backed up."""

    memory_ref: Annotated[Reference | None, Meta(description="The AgentMemory that is backed up.")] = None
    all: Annotated[bool, Meta(description="Every memory of the operator's tenant is backed up, also those without an object.")] = False


class MemoryBackupSpec(Backed, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is wanted: one backup, now. Immutable."""

    RULES: ClassVar[tuple[Rule, ...]] = (NOTHING_CHANGES, _ONE)

    deletion_policy: Annotated[DeletionPolicy, Meta(description="Whether the backup goes with this object.")] = "Retain"


class MemoryBackupStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How it went."""

    CONDITIONS: ClassVar[object] = ConditionType

    phase: Annotated[Phase | None, Meta(description="How far it is.")] = None
    observed_generation: Annotated[Count | None, Meta(description="The generation of the spec that this is about.")] = None
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16, description="What is so, and what is not.")] = ()
    started_at: Annotated[Moment | None, Meta(description="When it was begun.")] = None
    stopped_at: Annotated[Moment | None, Meta(description="When it was over.")] = None
    events: Annotated[Count | None, Meta(description="Events in it.")] = None
    bytes: Annotated[Count | None, Meta(description="Bytes of it in the store.")] = None
    digest: Annotated[Digest | None, Meta(description="SHA-256 of its manifest, in hex.")] = None
    backup_id: Annotated[BackupId | None, Meta(description="What Kalends calls it.")] = None
    operation_id: Annotated[Short | None, Meta(description="The work in Kalends that is waited for.")] = None
    error: Annotated[Text | None, Meta(description="Why it failed.")] = None


class Template(Backed, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The spec of each MemoryBackup that is made."""

    RULES: ClassVar[tuple[Rule, ...]] = (_ONE,)

    deletion_policy: Annotated[
        DeletionPolicy, Meta(description="Whether a backup goes with its object, so that keep bounds what is stored.")
    ] = "Delete"


class MemoryBackupScheduleSpec(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is wanted: a MemoryBackup whenever the time has come."""

    schedule: Annotated[Schedule, Meta(description="Cron in UTC, five fields.")]
    template: Annotated[Template, Meta(description="What is made each time.")]
    keep: Annotated[int, Meta(ge=1, le=1000, description="How many that succeeded are kept; older objects are deleted.")] = 7
    suspend: Annotated[bool, Meta(description="Nothing is begun while this is set.")] = False


class MemoryBackupScheduleStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How it is."""

    CONDITIONS: ClassVar[object] = ScheduleConditionType

    observed_generation: Annotated[Count | None, Meta(description="The generation of the spec that this is about.")] = None
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16, description="What is so, and what is not.")] = ()
    last_schedule_time: Annotated[Moment | None, Meta(description="The newest time that a backup was begun for.")] = None
    last_successful_time: Annotated[Moment | None, Meta(description="When the newest whole backup was done.")] = None
    next_schedule_time: Annotated[Moment | None, Meta(description="When the next one is due.")] = None
    last_backup: Annotated[ObjectName | None, Meta(description="The newest MemoryBackup that was made.")] = None
    kept: Annotated[Count | None, Meta(description="How many of its backups there are.")] = None
