"""For every alert two histories: one in which it must fire, and its twin in which it must be quiet.

Belongs here: series in promtool's notation, and when one looks. Does not belong here: running promtool. A newcomer would get wrong: a twin
is as near to trouble as it may be: the same series, a little below the limit or a little too short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Series = Mapping[str, str]
_JOB = 'instance="a",job="kalends"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """``fires`` and ``quiet``: values by series, a sample each minute; looked at after ``at``."""

    fires: Series
    quiet: Series
    at: str = "30m"


def _requests(good: float, bad: float, *, minutes: int = 400) -> Series:
    """So many requests a minute that go well, and that do not."""
    labels = 'service="search",transport="http",operation="search"'
    return {
        f'kalends_requests_total{{{labels},outcome="ok"}}': f"0+{good}x{minutes}",
        f'kalends_requests_total{{{labels},outcome="unavailable"}}': f"0+{bad}x{minutes}",
        f'kalends_requests_total{{{labels},outcome="invalid"}}': f"0+50x{minutes}",
    }


def _searches(fast: float, all_of: float) -> Series:
    labels = 'service="search",transport="http",operation="search"'
    return {
        f'kalends_request_duration_seconds_bucket{{{labels},le="0.5"}}': f"0+{fast}x200",
        f'kalends_request_duration_seconds_bucket{{{labels},le="+Inf"}}': f"0+{all_of}x200",
        f"kalends_request_duration_seconds_count{{{labels}}}": f"0+{all_of}x200",
    }


def _gauge(series: str, wrong: str, right: str, *, at: str = "30m") -> Twins:
    return Twins(fires={series: wrong}, quiet={series: right}, at=at)


def _canaries(found: int, missed: int) -> Series:
    """Questions that were asked once, and the default of what is wanted; another process asks none."""
    return {
        'kalends_canary_answers_total{verdict="found"}': f"0x20 {found}x40",
        'kalends_canary_answers_total{verdict="missed"}': f"0x20 {missed}x40",
        'kalends_canary_answers_total{verdict="gone"}': "0x20 50x40",
        'kalends_canary_accuracy_wanted{instance="a"}': "0.9x60",
        'kalends_canary_accuracy_wanted{instance="b"}': "0x60",
    }


def _model(good: int, bad: int) -> Series:
    return {
        'kalends_model_calls_total{model="chat",outcome="ok"}': f"0+{good}x60",
        'kalends_model_calls_total{model="chat",outcome="unavailable"}': f"0+{bad}x60",
        'kalends_model_calls_total{model="chat",outcome="cancelled"}': "0+90x60",
    }


FIXTURES: Mapping[str, Twins] = {
    "KalendsUnresponsive": _gauge(f"up{{{_JOB}}}", "1x23 0x20", "1x26 0x20"),
    "KalendsAbsent": _gauge('kalends_build_info{version="1"}', "1x23 stale", "1x26 stale"),
    "KalendsDependencyDown": _gauge('kalends_dependency_up{dependency="log",instance="a"}', "0x40", "0.5x40"),
    "KalendsRequestsFail": Twins(fires=_requests(100, 25), quiet=_requests(100, 15)),
    # 14.4 times 0.1 % are 1.44 %
    "KalendsErrorBudgetFast": Twins(fires=_requests(950, 15.5), quiet=_requests(950, 13.5), at="90m"),
    # 6 times 0.1 % are 0.6 %
    "KalendsErrorBudgetSlow": Twins(fires=_requests(950, 6.5), quiet=_requests(950, 5.5), at="390m"),
    # 14.4 times 1 % are 14.4 %
    "KalendsSearchSlow": Twins(fires=_searches(85, 100), quiet=_searches(86, 100), at="90m"),
    "KalendsCanariesMissed": Twins(fires=_canaries(89, 11), quiet=_canaries(91, 9)),
    "KalendsProjectionBehind": _gauge('kalends_projection_lag_seconds{projection="lexical"}', "301x40", "301x25 4x10"),
    "KalendsDeadLetters": _gauge("kalends_dead_letters_total", "0x20 1x20", "1x40"),
    "KalendsProjectionDiffers": _gauge('kalends_reconcile_findings_total{projection="vector",result="missing"}', "0x20 3x20", "3x40"),
    "KalendsKeysWrong": _gauge('kalends_keys_wrong{result="missing"}', "0x20 2x20", "0x40"),
    "KalendsErasureOverdue": _gauge("kalends_erasure_age_seconds", "86460+60x40", "82000+60x40"),
    # promtool's clock begins at 0: one backup is 38 hours old, the other less than 35, and a process that knows of none says 0
    "KalendsBackupOld": Twins(
        fires={"kalends_backup_last_timestamp_seconds": "60x3000"},
        quiet={
            'kalends_backup_last_timestamp_seconds{instance="a"}': "12000x3000",
            'kalends_backup_last_timestamp_seconds{instance="b"}': "0x3000",
        },
        at="38h",
    ),
    "KalendsBackupDamaged": _gauge('kalends_degraded{component="backups"}', "1x40", "0x40"),
    "KalendsLogBroken": _gauge('kalends_log_intact{instance="a"}', "1x20 0x20", "1x40"),
    # a process that does no drills says 0 and names no time
    "KalendsRestoreDrillFails": Twins(
        fires={
            'kalends_restore_drill_succeeded{instance="a"}': "0x40",
            'kalends_restore_drill_timestamp_seconds{instance="a"}': "60x40",
        },
        quiet={
            'kalends_restore_drill_succeeded{instance="a"}': "1x40",
            'kalends_restore_drill_timestamp_seconds{instance="a"}': "60x40",
            'kalends_restore_drill_succeeded{instance="b"}': "0x40",
            'kalends_restore_drill_timestamp_seconds{instance="b"}': "0x40",
        },
    ),
    "KalendsJobFails": Twins(
        fires={'kalends_job_runs_total{job="retention",result="FAILED"}': "0x20 1x20"},
        quiet={'kalends_job_runs_total{job="retention",result="SUCCESS"}': "0x20 1x20"},
    ),
    "KalendsNoScheduler": Twins(
        fires={'kalends_scheduler_leader{instance="a"}': "0x40", 'kalends_scheduler_leader{instance="b"}': "0x40"},
        quiet={'kalends_scheduler_leader{instance="a"}': "1x25 0x15", 'kalends_scheduler_leader{instance="b"}': "0x25 1x15"},
    ),
    "KalendsCalendarBehind": _gauge("kalends_calendar_lag_seconds", "22000x60", "21000x60", at="40m"),
    "KalendsCertificateEnds": _gauge('kalends_tls_certificate_expiry_seconds{instance="a"}', "1209500x40", "0x40"),
    "KalendsDiskFills": Twins(
        fires={'kalends_data_free_bytes{instance="a"}': "9x40", 'kalends_data_size_bytes{instance="a"}': "100x40"},
        quiet={'kalends_data_free_bytes{instance="a"}': "11x40", 'kalends_data_size_bytes{instance="a"}': "100x40"},
    ),
    "KalendsPoolFull": _gauge('kalends_pool_waiting{pool="vector-write",instance="a"}', "0x2 1x40", "3x28 0x1 3x12"),
    "KalendsFilesRunOut": Twins(
        fires={'kalends_process_open_fds{instance="a"}': "81x40", 'kalends_process_max_fds{instance="a"}': "100x40"},
        quiet={'kalends_process_open_fds{instance="a"}': "80x40", 'kalends_process_max_fds{instance="a"}': "100x40"},
    ),
    "KalendsModelFails": Twins(fires=_model(89, 11), quiet=_model(91, 9)),
    "KalendsBrokerRefuses": _gauge("kalends_permission_violations_total", "0x20 1x20", "1x40"),
}


def notation(series: Series) -> Sequence[Mapping[str, str]]:
    """*series* as promtool reads them."""
    return [{"series": name, "values": values} for name, values in series.items()]
