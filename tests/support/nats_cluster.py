"""A NATS cluster of three real servers, whose nodes can be killed, wiped, stopped and cut off from each other.

Belongs here: the nodes, their configuration, and what they say of themselves. Does not belong here: what is written to them, or what must
hold. A newcomer would get wrong: nodes tell each other how to be reached, so the address that they tell leads nowhere; otherwise a node
that is cut off would find a way round our lines. And nothing here is a coroutine: in an async test call it in a thread.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import nats

from kalends.adapters.nats.broker_config import BrokerUser, ServerOptions, render, write_private
from kalends.adapters.nats.server import find_binary
from tests.support.files import holding
from tests.support.instance import STOP_S, Child, clean_environment, free_port, wait_until
from tests.support.lines import Cut, Lines

SETTLED_S = 90.0
_NOWHERE = "127.0.0.1:1"
_ASK_S = 5.0
_USER = "platform"


class NatsNode:
    """One server: one folder, one name and the same ports over all its restarts."""

    def __init__(self, number: int, folder: Path, *, password: str) -> None:
        self.number = number
        self.name = f"node-{number}"
        self.folder = folder
        self.port, self.cluster_port, self.monitor_port = free_port(), free_port(), free_port()
        self._password = password
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        return self._started().pid

    def spawn(self, *, routes: Sequence[int]) -> None:
        """Start it, with *routes* as the ports at which the others are reached, and do not wait."""
        assert not self.running, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "broker.conf"
        write_private(config, json.dumps(self._config(routes), indent=2))
        self._child = Child([str(find_binary(None)), "-c", str(config)], env=clean_environment(), errors=self.folder / "broker.err")

    def listens(self) -> bool:
        """Whether clients can connect."""
        assert self.running, self.last_words
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._started().kill()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._started().send(number)

    def wait(self, *, seconds: float) -> int:
        """Its exit status, once it has ended.

        Raises:
            TimeoutError: it goes on.
        """
        return self._started().wait(seconds=seconds)

    def wipe(self) -> None:
        """Lose its disk."""
        assert not self.running, "a running server would go on writing"
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """End it whatever it takes."""
        if self._child is not None:
            self._child.close()

    def told(self, path: str) -> Any:
        """The JSON that its monitor answers; None while there is no good answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}{path}", timeout=_ASK_S) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError):
            return None

    @property
    def last_words(self) -> str:
        """The end of its log."""
        path = self.folder / "broker.log"
        return path.read_text(encoding="utf-8", errors="replace")[-4000:] if path.exists() else ""

    def _started(self) -> Child:
        assert self._child is not None, "never started"
        return self._child

    def _config(self, routes: Sequence[int]) -> dict[str, Any]:
        user = BrokerUser(name=_USER, password=self._password)
        options = ServerOptions()
        config: dict[str, Any] = json.loads(render(folder=self.folder, name=self.name, port=self.port, options=options, users=[user]))
        config["http"] = f"127.0.0.1:{self.monitor_port}"
        config["lame_duck_duration"], config["lame_duck_grace_period"] = "30s", "1s"
        config["cluster"] = {
            "name": "kalends-tests",
            "listen": f"127.0.0.1:{self.cluster_port}",
            "advertise": _NOWHERE,
            # a client told of one node only is to stay with it, or no test could have one on the wrong side of a cut
            "no_advertise": True,
            "routes": [f"nats-route://127.0.0.1:{port}" for port in routes],
        }
        return config


class NatsCluster:
    """Three nodes with a user and a password in common, and lines between them; a context manager that ends all of it."""

    def __init__(self, folder: Path, *, size: int = 3) -> None:
        self.folder = folder
        self.user, self.password = _USER, "a-password-of-tests"
        self.password_file = folder / "password"
        self.nodes = [NatsNode(number, folder / f"node-{number}", password=self.password) for number in range(size)]
        self._lines = Lines()
        self._ports: dict[tuple[int, int], int] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(self.password_file, self.password)
        self._open.enter_context(self._lines)
        for node in self.nodes:
            self._open.callback(node.close)
            for other in self.nodes:
                if other is not node:
                    name = (node.number, other.number)
                    self._ports[name] = self._lines.add(name, target=other.cluster_port)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def url(self) -> str:
        """All nodes, for ``KALENDS_LOG__URL``."""
        return ",".join(node.url for node in self.nodes)

    @property
    def settings(self) -> dict[str, str]:
        """What an instance needs to join it."""
        return {
            "KALENDS_LOG__URL": self.url,
            "KALENDS_LOG__USER": self.user,
            "KALENDS_LOG__PASSWORD_FILE": str(self.password_file),
            "KALENDS_LOG__REPLICAS": str(len(self.nodes)),
        }

    def start(self) -> Self:
        """Start all nodes and return once they are one cluster."""
        for node in self.nodes:
            self._spawn(node)
        self.settled()
        return self

    def restart(self, number: int) -> None:
        """Start a node that was ended, and return once it listens."""
        node = self.nodes[number]
        self._spawn(node)
        assert wait_until(node.listens, seconds=STOP_S), node.last_words

    def kill(self, number: int) -> None:
        """SIGKILL a node."""
        self.nodes[number].kill()

    def stop(self, number: int, *, seconds: float = 60.0) -> None:
        """End a node as an operator does: it hands on what it leads, sends its clients away one by one, and ends."""
        node = self.nodes[number]
        node.send(signal.SIGUSR2)
        node.wait(seconds=seconds)

    def wipe(self, number: int) -> None:
        """SIGKILL a node, and lose its disk."""
        self.kill(number)
        self.nodes[number].wipe()

    def cut_off(self, number: int, *, how: Cut = "hold") -> None:
        """Part a node from all the others; its clients still reach it."""
        self._lines.cut(lambda name: number in name, how=how)

    def heal(self) -> None:
        """Join what was parted."""
        self._lines.heal()

    def leader(self, stream: str) -> int | None:
        """The node that leads *stream*, by its own word; None while there is none."""
        for node in self.nodes:
            found = _streams_of(node).get(stream)
            if found is not None and found.get("leader") == node.name:
                return node.number
        return None

    def leads(self, stream: str, *, besides: int | None = None, seconds: float = SETTLED_S) -> int:
        """The node that leads *stream*, once there is one, and it is not *besides*."""
        found: list[int] = []

        def met() -> bool:
            number = self._leader_besides(stream, besides)
            found.extend([] if number is None else [number])
            return bool(found)

        assert wait_until(met, seconds=seconds, every=0.1), f"nobody leads {stream}"
        return found[0]

    def gather(self, streams: Sequence[str]) -> int:
        """Make one node the leader of all *streams*, and return it."""
        chosen = self.leads(streams[0])
        for stream in streams:
            assert wait_until(lambda stream=stream: self._move(stream, chosen), seconds=SETTLED_S, every=0.3), stream  # type: ignore[misc]
        self.settled()
        return chosen

    def settled(self, *, seconds: float = SETTLED_S) -> None:
        """Return once all nodes that run are well, and every stream has a leader and all its replicas, none of them behind."""
        assert wait_until(lambda: not self.unsettled(), seconds=seconds, every=0.1), self.unsettled()

    def unsettled(self) -> list[str]:
        """What is not yet as ``settled`` wants it, in words."""
        wrong = [f"{node.name} does not run" for node in self.nodes if not node.running]
        if wrong:
            return wrong
        wrong += [f"{node.name} is not well" for node in self.nodes if (node.told("/healthz") or {}).get("status") != "ok"]
        if not any(self._meta_whole(node) for node in self.nodes):
            wrong.append("the cluster has no leader, or a node is behind")
        known = {name for node in self.nodes for name in _streams_of(node)}
        led = {name: found for node in self.nodes for name, found in _streams_of(node).items() if found.get("leader") == node.name}
        wrong += [f"{name} is not led" for name in sorted(known - led.keys())]
        wrong += [f"{name} has a replica behind: {found}" for name, found in led.items() if not _whole(found)]
        return wrong

    def bytes_found(self, needle: bytes) -> list[Path]:
        """The files of all nodes in which *needle* is."""
        found = holding(*(node.folder for node in self.nodes), needle=needle)
        return [path for path in found if path.name != "broker.conf"]

    def _spawn(self, node: NatsNode) -> None:
        node.spawn(routes=[self._ports[node.number, other.number] for other in self.nodes if other is not node])

    def _move(self, stream: str, number: int) -> bool:
        """Whether the node leads *stream*; if not, its leader is asked to hand over to it."""
        if self.leader(stream) == number:
            return True
        asyncio.run(self._step_down(stream, self.nodes[number].name))
        return False

    async def _step_down(self, stream: str, preferred: str) -> None:
        client = await nats.connect(self.url.split(","), user=self.user, password=self.password)
        try:
            body = json.dumps({"placement": {"preferred": preferred}}).encode()
            await client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", body, timeout=_ASK_S)
        finally:
            await client.close()

    def _leader_besides(self, stream: str, besides: int | None) -> int | None:
        for node in self.nodes:
            found = _streams_of(node).get(stream)
            if node.number != besides and found is not None and found.get("leader") == node.name:
                return node.number
        return None

    def _meta_whole(self, node: NatsNode) -> bool:
        meta = (node.told("/jsz") or {}).get("meta_cluster") or {}
        others = meta.get("replicas") or []
        return meta.get("leader") == node.name and len(others) == len(self.nodes) - 1 and all(_current(other) for other in others)


def _streams_of(node: NatsNode) -> dict[str, Mapping[str, Any]]:
    """What *node* says of the replicas of each of its streams."""
    told = node.told("/jsz?accounts=true&streams=true") if node.running else None
    accounts = (told or {}).get("account_details") or []
    return {one["name"]: one.get("cluster") or {} for account in accounts for one in account.get("stream_detail") or []}


def _whole(found: Mapping[str, Any]) -> bool:
    return all(_current(other) for other in found.get("replicas") or [])


def _current(replica: Mapping[str, Any]) -> bool:
    return bool(replica.get("current")) and not replica.get("offline") and not replica.get("lag")
