"""Metrics: what operators can graph and alert on.

Belongs here: every metric's name, help and labels. Does not belong here: reading them (``probes``), or what is drawn and alerted on
(``app.monitoring``, which finds every name in ``Metrics.catalogue``). A newcomer would get wrong: a tenant,
a memory or a session is never a label; that would tell the monitoring who talks to whom, and make as many series as there are agents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kalends.edge import usage

LABELS = frozenset(
    {
        "service",
        "transport",
        "operation",
        "outcome",
        "projection",
        "component",
        "arm",
        "dependency",
        "version",
        "job",
        "result",
        "summarizer",
        "reason",
        "kind",
        "model",
        "verdict",
        "pool",
    }
)
"""The only label names that exist; a test holds it."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FAST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LONG_SECONDS = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Every metric of the process, on a registry of its own; ``catalogue`` has the labels of every series by its name."""

    registry: CollectorRegistry
    catalogue: Mapping[str, frozenset[str]]
    requests: Counter
    request_seconds: Histogram
    requests_in_flight: Gauge
    events: Counter
    append_seconds: Histogram
    lag_messages: Gauge
    lag_seconds: Gauge
    rebuild_progress: Gauge
    degraded: Gauge
    dead_letters: Counter
    duplicates: Counter
    permission_violations: Counter
    refused: Counter
    masked: Counter
    arm_seconds: Histogram
    dependency_up: Gauge
    job_runs: Counter
    job_seconds: Histogram
    scheduler_leader: Gauge
    summarizer_seconds: Histogram
    summarizer_fallbacks: Counter
    reconcile_findings: Counter
    keys_wrong: Gauge
    events_expired: Counter
    calendar_due: Gauge
    calendar_lag_seconds: Gauge
    erasures_active: Gauge
    erasure_age_seconds: Gauge
    backup_made: Gauge
    job_succeeded: Gauge
    job_paused: Gauge
    model_calls: Counter
    model_seconds: Histogram
    model_tokens: Counter
    loop_lag: Histogram
    tls_expiry: Gauge
    feedback: Counter
    satisfaction: Histogram
    log_intact: Gauge
    log_breaks: Gauge
    drill_succeeded: Gauge
    drill_timestamp: Gauge
    build_info: Gauge

    def judged(self, verdict: str, satisfaction: int | None) -> None:
        """Count what was said of an answer; *satisfaction* is from 1 to 5, where it was told."""
        self.feedback.labels(verdict).inc()
        if satisfaction is not None:
            self.satisfaction.observe(satisfaction)

    def meter(self, *, service: str, transport: str, operation: str) -> "Meter":
        """The request metrics of one operation over one transport, with their labels bound."""
        return Meter(metrics=self, service=service, transport=transport, operation=operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """Makes metrics, and keeps the catalogue of their series."""

    registry: CollectorRegistry
    catalogue: dict[str, frozenset[str]]

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        self.catalogue[f"kalends_{name}"] = frozenset(labels)
        return Counter(f"kalends_{name}", text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self.catalogue[f"kalends_{name}"] = frozenset(labels)
        return Gauge(f"kalends_{name}", text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
        self.catalogue.update({f"kalends_{name}_{end}": frozenset(labels) for end in ("count", "sum")})
        self.catalogue[f"kalends_{name}_bucket"] = frozenset({*labels, "le"})
        return Histogram(f"kalends_{name}", text, labels, registry=self.registry, buckets=buckets)


def new_metrics(*, version: str, room: Callable[[], usage.Room | None] = lambda: None) -> Metrics:
    """A fresh set on a fresh registry; *room* tells of the disk that the data folder is on, where there is one."""
    new = _New(registry=CollectorRegistry(), catalogue=dict(usage.CATALOGUE))
    counter, gauge, histogram = new.counter, new.gauge, new.histogram
    metrics = Metrics(
        registry=new.registry,
        catalogue=new.catalogue,
        requests=counter("requests_total", "Requests answered.", "service", "transport", "operation", "outcome"),
        request_seconds=histogram("request_duration_seconds", "Time to answer a request.", "service", "transport", "operation"),
        requests_in_flight=gauge("requests_in_flight", "Requests being answered now.", "transport"),
        events=counter("events_total", "Events by what became of them.", "outcome"),
        append_seconds=histogram("log_append_duration_seconds", "Time for the log to sync a batch.", buckets=FAST_SECONDS),
        lag_messages=gauge("projection_lag_messages", "Messages a projection is behind the log.", "projection"),
        lag_seconds=gauge("projection_lag_seconds", "Age of the oldest message a projection has not dealt with.", "projection"),
        rebuild_progress=gauge("rebuild_progress", "Share of the log a rebuild has dealt with, 0 to 1.", "projection"),
        degraded=gauge("degraded", "1 while a component answers with less than it should.", "component"),
        dead_letters=counter("dead_letters_total", "Messages that were given up."),
        duplicates=counter("duplicates_total", "Events that were there already."),
        permission_violations=counter("permission_violations_total", "Publishes or subscriptions that the broker refused."),
        refused=counter("refused_total", "Calls refused with 401, 403 or 404, by reason.", "reason"),
        masked=counter("masked_total", "Events and documents in which something was masked, by what it was.", "kind"),
        arm_seconds=histogram("search_arm_duration_seconds", "Time of one arm of a search.", "arm", buckets=FAST_SECONDS),
        dependency_up=gauge("dependency_up", "1 up, 0.5 degraded, 0 down.", "dependency"),
        job_runs=counter("job_runs_total", "Runs of a scheduled job by result: SUCCESS, FAILED or SKIPPED.", "job", "result"),
        job_seconds=histogram("job_seconds", "Time of one run of a scheduled job.", "job", buckets=LONG_SECONDS),
        scheduler_leader=gauge("scheduler_leader", "1 while the scheduler of this process leads."),
        summarizer_seconds=histogram("summarizer_seconds", "Time of one summary.", "summarizer", buckets=LONG_SECONDS),
        summarizer_fallbacks=counter("summarizer_fallbacks_total", "Summaries that another wrote than was wanted.", "reason"),
        reconcile_findings=counter("reconcile_findings_total", "What differed from the log.", "projection", "result"),
        keys_wrong=gauge("keys_wrong", "Keys that the last check found missing or unusable.", "result"),
        events_expired=counter("events_expired_total", "Events whose erasure retention asked for."),
        calendar_due=gauge("calendar_due", "Days of sessions to be cut, and periods to be rolled.", "component"),
        calendar_lag_seconds=gauge("calendar_lag_seconds", "How long the oldest change waits for its place in the calendar."),
        erasures_active=gauge("erasures_active", "Erasures under way."),
        erasure_age_seconds=gauge("erasure_age_seconds", "How long the oldest erasure could have been done and is not; 0 without one."),
        backup_made=gauge("backup_last_timestamp_seconds", "When the newest backup was made; 0: there is none, or another process knows."),
        job_succeeded=gauge("job_last_success_timestamp_seconds", "When a run of a job last succeeded.", "job"),
        job_paused=gauge("job_paused", "1 while a job is paused.", "job"),
        model_calls=counter("model_calls_total", "Calls of a model: embedder, reranker or chat.", "model", "outcome"),
        model_seconds=histogram("model_duration_seconds", "Time of one call of a model.", "model", buckets=LONG_SECONDS),
        model_tokens=counter("model_tokens_total", "Tokens that a model read and wrote, as far as it tells.", "model"),
        loop_lag=histogram("event_loop_lag_seconds", "How much later than asked the event loop came back.", buckets=FAST_SECONDS),
        tls_expiry=gauge("tls_certificate_expiry_seconds", "Seconds until the certificate of our listeners ends; 0 without one."),
        feedback=counter("feedback_total", "What was said of answers: useful, useless, wrong, or something was missing.", "verdict"),
        satisfaction=histogram("feedback_satisfaction", "How satisfied somebody was with an answer, 1 to 5.", buckets=(1, 2, 3, 4, 5)),
        log_intact=gauge("log_intact", "0 once a check found that the log, its archive or the records are not what was written; else 1."),
        log_breaks=gauge("log_breaks", "Breaks that the last check of the log, its archive and the records found."),
        drill_succeeded=gauge(
            "restore_drill_succeeded", "1 if the last restore drill brought everything back, 0 if not, or there was none."
        ),
        drill_timestamp=gauge("restore_drill_timestamp_seconds", "When the last restore drill ended, as seconds since 1970; 0: never."),
        build_info=gauge("build_info", "Always 1; the version is the label.", "version"),
    )
    metrics.build_info.labels(version).set(1)
    usage.register(new.registry, room)
    metrics.log_intact.set(1)
    return metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Counts requests of one operation; looking labels up for each request would cost more than counting."""

    metrics: Metrics
    service: str
    transport: str
    operation: str
    _counters: dict[str, Counter] = field(default_factory=dict)
    _seconds: list[Histogram] = field(default_factory=list)

    def observe(self, outcome: str, *, seconds: float, trace_id: str | None) -> None:
        """Count one request; *outcome* is ``ok`` or a problem's code; *trace_id* becomes the exemplar of its bucket."""
        counted = self._counters.get(outcome)
        if counted is None:
            counted = self._counters[outcome] = self.metrics.requests.labels(self.service, self.transport, self.operation, outcome)
            if not self._seconds:
                self._seconds.append(self.metrics.request_seconds.labels(self.service, self.transport, self.operation))
        counted.inc()
        self._seconds[0].observe(seconds, None if trace_id is None else {"trace_id": trace_id})
