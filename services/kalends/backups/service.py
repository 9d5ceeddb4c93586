"""Backups as a service: its rows, its loops, and what it does for long.

A newcomer would get wrong: any process that takes events in can do this; leases see that one does it at a time.
"""

from dataclasses import dataclass

from kalends.backups import archive_routes
from kalends.backups.archive_routes import ArchiveRoutes
from kalends.backups.archiving import ArchiveLog
from kalends.backups.chains import Chain
from kalends.backups.drilling import Drill
from kalends.backups.routes import BackupRoutes, operations
from kalends.backups.running import ArchiveChecks, Backups, Drills, Restores, Verifications
from kalends.edge.services import Health, Loop, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLog:
    """What keeps the archive of the log; all of it is None where the log is not archived."""

    chain: Chain | None = None
    copier: ArchiveLog | None = None
    checks: ArchiveChecks | None = None

    def health(self) -> list[Health]:
        """How the log and its archive are, as far as is known."""
        return [] if self.copier is None else list(self.copier.health())


def build(
    routes: BackupRoutes,
    archived: ArchiveRoutes,
    *,
    made: Backups,
    checks: Verifications,
    restores: Restores,
    drills: Drills,
    drill: Drill,
    kept: KeptLog,
) -> Service:
    """The service; nothing is started."""
    loops = [
        Loop(name="backups", run=made.run),
        Loop(name="backups.watch", run=made.watch),
        Loop(name="verifications", run=checks.run),
        Loop(name="restores", run=restores.run),
        Loop(name="drills", run=drills.run),
        Loop(name="drills.watch", run=drill.watch),
    ]
    work = [made, checks, restores, drills]
    if kept.copier is not None and kept.checks is not None:
        loops += [Loop(name="archive", run=kept.copier.run), Loop(name="archive.checks", run=kept.checks.run)]
        work.append(kept.checks)
    rows = [*operations(routes), *archive_routes.operations(archived)]

    def health() -> list[Health]:
        return [*made.health(), *drill.health(), *kept.health()]

    return Service(name="backups", operations=rows, loops=loops, health=health, long_work=work)
