"""Commands for operators: stats, reindex, compact.

Belongs here: the ``admin`` group. Does not belong here: one memory's own counts (``memories``). A newcomer would get wrong: a rebuild goes
on in the server when the command is interrupted; ``--wait`` only watches it.
"""

from typing import TYPE_CHECKING

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import shown

if TYPE_CHECKING:
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

        rows = ((one.name, one.events, one.documents, one.sessions, one.log_bytes, shown(one.last_at)) for one in memories)
        console.print(table(["memory", ">events", ">documents", ">sessions", ">bytes", "last (UTC)"], rows))
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
@click.option("--wait", is_flag=True, help="Watch it until it has ended.")
@click.option("--timeout", type=click.FloatRange(min=1), default=600.0, show_default=True, help="Longest time to watch, in seconds.")
@click.pass_obj
def compact(invocation: Invocation, *, wait: bool, timeout: float) -> int:
    """Let every store give back disk space while the instance serves."""
    output = invocation.output
    with invocation.client() as kalends:
        started = kalends.compact()
        if not wait:
            output.give(started, lambda console: console.print(f"started operation {started.operation_id}"))
            return 0
        with output.progress("compacting", total=None) as advance:
            ended = kalends.wait_for(
                started.operation_id, timeout_s=timeout, on_progress=lambda seen: advance(seen.done, seen.total or None)
            )
    output.give(ended, lambda console: _show_compaction(console, ended))
    return 0 if ended.state == "succeeded" else 1


def _show_compaction(console: "Console", ended: "Operation") -> None:
    from kalends.app.output import harmless, state

    console.print(state(ended.state), ended.kind, harmless(ended.result or ended.error or ""), sep="  ", markup=False)


def _show(console: "Console", ended: "Operation") -> None:
    from kalends.app.output import harmless, state

    console.print(state(ended.state), f"{ended.kind} {ended.projection}: {ended.done:,} of {ended.total:,} messages", sep="  ")
    if ended.error:
        console.print(harmless(ended.error), style="red", markup=False)
