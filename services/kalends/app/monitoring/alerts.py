"""Alerts: what is wrong enough to tell somebody, and since when.

Belongs here: each alert with its query, its patience and its words. Does not belong here: what to do about it, which is a page of its name
in docs/runbooks. A newcomer would get wrong: an alert is about what somebody feels or will feel; ``critical`` wakes a person and
``warning`` waits for the morning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kalends.app.monitoring import queries

FAULTS = "internal|unavailable|deadline_exceeded|damaged|misconfigured|occupied"
"""Outcomes of a request that are our fault or our stores', and not the caller's."""

OBJECTIVE = 0.999
"""The share of requests that are answered without such an outcome; what is missing to 1 may be spent in thirty days."""

FAST_SHARE = 0.99
"""The share of searches that are answered within ``FAST_S``."""

FAST_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """``query`` gives a sample while something is wrong; it fires when it did for ``patience``. Words may hold Prometheus' templates."""

    name: str
    query: str
    patience: str
    severity: Literal["critical", "warning"]
    summary: str
    description: str

    def __post_init__(self) -> None:
        """Refuse what names no series of ours."""
        queries.check(self.query)


def _faults(window: str) -> str:
    failed = f'sum(rate(kalends_requests_total{{@,outcome=~"{FAULTS}"}}[{window}]))'
    return f"({failed} / sum(rate(kalends_requests_total{{@}}[{window}])))"


def _slow(window: str) -> str:
    asked = '{@,operation=~"search|context"'
    fast = f'sum(rate(kalends_request_duration_seconds_bucket{asked},le="{FAST_S}"}}[{window}]))'
    return f"(1 - {fast} / sum(rate(kalends_request_duration_seconds_count{asked}}}[{window}])))"


def _burns(share: str, *, long: str, short: str, times: float, objective: float) -> str:
    """The error budget is spent *times* as fast as it lasts, over a *long* time and still over a *short* one."""
    budget = f"{times * (1 - objective):.6g}"
    of = _faults if share == "faults" else _slow
    return f"{of(long)} > {budget} and {of(short)} > {budget}"


ALERTS: Sequence[Alert] = (
    Alert(
        name="KalendsUnresponsive",
        query='up{@,job=~".*kalends.*"} == 0',
        patience="5m",
        severity="critical",
        summary="{{ $labels.instance }} has not answered for five minutes",
        description="The process does not answer on its port of operations, or cannot be reached from here.",
    ),
    Alert(
        name="KalendsAbsent",
        query="absent(kalends_build_info{@})",
        patience="5m",
        severity="critical",
        summary="No process of Kalends is known",
        description="Nothing is scraped: all of it is gone, or the monitoring does not find it.",
    ),
    Alert(
        name="KalendsDependencyDown",
        query="min by (instance, dependency) (kalends_dependency_up{@}) == 0",
        patience="5m",
        severity="critical",
        summary="{{ $labels.dependency }} is away from {{ $labels.instance }}",
        description="The status says why, and the next step.",
    ),
    Alert(
        name="KalendsRequestsFail",
        query=f"{_faults('5m')} > 0.1",
        patience="5m",
        severity="critical",
        summary="{{ $value | humanizePercentage }} of the requests fail",
        description="More than one in ten, and not by a fault of the callers.",
    ),
    Alert(
        name="KalendsErrorBudgetFast",
        query=_burns("faults", long="1h", short="5m", times=14.4, objective=OBJECTIVE),
        patience="2m",
        severity="critical",
        summary="What may fail in thirty days is used up within two",
        description="{{ $value | humanizePercentage }} of the requests of the last hour failed.",
    ),
    Alert(
        name="KalendsErrorBudgetSlow",
        query=_burns("faults", long="6h", short="30m", times=6, objective=OBJECTIVE),
        patience="15m",
        severity="warning",
        summary="What may fail in thirty days is used up within five",
        description="{{ $value | humanizePercentage }} of the requests of the last six hours failed.",
    ),
    Alert(
        name="KalendsSearchSlow",
        query=_burns("slow", long="1h", short="5m", times=14.4, objective=FAST_SHARE),
        patience="5m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the searches take more than half a second",
        description="Nothing fails; who searches waits.",
    ),
    Alert(
        name="KalendsProjectionBehind",
        query="max by (projection) (kalends_projection_lag_seconds{@}) > 300",
        patience="10m",
        severity="warning",
        summary="The projection {{ $labels.projection }} is {{ $value | humanizeDuration }} behind the log",
        description="What was written since then is not found yet. Nothing is lost.",
    ),
    Alert(
        name="KalendsDeadLetters",
        query="sum(increase(kalends_dead_letters_total{@}[15m])) > 0",
        patience="0m",
        severity="warning",
        summary="Messages were given up",
        description="They are in the log and not in a projection, so they are not found.",
    ),
    Alert(
        name="KalendsProjectionDiffers",
        query="sum by (projection, result) (increase(kalends_reconcile_findings_total{@}[1d])) > 0",
        patience="0m",
        severity="warning",
        summary="The projection {{ $labels.projection }} differed from the log",
        description="{{ $value | humanize }} entries were {{ $labels.result }} within a day; they were mended.",
    ),
    Alert(
        name="KalendsKeysWrong",
        query="max by (result) (kalends_keys_wrong{@}) > 0",
        patience="0m",
        severity="critical",
        summary="{{ $value }} data keys are {{ $labels.result }}",
        description="What they sealed cannot be read. See that every key-encryption key is there before anything else.",
    ),
    Alert(
        name="KalendsErasureOverdue",
        query="max(kalends_erasure_age_seconds{@}) > 86400",
        patience="15m",
        severity="critical",
        summary="An erasure waits for {{ $value | humanizeDuration }}",
        description="What was to be forgotten is hidden and still on the disk.",
    ),
    Alert(
        name="KalendsBackupOld",
        query="time() - (max(kalends_backup_last_timestamp_seconds{@}) > 0) > 129600",
        patience="15m",
        severity="critical",
        summary="The newest backup is {{ $value | humanizeDuration }} old",
        description="What was written since would be lost with the disk.",
    ),
    Alert(
        name="KalendsBackupDamaged",
        query='max(kalends_degraded{@,component="backups"}) > 0',
        patience="5m",
        severity="critical",
        summary="A backup cannot be read",
        description="Bytes changed or are gone; the status says of which backup.",
    ),
    Alert(
        name="KalendsLogBroken",
        query="min(kalends_log_intact{@}) == 0",
        patience="0m",
        severity="critical",
        summary="The log, its archive or the records are not what was written",
        description="Bytes changed, or messages or records are gone without an erasure that explains it; the check says which.",
    ),
    Alert(
        name="KalendsRestoreDrillFails",
        query="min(kalends_restore_drill_succeeded{@} and kalends_restore_drill_timestamp_seconds{@} > 0) == 0",
        patience="0m",
        severity="critical",
        summary="The last restore drill did not bring everything back",
        description="The newest backup may not be what one needs when it is needed.",
    ),
    Alert(
        name="KalendsJobFails",
        query='sum by (job) (increase(kalends_job_runs_total{@,result="FAILED"}[1h])) > 0',
        patience="0m",
        severity="warning",
        summary="The job {{ $labels.job }} failed",
        description="It is tried again when it is due; the list of jobs says why it failed.",
    ),
    Alert(
        name="KalendsNoScheduler",
        query="sum(kalends_scheduler_leader{@}) < 1",
        patience="5m",
        severity="warning",
        summary="No scheduler leads",
        description="Nothing is done by itself: no calendar, no retention, no backup.",
    ),
    Alert(
        name="KalendsCalendarBehind",
        query="max(kalends_calendar_lag_seconds{@}) > 21600",
        patience="30m",
        severity="warning",
        summary="The calendar is {{ $value | humanizeDuration }} behind",
        description="Newer conversations are found by search and are not in the calendar.",
    ),
    Alert(
        name="KalendsCertificateEnds",
        query="min by (instance) (kalends_tls_certificate_expiry_seconds{@} > 0) < 1209600",
        patience="0m",
        severity="warning",
        summary="The certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
        description="Then nobody can connect any more.",
    ),
    Alert(
        name="KalendsDiskFills",
        query="min by (instance) (kalends_data_free_bytes{@} / kalends_data_size_bytes{@}) < 0.1",
        patience="5m",
        severity="critical",
        summary="{{ $value | humanizePercentage }} of the disk of {{ $labels.instance }} are free",
        description="Without room nothing more is taken in.",
    ),
    Alert(
        name="KalendsPoolFull",
        query="min_over_time(kalends_pool_waiting{@}[10m]) > 0",
        patience="5m",
        severity="warning",
        summary="Callers wait for a place in the pool {{ $labels.pool }} of {{ $labels.instance }} all the time",
        description="Work comes faster than it is done.",
    ),
    Alert(
        name="KalendsFilesRunOut",
        query="kalends_process_open_fds{@} / kalends_process_max_fds{@} > 0.8",
        patience="5m",
        severity="warning",
        summary="{{ $labels.instance }} has {{ $value | humanizePercentage }} of the files open that it may",
        description="At the limit connections are refused and stores fail.",
    ),
    Alert(
        name="KalendsModelFails",
        query='sum by (model) (rate(kalends_model_calls_total{@,outcome!~"ok|cancelled"}[10m]))'
        ' / sum by (model) (rate(kalends_model_calls_total{@,outcome!="cancelled"}[10m])) > 0.1',
        patience="10m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the calls of the model {{ $labels.model }} fail",
        description="Answers are poorer meanwhile, and the work of the model waits.",
    ),
    Alert(
        name="KalendsBrokerRefuses",
        query="sum(increase(kalends_permission_violations_total{@}[15m])) > 0",
        patience="0m",
        severity="warning",
        summary="The broker refuses what Kalends publishes or subscribes to",
        description="Its users or rights were changed, or somebody uses our credentials.",
    ),
)
