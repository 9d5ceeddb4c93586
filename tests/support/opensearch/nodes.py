"""OpenSearch nodes on loopback: one for the whole session, or a test's own, alone or in a cluster.

Belongs here: starting, waiting until ready, stopping and killing. Does not belong here: what is written to them. A newcomer would get
wrong: the server refuses to run as root, so root shows it another user id in a user namespace of its own; and nothing here is a coroutine,
so an async test calls it in a thread.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from tests.support.instance import Child, clean_environment, free_port, wait_until
from tests.support.opensearch import recipe

START_S = 600.0
STOP_S = 180.0
_ASK_S = 30.0

_FLAGS = (
    "-Xss1m",
    "-Dfile.encoding=UTF-8",
    "-Djava.awt.headless=true",
    "-Djna.nosys=true",
    "-Djava.locale.providers=SPI,CLDR",
    "-XX:-OmitStackTraceInFastThrow",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    "-XX:+ExitOnOutOfMemoryError",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
)
"""What the distribution starts Java with, but for a quick start on few cores: one collector, one compiler."""


class Node:
    """One server: one folder, one name and the same ports over all its restarts; a context manager that ends it."""

    def __init__(self, folder: Path, *, name: str = "n1", heap: str = "512m", settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.name = name
        self.port, self.transport_port = free_port(), free_port()
        self._heap = heap
        self._settings = dict(settings or {})
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.close()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.running

    def configure(self, settings: Mapping[str, str]) -> None:
        """Add *settings* to every start from now on."""
        self._settings.update(settings)

    def start(self) -> Self:
        """Start it and return once it answers and every shard that it has is there."""
        self.spawn()
        return self.ready()

    def spawn(self) -> None:
        """Start it and do not wait."""
        assert not self.running, "it runs already"
        self._write_config()
        self._child = Child(self._command(), env=clean_environment(), errors=self.folder / "node.log")

    def ready(self, *, status: str = "yellow") -> Self:
        """Wait until the health of the cluster, as it sees it, is *status* or better."""
        assert wait_until(lambda: self._is(status), seconds=START_S, every=0.2), self._state()
        return self

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self._child is not None, "never started"
        self._child.kill()

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        assert self._child is not None, "never started"
        self._child.send(signal.SIGTERM)
        self._child.wait(seconds=STOP_S)

    def pause(self) -> None:
        """Let it hang: its sockets stay open and nothing answers."""
        assert self._child is not None, "never started"
        self._child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._child is not None, "never started"
        self._child.send(signal.SIGCONT)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to one request, as JSON.

        Raises:
            urllib.error.HTTPError: it refuses. OSError: it does not answer.
        """
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the URL is a node's of ours
            self.url + path, data=content, headers={"content-type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=_ASK_S) as answer:  # noqa: S310 - as above
            return json.loads(answer.read())

    @property
    def last_words(self) -> str:
        """The end of what it wrote."""
        log = self.folder / "node.log"
        return log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.exists() else ""

    def _state(self) -> str:
        """What it says of itself that is not well, and the end of what it wrote."""
        said = []
        for path in ("/_cluster/health", "/_cluster/allocation/explain"):
            try:
                said.append(json.dumps(self.ask("GET", path)))
            except (OSError, ValueError) as error:
                said.append(f"{path}: {error}")
        return "\n".join([*said, self.last_words])

    def _is(self, status: str) -> bool:
        assert self.running, self.last_words
        better = {"green": ("green",), "yellow": ("green", "yellow"), "red": ("green", "yellow", "red")}[status]
        try:
            return self.ask("GET", "/_cluster/health").get("status") in better
        except (OSError, urllib.error.HTTPError, ValueError):
            return False

    def _write_config(self) -> None:
        for part in ("config", "data", "logs", "tmp"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(recipe.server() / "config" / "log4j2.properties", self.folder / "config")
        known = {
            "cluster.name": "kalends-tests",
            "node.name": self.name,
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "network.host": "127.0.0.1",
            "http.port": str(self.port),
            "transport.port": str(self.transport_port),
            # a disk of the machine that is nearly full must not make indexes read-only
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        if "cluster.initial_cluster_manager_nodes" not in self._settings:
            known["discovery.type"] = "single-node"
        lines = [f"{name}: {value}" for name, value in {**known, **self._settings}.items()]
        (self.folder / "config" / "opensearch.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _command(self) -> list[str]:
        home, java = recipe.server(), recipe.java()
        flags = [f"-Xms{self._heap}", f"-Xmx{self._heap}", *_FLAGS, f"-Djava.io.tmpdir={self.folder / 'tmp'}"]
        flags.append(f"-javaagent:{home / 'agent' / 'opensearch-agent.jar'}")
        if _has_module(java, "jdk.incubator.vector"):
            flags.append("--add-modules=jdk.incubator.vector")
        where = [f"-Dopensearch.path.home={home}", f"-Dopensearch.path.conf={self.folder / 'config'}"]
        where += ["-Dopensearch.distribution.type=zip", "-Dopensearch.bundled_jdk=false"]
        server = [str(java), *flags, *where, "-cp", str(home / "lib" / "*"), "org.opensearch.bootstrap.OpenSearch"]
        return server if os.getuid() else ["unshare", "-U", "--map-user=1000", "--map-group=1000", *server]


class Cluster:
    """Three nodes, any of which may be killed."""

    def __init__(self, folder: Path, *, heap: str = "320m") -> None:
        self.nodes = [Node(folder / f"n{number}", name=f"n{number}", heap=heap) for number in (1, 2, 3)]
        seeds = ",".join(f'"127.0.0.1:{node.transport_port}"' for node in self.nodes)
        names = ",".join(node.name for node in self.nodes)
        for node in self.nodes:
            node.configure({"discovery.seed_hosts": f"[{seeds}]", "cluster.initial_cluster_manager_nodes": f"[{names}]"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.__exit__()

    @property
    def urls(self) -> str:
        """All nodes, as the setting wants them."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> Self:
        """Start the nodes and return once they are one cluster."""
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.ready(status="green")
        assert self.wait_for_nodes(len(self.nodes)), self.nodes[0].last_words
        return self

    def wait_for_nodes(self, count: int, *, asked: Sequence[Node] | None = None, status: str = "yellow") -> bool:
        """Whether those that are asked come to see *count* nodes and *status* or better."""
        path = f"/_cluster/health?wait_for_nodes={count}&wait_for_status={status}&timeout=25s"
        until = time.monotonic() + START_S
        for node in asked or self.nodes:
            while time.monotonic() < until:
                try:
                    if not node.ask("GET", path)["timed_out"]:
                        break
                except (OSError, ValueError):
                    time.sleep(0.2)
            else:
                return False
        return True


@cache
def shared_node() -> Node:
    """The session's node, started at first use; it ends with the interpreter."""
    folder = Path(tempfile.mkdtemp(prefix="kalends-opensearch-"))
    node = Node(folder)

    def end() -> None:
        node.__exit__()
        shutil.rmtree(folder, ignore_errors=True)

    node.spawn()
    # after the first child, so that this runs before what ends all children
    atexit.register(end)
    return node.ready()


@cache
def _has_module(java: Path, module: str) -> bool:
    told = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False, timeout=60).stdout
    return any(line.startswith(f"{module}@") or line == module for line in told.splitlines())
