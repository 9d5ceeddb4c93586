"""The control plane of the tests is a real one: rights, garbage, pod security, volumes, and what it stored after a restart."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.architecture.sources import ROOT
from tests.support.instance import alive, wait_until
from tests.support.kubernetes import recipe
from tests.support.kubernetes.api import Refused
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.marks import MARKS
from tests.support.kubernetes.stages import ANNOTATION

pytestmark = MARKS

PATIENCE_S = 60.0
POD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "image": "kalends:test",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsUser": 10001},
        }
    ],
}


def config_map(name, **metadata):
    """A small object."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"key": "value"}}


def pod(name, **metadata):
    """A pod that the restricted level admits."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": POD}


def grant(cluster, namespace, account, *, verbs, resources):
    """Make a service account that may do *verbs* to *resources* there."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    cluster.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, namespace=namespace)
    rbac = "rbac.authorization.k8s.io"
    named = {"name": account}
    rules = [{"apiGroups": [""], "resources": resources, "verbs": verbs}]
    cluster.api.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": named, "rules": rules}, namespace=namespace)
    reference = {"apiGroup": rbac, "kind": "Role", "name": account}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "roleRef": reference,
        "subjects": [subject],
    }
    cluster.api.create(binding, namespace=namespace)


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(cluster, namespace):
    """Rights are RBAC's, and what was asked is in the audit log with the answer."""
    grant(cluster, namespace, "reader", verbs=["get"], resources=["configmaps"])
    cluster.api.create(config_map("there"), namespace=namespace)
    api = cluster.api_of(namespace, "reader")

    assert wait_until(lambda: _allowed(lambda: api.get("ConfigMap", "there", namespace)), seconds=PATIENCE_S)
    with pytest.raises(Refused) as refused:
        api.items("Secret", namespace)
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    asked = {(one.verb, one.resource, one.code) for one in cluster.asked_by(namespace, "reader")}
    assert {("get", "configmaps", 200), ("list", "secrets", 403)} <= asked


def test_nobody_gets_in_without_a_credential(cluster):
    """Anonymous requests are refused before anybody asks for their rights."""
    answer = httpx.get(f"{cluster.url}/api/v1/namespaces", verify=False)  # noqa: S501 - the test is about the credential

    assert answer.status_code == 401


def test_what_belongs_to_an_object_goes_with_it(cluster, namespace):
    """The garbage collector is a real one."""
    owner = cluster.api.create(config_map("owner"), namespace=namespace)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    cluster.api.create(config_map("owned", ownerReferences=[reference]), namespace=namespace)

    cluster.api.delete("ConfigMap", "owner", namespace)

    assert wait_until(lambda: not cluster.api.exists("ConfigMap", "owned", namespace), seconds=PATIENCE_S)


def test_a_pod_runs_and_becomes_ready(cluster, namespace):
    """It is scheduled for real; that it runs is what kwok says."""
    cluster.api.create(pod("a"), namespace=namespace)

    assert wait_until(lambda: _conditions(cluster, namespace, "a").get("Ready") == "True", seconds=PATIENCE_S)


def test_a_pod_that_is_asked_to_fails(cluster, namespace):
    """So that whoever waits for pods can be tested with one that does not come up."""
    cluster.api.create(pod("bad", annotations={ANNOTATION: "fail"}), namespace=namespace)

    assert wait_until(lambda: cluster.api.get("Pod", "bad", namespace)["status"]["phase"] == "Failed", seconds=PATIENCE_S)


def test_a_pod_that_wants_too_much_is_refused(cluster, namespace):
    """Pod security is enforced by the namespace's label."""
    document = pod("root")
    document["spec"] = {"containers": [{"name": "main", "image": "kalends:test", "securityContext": {"privileged": True}}]}

    with pytest.raises(Refused) as refused:
        cluster.api.create(document, namespace=namespace)

    assert 'violates PodSecurity "restricted:latest"' in refused.value.message


def test_a_claim_is_bound_by_the_default_class(cluster, namespace):
    """A StatefulSet's volumes come from somewhere."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    cluster.api.create(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}, namespace=namespace
    )

    claim = ("PersistentVolumeClaim", "data", namespace)
    assert wait_until(lambda: cluster.api.get(*claim)["status"]["phase"] == "Bound", seconds=PATIENCE_S)


def test_kubectl_is_of_the_same_version_and_may_do_everything(cluster, namespace):
    """It is in the same program, so none has to be installed."""
    asked = cluster.kubectl("auth", "can-i", "*", "*", "-n", namespace)

    assert (asked.returncode, asked.stdout.strip()) == (0, "yes")


def test_a_new_api_server_knows_what_the_old_one_stored(tmp_path):
    """Killed or stopped, alone or with everything: objects, tokens and ports stay."""
    with ControlPlane(tmp_path / "plane", pods=False) as plane:
        plane.start()
        plane.api.create(config_map("kept"), namespace="default")
        account = plane.api_of("default", "default")
        pids = plane.pids()

        plane.stop_api_server(kill=True)
        with pytest.raises(httpx.HTTPError):
            plane.api.get("ConfigMap", "kept", "default")
        plane.start_api_server()
        assert plane.api.get("ConfigMap", "kept", "default")["data"] == {"key": "value"}

        plane.stop()
        assert not any(alive(pid) for pid in pids.values())
        plane.start()
        assert plane.api.get("ConfigMap", "kept", "default")["data"] == {"key": "value"}
        assert account.call("GET", "/version")["gitVersion"].startswith("v1.")


def test_nothing_outlives_whoever_started_it(tmp_path):
    """Killed, it leaves no process; started again on its folder it knows its objects; and SIGTERM is a good end."""
    first = up(tmp_path)
    made = subprocess.run(kubectl(first, "create", "configmap", "kept"), check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert made.returncode == 0, made.stderr
    servers = belonging_to(tmp_path)
    first.kill()
    first.communicate()
    assert servers
    assert wait_until(lambda: not any(alive(pid) for pid in servers), seconds=PATIENCE_S)

    second = up(tmp_path)
    found = subprocess.run(kubectl(second, "get", "configmap", "kept"), check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert found.returncode == 0, found.stderr
    second.terminate()
    second.communicate(timeout=PATIENCE_S)

    assert second.returncode == 0
    assert belonging_to(tmp_path) == []


def up(folder):
    """``up`` on *folder*, once it is ready."""
    command = [sys.executable, "-m", "tests.support.kubernetes", "up", str(folder)]
    # the home of tests is empty, and what was built is in the cache of whoever runs them
    environment = {**os.environ, "XDG_CACHE_HOME": str(recipe.folder().parents[1])}
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == f"KUBECONFIG={folder / 'keys' / 'admin.kubeconfig'}\n"
    return started


def kubectl(started, *arguments):
    """The command."""
    return [str(recipe.programs() / "kubectl"), "--kubeconfig", str(Path(started.args[-1]) / "keys" / "admin.kubeconfig"), *arguments]


def belonging_to(folder):
    """Processes of the control plane in *folder*."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
                if str(folder) in words and str(recipe.programs()) in words and alive(int(entry.name)):
                    found.append(int(entry.name))
    return found


def _allowed(ask):
    """Whether it is allowed yet: the authorizer hears of a new role a moment later."""
    try:
        ask()
    except Refused:
        return False
    return True


def _conditions(cluster, namespace, name):
    found = cluster.api.get("Pod", name, namespace).get("status", {}).get("conditions", [])
    return {one["type"]: one["status"] for one in found}
