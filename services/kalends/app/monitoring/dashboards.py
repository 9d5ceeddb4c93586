"""Dashboards: what is drawn, in the order in which somebody looks who was woken.

Belongs here: rows of panels with their queries. Does not belong here: Grafana's format (``rendering``). A newcomer would get wrong: a panel
shows something on a healthy instance too, or nobody knows whether it works; ``rare`` marks the few whose series begin with the first
trouble.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kalends.app.monitoring import queries
from kalends.app.monitoring.alerts import ACCURACY, FAULTS

RATE = "5m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One graph: *lines* are pairs of a query and a legend. ``rare``: without data until something happens that should not."""

    title: str
    lines: Sequence[tuple[str, str]]
    unit: str = "short"
    rare: bool = False

    def __post_init__(self) -> None:
        """Refuse what names no series of ours."""
        for query, _ in self.lines:
            queries.check(query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page of panels."""

    uid: str
    title: str
    panels: Sequence[Panel]


def _rate(series: str, *by: str, inside: str = "") -> str:
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({series}{{@{inside}}}[{RATE}]))"


def _share(part: str, *, share: float, by: Sequence[str] = (), inside: str = "") -> str:
    grouped = ", ".join(("le", *by))
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({part}_bucket{{@{inside}}}[{RATE}])))"


_SATISFACTION = "sum(increase(kalends_feedback_satisfaction_sum{@}[1d])) / sum(increase(kalends_feedback_satisfaction_count{@}[1d])) / 5"


def _counted(title: str, series: str, by: str, *, unit: str = "ops", rare: bool = False) -> Panel:
    return Panel(title=title, lines=[(_rate(series, by), f"{{{{{by}}}}}")], unit=unit, rare=rare)


_DONE = ',outcome="ok"'
_FAILED = _rate("kalends_requests_total", inside=f',outcome=~"{FAULTS}"')

OVERVIEW = Dashboard(
    uid="kalends",
    title="Kalends",
    panels=[
        Panel(
            title="Dependencies (1 up, 0.5 degraded, 0 down)",
            lines=[("min by (dependency) (kalends_dependency_up{@})", "{{dependency}}")],
        ),
        _counted("Requests by outcome", "kalends_requests_total", "outcome", unit="reqps"),
        Panel(
            title="Share of requests that fail",
            lines=[(f"({_FAILED} or vector(0)) / {_rate('kalends_requests_total')}", "failed")],
            unit="percentunit",
        ),
        Panel(
            title="Time of a request (response_time_p95 and others)",
            lines=[(_share("kalends_request_duration_seconds", share=share), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
        ),
        _counted("Events taken in", "kalends_events_total", "outcome", unit="eps"),
        Panel(
            title="Age of what is behind the log",
            lines=[("max by (projection) (kalends_projection_lag_seconds{@})", "{{projection}}")],
            unit="s",
        ),
        Panel(title="Components that answer with less", lines=[("max by (component) (kalends_degraded{@})", "{{component}}")]),
        Panel(
            title="Room on the disk",
            lines=[("min by (instance) (kalends_data_free_bytes{@} / kalends_data_size_bytes{@})", "{{instance}} free")],
            unit="percentunit",
        ),
        Panel(
            title="Age of the newest backup",
            lines=[("time() - (max(kalends_backup_last_timestamp_seconds{@}) > 0)", "age")],
            unit="s",
        ),
        Panel(
            title="Log intact, and breaks that the last check found",
            lines=[("min(kalends_log_intact{@})", "intact"), ("max(kalends_log_breaks{@})", "breaks")],
        ),
        Panel(
            title="Last restore drill: succeeded, and hours since then",
            lines=[
                ("max(kalends_restore_drill_succeeded{@})", "succeeded"),
                ("(time() - max(kalends_restore_drill_timestamp_seconds{@})) / 3600", "hours"),
            ],
        ),
        Panel(
            title="Erasures under way, and the age of the oldest",
            lines=[("max(kalends_erasures_active{@})", "under way"), ("max(kalends_erasure_age_seconds{@})", "seconds late")],
        ),
        Panel(
            title="Calls that did what was asked (tool_success_rate)",
            lines=[(f"{_rate('kalends_requests_total', inside=_DONE)} / {_rate('kalends_requests_total')}", "done")],
            unit="percentunit",
        ),
        Panel(
            title="Canary questions that find what they must (memory_retrieval_accuracy)",
            lines=[(ACCURACY, "found"), ("max(kalends_canary_accuracy_wanted{@})", "wanted")],
            unit="percentunit",
        ),
        Panel(
            title="What is said of answers (memory_retrieval_accuracy, user_satisfaction)",
            lines=[
                (
                    'sum(increase(kalends_feedback_total{@,verdict="useful"}[1d])) / sum(increase(kalends_feedback_total{@}[1d]))',
                    "useful, of all",
                ),
                (_SATISFACTION, "satisfaction, of 5"),
            ],
            unit="percentunit",
            rare=True,
        ),
        Panel(title="Dead letters of the last hour", lines=[("sum(increase(kalends_dead_letters_total{@}[1h]))", "given up")]),
        Panel(title="Versions", lines=[("count by (version) (kalends_build_info{@})", "{{version}}")]),
    ],
)

REQUESTS = Dashboard(
    uid="kalends-requests",
    title="Kalends: requests",
    panels=[
        _counted("Requests by operation", "kalends_requests_total", "operation", unit="reqps"),
        Panel(
            title="Requests that are not answered with success, by operation",
            lines=[(_rate("kalends_requests_total", "operation", "outcome", inside=',outcome!="ok"'), "{{operation}} {{outcome}}")],
            unit="reqps",
        ),
        Panel(
            title="Time by operation, p95",
            lines=[(_share("kalends_request_duration_seconds", share=0.95, by=["operation"]), "{{operation}}")],
            unit="s",
        ),
        _counted("Requests by transport", "kalends_requests_total", "transport", unit="reqps"),
        Panel(title="Requests under way", lines=[("sum by (transport) (kalends_requests_in_flight{@})", "{{transport}}")]),
        _counted("Calls refused, by reason", "kalends_refused_total", "reason"),
        _counted("Secrets masked, by kind", "kalends_masked_total", "kind"),
        Panel(title="Events that were there already", lines=[(_rate("kalends_duplicates_total"), "duplicates")], unit="eps"),
        Panel(
            title="What the broker refused in an hour",
            lines=[("sum(increase(kalends_permission_violations_total{@}[1h]))", "refused")],
        ),
    ],
)

STORES = Dashboard(
    uid="kalends-stores",
    title="Kalends: stores and models",
    panels=[
        Panel(
            title="Time for the log to sync",
            lines=[(_share("kalends_log_append_duration_seconds", share=share), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
        ),
        Panel(
            title="Messages behind the log",
            lines=[("max by (projection) (kalends_projection_lag_messages{@})", "{{projection}}")],
        ),
        Panel(
            title="Rebuilds",
            lines=[("max by (projection) (kalends_rebuild_progress{@})", "{{projection}}")],
            unit="percentunit",
            rare=True,
        ),
        Panel(
            title="Time of an arm of a search, p95",
            lines=[(_share("kalends_search_arm_duration_seconds", share=0.95, by=["arm"]), "{{arm}}")],
            unit="s",
        ),
        Panel(
            title="Calls of models",
            lines=[(_rate("kalends_model_calls_total", "model", "outcome"), "{{model}} {{outcome}}")],
            unit="ops",
        ),
        Panel(
            title="Time of a call of a model, p95",
            lines=[(_share("kalends_model_duration_seconds", share=0.95, by=["model"]), "{{model}}")],
            unit="s",
        ),
        _counted("Tokens of models", "kalends_model_tokens_total", "model"),
        Panel(
            title="Time of a summary, p95",
            lines=[(_share("kalends_summarizer_seconds", share=0.95, by=["summarizer"]), "{{summarizer}}")],
            unit="s",
        ),
        _counted("Summaries that another wrote than was wanted", "kalends_summarizer_fallbacks_total", "reason", rare=True),
        Panel(
            title="What differed from the log in a day",
            lines=[("sum by (projection, result) (increase(kalends_reconcile_findings_total{@}[1d]))", "{{projection}} {{result}}")],
            rare=True,
        ),
        Panel(title="Keys that are wrong", lines=[("max by (result) (kalends_keys_wrong{@})", "{{result}}")]),
    ],
)

UPKEEP = Dashboard(
    uid="kalends-upkeep",
    title="Kalends: upkeep",
    panels=[
        Panel(title="Schedulers that lead", lines=[("sum(kalends_scheduler_leader{@})", "leading")]),
        Panel(
            title="Runs of jobs in an hour, by result",
            lines=[("sum by (job, result) (increase(kalends_job_runs_total{@}[1h]))", "{{job}} {{result}}")],
        ),
        Panel(
            title="Time of a run, p95",
            lines=[(_share("kalends_job_seconds", share=0.95, by=["job"]), "{{job}}")],
            unit="s",
        ),
        Panel(
            title="Since a job last succeeded",
            lines=[("time() - max by (job) (kalends_job_last_success_timestamp_seconds{@})", "{{job}}")],
            unit="s",
        ),
        Panel(title="Jobs that are paused", lines=[("max by (job) (kalends_job_paused{@})", "{{job}}")]),
        Panel(title="Calendar: what is due", lines=[("max by (component) (kalends_calendar_due{@})", "{{component}}")]),
        Panel(title="Calendar: how long the oldest waits", lines=[("max(kalends_calendar_lag_seconds{@})", "behind")], unit="s"),
        Panel(title="Events whose time was over, in a day", lines=[("sum(increase(kalends_events_expired_total{@}[1d]))", "expired")]),
        Panel(
            title="Certificates end in",
            lines=[("min by (instance) (kalends_tls_certificate_expiry_seconds{@})", "{{instance}}")],
            unit="s",
        ),
    ],
)

PROCESSES = Dashboard(
    uid="kalends-processes",
    title="Kalends: processes",
    panels=[
        Panel(
            title="Pools: share of places taken",
            lines=[("max by (pool) (kalends_pool_taken{@} / kalends_pool_places{@})", "{{pool}}")],
            unit="percentunit",
        ),
        Panel(title="Pools: callers that wait", lines=[("sum by (pool) (kalends_pool_waiting{@})", "{{pool}}")]),
        _counted("Pools: callers turned away", "kalends_pool_refused_total", "pool"),
        Panel(
            title="Event loop: how late, p99",
            lines=[(_share("kalends_event_loop_lag_seconds", share=0.99, by=["instance"]), "{{instance}}")],
            unit="s",
        ),
        Panel(
            title="Processor",
            lines=[(_rate("kalends_process_cpu_seconds_total", "instance"), "{{instance}} cores")],
        ),
        Panel(
            title="Memory",
            lines=[("max by (instance) (kalends_process_resident_memory_bytes{@})", "{{instance}}")],
            unit="bytes",
        ),
        Panel(
            title="Files open",
            lines=[("max by (instance) (kalends_process_open_fds{@} / kalends_process_max_fds{@})", "{{instance}}")],
            unit="percentunit",
        ),
        Panel(title="Threads", lines=[("max by (instance) (kalends_process_threads{@})", "{{instance}}")]),
        Panel(
            title="Time since the start",
            lines=[("time() - max by (instance) (kalends_process_start_time_seconds{@})", "{{instance}}")],
            unit="s",
        ),
    ],
)

DASHBOARDS: Sequence[Dashboard] = (OVERVIEW, REQUESTS, STORES, UPKEEP, PROCESSES)
