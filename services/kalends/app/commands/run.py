"""Commands that run or inspect an instance: up, serve, demo, doctor, status, version.

Belongs here: from flags to settings, and what is said when an instance is ready. Does not belong here: hosting (``host``), the story of the
demo (``demo``), the doctor's checks (``doctor``). A newcomer would get wrong: ``up`` and ``serve`` differ in roles only.
"""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kalends import __version__
from kalends.app.configuration import settings_from
from kalends.app.invocation import Command, Invocation
from kalends.app.moments import brief
from kalends.kit import imports

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.app.host import Ready
    from kalends.client import Status
    from kalends.settings import Settings

_BEHIND_S = 60.0
"""A projection that is so far behind is worth a line of its own."""
ROLES = ("ingest", "index", "search", "summarize", "scheduler")
_DATA = click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder; else KALENDS_DATA, else yours.")
_HOST = click.option("--host", help="Address to listen on; 127.0.0.1 by default.")
_PORT = click.option("--port", type=click.IntRange(0, 65535), help="Port of the API; 7410 by default, 0 takes a free one.")
_OPS_PORT = click.option("--ops-port", type=click.IntRange(0, 65535), help="Port of probes and metrics; 7411 by default, 0: a free one.")


@click.command(cls=Command)
@_DATA
@_HOST
@_PORT
@_OPS_PORT
@click.pass_obj
def up(invocation: Invocation, *, data: Path | None, host: str | None, port: int | None, ops_port: int | None) -> int:
    """Run everything in one process, on stores of its own, until Ctrl-C."""
    return _host(invocation, ROLES, settings_from(data=data, host=host, port=port, ops_port=ops_port))


@click.command(cls=Command)
@click.argument("roles", nargs=-1, required=True, type=click.Choice(ROLES), metavar="ROLE...")
@_DATA
@_HOST
@_PORT
@_OPS_PORT
@click.pass_obj
def serve(
    invocation: Invocation, roles: tuple[str, ...], *, data: Path | None, host: str | None, port: int | None, ops_port: int | None
) -> int:
    """Run some roles (ingest, index, search, summarize, scheduler) until Ctrl-C."""
    chosen = [role for role in ROLES if role in roles]
    return _host(invocation, chosen, settings_from(data=data, host=host, port=port, ops_port=ops_port))


def _host(invocation: Invocation, roles: Sequence[str], settings: "Settings") -> int:
    # all that is imported stays; a collector that walks it meanwhile takes an eighth of the time of a start
    gc.disable()
    # the client of NATS and the logger would take these along, for WebSockets and for colours
    with imports.without("aiohttp", "rich"):
        from kalends.app import host
    gc.enable()
    output = invocation.output

    def announce(ready: "Ready") -> None:
        line = {"ready": True, "url": ready.url, "ops_url": ready.ops_url, "token_file": str(ready.token_file), "pid": ready.pid}

        def show(console: "Console") -> None:
            console.print("[green]Kalends is ready[/green]; Ctrl-C ends it")
            for name, value in (("API", ready.url), ("operations", ready.ops_url), ("token", ready.token_file), ("data", ready.data)):
                console.print(f"  {name:<12}{value}", markup=False, soft_wrap=True)

        output.give(line, show)

    return host.run(roles, settings, ready=announce)


@click.command(cls=Command)
@click.argument("path", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder for the demo; a temporary one by default.")
@click.option("--keep", is_flag=True, help="Leave the folder for a look; `kalends up --data FOLDER` serves it again.")
@click.pass_obj
def demo(invocation: Invocation, path: Path | None, *, data: Path | None, keep: bool) -> int:
    """Tell a short story on a real instance of its own, and check every answer.

    PATH tells it with your own data: a JSONL file of events, or a folder of Markdown.
    """
    from kalends.app.demo import story

    return story.tell(path, data=data, keep=keep, as_json=invocation.json)


@click.command(cls=Command)
@click.argument("roles", nargs=-1, type=click.Choice(ROLES), metavar="[ROLE]...")
@_DATA
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write what support needs to FILE (tar.gz): no content, no secret.",
)
@click.pass_obj
def doctor(invocation: Invocation, *, roles: tuple[str, ...], data: Path | None, bundle: Path | None) -> int:
    """Examine the installation, the servers that ROLEs need and, if one runs, the instance; say what is wrong and the next step.

    Without a ROLE, the servers of all of them that the settings name.
    """
    from kalends.app import doctor as examination

    output = invocation.output
    findings = examination.examine(invocation, data=data, roles=roles or ROLES)
    healthy = all(finding.state == "ok" for finding in findings)
    if bundle is not None:
        from kalends.app import bundle as support

        support.write(bundle, invocation, data=data, findings=findings)

    def show(console: "Console") -> None:
        from kalends.app.output import state

        output.table(["", "state", "detail"], [(one.name, state(one.state), one.detail) for one in findings])
        for one in findings:
            if one.next_step:
                console.print(f"next step for {one.name}: {one.next_step}", markup=False, soft_wrap=True)
        if bundle is not None:
            console.print(f"wrote {bundle}; look into it before you send it to anybody", markup=False, soft_wrap=True)

    output.give({"healthy": healthy, "findings": findings} | ({} if bundle is None else {"bundle": str(bundle)}), show)
    return 0 if healthy else 1


@click.command(cls=Command)
@click.pass_obj
def status(invocation: Invocation) -> None:
    """Show how the instance and each of its dependencies is."""
    with invocation.client() as kalends:
        found = kalends.status()
    invocation.output.give(found, lambda console: _show(console, found))


@click.command(cls=Command)
@click.pass_obj
def version(invocation: Invocation) -> None:
    """Print the version."""
    invocation.output.give({"version": __version__}, lambda console: console.print(f"kalends {__version__}"))


def _show(console: "Console", found: "Status") -> None:
    from kalends.app.output import harmless, state, table

    wrong = troubles(found)
    console.print(f"Kalends {found.version}, {found.mode}: ", state(found.state), "" if wrong else ", all is well", sep="")
    for trouble in wrong:
        console.print(f"  {harmless(trouble)}", markup=False, soft_wrap=True)
    console.print()
    rows = ((one.name, state(one.state), brief(one.since), one.detail, one.next_step) for one in found.dependencies)
    console.print(table(["dependency", "state", "since", "detail", "next step"], rows))
    lags = ((name, lag.events, f"{lag.seconds:.1f}", found.generations.get(name, "")) for name, lag in found.lag.items())
    console.print()
    console.print(table(["projection", ">events behind", ">seconds", "generation"], lags))
    console.print()
    console.print(f"last backup: {'none' if found.last_backup is None else brief(found.last_backup)}, dead letters: {found.dead_letters}")


def troubles(found: "Status") -> list[str]:
    """What is not as it should be, one line each, in the order in which one would deal with it."""
    lines = [
        f"{one.name} is {one.state}: {one.detail or f'since {brief(one.since)}'}"
        + (f"; next step: {one.next_step}" if one.next_step else "")
        for one in sorted(found.dependencies, key=lambda one: (one.state != "down", one.name != "disk"))
        if one.state != "up"
    ]
    if found.dead_letters:
        lines.append(f"{found.dead_letters} dead letters: what could not be indexed; `kalends dead-letters list` says why")
    lines += [
        f"{name} is {lag.seconds:.0f} s behind the log ({lag.events} events)"
        for name, lag in found.lag.items()
        if lag.seconds >= _BEHIND_S and lag.events
    ]
    return lines
