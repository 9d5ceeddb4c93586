"""The operator as a child process beside a real API server and a real Kalends, with a service account's least rights.

Belongs here: its rights, its settings, starting, stopping and killing it, and asking for resources. Does not belong here: the control plane
(``kubernetes``), Kalends (``instance``). A newcomer would get wrong: it is given the rights of ``kalends_operator.rbac`` in one namespace
and nothing else, so whatever it does beyond them fails in every test. Those go first when that namespace is deleted; an operator that is to
see this has a *home* elsewhere, and rights that are the cluster's, as the chart gives them unless it is told which namespaces. One that
ends because its lease is lost is started again by whoever waits for it, as the kubelet does: on a busy machine that may happen in any test.
"""

import base64
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from kalends_operator import rbac
from kalends_operator.app import LOST
from kalends_operator.desired.naming import GROUP, VERSION
from tests.support.instance import Child, Instance, free_port, wait_until
from tests.support.kubernetes.api import Object, Refused
from tests.support.kubernetes.control_plane import ControlPlane

ACCOUNT = "kalends-operator"
API_VERSION = f"{GROUP}/{VERSION}"
PATIENCE_S = 90.0


class Operated:
    """A namespace with an operator that watches it; a context manager that ends the operator."""

    def __init__(self, cluster: ControlPlane, kalends: Instance, namespace: str, folder: Path, *, home: str = "", **settings: str) -> None:
        self.cluster = cluster
        self.kalends = kalends
        self.namespace = namespace
        self.home = home or namespace
        self.log_file = folder / "operator.log"
        self.metrics_port = free_port()
        self._settings = settings
        self._child: Child | None = None
        self._again: dict[str, str] = {}
        self._grant()
        self.kubeconfig = cluster.kubeconfig_of(self.home, ACCOUNT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish_resources()
        if self._child is not None:
            self._child.close()

    @property
    def nats_url(self) -> str:
        """Where Kalends' broker is."""
        url: str = json.loads((self.kalends.data / "instance.json").read_bytes())["nats_url"]
        return url

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.running

    @property
    def logs(self) -> str:
        """Everything that it wrote, over all starts."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def environment(self, **more: str) -> dict[str, str]:
        """What the process is started with."""
        own = {
            "URL": self.kalends.url,
            "NATS_URL": self.nats_url,
            "TOKEN_FILE": str(self.kalends.token_file),
            "NAMESPACES": self.namespace,
            "LEASE_NAMESPACE": self.home,
            "LEASE_S": "5",
            "RESYNC_S": "2",
            "POLL_S": "0.3",
            "CREDENTIALS_CACHE_S": "0.5",
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": str(self.metrics_port),
            **self._settings,
        }
        prefixed = {f"KALENDS_OPERATOR_{name}": value for name, value in own.items()}
        return {**self.cluster.environment(self.kubeconfig), **prefixed, **more}

    def start(self, *, failpoints: str = "", **more: str) -> Self:
        """Start it, and do not wait."""
        assert not self.running, "it runs already"
        command = [sys.executable, "-m", "kalends_operator.app", "run"]
        self._again = {**more, **({"KALENDS_FAILPOINTS": failpoints} if failpoints else {})}
        self._child = Child(command, env=self.environment(**self._again), errors=self.log_file)
        return self

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self._child is not None
        self._child.kill()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self._child is not None
        self._child.send(signal.SIGTERM)
        return self._child.wait(seconds=PATIENCE_S)

    def wait_for_end(self, *, seconds: float = PATIENCE_S) -> int:
        """The exit status, once it has ended by itself."""
        assert self._child is not None
        return self._child.wait(seconds=seconds)

    def ask(self, kind: str, name: str, spec: Mapping[str, Any]) -> Object:
        """Create a resource."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}, "spec": dict(spec)}
        return self.cluster.api.create(body)

    def change(self, kind: str, name: str, change: Object) -> None:
        """Change a resource by a merge patch."""
        self.cluster.api.patch(kind, name, change, self.namespace, version=API_VERSION)

    def delete(self, kind: str, name: str) -> None:
        """Delete a resource; its finalizer may keep it."""
        self.cluster.api.delete(kind, name, self.namespace, version=API_VERSION)

    def find(self, kind: str, name: str) -> Object | None:
        """A resource, if there is one."""
        try:
            return self.cluster.api.get(kind, name, self.namespace, version=API_VERSION)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    def status(self, kind: str, name: str) -> Mapping[str, Any]:
        """What the operator says of a resource."""
        return (self.find(kind, name) or {}).get("status") or {}

    def condition(self, kind: str, name: str, type_: str) -> Mapping[str, Any]:
        """One condition of a resource; an empty one if nothing is said of it."""
        return next((one for one in self.status(kind, name).get("conditions", ()) if one["type"] == type_), {})

    def ready(self, name: str) -> bool:
        """Whether an AgentMemory is Ready, in its present form."""
        found = self.find("AgentMemory", name) or {}
        said = self.condition("AgentMemory", name, "Ready")
        return said.get("status") == "True" and said.get("observedGeneration") == found.get("metadata", {}).get("generation")

    def wait_ready(self, name: str) -> None:
        """Return once an AgentMemory is Ready."""
        self.wait(lambda: self.ready(name), name)

    def wait(self, condition: Any, what: str = "") -> None:
        """Return once *condition* holds; else say what the operator said. One whose lease is lost meanwhile is started again."""

        def holds() -> bool:
            if self._child is not None and not self._child.running and self._child.wait() == LOST:
                self.start(**self._again)
            return bool(condition())

        assert wait_until(holds, seconds=PATIENCE_S, every=0.1), f"{what}: {self.logs[-3000:]}"

    def secret(self, name: str) -> dict[str, str] | None:
        """The data of a Secret, if there is one."""
        try:
            found = self.cluster.api.get("Secret", name, self.namespace)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise
        return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    def reasons(self, name: str) -> list[str]:
        """The reasons of the events of a resource."""
        return [one["reason"] for one in self.cluster.api.items("Event", self.namespace) if one["involvedObject"]["name"] == name]

    def _grant(self) -> None:
        api = self.cluster.api
        api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": self.home}})
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.home}
        watched = self.namespace if self.home == self.namespace else None
        places: Sequence[tuple[rbac.Where, str | None]] = (("watched", watched), ("own", self.home))
        for where, namespace in places:
            role = rbac.role(name=f"{ACCOUNT}-{where}", namespace=namespace, where=where)
            api.apply(role)
            binding = {
                "apiVersion": role["apiVersion"],
                "kind": f"{role['kind']}Binding",
                "metadata": role["metadata"],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["metadata"]["name"]},
                "subjects": [subject],
            }
            api.apply(binding)

    def _finish_resources(self) -> None:
        """Take the finalizers off, so that the namespace can go."""
        for kind in ("AgentMemory", "MemoryErasure", "MemoryBackup", "MemoryBackupSchedule", "MemoryRestore"):
            for one in self.cluster.api.items(kind, self.namespace, version=API_VERSION):
                try:
                    self.change(kind, one["metadata"]["name"], {"metadata": {"finalizers": None}})
                except Refused:
                    continue
