"""Backups: how taking, checking and restoring them are put together.

Belongs here: building these from what the roles share. Does not belong here: what any of them does (``backups``). A newcomer would get
wrong: restoring a whole installation is no part of a service. It is done by a command, before anything is served.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.embedded.signing_key import open_signer
from kalends.adapters.nats.bus import NatsBus
from kalends.app import archives, brokers, keks, parts, upkeep
from kalends.app.drills import ScratchInstallations
from kalends.app.folders import Folders
from kalends.app.parts import Common
from kalends.backups import service as backup_service
from kalends.backups.archive_routes import ArchiveRoutes
from kalends.backups.archiving import ArchiveLog
from kalends.backups.catalogue import Catalogue
from kalends.backups.chain_checking import CheckArchive
from kalends.backups.chains import Chain
from kalends.backups.copies import Copies
from kalends.backups.drilling import Drill
from kalends.backups.inventories import Inventories
from kalends.backups.notes import ErasureNotes
from kalends.backups.record_checking import CheckRecords
from kalends.backups.replaying import RestoreAll
from kalends.backups.restoring import Forget, RestoreMemory
from kalends.backups.routes import NAME, BackupRoutes
from kalends.backups.running import ArchiveChecks, Backups, Drills, Restores, Verifications
from kalends.backups.taking import Sources, TakeBackup
from kalends.backups.verifying import VerifyBackup
from kalends.domain.approvals import RESTORE
from kalends.domain.erasures import Selector
from kalends.domain.errors import Misconfigured, Unavailable
from kalends.domain.events import EventId
from kalends.domain.scope import Scope
from kalends.edge.metrics import new_metrics
from kalends.edge.services import Service
from kalends.ingest.approving import Approvals
from kalends.ingest.erasing import RequestErasures
from kalends.kit.cron import next_after
from kalends.kit.signatures import Signer
from kalends.ports.kek import Wrapper
from kalends.ports.work import TaskCall, TaskHandler
from kalends.settings import Settings
from kalends.wire.erasures import ErasureStore
from kalends.wire.operations import OperationStore
from kalends.wire.seal import check_seal
from kalends.wire.vault import Vault

_LOOK_S = 0.3
_CHECK = timedelta(hours=12)
"""How long a check of the archive of the log may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltBackups:
    """The service, and what is done on schedule."""

    service: Service
    tasks: Mapping[str, TaskHandler]
    made: Backups


async def build(
    stack: AsyncExitStack, common: Common, where: Folders, approvals: Approvals, asked: RequestErasures, *, alone: bool
) -> BuiltBackups:
    """Everything about backups but whole restores, closed with *stack*; *alone*: no other process can do its long work.

    Raises:
        Misconfigured: the signing key cannot be used.
    """
    settings, clock = common.settings, common.clock
    archive = await archives.of_backups(stack, settings, where)
    noted = ErasureNotes(archive=archive, wrapper=common.wrapper)
    shelf, copies, sources = Catalogue(archive=archive, wrapper=common.wrapper), Copies(archive, noted), _sources(common.bus)
    store = OperationStore(records=common.bus.records, clock=clock)
    take = TakeBackup(
        sources=sources,
        archive=archive,
        catalogue=shelf,
        wrapper=common.wrapper,
        signer=await asyncio.to_thread(open_signer, _signing_key(settings, where)),
        log_id=await check_seal(common.bus.records, common.wrapper),
        traffic=common.traffic,
        clock=clock,
        settings=settings.backup,
    )
    forget = _Forgetting(asked, common.erasures, clock, wait_s=settings.backup.erase_wait_s)
    restore = _restore(common, shelf, copies, sources, forget)
    made = Backups(
        take=take,
        catalogue=shelf,
        notes=noted,
        store=store,
        lease=upkeep.lease(common, "backup", alone=alone),
        clock=clock,
        settings=settings.backup,
    )
    checks = Verifications(
        verify=VerifyBackup(catalogue=shelf, copies=copies, keys=common.bus.keys, wrapper=common.wrapper),
        catalogue=shelf,
        store=store,
        lease=upkeep.lease(common, "verification", alone=alone),
        clock=clock,
    )
    restores = Restores(restore=restore, store=store, lease=upkeep.lease(common, "restore", alone=alone), clock=clock)
    drill = _drill(common, where, shelf, copies)
    drills = Drills(drill=drill, store=store, lease=upkeep.lease(common, "drill", alone=alone), clock=clock)
    tenant = settings.auth.tenant
    routes = BackupRoutes(
        made=made, checks=checks, restores=restores, catalogue=shelf, drill=drill, approvals=approvals, clock=clock, tenant=tenant
    )
    approvals.perform(RESTORE, routes.act, audited_as=NAME)
    kept = await _archived(stack, common, take.signer, take.log_id, store, alone=alone)
    scheduled: dict[str, _Scheduled] = {"backup": made, "backup-check": checks, "backup-drill": drills}
    if kept.checks is not None:
        scheduled["archive-check"] = kept.checks
    archive_routes = ArchiveRoutes(chain=kept.chain, checks=kept.checks, tenant=tenant)
    built = backup_service.build(routes, archive_routes, made=made, checks=checks, restores=restores, drills=drills, drill=drill, kept=kept)
    return BuiltBackups(service=built, tasks={name: _task(one) for name, one in scheduled.items()}, made=made)


def _drill(common: Common, where: Folders, shelf: Catalogue, copies: Copies) -> Drill:
    scratch = ScratchInstallations(common.settings, where, catalogue=shelf, copies=copies, wrapper=common.wrapper)
    return Drill(
        catalogue=shelf,
        copies=copies,
        records=common.bus.records,
        wrapper=common.wrapper,
        scratch=scratch,
        metrics=common.metrics,
        clock=common.clock,
    )


class _Scheduled(Protocol):
    async def scheduled(self) -> str: ...


def _task(work: _Scheduled) -> TaskHandler:
    async def do(_: TaskCall) -> str:
        return await work.scheduled()

    return do


async def _archived(
    stack: AsyncExitStack, common: Common, signer: Signer, log_id: str, store: OperationStore, *, alone: bool
) -> backup_service.KeptLog:
    """The archive of the log, where one is wanted.

    Raises:
        Misconfigured: its place cannot be used, or nothing would ever take out of it what was erased.
    """
    settings, clock = common.settings, common.clock
    archive = await archives.of_log(stack, settings)
    if archive is None:
        return backup_service.KeptLog()
    _leaves_log_archive(settings)
    chain = Chain(
        archive=archive, records=common.bus.records, wrapper=common.wrapper, signer=signer, log_id=log_id, place=settings.archive.store
    )
    copier = ArchiveLog(
        chain=chain,
        source=common.bus.log,
        lease=upkeep.lease(common, "archive", alone=alone),
        clock=clock,
        traffic=common.traffic,
        metrics=common.metrics,
        settings=settings.archive,
    )
    inventories = Inventories(archive=archive, wrapper=common.wrapper, signer=signer, log_id=log_id)
    records = CheckRecords(records=common.bus.records, inventories=inventories, clock=clock, traffic=common.traffic)
    check = CheckArchive(chain=chain, records=records, source=common.bus.log, clock=clock, traffic=common.traffic)
    checks = ArchiveChecks(check=check, store=store, lease=upkeep.lease(common, "archive-check", alone=alone), clock=clock)
    return backup_service.KeptLog(chain=chain, copier=copier, checks=checks)


def _restore(common: Common, shelf: Catalogue, copies: Copies, sources: Sources, forget: Forget) -> RestoreMemory:
    return RestoreMemory(
        catalogue=shelf,
        copies=copies,
        sources=sources,
        registry=common.memories,
        store=common.documents,
        erasures=common.erasures,
        vault=common.vault,
        wrapper=common.wrapper,
        forget=forget,
        traffic=common.traffic,
    )


class _Forgetting:
    """Asks for an erasure and waits until nothing is left; see ``backups.restoring.Forget``."""

    def __init__(self, asked: RequestErasures, store: ErasureStore, clock: SystemClock, *, wait_s: float) -> None:
        self._asked = asked
        self._store = store
        self._clock = clock
        self._wait_s = wait_s

    async def __call__(self, scope: Scope, event_ids: tuple[EventId, ...], *, by: str, erasure_id: EventId) -> None:
        selector = Selector(kind="event_ids", event_ids=event_ids)
        await self._asked.ask(scope, selector, reason="other", by=by, erasure_id=erasure_id)
        until = self._clock.monotonic() + self._wait_s
        while self._clock.monotonic() < until:
            found = await self._store.find(scope, erasure_id)
            if found is not None and not found.is_active:
                return
            await self._clock.sleep(_LOOK_S)
        raise Unavailable("erasing what is too much takes long; the restore goes on after it", dependency="erasure", retry_after=5.0)


async def restore_whole(
    settings: Settings, where: Folders, backup_id: str, *, to_us: int | None, report: Callable[[int, int], None]
) -> str:
    """Restore everything into the empty installation that *settings* name, which must not be running.

    Raises:
        As ``RestoreAll``. Misconfigured, Unavailable: the log or the keys cannot be opened.
    """
    async with AsyncExitStack() as stack:
        broker, place = await brokers.open_broker(stack, settings, where, brokers.Users())
        metrics = new_metrics(version="")
        bus = await parts.open_bus(stack, settings, where, place, metrics, own=broker is not None)
        wrapper = await keks.open_wrapper(stack, settings, where)
        await check_seal(bus.records, wrapper)
        run = await _whole(stack, settings, where, bus, wrapper)
        return await run(backup_id, to_us=to_us, report=report)


async def _whole(stack: AsyncExitStack, settings: Settings, where: Folders, bus: NatsBus, wrapper: Wrapper) -> RestoreAll:
    archive = await archives.of_backups(stack, settings, where)
    vault = Vault(keys=bus.keys, wrapper=wrapper)
    return RestoreAll(
        catalogue=Catalogue(archive=archive, wrapper=wrapper),
        copies=Copies(archive, ErasureNotes(archive=archive, wrapper=wrapper)),
        sources=_sources(bus),
        erasures=ErasureStore(records=bus.records, keys=bus.keys, vault=vault),
        wrapper=wrapper,
    )


async def notes(stack: AsyncExitStack, common: Common, where: Folders) -> ErasureNotes:
    """What erasures and backups tell each other, closed with *stack*.

    Raises:
        Misconfigured: the place of the backups cannot be used, or nothing would ever take out of the log's archive what was erased.
    """
    settings = common.settings
    leaves = _leaves_log_archive(settings) if settings.archive.store else None
    archive = await archives.of_backups(stack, settings, where)
    return ErasureNotes(archive=archive, wrapper=common.wrapper, leaves_log_archive=leaves)


def _leaves_log_archive(settings: Settings) -> Callable[[datetime], datetime]:
    """By when a check of the log's archive, which takes out of it what was erased, has ended that began after a time.

    Raises:
        Misconfigured: there is none.
    """
    cron = settings.scheduler.archive_check
    if not cron:
        raise Misconfigured("archive.store needs scheduler.archive_check: the check takes out of the archive what was erased")
    try:
        next_after(cron, datetime.now(UTC))
    except ValueError as error:
        raise Misconfigured(f"scheduler.archive_check: {error}") from error
    return lambda at: next_after(cron, at) + _CHECK


def _sources(bus: NatsBus) -> Sources:
    return Sources(log=bus.log, keys=bus.keys, records=bus.records, ledger=bus.ledger, audit=bus.audit)


def _signing_key(settings: Settings, where: Folders) -> Path:
    named = settings.erasure.signing_key_file
    return Path(named) if named else where.data / "keys" / "receipt-key"
