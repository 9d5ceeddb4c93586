"""Probes and metrics, as an orchestrator and a monitoring ask for them."""

from litestar.testing import AsyncTestClient

from kalends.edge.metrics import new_metrics
from kalends.edge.probes import build_ops
from kalends.edge.services import Health, Service


def service(*health: Health) -> Service:
    """A service with these dependencies."""
    return Service(name="x", health=lambda: health)


def dependency(name: str, state: str, *, required: bool = True) -> Health:
    """A dependency in this state."""
    return Health(name=name, state=state, since="2026-01-01T00:00:00Z", required=required, next_step="start it")


async def test_a_broken_dependency_does_not_end_the_process():
    """Liveness looks at nothing outside."""
    async with AsyncTestClient(build_ops([service(dependency("log", "down"))], metrics=new_metrics(version="1"))) as client:
        assert (await client.get("/livez")).status_code == 200


async def test_readiness_names_what_is_missing():
    """Only required dependencies that are down stop traffic."""
    health = (dependency("log", "down"), dependency("embedder", "down", required=False), dependency("lexicon", "degraded"))
    async with AsyncTestClient(build_ops([service(*health)], metrics=new_metrics(version="1"))) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"], answer.json()["missing"]) == (503, False, ["log"])
    assert [item["name"] for item in answer.json()["dependencies"]] == ["log", "embedder", "lexicon"]
    assert answer.json()["dependencies"][0]["next_step"] == "start it"


async def test_a_process_that_drains_is_not_ready():
    """Traffic moves away before the listener closes."""
    accepting = True
    ops = build_ops([service(dependency("log", "up"))], metrics=new_metrics(version="1"), accepting=lambda: accepting)
    async with AsyncTestClient(ops) as client:
        assert (await client.get("/readyz")).status_code == 200
        accepting = False
        assert (await client.get("/readyz")).json()["missing"] == ["listener"]


async def test_metrics_come_in_the_format_that_is_asked_for():
    """Exemplars exist in OpenMetrics only."""
    metrics = new_metrics(version="1.2.3")
    metrics.meter(service="x", transport="http", operation="y").observe("ok", seconds=0.1, trace_id="ab" * 16)
    async with AsyncTestClient(build_ops([service(dependency("log", "degraded"))], metrics=metrics)) as client:
        plain = await client.get("/metrics")
        opened = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert 'kalends_dependency_up{dependency="log"} 0.5' in plain.text
    assert ("ab" * 16 in plain.text, "ab" * 16 in opened.text) == (False, True)
    assert opened.text.endswith("# EOF\n")
