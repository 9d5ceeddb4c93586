"""Commands about the audit: list, verify.

Belongs here: the ``audit`` group. Does not belong here: what is checked (``domain.audit``). A newcomer would get wrong: a copy is made with
``audit list --links --all --json``; without links it has holes where others did something, and is broken there.
"""

from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import Moment, shown
from kalends.domain.errors import Malformed

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import AuditEntry, AuditVerdict


@click.group(cls=Group)
def audit() -> None:
    """See and check who did what."""


@audit.command("list", cls=Command)
@click.option("--from", "since", type=Moment(), help="Not before this time.")
@click.option("--to", "until", type=Moment(), help="Before this time.")
@click.option("--actor", help="The id of a token or an agent.")
@click.option("--operation", help="Such as tokens.create.")
@click.option("--outcome", help="ok, a problem's code, or why it was refused.")
@click.option("--of", "of_memory", metavar="MEMORY", help="About this memory.")
@click.option("--refused/--done", default=None, help="Only what was refused, or only what was not.")
@click.option("--links", is_flag=True, help="Also the links of entries that are not yours, so that a copy can be checked.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most entries.")
@click.option("--all", "everything", is_flag=True, help="Every entry.")
@click.pass_obj
def list_(invocation: Invocation, /, *, limit: int, everything: bool, links: bool, **options: "str | bool | datetime | None") -> None:
    """List entries, newest first."""
    chosen: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if "of_memory" in chosen:
        chosen["memory"] = chosen.pop("of_memory")
    with invocation.client() as kalends:
        entries = kalends.audit(**chosen, links=links)
        found = list(entries if everything else islice(entries, limit))
    titles = [">number", "at (UTC)", "actor", "operation", "memory", "outcome", ">count"]
    invocation.output.give({"items": found}, lambda _: invocation.output.table(titles, [_row(entry) for entry in found]))


def _row(entry: "AuditEntry") -> tuple[object, ...]:
    outcome = f"refused: {entry.outcome}" if entry.refused else entry.outcome
    return (entry.number, shown(entry.at), entry.actor, entry.operation, entry.memory, outcome, entry.count)


@audit.command(cls=Command)
@click.argument("copy", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.pass_obj
def verify(invocation: Invocation, copy: Path | None) -> int:
    """Check that nothing was changed or taken out: of the audit itself, or of the COPY that `audit list --links --all --json` made."""
    if copy is None:
        with invocation.client() as kalends:
            found = kalends.verify_audit()
    else:
        found = _of_copy(copy)
    invocation.output.give(found, lambda console: _show(console, found))
    return 0 if found.broken is None else 1


def _of_copy(copy: Path) -> "AuditVerdict":
    import msgspec

    from kalends.client.audit import checked, verdict_of

    try:
        items = msgspec.json.decode(copy.read_bytes(), type=dict[str, list[dict[str, Any]]])["items"]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise Malformed(f"{copy} is no copy of the audit; make one with: kalends --json audit list --links --all") from error
    return verdict_of(checked(items))


def _show(console: "Console", found: "AuditVerdict") -> None:
    if found.broken is None:
        console.print(f"{found.checked} entries hold, up to number {found.number}", markup=False)
        console.print(f"note this, to see later whether the end was cut off: {found.number} {found.hash}", markup=False, soft_wrap=True)
        return
    reason = {
        "altered": f"entry {found.broken.number} was changed",
        "missing": f"entries are missing before or at number {found.broken.number}",
        "foreign": f"entry {found.broken.number} does not follow the one before it",
    }
    console.print(f"broken: {reason.get(found.broken.reason, found.broken.reason)}; {found.checked} entries before it hold", markup=False)
