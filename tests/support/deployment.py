"""Kalends as a cluster runs it: each role a process of its own, on three NATS nodes, a real OpenSearch and the wire server.

Belongs here: starting, replacing and ending these, and lines to the stores that can be cut. Does not belong here: what must hold. A
newcomer would get wrong: every process has a data folder of its own and only the key and the first token in common, as pods have; the
model's graph is made once and shared, because it is the same for all.
"""

import asyncio
import contextlib
import http.client
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from kalends.adapters.nats import NatsBus, NatsOptions, open_nats
from tests.support import verdicts
from tests.support.api import Api
from tests.support.engines import copy_models
from tests.support.instance import Broker, Instance, wait_until
from tests.support.lines import Cut, Lines
from tests.support.model_thread import DIMENSION, MODEL, ModelThread
from tests.support.nats_cluster import NatsCluster
from tests.support.opensearch.nodes import Node, shared_node
from tests.support.qdrant_wire.running import WireServer, fresh_prefix

T = TypeVar("T")
ROLES = ("ingest", "index", "search", "summarize", "scheduler")
Store = Literal["opensearch", "qdrant", "model"]
_LINES: Mapping[Store, tuple[int, int]] = {"opensearch": (0, 0), "qdrant": (1, 1), "model": (2, 2)}
_ASK_S = 10.0
READY_S = 180.0
QUICK = {
    "KALENDS_INDEX__BREAKER_FIRST_S": "0.2",
    "KALENDS_INDEX__BREAKER_LONGEST_S": "2",
    "KALENDS_SUMMARIZE__SILENCE_S": "5",
    "KALENDS_SCHEDULER__LEASE_S": "4",
}


class Deployment:
    """Processes over common stores; a context manager that ends all of it.

    *nodes* of NATS are its own; the OpenSearch node is the session's unless one is given. *settings* are KALENDS_* variables of every
    process. *served*: vectors come from a small model server, which costs nearly no time, and not from the embedded model. *fork*: as in
    ``Instance``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 3,
        settings: Mapping[str, str] | None = None,
        opensearch: Node | None = None,
        served: bool = False,
        fork: bool = True,
    ) -> None:
        self.folder = folder
        self.processes: dict[str, Instance] = {}
        self.prefix = fresh_prefix()
        self._nodes = nodes
        self._more = dict(settings or {})
        self._given = opensearch
        self._served = served
        self._fork = fork
        self._lines = Lines()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        (self.folder / "common").mkdir(parents=True, mode=0o700)
        try:
            self._start_stores()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _start_stores(self) -> None:
        self._open.enter_context(self._lines)
        self.nats: NatsCluster | Broker
        if self._nodes > 1:
            self.nats = self._open.enter_context(NatsCluster(self.folder / "nats", size=self._nodes))
        else:
            self.nats = self._open.enter_context(Broker(self.folder / "nats"))
        self.nats.start()
        self.opensearch = self._given or shared_node()
        self._open.callback(self._clear_opensearch)
        self.qdrant = self._open.enter_context(WireServer(self.folder / "qdrant"))
        self._ports: dict[Store, int] = {
            "opensearch": self._lines.add(_LINES["opensearch"], target=int(self.opensearch.url.rpartition(":")[2])),
            "qdrant": self._lines.add(_LINES["qdrant"], target=self.qdrant.port),
        }
        if self._served:
            model = self._open.enter_context(ModelThread())
            self._ports["model"] = self._lines.add(_LINES["model"], target=model.server.port)

    @property
    def settings(self) -> dict[str, str]:
        """What every process is told."""
        common = self.folder / "common"
        return {
            **self.nats.settings,
            "KALENDS_AUTH__KEY_FILE": str(common / "kek"),
            "KALENDS_AUTH__TOKEN_FILE": str(common / "token"),
            "KALENDS_OPENSEARCH__URLS": f"http://127.0.0.1:{self._ports['opensearch']}",
            "KALENDS_OPENSEARCH__PREFIX": self.prefix,
            "KALENDS_OPENSEARCH__SHARDS": "2",
            "KALENDS_OPENSEARCH__REPLICAS": "0",
            "KALENDS_QDRANT__URL": f"http://127.0.0.1:{self._ports['qdrant']}",
            "KALENDS_QDRANT__PREFIX": self.prefix,
            "KALENDS_MODEL__THREADS": "1",
            **self._model_settings(),
            **QUICK,
            **self._more,
        }

    def _model_settings(self) -> dict[str, str]:
        if not self._served:
            return {}
        return {
            "KALENDS_EMBEDDER__URLS": f"http://127.0.0.1:{self._ports['model']}",
            "KALENDS_EMBEDDER__MODEL": MODEL,
            "KALENDS_EMBEDDER__DIMENSION": str(DIMENSION),
        }

    def process(self, name: str, *roles: str, settings: Mapping[str, str] | None = None) -> Instance:
        """A process called *name* that serves *roles* (those of its name, if none are given); it is not started yet.

        One of a name that there was takes its place, on its folder.
        """
        data = self.folder / name
        data.mkdir(exist_ok=True, mode=0o700)
        if not (data / "models").exists():
            copy_models(data / "models")
        told = {**self.settings, **(settings or {})}
        made = Instance(data, roles=roles or [name.split("-", maxsplit=1)[0]], settings=told, fork=self._fork)
        self._open.callback(made.close)
        self.processes[name] = made
        return made

    def start(self, *names: str) -> list[Instance]:
        """Start a process for each of *names*, such as ``index-2``, at once, and return when all are ready."""
        started = [self.process(name) for name in names or ROLES]
        for one in started:
            one.spawn()
        for one in started:
            one.ready()
        return started

    def cut(self, *stores: Store, how: Cut = "refuse") -> None:
        """Let nobody reach *stores*: refused at once, or held without an answer."""
        wanted = {_LINES[store] for store in stores}
        self._lines.cut(lambda name: name in wanted, how=how)

    def heal(self) -> None:
        """Let everybody reach every store again."""
        self._lines.heal()

    def stop(self, names: Sequence[str] | None = None) -> None:
        """End processes gently; each must end well."""
        for name in names or list(self.processes):
            one = self.processes.pop(name)
            if one.running:
                assert one.terminate() == 0, one.last_words

    def api(self, name: str) -> Api:
        """A client of the process *name*, whichever takes its place."""
        return Api(lambda: self.processes[name].url, lambda: self.processes[name].token)

    def of_role(self, role: str) -> list[Instance]:
        """The processes of *role* that run, in the order of their names."""
        return [one for name, one in sorted(self.processes.items()) if name.partition("-")[0] == role and one.running and one.url]

    def again(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        """Start a process of that name on the folder of the one that there was, and return when it is ready."""
        self.process(name, settings=settings).start()

    def kill(self, name: str) -> None:
        """SIGKILL; the process stays known, for its log."""
        self.processes[name].kill()

    def readiness(self, name: str) -> tuple[int, dict[str, Any]]:
        """Status and body of ``/readyz``."""
        status, body = self._operations(name, "/readyz")
        return status, json.loads(body)

    def becomes_ready(self, *names: str, ready: bool = True, seconds: float = READY_S) -> None:
        """Return once each of the processes says that it is ready, or that it is not."""
        wanted = 200 if ready else 503

        def others() -> dict[str, object]:
            told = {name: self.readiness(name) for name in names}
            return {name: body["missing"] for name, (status, body) in told.items() if status != wanted}

        assert wait_until(lambda: not others(), seconds=seconds, every=0.1), others()

    def metrics(self, name: str) -> dict[str, float]:
        """What a process tells its monitoring: each series, as it is written, and its value."""
        lines = self._operations(name, "/metrics")[1].decode().splitlines()
        return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}

    def _operations(self, name: str, path: str) -> tuple[int, bytes]:
        where = urlsplit(self.processes[name].ops_url)
        assert where.hostname is not None
        with contextlib.closing(http.client.HTTPConnection(where.hostname, where.port, timeout=_ASK_S)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def memory(self, name: str) -> int:
        """Bytes of main memory that a process holds; from now on ``most_memory`` is counted."""
        # as proc(5) says: 5 sets the peak to what it is now
        Path(f"/proc/{self.processes[name].pid}/clear_refs").write_text("5", encoding="utf-8")
        return self._kibibytes(name, "VmRSS") * 1024

    def most_memory(self, name: str) -> int:
        """Bytes of main memory that a process has held at most since it was last asked for its ``memory``."""
        return self._kibibytes(name, "VmHWM") * 1024

    def _kibibytes(self, name: str, what: str) -> int:
        status = Path(f"/proc/{self.processes[name].pid}/status").read_text(encoding="utf-8")
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None, status
        return int(found[1])

    def logged(self) -> Counter[str]:
        """How often each event id is in the log."""
        return verdicts.logged(self.nats.url, user="platform", password=self._password, replicas=self._nodes)

    @property
    def _password(self) -> str:
        return self.nats.password_file.read_text(encoding="utf-8")

    def consumers(self) -> list[str]:
        """The durable consumers of the projections; whoever follows the log has another one, for as long as it does."""

        async def names(bus: NatsBus) -> list[str]:
            return [name for name in await bus.log.consumers() if name.startswith(("lexical-", "vector-"))]

        return self._ask_log(names)

    def made_at(self, consumer: str) -> str:
        """When a durable consumer was made, as the broker says."""

        async def told(bus: NatsBus) -> str:
            stream = min(await bus.log.heads())
            return str((await bus.connection.jetstream().consumer_info(stream, consumer)).created)

        return self._ask_log(told)

    def _ask_log(self, question: Callable[[NatsBus], Awaitable[T]]) -> T:
        async def ask() -> T:
            opened = open_nats(url=self.nats.url, user="platform", password=self._password, options=NatsOptions(replicas=self._nodes))
            async with asyncio.timeout(_ASK_S), opened as bus:
                return await question(bus)

        return asyncio.run(ask())

    def _clear_opensearch(self) -> None:
        # the node is the session's and others use it
        with contextlib.suppress(OSError):
            self.opensearch.ask("DELETE", f"/{self.prefix}-*")


@contextlib.contextmanager
def deployed(
    folder: Path, *names: str, nodes: int = 3, settings: Mapping[str, str] | None = None, served: bool = False
) -> Iterator[Deployment]:
    """A deployment with a process for each of *names* (for each role, if none are given), ready."""
    with Deployment(folder, nodes=nodes, settings=settings, served=served) as made:
        made.start(*names)
        yield made
        made.stop()
