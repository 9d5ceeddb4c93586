"""The chart on a real API server: admitted, installed, upgraded from the version before, rolled back, tested, taken away.

A newcomer would get wrong: the pods are simulated, so "Ready" says that everything was admitted, scheduled and given its volumes; what runs
in them is tested elsewhere, by the same command and settings.
"""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import charts
from tests.support.instance import wait_until
from tests.support.kubernetes.api import Refused
from tests.support.kubernetes.marks import MARKS

pytestmark = [*MARKS]

FOREIGN = {"PodMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds of others, which a bare cluster does not know."""

WAIT = "5m"
PATIENCE_S = 60.0
KEPT = ("kek", "credentials", "nats", "qdrant")


@pytest.fixture
def helm(cluster, namespace):
    """Runs helm against the cluster, in the test's namespace; what it prints."""

    def run(*arguments, code=0):
        command = [str(charts.HELM), "--namespace", namespace, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, env=cluster.environment())
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout + done.stderr

    return run


@pytest.fixture
def before(tmp_path):
    """The version before this one: an older number, and one part of the chart was not there yet."""
    chart = tmp_path / "before" / "kalends"
    shutil.copytree(charts.CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "0.0.9", "appVersion": "0.0.9"}), encoding="utf-8")
    (chart / "templates" / "network-policies.yaml").unlink()
    return chart


def _secrets(cluster, namespace, release="kalends"):
    return {name: cluster.api.get("Secret", f"{release}-{name}", namespace)["data"] for name in KEPT}


def _image(cluster, namespace):
    found = cluster.api.get("StatefulSet", "kalends-ingest", namespace, version="apps/v1")
    return found["spec"]["template"]["spec"]["containers"][0]["image"]


def _ready(cluster, namespace):
    pods = cluster.api.items("Pod", namespace)
    conditions = [{one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])} for pod in pods]
    return len(pods) >= 12 and all(one.get("Ready") == "True" for one in conditions)


@pytest.mark.parametrize("name", charts.SETS)
def test_the_api_server_takes_every_object_of_a_set_of_values(cluster, namespace, name):
    """Strictly: a field that it does not know is refused; and every pod as well, under the restricted level."""
    for space in ("agents", "tools"):
        cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    found = [one for one in charts.objects(name) if one["kind"] not in FOREIGN | {"Pod"}]
    for one in found:
        cluster.api.create(one, namespace=one["metadata"].get("namespace", namespace), dryRun="All", fieldValidation="Strict")
    pods = list(charts.pods(charts.objects(name)))
    for account in {pod["serviceAccountName"] for _, pod in pods}:
        cluster.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, namespace=namespace)
    for _, pod in pods:
        # the claims of a StatefulSet are volumes of its pods
        known = {volume["name"] for volume in pod["volumes"]}
        mounted = {mount["name"] for container in charts.containers(pod) for mount in container.get("volumeMounts", [])}
        claims = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in sorted(mounted - known)]
        spec = {**pod, "volumes": [*pod["volumes"], *claims]}
        bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "restricted-"}, "spec": spec}
        cluster.api.create(bare, namespace=namespace, dryRun="All", fieldValidation="Strict")
    assert len(pods) >= 6


def test_an_instance_lives_from_install_to_uninstall(cluster, namespace, helm, before):
    """Install, upgrade, rollback and test succeed; Secrets are those of the first day, and stay with the volumes at the end."""
    values = str(charts.VALUES / "generated.yaml")
    helm("install", "kalends", str(before), "--values", values, "--wait", "--timeout", WAIT)
    assert _ready(cluster, namespace)
    first, image = _secrets(cluster, namespace), _image(cluster, namespace)
    claims = {one["metadata"]["name"] for one in cluster.api.items("PersistentVolumeClaim", namespace)}

    helm("upgrade", "kalends", str(charts.CHART), "--values", values, "--wait", "--timeout", WAIT)
    assert _image(cluster, namespace) != image
    assert cluster.api.exists("NetworkPolicy", "kalends-deny", namespace, version="networking.k8s.io/v1")
    assert _secrets(cluster, namespace) == first

    assert "Succeeded" in helm("test", "kalends", "--timeout", WAIT)

    helm("rollback", "kalends", "1", "--wait", "--timeout", WAIT)
    assert _image(cluster, namespace) == image
    assert not cluster.api.exists("NetworkPolicy", "kalends-deny", namespace, version="networking.k8s.io/v1")
    assert _secrets(cluster, namespace) == first

    helm("uninstall", "kalends", "--wait", "--timeout", WAIT)
    assert cluster.api.items("StatefulSet", namespace, version="apps/v1") == []
    assert _secrets(cluster, namespace) == first
    assert {one["metadata"]["name"] for one in cluster.api.items("PersistentVolumeClaim", namespace)} == claims
    assert any(name.startswith("data-kalends-nats") for name in claims)
    assert cluster.api.exists("CustomResourceDefinition", "agentmemories.memory.kalends.dev", version="apiextensions.k8s.io/v1")


def test_an_instance_comes_back_to_the_secrets_and_volumes_that_it_left(cluster, namespace, helm):
    """Uninstalled by mistake and installed again, it opens what is there."""
    values = ["--values", str(charts.VALUES / "generated.yaml")]
    helm("install", "kalends", str(charts.CHART), *values)
    first = _secrets(cluster, namespace)
    helm("uninstall", "kalends", "--wait", "--timeout", WAIT)

    helm("install", "kalends", str(charts.CHART), *values, "--take-ownership")

    assert _secrets(cluster, namespace) == first


def test_a_wrong_setting_never_reaches_the_cluster(cluster, namespace, helm):
    """Helm refuses it, and nothing is made."""
    said = helm("install", "kalends", str(charts.CHART), "--set", "settings.search.depth=1", code=1)

    assert "Must be greater than or equal to 10" in said
    assert [one for one in cluster.api.items("Secret", namespace) if one["metadata"]["name"].startswith("kalends")] == []


def test_the_hook_brings_the_definitions_up_to_date_and_may_do_no_more(cluster, namespace):
    """With its own token: what an older version left out is there again; deleting one, or touching another's, is refused."""
    found = copy.deepcopy(charts.objects("default", capabilities=()))
    account = "kalends-crds"
    for one in found:
        hook = one["metadata"]["name"].endswith("-crds") and one["kind"] in {"ServiceAccount", "ClusterRole", "ClusterRoleBinding"}
        if hook:
            for subject in one.get("subjects", []):
                subject["namespace"] = namespace
            cluster.api.apply(one, namespace=namespace)
    crd = cluster.api.get("CustomResourceDefinition", "agentmemories.memory.kalends.dev", version="apiextensions.k8s.io/v1")
    version = {**crd["spec"]["versions"][0], "additionalPrinterColumns": None}
    cluster.api.patch(
        "CustomResourceDefinition", crd["metadata"]["name"], {"spec": {"versions": [version]}}, version="apiextensions.k8s.io/v1"
    )
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig_of(namespace, account))}

    def applied():
        command = [sys.executable, "-m", "kalends_operator.cluster_crds"]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)

    # the rights of a new account are known to the server a moment later
    assert wait_until(lambda: applied().returncode == 0, seconds=PATIENCE_S, every=0.5), applied().stderr
    mended = cluster.api.get("CustomResourceDefinition", "agentmemories.memory.kalends.dev", version="apiextensions.k8s.io/v1")
    assert mended["spec"]["versions"] == crd["spec"]["versions"]
    mine = cluster.api_of(namespace, account)
    with pytest.raises(Refused, match="cannot delete"):
        mine.delete("CustomResourceDefinition", "agentmemories.memory.kalends.dev", version="apiextensions.k8s.io/v1")
    with pytest.raises(Refused, match="cannot list"):
        mine.items("Secret", namespace)


@pytest.mark.parametrize("overlay", ["base", "overlays/dev", "overlays/prod"])
def test_the_api_server_takes_what_kustomize_builds(cluster, namespace, overlay, tmp_path):
    """Every object, strictly."""
    built = cluster.kubectl("kustomize", str(charts.ROOT / "k8s" / Path(overlay)))
    assert built.returncode == 0, built.stderr
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kalends"}}
    found = [one for one in yaml.safe_load_all(built.stdout) if one["kind"] not in FOREIGN | {"CustomResourceDefinition"}]
    cluster.api.clear_away("kalends")
    cluster.api.create(space)
    for one in found:
        cluster.api.create(one, namespace=one["metadata"].get("namespace", namespace), dryRun="All", fieldValidation="Strict")
    cluster.api.clear_away("kalends")
    assert len(found) > 30
