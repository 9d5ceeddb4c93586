"""The five kinds of resources: their names, structs, columns and what holds for the whole object.

Belongs here: the table. Does not belong here: a field. A newcomer would get wrong: the name of an AgentMemory is the memory's where the
spec names none, and a default cannot be taken from the name, so a rule of the whole object checks it.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from kalends_operator.crds.backups import MemoryBackupScheduleSpec, MemoryBackupScheduleStatus, MemoryBackupSpec, MemoryBackupStatus
from kalends_operator.crds.erasures import MemoryErasureSpec, MemoryErasureStatus
from kalends_operator.crds.memories import AgentMemorySpec, AgentMemoryStatus
from kalends_operator.crds.restores import MemoryRestoreSpec, MemoryRestoreStatus
from kalends_operator.crds.rules import Rule
from kalends_operator.crds.scalars import MEMORY_PATTERN

GROUP = "memory.kalends.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "kalends"
FINALIZER = f"{GROUP}/finalizer"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of ``kubectl get``; *wide*: only with ``-o wide``."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind of resource, with a subresource for its status."""

    kind: str
    plural: str
    short: str
    spec: type[msgspec.Struct]
    status: type[msgspec.Struct]
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()

    @property
    def name(self) -> str:
        """The name of its CRD."""
        return f"{self.plural}.{GROUP}"


def _condition(name: str, type_: str, *, wide: bool = False) -> Column:
    return Column(name=name, path=f'.status.conditions[?(@.type=="{type_}")].status', wide=wide)


_AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")
_PHASE = Column(name="Phase", path=".status.phase")

RESOURCES = (
    Resource(
        kind="AgentMemory",
        plural="agentmemories",
        short="am",
        spec=AgentMemorySpec,
        status=AgentMemoryStatus,
        rules=(
            Rule(
                cel=f"has(self.spec.memory) || self.metadata.name.matches(r'^({MEMORY_PATTERN})$')",
                message="the name of this object cannot be a memory's; give spec.memory, 1 to 40 characters of a-z, 0-9 and '-'",
            ),
            Rule(
                cel="has(self.spec.access.secretName) || size(self.metadata.name) <= 245",
                message="the name of this object is too long for the Secret that is named after it; give spec.access.secretName",
            ),
        ),
        columns=(
            Column(name="Memory", path=".status.memory"),
            Column(name="Agent", path=".spec.agentId", wide=True),
            Column(name="Isolation", path=".spec.isolation"),
            _condition("Ready", "Ready"),
            _PHASE,
            Column(name="Events", path=".status.counts.events", type="integer"),
            Column(name="Secret", path=".status.credentialsSecret", wide=True),
            Column(name="Last-Backup", path=".status.lastBackup.time", type="date"),
            Column(name="On-Delete", path=".spec.deletionPolicy", wide=True),
            _AGE,
        ),
    ),
    Resource(
        kind="MemoryBackup",
        plural="memorybackups",
        short="mb",
        spec=MemoryBackupSpec,
        status=MemoryBackupStatus,
        columns=(
            Column(name="Memory", path=".spec.memoryRef.name"),
            Column(name="All", path=".spec.all", type="boolean", wide=True),
            _PHASE,
            Column(name="Events", path=".status.events", type="integer"),
            Column(name="Bytes", path=".status.bytes", type="integer"),
            Column(name="Done", path=".status.stoppedAt", type="date"),
            Column(name="Id", path=".status.backupId", wide=True),
            _AGE,
        ),
    ),
    Resource(
        kind="MemoryBackupSchedule",
        plural="memorybackupschedules",
        short="mbs",
        spec=MemoryBackupScheduleSpec,
        status=MemoryBackupScheduleStatus,
        columns=(
            Column(name="Schedule", path=".spec.schedule"),
            Column(name="Suspended", path=".spec.suspend", type="boolean"),
            Column(name="Kept", path=".status.kept", type="integer"),
            Column(name="Last", path=".status.lastSuccessfulTime", type="date"),
            Column(name="Last-Backup", path=".status.lastBackup", wide=True),
            _AGE,
        ),
    ),
    Resource(
        kind="MemoryRestore",
        plural="memoryrestores",
        short="mr",
        spec=MemoryRestoreSpec,
        status=MemoryRestoreStatus,
        columns=(
            Column(name="Memory", path=".spec.memory"),
            Column(name="From", path=".spec.backupRef.name"),
            Column(name="To-Time", path=".spec.toTime", wide=True),
            Column(name="Replace", path=".spec.replace", type="boolean", wide=True),
            _PHASE,
            Column(name="Events", path=".status.events", type="integer"),
            _AGE,
        ),
    ),
    Resource(
        kind="MemoryErasure",
        plural="memoryerasures",
        short="me",
        spec=MemoryErasureSpec,
        status=MemoryErasureStatus,
        columns=(
            Column(name="Memory", path=".spec.memoryRef.name"),
            Column(name="State", path=".status.state"),
            Column(name="Reason", path=".spec.reason"),
            Column(name="Erasure", path=".status.erasureId", wide=True),
            Column(name="Done", path=".status.completedAt", type="date"),
            _AGE,
        ),
    ),
)
