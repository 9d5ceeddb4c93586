"""Commands about what is kept no longer: ``retention`` and ``session``.

Belongs here: running retention, counting what it would do, ending a session. Does not belong here: a memory's rules (``memories``). A
newcomer would get wrong: only a session-only memory forgets a session that ends; elsewhere the command says that it is kept.
"""

from typing import TYPE_CHECKING

import click

from kalends.app.invocation import Command, Group, Invocation

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import RetentionRun


@click.command(cls=Command)
@click.option("--dry-run", is_flag=True, help="Only say how much would go.")
@click.pass_obj
def retention(invocation: Invocation, *, dry_run: bool) -> None:
    """Erase what the memories keep no longer; with --memory that of one."""
    with invocation.client() as kalends:
        found = kalends.run_retention(memory=invocation.memory if invocation.named_memory else None, dry_run=dry_run)
    invocation.output.give(found, lambda console: _show(console, found))


@click.group(cls=Group)
def session() -> None:
    """End sessions."""


@session.command()
@click.argument("session_id", metavar="SESSION")
@click.pass_obj
def end(invocation: Invocation, session_id: str) -> None:
    """End SESSION: a session-only memory forgets it then."""
    with invocation.client() as kalends:
        ended = kalends.memory(invocation.memory).end_session(session_id)
    told = {"kept": "the memory keeps its sessions; nothing changed", "empty": "nothing is in this session"}
    text = told.get(ended.state, f"the session is {ended.state}; erasure {ended.erasure_id}")
    invocation.output.give(ended, lambda console: console.print(text, markup=False))


def _show(console: "Console", found: "RetentionRun") -> None:
    from kalends.app.output import table

    if found.dry_run:
        console.print("nothing was done (dry run); this would go:")
    if not found.items:
        console.print("nothing is due")
        return
    titles = ["memory", ">expired", ">too old", ">too many", ">of ended sessions", ">held", ">erasures", "more"]
    rows = [
        (one.memory, one.expired, one.age, one.count, one.session, one.held, one.erasures, "yes" if one.more else "") for one in found.items
    ]
    console.print(table(titles, rows))
