"""The operation table's rows for the archive of the log: ``/admin/archive``.

A newcomer would get wrong: the archive is the whole log's, so only admins of the installation's own tenant (``auth.tenant``), of all
memories, may ask of it.
"""

from collections.abc import Sequence

from kalends.backups import schemas
from kalends.backups.chains import Chain
from kalends.backups.running import ArchiveChecks
from kalends.domain.credentials import Principal
from kalends.domain.errors import Forbidden, NotFound
from kalends.edge.operations import Answer, Call, Operation


class ArchiveRoutes:
    """Handlers; *chain* and *checks* are None where the log is not archived, *tenant* is the installation's own."""

    def __init__(self, *, chain: Chain | None, checks: ArchiveChecks | None, tenant: str) -> None:
        self._chain = chain
        self._checks = checks
        self._tenant = tenant

    async def show(self, call: Call) -> Answer:
        """How far it is, and what the last check found."""
        self._check(call.principal)
        if self._chain is None:
            return Answer(body=schemas.ArchiveOut(enabled=False))
        noted = await self._chain.noted()
        out = schemas.ArchiveOut(
            enabled=True, links=noted.number + 1, checked_at=noted.checked_at, breaks=noted.breaks, result=noted.told or None
        )
        return Answer(body=out)

    async def verify(self, call: Call) -> Answer:
        """Begin to check it and the records; one that finds a break ends as failed and says where."""
        self._check(call.principal)
        if self._checks is None:
            raise NotFound("the log is not archived: archive.store names no place")
        query: schemas.ArchiveCheckQuery = call.query
        begun = await self._checks.begin(accept_lost=query.accept_lost)
        return Answer(body=schemas.BackupStarted(operation_id=begun.operation_id))

    def _check(self, principal: Principal) -> None:
        if principal.tenant != self._tenant or principal.memories is not None:
            raise Forbidden("this is for a credential of all memories, of the installation's own tenant")


def operations(routes: ArchiveRoutes) -> Sequence[Operation]:
    """The rows."""
    return [
        Operation(
            name="archive.show",
            method="GET",
            path="/admin/archive",
            right="admin",
            summary="How far the archive of the log is, and what its last check found",
            handle=routes.show,
            answer=schemas.ArchiveOut,
        ),
        Operation(
            name="archive.verify",
            method="POST",
            path="/admin/archive/verifications",
            right="admin",
            summary="Begin to check every byte of the archive of the log, to compare it with the log, and to look through the records",
            handle=routes.verify,
            query=schemas.ArchiveCheckQuery,
            answer=schemas.BackupStarted,
            status=202,
        ),
    ]
