"""The cluster shape to measure: roles as processes over NATS, OpenSearch and the wire server, seen from outside.

Belongs here: which process answers what, and which process is what. Does not belong here: load (``load``), procedures (``cluster``,
``retrieval``). A newcomer would get wrong: tests reach the stores over lines that can be cut, which cost processor time in the process of
the test; here everything is reached directly. And what is measured of OpenSearch is a small node as tests start it, with a quick compiler.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.bench.instance import MEMORY, ask, family, make_load
from tests.bench.load import Job, Outcome
from tests.support.deployment import Deployment
from tests.support.instance import Broker, Instance
from tests.support.nats_cluster import NatsCluster
from tests.support.opensearch.nodes import shared_node
from tests.support.qdrant_wire.running import WireServer

QUIET = {"KALENDS_SUMMARIZE__SILENCE_S": "1800", "KALENDS_SCHEDULER__LEASE_S": "15", "KALENDS_INDEX__BREAKER_FIRST_S": "0.5"}
"""As an instance has them that nobody tests."""

_BLOCK = 512


class _Direct(Deployment):
    """A deployment without lines."""

    def _start_stores(self) -> None:
        self.nats: NatsCluster | Broker
        if self._nodes > 1:
            cluster = self._open.enter_context(NatsCluster(self.folder / "nats", size=self._nodes))
            for number, other in cluster._ports:
                cluster._ports[number, other] = cluster.nodes[other].cluster_port
            self.nats = cluster
        else:
            self.nats = self._open.enter_context(Broker(self.folder / "nats"))
        self.nats.start()
        self.opensearch = shared_node()
        self._open.callback(self._clear_opensearch)
        self.qdrant = self._open.enter_context(WireServer(self.folder / "qdrant"))
        self._ports = {"opensearch": self.opensearch.port, "qdrant": self.qdrant.port}


class Fleet:
    """A deployment with *replicas* of index and one process of each other role; *settings* are KALENDS_* variables of all of them."""

    def __init__(self, folder: Path, *, replicas: int = 1, nodes: int = 1, settings: Mapping[str, str] | None = None) -> None:
        self._made = _Direct(folder, nodes=nodes, settings={**QUIET, **(settings or {})}, fork=False)
        self._replicas = replicas

    def __enter__(self) -> Self:
        self._made.__enter__()
        indexes = ["index", *(f"index-{number}" for number in range(2, self._replicas + 1))]
        try:
            self._made.start("ingest", *indexes, "search", "summarize", "scheduler")
            self.ask("PUT", f"/v1/memories/{MEMORY}", {})
        except BaseException:
            self._made.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._made.__exit__()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request to the role that it is for; the decoded answer.

        Raises:
            RuntimeError: it was not answered with a 2xx.
        """
        if "/admin/" in path or "/operations/" in path:
            return self._asked("index", method, path, body)
        return self._asked("ingest" if method == "PUT" or path.endswith("/events") else "search", method, path, body)

    def status(self) -> Any:
        """What search says, and of the calendar what its writer says."""
        told = self._asked("search", "GET", "/v1/status", None)
        return told | {"calendar": self._asked("summarize", "GET", "/v1/status", None)["calendar"]}

    def load(self, *, kind: str, **how: Any) -> Outcome:
        """Let the load maker do a job against the role that it is for."""
        role = self._role("ingest" if kind == "append" else "search")
        return make_load(Job(url=role.url, token=role.token, memory=MEMORY, kind=kind, **how))

    def pids(self) -> dict[str, int]:
        """The id of every process that serves, by what it is; OpenSearch is the same for all fleets of a run."""
        nats = self._made.nats
        brokers = [node.pid for node in nats.nodes] if isinstance(nats, NatsCluster) else [nats.pid]
        named = {name: one.pid for name, one in self._made.processes.items()}
        named |= {f"nats-{number}": pid for number, pid in enumerate(brokers, start=1)}
        for pid in family(os.getpid()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"org.opensearch.bootstrap" in command:
                named["opensearch"] = pid
            elif b"tests.support.qdrant_wire" in command:
                named["wire server"] = pid
        return named

    def disk(self) -> dict[str, int]:
        """Bytes on disk by store; timelines and calendars are of all processes together."""
        made = self._made
        made.opensearch.ask("POST", f"/{made.prefix}-*/_flush")
        told = made.opensearch.ask("GET", f"/{made.prefix}-*/_stats/store,translog")["_all"]["primaries"]
        return {
            "opensearch": told["store"]["size_in_bytes"],
            "opensearch translog": told["translog"]["size_in_bytes"],
            "wire server": _taken(made.folder / "qdrant"),
            "nats": _taken(made.folder / "nats"),
            "timelines": sum(_taken(made.folder / name, "timeline*") for name in made.processes),
            "calendars": sum(_taken(made.folder / name, "calendar*") for name in made.processes),
        }

    def _asked(self, role: str, method: str, path: str, body: object) -> Any:
        return ask(self._role(role).url, self._role(role).token, method, path, body)

    def _role(self, name: str) -> Instance:
        return self._made.processes[name]


def _taken(folder: Path, pattern: str = "**/*") -> int:
    return sum(path.stat().st_blocks * _BLOCK for path in folder.glob(pattern) if path.is_file())
