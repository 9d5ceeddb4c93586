"""Every panel of every dashboard shows data of a real instance, as a real Prometheus that scrapes it answers."""

import json
import shutil
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.architecture import sources
from tests.support.api import Api
from tests.support.instance import Instance, wait_until
from tests.support.prometheus.server import Prometheus

from kalends.app.monitoring.dashboards import DASHBOARDS

pytestmark = pytest.mark.cluster

SHIPPED = sources.ROOT / "examples" / "monitoring"
MEMORY = "diary"
TRACE = "0af7651916cd43dd8448eb211c80319c"
RARE = {(board.uid, panel.title) for board in DASHBOARDS for panel in board.panels if panel.rare}
WAIT_S = 60.0


@pytest.fixture(scope="module")
def scraped(tmp_path_factory, models) -> Iterator[Prometheus]:
    """A Prometheus that has watched an instance while it was used for a little of everything."""
    folder = tmp_path_factory.mktemp("scraped")
    shutil.copytree(models, folder / "data" / "models")
    with Instance(folder / "data", settings={"KALENDS_SUMMARIZE__SILENCE_S": "1", "KALENDS_SUMMARIZE__SETTLE_S": "1"}) as instance:
        instance.start()
        target = urlsplit(instance.ops_url).netloc
        with Prometheus(folder / "prometheus", targets=[target], rules=SHIPPED / "rules.yaml") as prometheus:
            use(instance, prometheus)
            yield prometheus
        assert instance.terminate() == 0


def use(instance: Instance, prometheus: Prometheus) -> None:
    """A little of everything that is counted."""
    with Api(lambda: instance.url, lambda: instance.token) as api, Api(lambda: instance.url, lambda: "kal_wrong") as stranger:
        api.make_memory(MEMORY)
        events = [
            {
                "event_id": str(uuid.uuid4()),
                "session_id": f"s{number % 3}",
                "kind": "message",
                "text": f"In the {number}. week we mended the boat",
                "occurred_at": f"2025-03-{number + 1:02}T10:00:00Z",
            }
            for number in range(20)
        ]
        assert api.append(MEMORY, events).status == 202
        assert api.append(MEMORY, events[:5]).status == 202  # they are there already
        secret = {"session_id": "s9", "kind": "message", "text": f"the key is ghp_{'a1B2' * 9}", "occurred_at": "2025-04-01T10:00:00Z"}
        assert api.append(MEMORY, [secret]).status == 202
        assert stranger.ask("GET", "/memories").status == 401
        assert api.ask("POST", f"/memories/{MEMORY}/search", {"no": "query"}).status == 422
        api.quiet()
        traced = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        for question in ("who mended the boat?", "what was mended?"):
            assert api.ask("POST", f"/memories/{MEMORY}/search", {"query": question}, traced).status == 200
            # a rate is known of what moved between two scrapes
            assert wait_until(lambda: bool(prometheus.samples("kalends_search_arm_duration_seconds_count")), seconds=WAIT_S)
        canary = {"question": "who mended the boat?", "expect": [events[0]["event_id"]], "within": 100}
        assert api.ask("PUT", f"/memories/{MEMORY}/canaries/mended", canary).status == 201
        for job in ("key-check", "reconcile", "segment-sweep", "canary-questions"):
            api.run_job(job)
        made = api.good("POST", "/admin/backups", {"all": True})
        api.finished(made["operation_id"], seconds=WAIT_S)


def panels() -> list[tuple[str, str, str]]:
    """Dashboard, panel and query of every line of the dashboards that we ship, for every namespace."""
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((SHIPPED / "dashboards").glob("*.json"))]
    return [
        (board["uid"], panel["title"], target["expr"].replace("$namespace", ".*"))
        for board in boards
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def test_every_line_of_every_panel_has_data(scraped):
    """But those of trouble that a healthy instance does not have; their queries are understood."""
    asked = panels()
    empty = {one: "" for one in asked if one[:2] not in RARE}

    def all_answered() -> bool:
        for one in list(empty):
            if any(sample["value"][1] != "NaN" for sample in scraped.samples(one[2])):
                del empty[one]
        return not empty

    assert wait_until(all_answered, seconds=WAIT_S, every=0.5), "\n".join(" | ".join(one) for one in empty)
    for _, _, query in asked:
        scraped.samples(query)
    assert len(asked) > 50


def test_a_series_that_does_not_exist_has_no_data(scraped):
    """So that data is a finding."""
    assert scraped.samples("sum(kalends_no_such_series)") == []


def test_the_rules_are_taken_and_nothing_fires_on_a_healthy_instance(scraped):
    """Each was evaluated by the server itself, without an error."""
    [group] = scraped.ask("rules")["groups"]

    assert wait_until(lambda: all(rule["health"] == "ok" for rule in scraped.ask("rules")["groups"][0]["rules"]), seconds=WAIT_S)
    assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []
    assert [rule.get("lastError", "") for rule in group["rules"] if rule.get("lastError")] == []


def test_an_exemplar_leads_from_a_slow_bucket_to_its_trace(scraped):
    """The trace that the caller began is the one that is found."""

    def traces() -> set[str]:
        found = scraped.ask("query_exemplars", query="kalends_request_duration_seconds_bucket", start="0", end="9999999999")
        return {exemplar["labels"].get("trace_id", "") for series in found for exemplar in series["exemplars"]}

    assert wait_until(lambda: TRACE in traces(), seconds=WAIT_S)


def test_no_word_of_anybody_is_in_the_metrics(scraped):
    """Neither texts nor names of memories, sessions and credentials are in any label of any series."""
    series = json.dumps(scraped.ask("series", **{"match[]": '{job="kalends"}'}))

    assert "kalends_requests_total" in series
    assert [word for word in ("boat", "mended", MEMORY, "ghp_", '"s0"', "local:") if word in series] == []


def test_the_shipped_dashboards_are_those_of_the_chart():
    """One set, wherever Grafana runs."""
    ours = {path.name: path.read_bytes() for path in (SHIPPED / "dashboards").iterdir()}
    charts = sources.ROOT / "charts" / "kalends" / "files" / "dashboards"

    assert ours == {path.name: path.read_bytes() for path in charts.iterdir()}
    assert len(ours) == len(DASHBOARDS)
