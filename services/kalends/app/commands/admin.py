"""Commands for operators: stats, reindex, compact, rotate-keys and the like.

Belongs here: the ``admin`` group. Does not belong here: one memory's own counts (``memories``). A newcomer would get wrong: a rebuild goes
on in the server when the command is interrupted; ``--wait`` only watches it.
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


@click.group(cls=Group)
def admin() -> None:
    """Look after the instance."""


@admin.command(cls=Command)
@click.pass_obj
def stats(invocation: Invocation) -> None:
    """Counts of every memory, and how far the projections are."""
    with invocation.client() as kalends:
        memories = list(kalends.memories())
        found = kalends.status()

    def show(console: "Console") -> None:
        from kalends.app.output import table

        counts = (
            (one.name, one.events, one.documents, one.sessions, one.toc_nodes, one.grips, one.log_bytes, shown(one.last_at))
            for one in memories
        )
        titles = ["memory", ">events", ">documents", ">sessions", ">nodes", ">grips", ">bytes", "last (UTC)"]
        console.print(table(titles, counts))
        projections = sorted({*found.lag, *found.generations})
        lags = ((name, found.lag[name].events if name in found.lag else None, found.generations.get(name)) for name in projections)
        console.print()
        console.print(table(["projection", ">events behind", "generation"], lags))

    result = {"memories": memories, "lag": found.lag, "generations": found.generations, "digests": found.digests, "models": found.models}
    invocation.output.give(result, show)


@admin.command(cls=Command)
@click.option("--projection", type=click.Choice(["lexical", "vector", "all"]), default="all", show_default=True)
@click.option("--dry-run", is_flag=True, help="Only say how much there is to do.")
@click.option("--wait", is_flag=True, help="Watch it until it has ended.")
@click.option("--timeout", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Longest time to watch, in seconds.")
@click.pass_obj
def reindex(invocation: Invocation, *, projection: str, dry_run: bool, wait: bool, timeout: float) -> int:
    """Rebuild projections from the log while the instance serves."""
    output = invocation.output
    with invocation.client() as kalends:
        started = kalends.reindex(projection=projection, dry_run=dry_run)
        if not wait:
            output.give(started, lambda console: console.print(f"started operation {started.operation_id}"))
            return 0
        with output.progress(f"rebuilding {projection}", total=None) as advance:
            ended = kalends.wait_for(
                started.operation_id, timeout_s=timeout, on_progress=lambda seen: advance(seen.done, seen.total or None)
            )
    output.give(ended, lambda console: _show(console, ended))
    return 0 if ended.state == "succeeded" else 1


@admin.command(cls=Command)
@click.option(
    "--store", type=click.Choice(["all", "lexical", "vector", "timeline", "calendar"]), default="all", show_default=True, help="One store."
)
@click.option("--wait", is_flag=True, help="Watch it until it has ended.")
@click.option("--timeout", type=click.FloatRange(min=1), default=600.0, show_default=True, help="Longest time to watch, in seconds.")
@click.pass_obj
def compact(invocation: Invocation, *, store: str, wait: bool, timeout: float) -> int:
    """Let every store, or one, give back disk space while the instance serves."""
    output = invocation.output
    with invocation.client() as kalends:
        started = kalends.compact(store=store)
        if not wait:
            output.give(started, lambda console: console.print(f"started operation {started.operation_id}"))
            return 0
        with output.progress(f"compacting {store}", total=None) as advance:
            ended = kalends.wait_for(
                started.operation_id, timeout_s=timeout, on_progress=lambda seen: advance(seen.done, seen.total or None)
            )
    output.give(ended, lambda console: _show_compaction(console, ended))
    return 0 if ended.state == "succeeded" else 1


def _show_compaction(console: "Console", ended: "Operation") -> None:
    from kalends.app.output import harmless, state

    console.print(state(ended.state), ended.kind, harmless(ended.result or ended.error or ""), sep="  ", markup=False)


@admin.command(cls=Command)
@click.option("--from", "begin", type=click.IntRange(min=1), required=True, help="The format that the log is of; `status` says it.")
@click.option("--to", "end", type=click.IntRange(min=1), required=True, help="The format that it is to be of.")
@click.option("--dry-run", is_flag=True, help="Only say what it would take, and whether there is a way back.")
@click.pass_obj
def migrate(invocation: Invocation, *, begin: int, end: int, dry_run: bool) -> None:
    """Bring the log from one format to another; what this version cannot do, or could not take back, is said."""
    from kalends.domain import formats

    with invocation.client() as kalends:
        found = kalends.status().format
    # as long as there is one format, every plan that is not refused has no steps, with and without --dry-run
    planned = formats.plan(found=found, begin=begin, end=end)
    result = {"from": begin, "to": end, "steps": planned.steps, "rollback": planned.rollback, "dry_run": dry_run}
    invocation.output.give(result, lambda console: console.print(planned.text, markup=False))


@admin.command("rotate-keys", cls=Command)
@click.option("--dry-run", is_flag=True, help="Only count the data keys by the key-encryption key that they need.")
@click.option("--wait", is_flag=True, help="Watch it until it has ended.")
@click.option("--timeout", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Longest time to watch, in seconds.")
@click.pass_obj
def rotate_keys(invocation: Invocation, *, dry_run: bool, wait: bool, timeout: float) -> int:
    """Wrap every data key under the newest key-encryption key while the instance serves; no event is sealed anew."""
    output = invocation.output
    with invocation.client() as kalends:
        started = kalends.rotate_keys(dry_run=dry_run)
        if not wait and not dry_run:
            output.give(started, lambda console: console.print(f"started operation {started.operation_id}"))
            return 0
        with output.progress("counting keys" if dry_run else "wrapping keys anew", total=None) as advance:
            ended = kalends.wait_for(
                started.operation_id, timeout_s=timeout, on_progress=lambda seen: advance(seen.done, seen.total or None)
            )
    output.give(ended, lambda console: _show_compaction(console, ended))
    return 0 if ended.state == "succeeded" else 1


@admin.command("new-key", cls=Command)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder; else KALENDS_DATA, else yours.")
@click.pass_obj
def new_key(invocation: Invocation, *, data: Path | None) -> None:
    """Make the next key file beside the one of this machine's instance; `rotate-keys` then uses it. Back it up before."""
    from kalends.adapters.embedded.kek import add_successor
    from kalends.app import folders
    from kalends.app.configuration import settings_from

    settings = settings_from(data=data)
    if settings.keys.kind != "file":
        raise click.UsageError(f"keys.kind is {settings.keys.kind}: the next version is made where the keys are kept")
    made = add_successor(folders.folders_of(settings).key)
    invocation.output.give({"key_file": str(made)}, lambda console: console.print(f"made {made}", markup=False, soft_wrap=True))


@admin.command("rebuild-toc", cls=Command)
@click.option("--from-date", type=click.DateTime(["%Y-%m-%d"]), help="The first day that is written anew, in UTC.")
@click.option("--dry-run", is_flag=True, help="Only count events, days and nodes; nothing is written.")
@click.option("--wait", is_flag=True, help="Watch it until it has ended.")
@click.option("--timeout", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Longest time to watch, in seconds.")
@click.pass_obj
def rebuild_toc(invocation: Invocation, *, from_date: "datetime | None", dry_run: bool, wait: bool, timeout: float) -> int:
    """Write the calendar anew from the events, of the memory of --memory or of all; where the same words come out, nothing changes."""
    output = invocation.output
    with invocation.client() as kalends:
        since = None if from_date is None else from_date.date()
        started = kalends.rebuild_toc(memory=invocation.named_memory, from_date=since, dry_run=dry_run)
        if not wait and not dry_run:
            output.give(started, lambda console: console.print(f"started operation {started.operation_id}"))
            return 0
        with output.progress("writing the calendar", total=None) as advance:
            ended = kalends.wait_for(
                started.operation_id, timeout_s=timeout, on_progress=lambda seen: advance(seen.done, seen.total or None)
            )
    output.give(ended, lambda console: _show(console, ended))
    return 0 if ended.state == "succeeded" else 1


def _show(console: "Console", ended: "Operation") -> None:
    from kalends.app.output import harmless, state

    console.print(state(ended.state), _said(ended), sep="  ")
    if ended.error:
        console.print(harmless(ended.error), style="red", markup=False)


def _said(ended: "Operation") -> str:
    if ended.result:
        return f"{ended.kind}: {ended.result}"
    return f"{ended.kind} {ended.projection}: {ended.done:,} of {ended.total:,} messages"
