"""Backups as a service: its rows, its loops, and what it does for long.

A newcomer would get wrong: any process that takes events in can do this; leases see that one does it at a time.
"""

from kalends.backups.routes import BackupRoutes, operations
from kalends.backups.running import Backups, Restores, Verifications
from kalends.edge.services import Loop, Service


def build(routes: BackupRoutes, *, made: Backups, checks: Verifications, restores: Restores) -> Service:
    """The service; nothing is started."""
    loops = [
        Loop(name="backups", run=made.run),
        Loop(name="backups.watch", run=made.watch),
        Loop(name="verifications", run=checks.run),
        Loop(name="restores", run=restores.run),
    ]
    return Service(name="backups", operations=operations(routes), loops=loops, health=made.health, long_work=[made, checks, restores])
