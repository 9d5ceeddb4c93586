"""MemoryRestore: a memory made from a backup.

Belongs here: its spec, its status and their rules. Does not belong here: what is restored besides events; that is the backup's. A newcomer
would get wrong: what was erased since the backup is erased in what is restored, too.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from kalends_operator.crds.conditions import Condition, Reference
from kalends_operator.crds.rules import NOTHING_CHANGES, Rule, exactly_one
from kalends_operator.crds.scalars import BackupId, Count, Digest, MemoryName, Moment, Short, Text

Phase = Literal["Pending", "Waiting", "Running", "Succeeded", "Failed"]
ConditionType = Literal["Complete", "Approved"]


class MemoryRestoreSpec(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is wanted: one restore, now. Immutable."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        NOTHING_CHANGES,
        exactly_one("has(self.backupRef)", "has(self.backupId)", message="say from what: backupRef or backupId, one of them"),
        Rule(
            cel="!self.replace || (has(self.confirm) && self.confirm == self.memory)",
            message="replacing erases what is there: confirm must be the name of the memory",
        ),
        Rule(cel="self.replace || !has(self.confirm)", message="confirm is for replace: true only"),
    )

    memory: Annotated[MemoryName, Meta(description="The memory's name in Kalends; a new one, unless replace is set.")]
    backup_ref: Annotated[Reference | None, Meta(description="The MemoryBackup to restore from.")] = None
    backup_id: Annotated[
        BackupId | None, Meta(description="What Kalends calls the backup, where its object is in another cluster or gone.")
    ] = None
    source_memory: Annotated[MemoryName | None, Meta(description="Which memory of a backup of all; absent: the one of that name.")] = None
    to_time: Annotated[Moment | None, Meta(description="Nothing that was recorded later is restored; absent: everything.")] = None
    replace: Annotated[bool, Meta(description="The memory is there already: what it holds is erased first.")] = False
    confirm: Annotated[MemoryName | None, Meta(description="The memory's name once more, if it is replaced.")] = None


class MemoryRestoreStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How it went."""

    CONDITIONS: ClassVar[object] = ConditionType

    phase: Annotated[Phase | None, Meta(description="How far it is; Waiting: for a second person.")] = None
    observed_generation: Annotated[Count | None, Meta(description="The generation of the spec that this is about.")] = None
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16, description="What is so, and what is not.")] = ()
    started_at: Annotated[Moment | None, Meta(description="When it was begun.")] = None
    stopped_at: Annotated[Moment | None, Meta(description="When it was over.")] = None
    events: Annotated[Count | None, Meta(description="Events that were restored.")] = None
    erased: Annotated[Count | None, Meta(description="Events that were left out, because they were erased after the backup.")] = None
    digest: Annotated[Digest | None, Meta(description="SHA-256 of the manifest that it was restored from, in hex.")] = None
    backup_id: Annotated[BackupId | None, Meta(description="What Kalends calls the backup.")] = None
    operation_id: Annotated[Short | None, Meta(description="The work in Kalends that is waited for.")] = None
    error: Annotated[Text | None, Meta(description="Why it failed.")] = None
