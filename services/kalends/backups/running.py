"""Backups, checks, restores and drills as long work: asked for, done one after another, and looked at later.

Belongs here: what an operation's record says of each, and what becomes of it. Does not belong here: doing any (``taking``, ``verifying``,
``restoring``). A newcomer would get wrong: a backup has the id of the operation that made it, so a process that goes on with it after
another died knows what to clear away.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog

from kalends.backups.catalogue import Backup, Catalogue, Shelf
from kalends.backups.chain_checking import CheckArchive
from kalends.backups.drilling import Drill
from kalends.backups.notes import ErasureNotes
from kalends.backups.restoring import RestoreMemory, Wish
from kalends.backups.taking import TakeBackup, Wanted, described
from kalends.backups.verifying import VerifyBackup
from kalends.domain.backups import Selection
from kalends.domain.errors import Conflict, Damaged, KalendsError
from kalends.domain.events import EventId, moment
from kalends.domain.operations import LongOperation
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.edge.services import Health
from kalends.ports.clock import Clock
from kalends.settings import BackupSettings
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore
from kalends.wire.running import OperationRunner, Report

log = structlog.get_logger(__name__)

BACKUP, VERIFICATION, RESTORE, DRILL, ARCHIVE_CHECK = "backup", "verification", "restore", "drill", "archive-check"
_LOOK_S = 0.5


class Backups(OperationRunner):
    """Backups asked for, one after another; and those whose time is over are removed."""

    def __init__(
        self,
        *,
        take: TakeBackup,
        catalogue: Catalogue,
        notes: ErasureNotes,
        store: OperationStore,
        lease: Lease,
        clock: Clock,
        settings: BackupSettings,
    ) -> None:
        super().__init__(kind=BACKUP, store=store, lease=lease, clock=clock, do=self._do, abandon=self._clear)
        self._take_backup = take
        self._catalogue = catalogue
        self._notes = notes
        self._time = clock
        self._settings = settings
        self._health: Health | None = None
        self.last_made: str | None = None
        """When the newest backup was made, as RFC 3339; None: there is none, or nobody has looked yet."""

    def health(self) -> Sequence[Health]:
        """Degraded while a backup cannot be read; nothing is said where there is none."""
        return [] if self._health is None else [self._health]

    async def begin(
        self, selection: Selection, *, previous: str | None = None, dry_run: bool = False, operation_id: str | None = None
    ) -> LongOperation:
        """Ask for one; with the *operation_id* of one that was asked for, it is that one.

        Raises:
            NotFound, Invalid, Damaged: it cannot be made; see ``TakeBackup.check``. Conflict: the id belongs to another request.
        """
        wanted: dict[str, object] = {
            "tenant": selection.tenant,
            "memory": selection.memory,
            "dry_run": dry_run,
            "arguments": {} if previous is None else {"previous": previous},
        }
        known = await _known(self, operation_id, selection.kind, wanted)
        if known is not None:
            return known
        if operation_id is not None:
            made = (await self._catalogue.shelf()).backups.get(operation_id)
            if made is not None and made.contents.chosen != selection:
                raise _taken()
            wanted["operation_id"] = operation_id
        await self._take_backup.check(Wanted(backup_id="", made_at=self._time.now(), selection=selection, previous=previous))
        return await _asked(self, selection.kind, wanted)

    async def scheduled(self) -> str:
        """Make one of everything, on the newest there is unless that is too old to build on; what came of it.

        Raises:
            KalendsError: it failed; the detail says why.
        """
        chosen = Selection(kind="all")
        begun = await self.begin(chosen, previous=await self._base(chosen))
        try:
            return await _ended(self, begun.operation_id, self._time)
        finally:
            await self.clear()

    async def watch(self) -> None:
        """Remove what is over again and again, until cancelled."""
        while True:
            try:
                await self.clear()
            except KalendsError as error:
                log.warning("backups that are over cannot be removed now", kind=error.code)
            await self._time.sleep(self._settings.look_s)

    async def clear(self) -> int:
        """Remove what is over or was cut off; how many backups went."""
        under_way = [one.operation_id for one in await self.all() if not one.has_ended]
        now = self._time.now()
        removed = await self._catalogue.clear(now=now, keep=self._settings.keep, under_way=under_way)
        shelf = await self._catalogue.shelf()
        await self._notes.clear(shelf, now=now)
        self._look(shelf)
        return removed

    def _look(self, shelf: Shelf) -> None:
        """Note how the backups are."""
        before, made = self._health, [one.manifest.made_at for one in shelf.backups.values()]
        self.last_made = made[-1].isoformat() if made else None
        if not made and not shelf.damaged:
            self._health = None
            return
        state = "degraded" if shelf.damaged else "up"
        since = before.since if before is not None and before.state == state else self._time.now().isoformat()
        detail = "; ".join(shelf.damaged.values()) if shelf.damaged else f"{len(made)} backups, the last of {self.last_made}"
        step = "look at the disk of backup.folder; remove what cannot be read with `kalends backup remove`" if shelf.damaged else ""
        self._health = Health(name="backups", state=state, since=since, detail=detail, next_step=step, required=False)

    async def remove(self, backup_id: str) -> None:
        """Take a backup away.

        Raises:
            Conflict: it is being made.
        """
        found = await self.find(backup_id)
        if found is not None and not found.has_ended:
            raise Conflict("the backup is being made; cancel its operation first")
        await self._catalogue.remove(backup_id)

    async def _base(self, chosen: Selection) -> str | None:
        shelf = await self._catalogue.shelf()
        same = [one for one in shelf.backups.values() if one.contents.chosen == chosen and one.manifest.log_id == self._take_backup.log_id]
        if not same:
            return None
        newest: Backup = same[-1]
        try:
            first = shelf.chain(newest.backup_id)[0]
        except Damaged:
            return None
        fresh = self._time.now() - first.manifest.made_at < timedelta(days=self._settings.full_days)
        return newest.backup_id if fresh else None

    async def _do(self, operation: LongOperation, report: Report) -> str:
        wanted = Wanted(
            backup_id=operation.operation_id,
            made_at=moment(operation.created_us),
            selection=_selection(operation),
            previous=operation.arguments.get("previous"),
        )
        if operation.dry_run:
            return f"about {await self._take_backup.plan(wanted)} messages would be looked at"
        made = await self._take_backup(wanted, report)
        self._look(await self._catalogue.shelf())
        return described(made)

    async def _clear(self, operation: LongOperation) -> None:
        await self._catalogue.remove(operation.operation_id)


class Verifications(OperationRunner):
    """Checks asked for; one that finds a flaw has failed, and its error says where."""

    def __init__(self, *, verify: VerifyBackup, catalogue: Catalogue, store: OperationStore, lease: Lease, clock: Clock) -> None:
        super().__init__(kind=VERIFICATION, store=store, lease=lease, clock=clock, do=self._do)
        self._verify = verify
        self._catalogue = catalogue
        self._time = clock

    async def scheduled(self) -> str:
        """Check the newest backup of everything, seals included; what came of it.

        Raises:
            KalendsError: there is none, or it has a flaw; the detail says where.
        """
        shelf = await self._catalogue.shelf()
        everything = [one for one in shelf.backups.values() if one.contents.selection == "all"]
        if shelf.damaged or not everything:
            raise KalendsError("; ".join(shelf.damaged.values()) or "there is no backup of everything")
        begun = await self.begin(everything[-1].backup_id, deep=True)
        return await _ended(self, begun.operation_id, self._time)

    async def begin(self, backup_id: str, *, deep: bool) -> LongOperation:
        """Ask for one; whether there is such a backup was seen before."""
        return await self.ask(BACKUP, arguments={"backup": backup_id, "deep": "yes" if deep else ""})

    async def _do(self, operation: LongOperation, report: Report) -> str:
        verdict = await self._verify(operation.arguments["backup"], deep=bool(operation.arguments.get("deep")), report=report)
        if verdict.flaws:
            raise Damaged(verdict.text)
        return verdict.text


class Restores(OperationRunner):
    """Restores of single memories asked for, one after another."""

    def __init__(self, *, restore: RestoreMemory, store: OperationStore, lease: Lease, clock: Clock) -> None:
        super().__init__(kind=RESTORE, store=store, lease=lease, clock=clock, do=self._do)
        self._restore = restore

    async def begin(self, wish: Wish, *, dry_run: bool = False) -> LongOperation:
        """Ask for one; with the operation id of one that was asked for, it is that one.

        Raises:
            NotFound, Conflict, Damaged: it cannot be done; see ``RestoreMemory.check``. Conflict: the id belongs to another request.
        """
        arguments = {
            "backup": wish.backup_id,
            "target": wish.target.memory,
            "to_us": "" if wish.to_us is None else str(wish.to_us),
            "replace": "yes" if wish.replace else "",
            "by": wish.by,
        }
        wanted: dict[str, object] = {
            "tenant": wish.source.tenant,
            "memory": wish.source.memory,
            "dry_run": dry_run,
            "arguments": arguments,
        }
        known = await _known(self, wish.operation_id, RESTORE, wanted)
        if known is not None:
            return known
        await self._restore.check(wish)
        return await _asked(self, RESTORE, {**wanted, "operation_id": wish.operation_id, "created_us": wish.made_us})

    async def _do(self, operation: LongOperation, report: Report) -> str:
        return await self._restore(_wish(operation), dry_run=operation.dry_run, report=report)


class Drills(OperationRunner):
    """Restores of everything into a scratch folder; one that does not bring everything back has failed, and its error says what lacks."""

    def __init__(self, *, drill: Drill, store: OperationStore, lease: Lease, clock: Clock) -> None:
        super().__init__(kind=DRILL, store=store, lease=lease, clock=clock, do=self._do)
        self._drill = drill
        self._time = clock

    async def begin(self) -> LongOperation:
        """Ask for one of the newest backup of everything."""
        return await self.ask(BACKUP)

    async def scheduled(self) -> str:
        """Do one; what came of it.

        Raises:
            KalendsError: it failed; the detail says why.
        """
        return await _ended(self, (await self.begin()).operation_id, self._time)

    async def _do(self, _: LongOperation, report: Report) -> str:
        return await self._drill(report)


class ArchiveChecks(OperationRunner):
    """Checks of the archive of the log and of the records; one that finds a break has failed, and its error says where."""

    def __init__(self, *, check: CheckArchive, store: OperationStore, lease: Lease, clock: Clock) -> None:
        super().__init__(kind=ARCHIVE_CHECK, store=store, lease=lease, clock=clock, do=self._do)
        self._check = check
        self._time = clock

    async def begin(self, *, accept_lost: bool = False) -> LongOperation:
        """Ask for one; with *accept_lost* it takes the records as they are."""
        return await self.ask("log", arguments={"accept_lost": "yes"} if accept_lost else {})

    async def scheduled(self) -> str:
        """Do one; what came of it.

        Raises:
            KalendsError: there is a break; the detail says where.
        """
        return await _ended(self, (await self.begin()).operation_id, self._time)

    async def _do(self, operation: LongOperation, report: Report) -> str:
        verdict = await self._check(report, accept_lost=bool(operation.arguments.get("accept_lost")))
        if verdict.breaks:
            raise Damaged(verdict.text)
        return verdict.text


async def _known(runner: OperationRunner, operation_id: str | None, subject: str, wanted: Mapping[str, object]) -> LongOperation | None:
    """The operation of that id, if it was asked for already.

    Raises:
        Conflict: something else was asked for with it.
    """
    known = None if operation_id is None else await runner.find(operation_id)
    if known is not None and (known.subject != subject or any(not _same(getattr(known, name), value) for name, value in wanted.items())):
        raise _taken()
    return known


def _same(known: object, wanted: object) -> bool:
    """Whether they are equal, by whatever credential they were asked for, which may have changed."""
    if isinstance(known, Mapping) and isinstance(wanted, Mapping):
        return {**known, "by": ""} == {**wanted, "by": ""}
    return known == wanted


async def _asked(runner: OperationRunner, subject: str, wanted: Mapping[str, object]) -> LongOperation:
    """A new operation, or the one of the same id that somebody asked for at the same time.

    Raises:
        Conflict: the id belongs to another request.
    """
    try:
        return await runner.ask(subject, **wanted)
    except Conflict as error:
        told = {name: value for name, value in wanted.items() if name not in {"operation_id", "created_us"}}
        known = await _known(runner, str(wanted.get("operation_id", "")), subject, told)
        if known is None:
            raise _taken() from error
        return known


def _taken() -> Conflict:
    return Conflict("this operation_id belongs to another request")


async def _ended(runner: OperationRunner, operation_id: str, clock: Clock) -> str:
    """Wait until an operation has ended; what came of it.

    Raises:
        KalendsError: it did not succeed.
    """
    while True:
        found = await runner.find(operation_id)
        if found is None:
            raise KalendsError("the operation was forgotten before it ended")
        if found.state == "succeeded":
            return found.result
        if found.has_ended:
            raise KalendsError(f"{found.kind} {found.state}: {found.error}")
        await clock.sleep(_LOOK_S)


def _wish(operation: LongOperation) -> Wish:
    given = operation.arguments
    tenant = Tenant(operation.tenant)
    return Wish(
        operation_id=EventId(operation.operation_id),
        backup_id=given["backup"],
        source=Scope(tenant, MemoryName(operation.memory)),
        target=Scope(tenant, MemoryName(given["target"])),
        to_us=int(given["to_us"]) if given["to_us"] else None,
        replace=bool(given["replace"]),
        made_us=operation.created_us,
        by=given["by"],
    )


def _selection(operation: LongOperation) -> Selection:
    if operation.subject == "memory":
        return Selection(kind="memory", tenant=operation.tenant, memory=operation.memory)
    if operation.subject == "tenant":
        return Selection(kind="tenant", tenant=operation.tenant)
    return Selection(kind="all")


def reachable(shelf: Sequence[Backup], tenant: Tenant, *, everything: bool) -> Sequence[Backup]:
    """The backups that an admin of *tenant* may know of; *everything*: of this installation's own tenant."""
    return [one for one in shelf if one.contents.tenant == tenant or (everything and one.contents.selection == "all")]
