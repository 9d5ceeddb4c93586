"""The operation table's rows for backups: ``/admin/backups``, ``/admin/verifications`` and ``/admin/restores``.

A newcomer would get wrong: a backup of everything belongs to the installation. Only admins of its own tenant (``auth.tenant``), of all
memories, see it, and they restore memories of that tenant; every other tenant has backups of its own.
"""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC
from typing import Protocol

from kalends.backups import schemas
from kalends.backups.catalogue import Backup, Catalogue, Shelf
from kalends.backups.drilling import Drill
from kalends.backups.restoring import Wish
from kalends.backups.running import Backups, Restores, Verifications, reachable
from kalends.domain import backups
from kalends.domain.approvals import RESTORE, Approval
from kalends.domain.backups import Selection
from kalends.domain.credentials import Principal, scope_for
from kalends.domain.errors import Conflict, Damaged, Fault, Forbidden, Invalid, NotFound
from kalends.domain.events import EventId, microseconds, new_ulid
from kalends.domain.scope import MemoryName, Scope, memory_name
from kalends.edge.operations import Answer, Call, Operation
from kalends.ports.clock import Clock
from kalends.wire.memories import MemoryRegistry

NAME = "restores.start"


class SecondPerson(Protocol):
    """Asks for a second person where the settings say so (``ingest.approving``)."""

    def needs(self, operation: str) -> bool:
        """Whether *operation* waits for one."""
        ...

    def ask(
        self, principal: Principal, operation: str, *, memories: Sequence[str], arguments: Mapping[str, str], wide: bool = False
    ) -> Awaitable[Approval]:
        """Note that *principal* asks."""
        ...


class BackupRoutes:
    """Handlers of all of them; *tenant* is the installation's own."""

    def __init__(
        self,
        *,
        made: Backups,
        checks: Verifications,
        restores: Restores,
        catalogue: Catalogue,
        drill: Drill,
        approvals: SecondPerson,
        memories: MemoryRegistry,
        clock: Clock,
        tenant: str,
    ) -> None:
        self._made = made
        self._checks = checks
        self._restores = restores
        self._catalogue = catalogue
        self._drill = drill
        self._approvals = approvals
        self._memories = memories
        self._clock = clock
        self._tenant = tenant

    async def create(self, call: Call) -> Answer:
        """Begin a backup; a dry run only says about how much there is to do."""
        body: schemas.BackupIn = call.body
        selection = self._selection(call.principal, body)
        if body.incremental_from is not None:
            await self._find(call.principal, body.incremental_from)
        begun = await self._made.begin(selection, previous=body.incremental_from, dry_run=body.dry_run, operation_id=body.operation_id)
        return Answer(body=schemas.BackupStarted(operation_id=begun.operation_id))

    async def list(self, call: Call) -> Answer:
        """The backups that the credential may know of, newest first."""
        shelf = await self._catalogue.shelf()
        found = self._visible(call.principal, shelf)
        items = [schemas.backup_out(one) for one in reversed(found)]
        if not self._is_own(call.principal):
            return Answer(body=schemas.BackupList(items=items))
        drill = schemas.drill_out(await self._drill.last())
        return Answer(body=schemas.BackupList(items=items, unreadable=sorted(shelf.damaged), drill=drill))

    async def show(self, call: Call) -> Answer:
        """One backup."""
        return Answer(body=schemas.backup_out(await self._find(call.principal, call.path["backup_id"])))

    async def remove(self, call: Call) -> Answer:
        """Take a backup away before its time is over; one that others build on stays until they are gone."""
        backup_id = call.path["backup_id"]
        shelf = await self._catalogue.shelf()
        if not (backup_id in shelf.damaged and self._is_own(call.principal)):
            await self._find(call.principal, backup_id)
        backups.check_unneeded(shelf.known.values(), backup_id)
        await self._made.remove(backup_id)
        return Answer(body=schemas.Removed(backup_id=backup_id))

    async def verify(self, call: Call) -> Answer:
        """Begin to check a backup and all that it builds on; one with a flaw ends as failed and says where."""
        body: schemas.VerificationIn = call.body
        shelf = await self._catalogue.shelf()
        if not (body.backup_id in shelf.damaged and self._is_own(call.principal)):
            await self._find(call.principal, body.backup_id)
        begun = await self._checks.begin(body.backup_id, deep=body.deep)
        return Answer(body=schemas.BackupStarted(operation_id=begun.operation_id))

    async def restore(self, call: Call) -> Answer:
        """Begin to restore a memory; replacing one may wait for a second person."""
        body: schemas.RestoreIn = call.body
        if body.replace == (body.into is not None):
            detail = "name a new memory, or replace the one that is there"
            raise Invalid(detail, faults=[Fault(pointer="/into", detail=detail, code="restore")])
        if body.to_time is not None and body.to_time.tzinfo is None:
            detail = "must have a time zone"
            raise Invalid(detail, faults=[Fault(pointer="/to_time", detail=detail, code="time")])
        source = scope_for(call.principal, memory_name(body.memory), right="admin")
        target = source if body.into is None else scope_for(call.principal, memory_name(body.into, pointer="/into"), right="admin")
        await self._find(call.principal, body.backup_id)
        to_us = None if body.to_time is None else microseconds(body.to_time.astimezone(UTC))
        now = self._clock.now()
        wish = Wish(
            operation_id=new_ulid(now) if body.operation_id is None else EventId(body.operation_id),
            backup_id=body.backup_id,
            source=source,
            target=target,
            to_us=to_us,
            replace=body.replace,
            made_us=microseconds(now),
            by=call.principal.token_id,
        )
        if body.replace and not body.dry_run and self._approvals.needs(RESTORE):
            arguments = {"backup": body.backup_id, "to_us": "" if to_us is None else str(to_us)}
            asked = await self._approvals.ask(call.principal, RESTORE, memories=[source.memory], arguments=arguments)
            return Answer(body=schemas.RestoreStarted(approval_id=asked.approval_id), outcome="pending")
        begun = await self._restores.begin(wish, dry_run=body.dry_run)
        return Answer(body=schemas.RestoreStarted(operation_id=begun.operation_id))

    async def act(self, approval: Approval) -> str:
        """Begin what was approved; again it is the same restore, for it has the approval's own id.

        Raises:
            NotFound: the memory or the backup is no more. Conflict: the memory was handed over since.
        """
        scope = Scope(approval.tenant, MemoryName(approval.memories[0]))
        if (await self._memories.reread(scope)).handed_over_us >= approval.requested_us:
            raise Conflict("it was handed over since this was asked for")
        to_us = approval.arguments["to_us"]
        wish = Wish(
            operation_id=EventId(approval.approval_id),
            backup_id=approval.arguments["backup"],
            source=scope,
            target=scope,
            to_us=int(to_us) if to_us else None,
            replace=True,
            made_us=approval.decided_us,
            by=approval.requested_with,
        )
        begun = await self._restores.begin(wish)
        return f"operation {begun.operation_id}"

    def _selection(self, principal: Principal, body: schemas.BackupIn) -> Selection:
        if (body.memory is not None) + body.tenant + body.all != 1:
            detail = "say exactly one of memory, tenant and all"
            raise Invalid(detail, faults=[Fault(pointer="/memory", detail=detail, code="selection")])
        if body.memory is not None:
            scope = scope_for(principal, memory_name(body.memory), right="admin")
            return Selection(kind="memory", tenant=scope.tenant, memory=scope.memory)
        if principal.memories is not None or (body.all and not self._is_own(principal)):
            raise Forbidden("this is for a credential of all memories; everything is backed up by the installation's own tenant")
        return Selection(kind="all") if body.all else Selection(kind="tenant", tenant=principal.tenant)

    def _is_own(self, principal: Principal) -> bool:
        return principal.tenant == self._tenant and principal.memories is None

    def _visible(self, principal: Principal, shelf: Shelf) -> Sequence[Backup]:
        found = reachable(list(shelf.backups.values()), principal.tenant, everything=self._is_own(principal))
        if principal.memories is None:
            return found
        return [one for one in found if one.contents.memory and principal.reaches(MemoryName(one.contents.memory))]

    async def _find(self, principal: Principal, backup_id: str) -> Backup:
        shelf = await self._catalogue.shelf()
        if backup_id in shelf.damaged and self._is_own(principal):
            raise Damaged(shelf.damaged[backup_id])
        for one in self._visible(principal, shelf):
            if one.backup_id == backup_id:
                return one
        raise NotFound("no such backup")


def operations(routes: BackupRoutes) -> Sequence[Operation]:
    """The rows."""
    return [*_of_backups(routes), *_of_what_is_done_with_them(routes)]


def _of_backups(routes: BackupRoutes) -> Sequence[Operation]:
    return [
        Operation(
            name="backups.create",
            method="POST",
            path="/admin/backups",
            right="admin",
            every_label=True,
            summary="Begin a backup of a memory, of the tenant or of everything, while everything serves",
            handle=routes.create,
            answer=schemas.BackupStarted,
            status=202,
            body=schemas.BackupIn,
        ),
        Operation(
            name="backups.list",
            method="GET",
            path="/admin/backups",
            right="admin",
            summary="Backups, newest first",
            handle=routes.list,
            answer=schemas.BackupList,
        ),
        Operation(
            name="backups.show",
            method="GET",
            path="/admin/backups/{backup_id}",
            right="admin",
            summary="One backup",
            handle=routes.show,
            answer=schemas.BackupOut,
        ),
        Operation(
            name="backups.remove",
            method="DELETE",
            path="/admin/backups/{backup_id}",
            right="admin",
            every_label=True,
            summary="Take a backup away before its time is over",
            handle=routes.remove,
            answer=schemas.Removed,
        ),
    ]


def _of_what_is_done_with_them(routes: BackupRoutes) -> Sequence[Operation]:
    return [
        Operation(
            name="verifications.start",
            method="POST",
            path="/admin/verifications",
            right="admin",
            summary="Begin to check every byte of a backup and, if asked, every seal in it",
            handle=routes.verify,
            answer=schemas.BackupStarted,
            status=202,
            body=schemas.VerificationIn,
        ),
        Operation(
            name=NAME,
            method="POST",
            path="/admin/restores",
            right="admin",
            every_label=True,
            summary="Begin to restore a memory into a new one, or to make it again what it was",
            handle=routes.restore,
            answer=schemas.RestoreStarted,
            status=202,
            body=schemas.RestoreIn,
        ),
    ]
