"""What the scheduler answers as JSON."""

from datetime import datetime

from msgspec import Struct


class JobOut(Struct, frozen=True, kw_only=True):
    """A job. Times are null where there is none: ``next_run_at`` while it is paused, ``last_run_at`` (when the last run ended) before.

    ``last_result`` is SUCCESS, FAILED, SKIPPED (another run was under way where the work is done) or null; ``last_error`` says why.
    ``checkpoint`` is when the last run that succeeded began: the next one deals with what came since, and with everything if it is null.
    """

    job_name: str
    cron: str
    is_paused: bool
    is_running: bool
    last_run_at: datetime | None
    next_run_at: datetime | None
    run_count: int
    error_count: int
    last_result: str | None
    last_error: str | None
    last_duration_s: float | None
    checkpoint: str | None


class JobList(Struct, frozen=True, kw_only=True):
    """All jobs, on one page."""

    items: list[JobOut]
    next_cursor: str | None = None
