"""Commands for backups: create, list, verify, restore, remove.

Belongs here: the ``backup`` group. Does not belong here: making or reading backups (``kalends.backups``). A newcomer would get wrong:
``restore --into-empty`` asks no instance; it opens the data folder itself, which must belong to nobody who runs.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import shown

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from kalends.client import Operation

_WAIT = click.option("--wait", is_flag=True, help="Watch it until it has ended.")
_TIMEOUT = click.option(
    "--timeout", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Longest time to watch, in seconds."
)


@click.group(cls=Group)
def backup() -> None:
    """Back up, check and restore."""


@backup.command(cls=Command)
@click.option("--tenant", is_flag=True, help="All memories of the credential's tenant; with --memory one of them; else everything.")
@click.option("--incremental-from", metavar="ID", help="Only what came after this backup of the same.")
@click.option("--dry-run", is_flag=True, help="Only say about how much there is to do.")
@_WAIT
@_TIMEOUT
@click.pass_obj
def create(invocation: Invocation, *, tenant: bool, incremental_from: str | None, dry_run: bool, wait: bool, timeout: float) -> int:
    """Make a backup while the instance serves; of the memory of --memory, of a tenant, or of everything."""
    with invocation.client() as kalends:
        memory = None if tenant else invocation.named_memory
        started = kalends.backups.create(memory=memory, tenant=tenant, incremental_from=incremental_from, dry_run=dry_run)
    return watch(invocation, started.operation_id, "backing up", wait=wait or dry_run, timeout=timeout)


@backup.command("list", cls=Command)
@click.pass_obj
def list_backups(invocation: Invocation) -> None:
    """Show the backups, newest first."""
    with invocation.client() as kalends:
        found = kalends.backups.list()

    def show(console: "Console") -> None:
        from kalends.app.output import table

        rows = (
            (
                one.backup_id,
                one.memory or one.tenant or one.scope,
                shown(one.made_at),
                one.events,
                one.bytes,
                one.incremental_from or "",
                _day(one.expires_at),
                _day(one.keys_expire_at),
            )
            for one in found.items
        )
        titles = ["backup", "of", "made (UTC)", ">events", ">bytes", "builds on", "kept until", "keys until"]
        console.print(table(titles, rows))
        if found.drill is not None:
            told = "succeeded" if found.drill.succeeded else "failed"
            when = f"{shown(found.drill.ended_at)} of {found.drill.backup_id}"
            console.print(
                f"last restore drill {told}, {when}: {found.drill.result}", style="" if found.drill.succeeded else "red", markup=False
            )
        for backup_id in found.unreadable:
            console.print(f"{backup_id} cannot be read", style="red", markup=False)

    invocation.output.give(found, show)


def _day(at: "datetime | None") -> str:
    return "" if at is None else f"{at:%Y-%m-%d}"


@backup.command(cls=Command)
@click.argument("backup_id", metavar="ID")
@click.option("--deep", is_flag=True, help="Open every seal, too.")
@_TIMEOUT
@click.pass_obj
def verify(invocation: Invocation, backup_id: str, *, deep: bool, timeout: float) -> int:
    """Check every byte of a backup and of all that it builds on; a flaw is named with its object and place."""
    with invocation.client() as kalends:
        started = kalends.backups.verify(backup_id, deep=deep)
    return watch(invocation, started.operation_id, "checking", wait=True, timeout=timeout)


@backup.command(cls=Command)
@click.argument("backup_id", metavar="ID")
@click.pass_obj
def remove(invocation: Invocation, backup_id: str) -> None:
    """Take a backup away before its time is over."""
    with invocation.client() as kalends:
        kalends.backups.remove(backup_id)
    invocation.output.give({"backup_id": backup_id}, lambda console: console.print(f"removed {backup_id}", markup=False))


@backup.command(cls=Command)
@click.argument("backup_id", metavar="ID")
@click.option("--into", metavar="MEMORY", help="The new memory to restore into.")
@click.option("--replace", is_flag=True, help="Restore in place: what is too much is erased for good before.")
@click.option("--to-time", type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d"]), help="As it was then, in UTC.")
@click.option("--into-empty", is_flag=True, help="Restore everything into an empty data folder that nobody serves.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="That data folder; else KALENDS_DATA, else yours.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where the backups are, for --into-empty.")
@click.option("--dry-run", is_flag=True, help="Only say what would come of it.")
@_WAIT
@_TIMEOUT
@click.pass_obj
def restore(
    invocation: Invocation,
    backup_id: str,
    *,
    into: str | None,
    replace: bool,
    to_time: "datetime | None",
    into_empty: bool,
    data: Path | None,
    folder: Path | None,
    dry_run: bool,
    wait: bool,
    timeout: float,
) -> int:
    """Restore the memory of --memory into a new one or in place, or everything into an empty folder."""
    from datetime import UTC

    moment = None if to_time is None else to_time.replace(tzinfo=UTC)
    if into_empty:
        return _whole(invocation, backup_id, moment, data=data, folder=folder)
    memory = invocation.named_memory
    if memory is None:
        raise click.UsageError("name the memory with --memory, or restore everything with --into-empty")
    with invocation.client() as kalends:
        started = kalends.backups.restore(backup_id, memory=memory, into=into, replace=replace, to_time=moment, dry_run=dry_run)
    if started.operation_id is None:
        invocation.output.give(started, lambda console: console.print(f"waits for the approval {started.approval_id}", markup=False))
        return 0
    return watch(invocation, started.operation_id, "restoring", wait=wait or dry_run, timeout=timeout)


def _whole(invocation: Invocation, backup_id: str, to_time: "datetime | None", *, data: Path | None, folder: Path | None) -> int:
    import asyncio

    import msgspec

    from kalends.app import backing_up, folders
    from kalends.app.configuration import settings_from
    from kalends.domain.events import microseconds
    from kalends.edge import logs

    settings = settings_from(data=data)
    if folder is not None:
        settings = msgspec.structs.replace(settings, backup=msgspec.structs.replace(settings.backup, folder=str(folder), store=""))
    logs.configure(level=settings.telemetry.level, service="restore")
    where = folders.folders_of(settings)
    folders.prepare(where)
    to_us = None if to_time is None else microseconds(to_time)
    with folders.locked(where), invocation.output.progress("restoring", total=None) as advance:
        told = asyncio.run(
            backing_up.restore_whole(settings, where, backup_id, to_us=to_us, report=lambda done, total: advance(done, total or None))
        )
    invocation.output.give({"backup_id": backup_id, "result": told}, lambda console: console.print(told, markup=False))
    return 0


def watch(invocation: Invocation, operation_id: str, title: str, *, wait: bool, timeout: float) -> int:
    """Show an operation that was started: that it was, or with *wait* how it goes and ends; the exit code."""
    output = invocation.output
    if not wait:
        output.give({"operation_id": operation_id}, lambda console: console.print(f"started operation {operation_id}"))
        return 0
    with invocation.client() as kalends, output.progress(title, total=None) as advance:
        ended = kalends.wait_for(operation_id, timeout_s=timeout, on_progress=lambda seen: advance(seen.done, seen.total or None))
    output.give(ended, lambda console: _show(console, ended))
    return 0 if ended.state == "succeeded" else 1


def _show(console: "Console", ended: "Operation") -> None:
    from kalends.app.output import harmless, state

    console.print(state(ended.state), ended.operation_id, harmless(ended.result or ended.error or ""), sep="  ", markup=False)
