"""Commands about jobs: status, pause, resume, run, reset-checkpoint.

Belongs here: the ``scheduler`` group. Does not belong here: what a job does, or when. A newcomer would get wrong: ``run`` asks for a run
and does not wait for it; ``status`` tells how it went.
"""

from typing import TYPE_CHECKING

import click

from kalends.app.invocation import Command, Group, Invocation
from kalends.app.moments import brief, shown

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import Job

_STYLES = {"ready": "green", "running": "green", "paused": "yellow", "SUCCESS": "green", "SKIPPED": "yellow", "FAILED": "red"}


@click.group(cls=Group)
def scheduler() -> None:
    """See and steer what is done on schedule."""


@scheduler.command(cls=Command)
@click.pass_obj
def status(invocation: Invocation) -> None:
    """Every job: when it is due, and how its runs went."""
    with invocation.client() as kalends:
        found = kalends.scheduler_jobs()
    invocation.output.give({"items": found}, lambda console: _show(console, found))


@scheduler.command(cls=Command)
@click.argument("job")
@click.pass_obj
def pause(invocation: Invocation, job: str) -> None:
    """Let a job rest until it is resumed, also over restarts."""
    with invocation.client() as kalends:
        found = kalends.pause_job(job)
    invocation.output.give(found, lambda console: console.print(f"paused {found.job_name}", markup=False))


@scheduler.command(cls=Command)
@click.argument("job")
@click.pass_obj
def resume(invocation: Invocation, job: str) -> None:
    """Let a paused job run again."""
    with invocation.client() as kalends:
        found = kalends.resume_job(job)
    told = f"resumed {found.job_name}; it is due {shown(found.next_run_at)} UTC"
    invocation.output.give(found, lambda console: console.print(told, markup=False))


@scheduler.command(cls=Command)
@click.argument("job")
@click.pass_obj
def run(invocation: Invocation, job: str) -> None:
    """Have a job run now, also a paused one."""
    with invocation.client() as kalends:
        found = kalends.run_job(job)
    invocation.output.give(found, lambda console: console.print(f"asked for a run of {found.job_name}", markup=False))


@scheduler.command(cls=Command)
@click.argument("job")
@click.pass_obj
def reset_checkpoint(invocation: Invocation, job: str) -> None:
    """Have the next run of a job deal with everything."""
    with invocation.client() as kalends:
        found = kalends.reset_job_checkpoint(job)
    invocation.output.give(found, lambda console: console.print(f"the next run of {found.job_name} deals with everything", markup=False))


def _show(console: "Console", jobs: "list[Job]") -> None:
    from rich.text import Text

    from kalends.app.output import harmless, table

    titles = ["job", "cron (UTC)", "state", "last run (UTC)", "result", ">runs", ">errors", ">seconds", "next run (UTC)"]
    rows = (
        (
            job.job_name,
            job.cron,
            Text(_state(job), style=_STYLES.get(_state(job), "")),
            "" if job.last_run_at is None else brief(job.last_run_at.isoformat()),
            Text(harmless(job.last_result or ""), style=_STYLES.get(job.last_result or "", "")),
            job.run_count,
            job.error_count,
            "" if job.last_duration_s is None else f"{job.last_duration_s:.3g}",
            "" if job.next_run_at is None else brief(job.next_run_at.isoformat()),
        )
        for job in jobs
    )
    console.print(table(titles, rows))
    for job in jobs:
        if job.last_error:
            console.print(harmless(f"{job.job_name}: {job.last_error}"), style=_STYLES.get(job.last_result or "", ""), markup=False)


def _state(job: "Job") -> str:
    if job.is_running:
        return "running"
    return "paused" if job.is_paused else "ready"
