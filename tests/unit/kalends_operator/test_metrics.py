"""Metrics and pages: phases are counted once, and /livez tells of a loop that stands still."""

import httpx

from kalends_operator.metrics import LIVE_S, Metrics, Pages


def test_a_resource_is_counted_in_one_phase():
    """A resource is counted in one phase."""
    metrics = Metrics()
    metrics.phase("AgentMemory", "u", "Pending")
    metrics.phase("AgentMemory", "u", "Ready")
    metrics.phase("AgentMemory", "v", "Ready")
    metrics.phase("AgentMemory", "v", None)

    counted = {
        phase: metrics.registry.get_sample_value("kalends_operator_objects", {"kind": "AgentMemory", "phase": phase})
        for phase in ("Pending", "Ready")
    }
    assert counted == {"Pending": 0, "Ready": 1}


def test_the_pages_tell_of_metrics_and_of_life():
    """The pages tell of metrics and of life."""
    now = [100.0]
    metrics = Metrics(clock=lambda: now[0])
    with Pages(metrics, host="127.0.0.1", port=0) as pages, httpx.Client(base_url=f"http://127.0.0.1:{pages.port}") as client:
        assert "kalends_operator_is_leader" in client.get("/metrics").text
        assert client.get("/livez").status_code == 200
        assert client.get("/else").status_code == 404
        now[0] += LIVE_S
        assert client.get("/livez").status_code == 503
        metrics.turn()
        assert client.get("/livez").status_code == 200
