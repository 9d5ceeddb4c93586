"""Metrics: names and labels that can be relied on."""

from prometheus_client.openmetrics.exposition import generate_latest

from kalends.domain.canaries import VERDICTS
from kalends.edge.metrics import LABELS, Metrics, new_metrics
from kalends.edge.usage import Room
from kalends.kit.pools import Account

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
    "kalends_erasures_active",
    "kalends_erasure_age_seconds",
    "kalends_backup_last_timestamp_seconds",
    "kalends_job_last_success_timestamp_seconds",
    "kalends_job_paused",
    "kalends_model_calls",
    "kalends_model_duration_seconds",
    "kalends_model_tokens",
    "kalends_event_loop_lag_seconds",
    "kalends_pool_places",
    "kalends_pool_taken",
    "kalends_pool_waiting",
    "kalends_pool_refused",
    "kalends_process_threads",
    "kalends_process_virtual_memory_bytes",
    "kalends_process_resident_memory_bytes",
    "kalends_process_start_time_seconds",
    "kalends_process_cpu_seconds",
    "kalends_process_open_fds",
    "kalends_process_max_fds",
    "kalends_data_size_bytes",
    "kalends_data_free_bytes",
    "kalends_feedback",
    "kalends_feedback_satisfaction",
    "kalends_canary_answers",
    "kalends_canary_accuracy_wanted",
    "kalends_log_intact",
    "kalends_log_breaks",
    "kalends_restore_drill_succeeded",
    "kalends_restore_drill_timestamp_seconds",
}


def collectors(metrics: Metrics):
    """Every metric of the set."""
    return [getattr(metrics, name) for name in metrics.__dataclass_fields__ if name not in {"registry", "catalogue"}]


def test_labels_are_on_the_allow_list():
    """A tenant, a memory or a session as a label would be a leak and a flood."""
    for collector in collectors(new_metrics(version="1")):
        assert set(collector._labelnames) <= LABELS
    assert not LABELS & {"tenant", "memory", "session", "actor", "agent", "token"}


def test_names_are_those_that_dashboards_use():
    """Renaming a metric breaks alerts that nobody sees break."""
    assert {metric.name for metric in new_metrics(version="1", room=lambda: Room(size=2, free=1)).registry.collect()} == NAMES


def test_the_catalogue_has_every_series_with_its_labels():
    """Dashboards and alerts are held to it, so it must not know less or more than a scrape shows."""
    metrics = new_metrics(version="1", room=lambda: Room(size=2, free=1))
    account = Account("test", places=1)
    for collector in collectors(metrics):
        if collector._labelnames:
            collector.labels(*("x" for _ in collector._labelnames))
    shown = {
        sample.name: frozenset(sample.labels)
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }

    assert shown == metrics.catalogue
    assert account.name == "test"


def test_canary_questions_are_counted_from_nothing_on_where_they_are_asked():
    """Or the first run of a process would be no growth; a process that asks none wants nothing."""
    asking, other = new_metrics(version="1"), new_metrics(version="1")
    asking.expect_canaries(0.75)

    assert [asking.registry.get_sample_value("kalends_canary_answers_total", {"verdict": one}) for one in VERDICTS] == [0, 0, 0]
    assert asking.registry.get_sample_value("kalends_canary_accuracy_wanted") == 0.75
    assert other.registry.get_sample_value("kalends_canary_accuracy_wanted") == 0


def test_the_room_is_read_at_each_scrape():
    """A disk fills while nobody restarts anything; where it cannot be told, nothing is said."""
    rooms = iter([Room(size=100, free=60), Room(size=100, free=7), None])
    registry = new_metrics(version="1", room=lambda: next(rooms)).registry

    assert [registry.get_sample_value("kalends_data_free_bytes") for _ in range(3)] == [60, 7, None]


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
