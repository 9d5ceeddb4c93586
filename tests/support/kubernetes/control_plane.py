"""The control plane as child processes: one folder and the same ports over all its restarts.

Belongs here: starting, waiting until ready, stopping; kubeconfigs; the audit log. Does not belong here: asking (``api``). A newcomer would
get wrong: an API server with an open watch does not end by itself, so it is killed after a while and etcd, which holds the data, comes
last; and the garbage collector learns of a new CRD only every half minute, so CRDs are installed early.
"""

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from tests.support.instance import Child, clean_environment, free_port, wait_until
from tests.support.kubernetes import recipe, stages
from tests.support.kubernetes.api import Api, Refused
from tests.support.kubernetes.keys import Authority

START_S = 180.0
_GRACE_S = 4.0
_SERVICES = "10.96.0.0/16"
"""Numbers in objects only: nothing is ever sent to them."""

_FIRST_SERVICE = "10.96.0.1"
_PODS = "10.97.0.1/16"
_ADMINS = "system:masters"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


class Asked(NamedTuple):
    """What a service account asked of the API server, and the status that it was answered with; ``resource`` has the subresource."""

    verb: str
    group: str
    resource: str
    namespace: str
    code: int


class ControlPlane:
    """A cluster without kubelets: *nodes* are simulated, and without *pods* there are none, nor a scheduler.

    A context manager that ends everything. *arguments* are more flags of the API server.
    """

    def __init__(self, folder: Path, *, nodes: int = 1, pods: bool = True, arguments: Sequence[str] = ()) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.audit_log = folder / "audit.log"
        names = ("etcd", "peer", "api", "controllers", "scheduler", "kubelet")
        self._ports = {name: free_port() for name in names}
        self._nodes = nodes if pods else 0
        self._arguments = tuple(arguments)
        self._children: dict[str, Child] = {}
        self._accounts: list[Api] = []
        self.logs.mkdir(parents=True, exist_ok=True)
        self._keys = Authority(folder / "keys")
        self.url = f"https://127.0.0.1:{self._ports['api']}"
        self._issue()
        self.kubeconfig = self._keys.client_config("admin", server=self.url)
        self.api = Api(self.url, self._admin_context())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_volumes()
        self.stop()
        for api in (self.api, *self._accounts):
            api.close()

    def start(self) -> Self:
        """Start everything and return once nodes are Ready and service accounts are made."""
        self._spawn("etcd", *self._etcd_flags())
        self.start_api_server()
        config = self._keys.client_config
        self._spawn("kube-controller-manager", "--kubeconfig", str(config("controllers", server=self.url)), *self._controller_flags())
        if self._nodes:
            kubeconfig = str(config("scheduler", server=self.url))
            self._spawn("kube-scheduler", "--kubeconfig", kubeconfig, *_quick(self._ports["scheduler"]))
            self._spawn("kwok", "--kubeconfig", str(config("kwok", server=self.url)), *self._kwok_flags())
            self._make_nodes()
        self._wait("service accounts", lambda: self.api.exists("ServiceAccount", "default", "default"))
        return self

    def stop(self) -> None:
        """Stop everything; what was stored stays."""
        for name in reversed(list(self._children)):
            self._end(name)

    def start_api_server(self) -> None:
        """Start the API server alone and return once it is ready."""
        self._spawn("kube-apiserver", *self._server_flags())
        self._wait("API server", lambda: self.api.call("GET", "/readyz") == "ok")

    def stop_api_server(self, *, kill: bool = False) -> None:
        """Stop the API server alone, by SIGKILL if so asked; everybody who watches loses the connection."""
        self._end("kube-apiserver", kill=kill)

    def pids(self) -> Mapping[str, int]:
        """The process of each part that runs."""
        return {name: child.pid for name, child in self._children.items()}

    def kubectl(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl with *kubeconfig* (None: the admin's); its status is the caller's to look at."""
        own = ["--kubeconfig", str(kubeconfig or self.kubeconfig), "--cache-dir", str(self.folder / "kubectl-cache")]
        command = [str(recipe.programs() / "kubectl"), *own, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=START_S, env=clean_environment())

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """What a program needs to find this cluster, kubectl included."""
        path = f"{recipe.programs()}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**clean_environment(), "KUBECONFIG": str(kubeconfig or self.kubeconfig), "PATH": path}

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that signed the API server's."""
        return self._keys.certificate_file

    def token(self, namespace: str, account: str, *, seconds: int = 3600, audiences: Sequence[str] = ()) -> str:
        """A token of a service account, by TokenRequest; without *audiences* it is for the API server."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds, "audiences": [*audiences]},
        }
        return str(self.api.call("POST", path, wanted)["status"]["token"])

    def kubeconfig_of(self, namespace: str, account: str, *, seconds: int = 3600) -> Path:
        """A kubeconfig of a service account, good for so long."""
        token = self.token(namespace, account, seconds=seconds)
        return self._keys.token_config(f"{namespace}.{account}", token, server=self.url, namespace=namespace)

    def api_of(self, namespace: str, account: str) -> Api:
        """A client with the token of a service account; it is closed with the cluster."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        self._accounts.append(Api(self.url, context, token=self.token(namespace, account)))
        return self._accounts[-1]

    def asked_by(self, namespace: str, account: str) -> list[Asked]:
        """Everything that a service account asked of resources, over all starts."""
        user = f"system:serviceaccount:{namespace}:{account}"
        lines = self.audit_log.read_text(encoding="utf-8").splitlines() if self.audit_log.exists() else []
        entries = (entry for entry in map(json.loads, lines) if entry["user"]["username"] == user and "objectRef" in entry)
        return [_asked(entry) for entry in entries]

    def _issue(self) -> None:
        self._keys.issue("admin", user="admin", groups=[_ADMINS])
        self._keys.issue("kwok", user="kwok", groups=[_ADMINS])
        self._keys.issue("controllers", user="system:kube-controller-manager")
        self._keys.issue("scheduler", user="system:kube-scheduler")
        names = ["localhost", "kubernetes.default.svc"]
        self._keys.issue("server", user="kube-apiserver", addresses=["127.0.0.1", _FIRST_SERVICE], hosts=names)
        self._keys.issue("kubelet", user="kubelet", addresses=["127.0.0.1"], hosts=["localhost"])
        self._keys.signing_key("accounts.key")

    def _admin_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self._keys.file("admin.crt"), self._keys.file("admin.key"))
        return context

    def _etcd_flags(self) -> Sequence[str]:
        client, peer = (f"http://127.0.0.1:{self._ports[name]}" for name in ("etcd", "peer"))
        listening = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        member = ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        return [*listening, *member, "--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync", "--log-level", "warn"]

    def _server_flags(self) -> Sequence[str]:
        file = self._keys.file
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY), encoding="utf-8")
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self._ports['etcd']}",
            "bind-address": "127.0.0.1",
            "secure-port": self._ports["api"],
            "advertise-address": "127.0.0.1",
            # an address of loopback may be no endpoint of a service
            "endpoint-reconciler-type": "none",
            "service-cluster-ip-range": _SERVICES,
            "authorization-mode": "RBAC",
            "anonymous-auth": "false",
            # what may be privileged is for pod security to say, as in any cluster that runs system pods
            "allow-privileged": "true",
            "client-ca-file": file("ca.crt"),
            "tls-cert-file": file("server.crt"),
            "tls-private-key-file": file("server.key"),
            "kubelet-certificate-authority": file("ca.crt"),
            "kubelet-client-certificate": file("admin.crt"),
            "kubelet-client-key": file("admin.key"),
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": file("accounts.key"),
            "service-account-signing-key-file": file("accounts.key"),
            "audit-policy-file": policy,
            "audit-log-path": self.audit_log,
            "profiling": "false",
        }
        return [*(f"--{name}={value}" for name, value in flags.items()), *self._arguments]

    def _controller_flags(self) -> Sequence[str]:
        file = self._keys.file
        tokens = [f"--service-account-private-key-file={file('accounts.key')}", f"--root-ca-file={file('ca.crt')}"]
        signing = [f"--cluster-signing-cert-file={file('ca.crt')}", f"--cluster-signing-key-file={file('ca.key')}"]
        own = ["--use-service-account-credentials=true", "--enable-hostpath-provisioner=true", "--allocate-node-cidrs=false"]
        return [*_quick(self._ports["controllers"]), *own, *tokens, *signing]

    def _kwok_flags(self) -> Sequence[str]:
        port, file = self._ports["kubelet"], self._keys.file
        addresses = ["--cidr", _PODS, "--node-ip", "127.0.0.1", "--node-port", str(port), "--server-address", f"127.0.0.1:{port}"]
        tls = ["--tls-cert-file", str(file("kubelet.crt")), "--tls-private-key-file", str(file("kubelet.key"))]
        return [
            "--config",
            str(stages.write(self.folder)),
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
            *addresses,
            *tls,
        ]

    def _make_nodes(self) -> None:
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        self.api.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": "standard", "annotations": default},
                "provisioner": "kubernetes.io/host-path",
            }
        )
        for number in range(self._nodes):
            name = f"node-{number}"
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": f"zone-{number}"}
            self.api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
            endpoint = {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": self._ports["kubelet"]}}}}
            self.api.patch("Node", name, endpoint, subresource="status")
        self._wait("nodes", lambda: all(map(_is_ready, self.api.items("Node"))))

    def _spawn(self, part: str, *flags: str) -> None:
        assert part not in self._children, f"{part} runs already"
        binary = str(recipe.programs() / part)
        self._children[part] = Child([binary, *flags], env=clean_environment(), errors=self.logs / f"{part}.log")

    def _end(self, part: str, *, kill: bool = False) -> None:
        child = self._children.pop(part)
        child.send(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            child.wait(seconds=_GRACE_S)
        except TimeoutError:
            child.kill()

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        assert wait_until(lambda: self._holds(condition), seconds=START_S, every=0.05), f"no {what}: {self._last_words('kube-apiserver')}"

    def _holds(self, condition: Callable[[], bool]) -> bool:
        for part, child in self._children.items():
            assert child.running, f"{part} ended: {self._last_words(part)}"
        try:
            return condition()
        except (Refused, httpx.HTTPError):
            return False

    def _last_words(self, part: str) -> str:
        log = self.logs / f"{part}.log"
        return log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""

    def _forget_volumes(self) -> None:
        """Take away the folders that the controller manager made; it has one place for all, whoever asks."""
        with contextlib.suppress(Refused, httpx.HTTPError):
            for volume in self.api.items("PersistentVolume"):
                place = Path(volume["spec"].get("hostPath", {}).get("path", os.devnull))
                if place.parent.name == "hostpath_pv":
                    shutil.rmtree(place, ignore_errors=True)


def _quick(port: int) -> Sequence[str]:
    """Flags of what watches the API server: no election, as there is one of each, and no brake on its questions."""
    election = ["--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400"]
    return [*election, "--bind-address=127.0.0.1", f"--secure-port={port}"]


def _is_ready(node: Mapping[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node.get("status", {}).get("conditions", ()))


def _asked(entry: Mapping[str, Any]) -> Asked:
    about = entry["objectRef"]
    resource = "/".join(about[name] for name in ("resource", "subresource") if about.get(name))
    code = int(entry.get("responseStatus", {}).get("code", 0))
    return Asked(entry["verb"], about.get("apiGroup", ""), resource, about.get("namespace", ""), code)
