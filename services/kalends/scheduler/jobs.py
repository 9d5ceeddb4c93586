"""The jobs that there are by default, all in UTC.

Belongs here: names, times and limits. Does not belong here: what a task does (the services that serve it). A newcomer would get wrong: a
job that works on what another one makes is due a little later than it, and does no harm if it comes too early: it finds less, and comes
again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kalends.domain.errors import Misconfigured
from kalends.domain.schedules import JobSpec
from kalends.settings import SchedulerSettings

_MINUTE = 60.0
_HOUR = 3600.0
_WHEN = SchedulerSettings()

JOBS: tuple[JobSpec, ...] = (
    JobSpec(name="segment-sweep", cron=_WHEN.segment_sweep, task="segment-sweep", timeout_s=5 * _MINUTE, jitter_s=0.5),
    JobSpec(name="toc-day", cron=_WHEN.toc_day, task="toc-day", timeout_s=15 * _MINUTE, jitter_s=5.0),
    JobSpec(name="toc-week", cron=_WHEN.toc_week, task="toc-week", timeout_s=30 * _MINUTE, jitter_s=10.0),
    JobSpec(name="toc-month", cron=_WHEN.toc_month, task="toc-month", timeout_s=_HOUR, jitter_s=30.0),
    JobSpec(name="toc-year", cron=_WHEN.toc_year, task="toc-year", timeout_s=_HOUR, jitter_s=30.0),
    JobSpec(name="retention", cron=_WHEN.retention, task="retention", timeout_s=_HOUR, jitter_s=5.0),
    JobSpec(name="reconcile", cron=_WHEN.reconcile, task="reconcile", timeout_s=_HOUR, jitter_s=30.0),
    JobSpec(name="canary-questions", cron=_WHEN.canary_questions, task="canary-questions", timeout_s=_HOUR, jitter_s=30.0),
    JobSpec(name="compaction", cron=_WHEN.compaction, task="compaction", timeout_s=2 * _HOUR, jitter_s=30.0),
    JobSpec(name="key-check", cron=_WHEN.key_check, task="key-check", timeout_s=_HOUR, jitter_s=30.0),
    JobSpec(name="backup", cron=_WHEN.backup, task="backup", timeout_s=12 * _HOUR, jitter_s=30.0),
    JobSpec(name="backup-check", cron=_WHEN.backup_check, task="backup-check", timeout_s=12 * _HOUR, jitter_s=30.0),
    JobSpec(name="backup-drill", cron=_WHEN.backup_drill, task="backup-drill", timeout_s=12 * _HOUR, jitter_s=30.0),
    JobSpec(name="archive-check", cron=_WHEN.archive_check, task="archive-check", timeout_s=12 * _HOUR, jitter_s=30.0),
)
"""In the order of their times; those of backups and of the archive are off until they are given one."""


def chosen(*names: str, crons: Mapping[str, str] | None = None) -> Sequence[JobSpec]:
    """The default jobs of these *names* (none: all), with other cron expressions for some; an empty expression leaves its job out.

    Raises:
        Misconfigured: there is no such job.
    """
    known = {job.name: job for job in JOBS}
    given = crons or {}
    unknown = sorted({*names, *given} - set(known))
    if unknown:
        raise Misconfigured(f"there is no job called {', '.join(unknown)}")
    wanted = [known[name] for name in names] or list(JOBS)
    told = [replace(job, cron=given.get(job.name, job.cron)) for job in wanted]
    return [job for job in told if job.cron]
