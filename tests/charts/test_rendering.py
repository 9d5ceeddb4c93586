"""What the chart renders for six sets of values, and what it refuses."""

import json
import re

import pytest
import yaml
from tests.support import charts

GOLDEN = charts.ROOT / "tests" / "charts" / "golden"
FIXED = [name for name in charts.SETS if name != "generated"]


@pytest.mark.parametrize("name", charts.SETS)
def test_a_set_of_values_is_linted_without_a_warning(name):
    """Strictly; the schema is checked as well."""
    assert "0 chart(s) failed" in charts.lint(name)


@pytest.mark.parametrize("name", FIXED)
def test_a_render_is_what_it_was(name):
    """A change of a template shows in the diff of its goldens, which ``make chart`` writes."""
    assert charts.text(name) == charts.golden(name)


@pytest.mark.parametrize(
    ("value", "given", "said"),
    [
        ("replicas", "3", "Additional property replicas is not allowed"),
        ("settings.serch", "{}", "Additional property serch is not allowed"),
        ("settings.search.dept", "10", "Additional property dept is not allowed"),
        ("settings.search.depth", "5000", "Must be less than or equal to 1000"),
        ("settings.http.drain_s", '"ten"', "Invalid type. Expected: number, given: string"),
        ("settings.keys.kind", '"memory"', "Does not match pattern"),
        ("settings.data", '"/data"', "Additional property data is not allowed"),
        ("search.settings.log.replicas", "9", "Must be less than or equal to 5"),
        ("search.replica", "2", "Additional property replica is not allowed"),
        ("image.digest", '"latest"', "Does not match pattern"),
        ("nats.replicas", "2", "must be one of the following: 1, 3, 5"),
        ("monitoring.podMonitor.enabled", '"maybe"', "must be one of the following"),
        ("external.qdrant.apiKey", '"secret"', "Additional property apiKey is not allowed"),
        ("vllm.embedder.gpu", "1", "Additional property gpu is not allowed"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(value, given, said):
    """By the schema, before anything is rendered."""
    with pytest.raises(charts.Refused) as refused:
        charts.text("generated", sets={value: given})

    assert said in str(refused.value)
    assert value.rpartition(".")[0] in str(refused.value)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"nats.enabled": "false"}, "give external.nats.url"),
        ({"nats.storage.size": '"16Gi"'}, "is too small"),
        ({"settings.log.partitions": "8"}, "is too small"),
        ({"vllm.chat.enabled": "true"}, "vllm.chat needs path and model"),
        ({"vllm.chat": '{"enabled": true, "path": "a", "model": "b"}'}, "needs one of existingClaim and image"),
        ({"gateway.ingress.enabled": "true"}, "gateway.ingress.host is needed"),
    ],
)
def test_values_that_cannot_work_together_are_refused(sets, said):
    """With what to do."""
    with pytest.raises(charts.Refused) as refused:
        charts.text("generated", sets=sets)

    assert said in str(refused.value)


def test_without_servers_index_and_search_are_one_process():
    """An embedded engine belongs to one process, so the address of index leads to the pods of search."""
    found = charts.objects("small")
    search = charts.named(found, "StatefulSet", "kalends-search")

    assert search["spec"]["template"]["spec"]["containers"][0]["args"][:3] == ["serve", "index", "search"]
    assert "kalends-index" not in [one["metadata"]["name"] for one in found if one["kind"] == "StatefulSet"]
    assert charts.named(found, "Service", "kalends-index")["spec"]["selector"]["app.kubernetes.io/component"] == "search"


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_monitoring_is_there_where_the_cluster_knows_it(kind):
    """``auto`` looks at the capabilities."""
    assert kind in {one["kind"] for one in charts.objects("default")}
    assert kind not in {one["kind"] for one in charts.objects("default", capabilities=())}


def test_keda_scales_by_lag_where_there_is_keda():
    """And the autoscaler of Kubernetes by CPU where there is none."""
    with_keda, without = (charts.objects("gpu", capabilities=known) for known in (charts.CAPABILITIES, ()))
    scaled = charts.named(with_keda, "ScaledObject", "kalends-index")

    assert [one["type"] for one in scaled["spec"]["triggers"]] == ["cpu", "prometheus"]
    assert charts.named(without, "HorizontalPodAutoscaler", "kalends-index")["spec"]["maxReplicas"] == 8
    assert "replicas" not in charts.named(without, "StatefulSet", "kalends-index")["spec"]


def test_what_is_set_wins_over_what_the_chart_works_out():
    """Nothing of the tree is out of reach."""
    sets = {"settings.log.url": '"nats://elsewhere:4222"', "settings.http.port": "8000", "nats.enabled": "false"}
    found = charts.objects("default", sets=sets)
    variables = charts.named(found, "ConfigMap", "kalends-settings")["data"]
    pod = charts.named(found, "StatefulSet", "kalends-search")["spec"]["template"]["spec"]

    assert variables["KALENDS_LOG__URL"] == "nats://elsewhere:4222"
    assert {"name": "http", "containerPort": 8000} in pod["containers"][0]["ports"]
    assert charts.named(found, "Service", "kalends")["spec"]["ports"][0]["port"] == 8000


def test_the_alerts_and_the_dashboard_name_metrics_that_exist(known_metrics):
    """A query of a metric that was renamed shows nothing, for ever."""
    found = charts.objects("gpu")
    alerts = [rule["expr"] for group in charts.named(found, "PrometheusRule", "kalends")["spec"]["groups"] for rule in group["rules"]]
    dashboards = [json.loads(text) for text in charts.named(found, "ConfigMap", "kalends-dashboard")["data"].values()]
    panels = [target["expr"] for dashboard in dashboards for panel in dashboard["panels"] for target in panel["targets"]]

    assert {name for query in [*alerts, *panels] for name in charts.metrics_of(query)} <= known_metrics
    assert len(dashboards) > 1


def test_an_alert_is_of_its_release_and_names_its_runbook():
    """Two releases under one Prometheus do not answer for each other; where the pages are is the operator's choice."""
    found = charts.objects("gpu", sets={"monitoring.prometheusRule.runbooks": '"https://wiki.example/kalends"'})
    [group] = charts.named(found, "PrometheusRule", "kalends")["spec"]["groups"]
    selectors = [inside for rule in group["rules"] for inside in re.findall(r"(?:kalends_[a-z_]+|up)\{([^}]*)\}", rule["expr"])]

    assert selectors
    assert "@" not in json.dumps(group["rules"])
    assert {inside.split(",")[0] for inside in selectors} == {'namespace="memory-system"'}
    assert {rule["annotations"]["runbook_url"] for rule in group["rules"]} == {
        f"https://wiki.example/kalends/{rule['alert']}.md" for rule in group["rules"]
    }


def test_the_notes_say_how_to_go_on(tmp_path):
    """With names and addresses of this release."""
    notes = charts.notes("generated", tmp_path)

    assert "helm --namespace memory-system test kalends --logs" in notes
    assert "get secret kalends-kek" in notes
    assert "kind: AgentMemory" in notes
    assert "the embedded model serves" in notes


def test_the_values_file_is_plain_yaml_without_a_duplicate():
    """What Helm merges silently would be a value that nobody sees."""
    text = (charts.CHART / "values.yaml").read_text(encoding="utf-8")
    node = yaml.compose(text)

    def keys(one):
        if isinstance(one, yaml.MappingNode):
            names = [key.value for key, _ in one.value]
            assert len(names) == len(set(names)), names
            for _, value in one.value:
                keys(value)

    keys(node)
