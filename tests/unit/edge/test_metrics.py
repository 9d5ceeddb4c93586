"""Metrics: names and labels that can be relied on."""

from prometheus_client.openmetrics.exposition import generate_latest

from kalends.edge.metrics import LABELS, Metrics, new_metrics

NAMES = {
    "kalends_requests",
    "kalends_request_duration_seconds",
    "kalends_requests_in_flight",
    "kalends_events",
    "kalends_log_append_duration_seconds",
    "kalends_projection_lag_messages",
    "kalends_projection_lag_seconds",
    "kalends_rebuild_progress",
    "kalends_degraded",
    "kalends_dead_letters",
    "kalends_duplicates",
    "kalends_permission_violations",
    "kalends_refused",
    "kalends_masked",
    "kalends_search_arm_duration_seconds",
    "kalends_dependency_up",
    "kalends_job_runs",
    "kalends_job_seconds",
    "kalends_scheduler_leader",
    "kalends_build_info",
    "kalends_calendar_due",
    "kalends_reconcile_findings",
    "kalends_keys_wrong",
    "kalends_events_expired",
    "kalends_calendar_lag_seconds",
    "kalends_summarizer_fallbacks",
    "kalends_summarizer_seconds",
    "kalends_tls_certificate_expiry_seconds",
    "kalends_log_intact",
    "kalends_log_breaks",
    "kalends_restore_drill_succeeded",
    "kalends_restore_drill_timestamp_seconds",
}


def collectors(metrics: Metrics):
    """Every metric of the set."""
    return [getattr(metrics, name) for name in metrics.__dataclass_fields__ if name != "registry"]


def test_labels_are_on_the_allow_list():
    """A tenant, a memory or a session as a label would be a leak and a flood."""
    for collector in collectors(new_metrics(version="1")):
        assert set(collector._labelnames) <= LABELS
    assert not LABELS & {"tenant", "memory", "session", "actor", "agent", "token"}


def test_names_are_those_that_dashboards_use():
    """Renaming a metric breaks alerts that nobody sees break."""
    assert {metric.name for metric in new_metrics(version="1").registry.collect()} == NAMES


def test_a_meter_counts_by_outcome_and_keeps_an_exemplar():
    """From a slow bucket one finds a trace."""
    metrics = new_metrics(version="1")
    meter = metrics.meter(service="search", transport="http", operation="search")
    meter.observe("ok", seconds=0.2, trace_id="ab" * 16)
    meter.observe("ok", seconds=0.1, trace_id=None)
    meter.observe("invalid", seconds=0.1, trace_id=None)
    labels = {"service": "search", "transport": "http", "operation": "search"}
    assert metrics.registry.get_sample_value("kalends_requests_total", {**labels, "outcome": "ok"}) == 2
    assert metrics.registry.get_sample_value("kalends_requests_total", {**labels, "outcome": "invalid"}) == 1
    assert "ab" * 16 in generate_latest(metrics.registry).decode()


def test_two_sets_do_not_share_a_registry():
    """Tests and several instances in one process stay apart."""
    assert new_metrics(version="1").registry is not new_metrics(version="1").registry
