"""Every pod of every set of values is restricted, every secret stays in its Secret, and every connection is one that was meant."""

import base64
import json

import pytest
from tests.support import charts

EVERYWHERE = pytest.mark.parametrize("name", charts.SETS)
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret", "image"}
DATA = {"/var/lib/kalends", "/data", "/qdrant/storage", "/usr/share/opensearch/data"}
WITH_TOKEN = ("-operator", "-crds")


@EVERYWHERE
def test_every_pod_is_restricted(name):
    """As the level restricted of PodSecurity has it, and no more can be written than /tmp and volumes."""
    for where, pod in charts.pods(charts.objects(name)):
        own = pod["securityContext"]
        assert own["runAsNonRoot"], where
        assert own["runAsUser"] >= 1000, where
        assert own["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), where
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= RESTRICTED_VOLUMES, (where, volume)
        for container in charts.containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }, where


@EVERYWHERE
def test_only_the_operator_and_the_hook_have_a_token_of_the_cluster(name):
    """Whoever breaks into another pod finds no way to the API server there."""
    for where, pod in charts.pods(charts.objects(name)):
        assert pod["automountServiceAccountToken"] is where.endswith(WITH_TOKEN), where


def test_a_role_has_a_token_only_to_ask_about_others():
    """With ``workloadIdentity``, and then by a volume that says so."""
    projected = [where for where, pod in charts.pods(charts.objects("mirror")) if any("projected" in one for one in pod["volumes"])]

    assert sorted(projected) == [f"StatefulSet/memory-{role}" for role in ("index", "ingest", "scheduler", "search", "summarize")]


@EVERYWHERE
def test_every_container_has_probes_and_limits_unless_it_ends_by_itself(name):
    """A startup probe too, so that a slow first start is not taken for a dead process."""
    for where, pod in charts.pods(charts.objects(name)):
        for container in charts.containers(pod):
            assert container["resources"]["limits"]["memory"], where
            assert container["resources"]["requests"]["cpu"], where
        if where.startswith(("StatefulSet/", "Deployment/")):
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= pod["containers"][0].keys(), where


@EVERYWHERE
def test_every_pod_that_serves_waits_before_it_ends_and_has_time_to(name):
    """Longer than the pause and the drain together."""
    for where, pod in charts.pods(charts.objects(name)):
        if where.startswith(("StatefulSet/", "Deployment/")) and not where.endswith("-operator"):
            assert "preStop" in pod["containers"][0]["lifecycle"], where
            assert pod["terminationGracePeriodSeconds"] >= 30, where


@EVERYWHERE
def test_data_is_on_claims_and_never_on_an_empty_folder(name):
    """Claims that stay when the set is deleted or made smaller."""
    for one in charts.objects(name):
        if one["kind"] not in {"StatefulSet", "Deployment"}:
            continue
        pod = one["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
        mounts = {mount["mountPath"]: mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        for path in DATA & mounts.keys():
            assert mounts[path] in claims, one["metadata"]["name"]
        if claims:
            assert one["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        if one["kind"] == "StatefulSet":
            assert claims, one["metadata"]["name"]


def test_no_secret_is_anywhere_but_in_its_secret():
    """Neither in a ConfigMap nor in an argument, a variable or an annotation."""
    found = charts.objects("generated")
    secrets = [base64.b64decode(value).decode("latin-1") for one in found if one["kind"] == "Secret" for value in one["data"].values()]
    others = json.dumps([one for one in found if one["kind"] != "Secret"])

    assert len(secrets) >= 8
    assert [secret[:4] for secret in secrets if secret in others or base64.b64encode(secret.encode("latin-1")).decode() in others] == []


@EVERYWHERE
def test_no_variable_is_taken_from_a_secret(name):
    """A variable shows in dumps and in children; a file does not."""
    for where, pod in charts.pods(charts.objects(name)):
        for container in charts.containers(pod):
            sources = [one.get("valueFrom", {}) for one in container.get("env", [])] + container.get("envFrom", [])
            assert not any("secretKeyRef" in one or "secretRef" in one for one in sources), where


def test_what_was_made_outlives_an_upgrade_and_an_uninstall():
    """Looked up before it is made, and kept by Helm."""
    for one in charts.objects("generated"):
        if one["kind"] == "Secret":
            assert one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}, one["metadata"]["name"]
    template = (charts.CHART / "templates" / "secrets.yaml").read_text(encoding="utf-8")
    assert template.count("kind: Secret") == template.count("(lookup ")


def test_existing_secrets_are_made_nowhere():
    """Who brings all of them finds none of ours."""
    assert [one for name in charts.SETS if name != "generated" for one in charts.objects(name) if one["kind"] == "Secret"] == []


@EVERYWHERE
def test_every_image_is_in_the_list(name):
    """Which is what somebody without the internet mirrors; with a registry of one's own every image is from there."""
    listed = (charts.ROOT / "charts" / "images.txt").read_text(encoding="utf-8").split()
    for where, pod in charts.pods(charts.objects(name)):
        for container in charts.containers(pod):
            if name == "mirror":
                assert container["image"].startswith("mirror.example:5000/"), where
                assert pod["imagePullSecrets"] == [{"name": "pull"}], where
            else:
                assert container["image"] in listed, where


def test_everybody_is_denied_what_nobody_allows():
    """Every pod is under the policy that denies, and each may go out only as another policy says."""
    found = charts.objects("default")
    policies = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "NetworkPolicy"}
    everybody = policies["kalends-deny"]

    assert everybody["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & everybody.keys()
    for one in found:
        if one["kind"] in {"Deployment", "StatefulSet"}:
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert everybody["podSelector"]["matchLabels"].items() <= labels.items()


def test_agents_reach_the_gateway_what_they_use_and_nats():
    """And neither a store, nor a model, nor the operator."""
    policies = {one["metadata"]["name"]: one["spec"] for one in charts.objects("gpu") if one["kind"] == "NetworkPolicy"}
    open_to_agents = [name for name, policy in policies.items() if "memory.kalends.dev/agent" in json.dumps(policy.get("ingress", []))]

    assert sorted(open_to_agents) == ["kalends-agents", "kalends-gateway", "kalends-nats"]


def test_only_the_operator_and_the_hook_reach_the_api_server():
    """By the ports that it listens on."""
    found = charts.objects("default")
    reaching = [one["metadata"]["name"] for one in found if one["kind"] == "NetworkPolicy" and "6443" in json.dumps(one["spec"])]

    assert sorted(reaching) == ["kalends-crds", "kalends-operator"]


@EVERYWHERE
def test_every_set_of_pods_can_be_drained_one_by_one(name):
    """A budget for each, but the operator, of which there is one."""
    found = charts.objects(name)
    budgets = [one["spec"]["selector"]["matchLabels"] for one in found if one["kind"] == "PodDisruptionBudget"]
    for one in found:
        if one["kind"] in {"Deployment", "StatefulSet"} and not one["metadata"]["name"].endswith("-operator"):
            assert one["spec"]["selector"]["matchLabels"] in budgets, one["metadata"]["name"]


def test_model_servers_take_gpus_and_download_nothing():
    """No pod is started beside an old one whose GPU it needs."""
    found = charts.objects("gpu")
    for kind, gpus in (("embedder", "1"), ("reranker", "1"), ("chat", "2")):
        deployment = charts.named(found, "Deployment", f"kalends-{kind}")["spec"]
        pod = deployment["template"]["spec"]
        variables = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}

        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == gpus
        assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
        assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
        assert variables["HF_HUB_OFFLINE"] == "1"
        assert deployment["strategy"]["rollingUpdate"]["maxSurge"] == 0
        assert pod["containers"][0]["startupProbe"]["periodSeconds"] * pod["containers"][0]["startupProbe"]["failureThreshold"] == 600
