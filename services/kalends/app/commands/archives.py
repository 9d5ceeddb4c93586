"""``kalends archive``: the archive of the log and its check.

Belongs here: these commands. Does not belong here: backups. A newcomer would get wrong: what the last check found is shown at once; a new
one reads the whole archive and the whole log.
"""

from typing import TYPE_CHECKING

import click

from kalends.app.commands.backups import watch
from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import shown

if TYPE_CHECKING:
    from rich.console import Console


@click.group(cls=Group)
def archive() -> None:
    """The archive of the log: a copy that only grows, each part of which names the one before."""


@archive.command(cls=Command)
@click.pass_obj
def show(invocation: Invocation) -> None:
    """Show how far it is, and what the last check found."""
    with invocation.client() as kalends:
        found = kalends.archive.show()

    def tell(console: "Console") -> None:
        if not found.enabled:
            console.print("the log is not archived; archive.store names no place", markup=False)
            return
        checked = "not checked yet" if found.checked_at is None else f"checked {shown(found.checked_at)} (UTC): {found.result}"
        console.print(f"{found.links} links; {checked}", style="red" if found.breaks else "", markup=False)

    invocation.output.give(found, tell)


@archive.command(cls=Command)
@click.option("--accept-lost", is_flag=True, help="Take the records as they are, and give up those that cannot be read.")
@click.option("--timeout", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Longest time to watch, in seconds.")
@click.pass_obj
def verify(invocation: Invocation, *, accept_lost: bool, timeout: float) -> int:
    """Check every byte of it, hold it against the log, and look through the records; a break is named with its place."""
    with invocation.client() as kalends:
        started = kalends.archive.verify(accept_lost=accept_lost)
    return watch(invocation, started.operation_id, "checking", wait=True, timeout=timeout)
