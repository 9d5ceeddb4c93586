"""Check 9: with nothing but a loopback device, everything works; the script below runs in a network namespace of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

INSIDE = """
import fcntl, json, socket, struct, sys
from pathlib import Path
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2).close()
    raise SystemExit("there is a way out")
except OSError:
    pass
from tests.platform.people import Person
from tests.support.instance import Instance
with Instance(Path(sys.argv[1]) / "data") as instance, Person(instance.start(), instance.token) as person:
    memory = person.make_memory("offline")
    person.remember(memory, "the cat sleeps in the sun", "a train leaves at nine")
    kept = person.ask("POST", f"{memory}/documents", {"document_id": "d", "text": "# Plan"}, headers={"prefer": "wait=30"})
    answer = person.good("POST", f"{memory}/search", {"query": "where does the pet nap?"})
    status = person.good("GET", "/status")
    print(json.dumps({"hits": [hit["text"] for hit in answer["hits"]], "arms": answer["arms"], "degraded": answer["degraded"],
                      "state": status["state"], "kept": kept.status_code, "ended": instance.terminate()}))
"""


LOCAL_ONLY = """
import fcntl, json, os, socket, struct, subprocess, sys
from pathlib import Path
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running

def attempts():
    # packets that found no way out, which every try to connect or to look up a name is here
    names, values = [line.split()[1:] for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")]
    six = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(dict(zip(names, values))["OutNoRoutes"]) + int(six["Ip6OutNoRoutes"])

def tried(act):
    before = attempts()
    act()
    return attempts() - before

def connect():
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=2).close()
        raise SystemExit("there is a way out")
    except OSError:
        pass

noticed = tried(connect)
settings = {"KALENDS_NETWORK__LOCAL_ONLY": "true", "KALENDS_NETWORK__ALLOWED": "10.0.0.0/8, models.internal:8000"}
from tests.platform.people import Person
from tests.support.instance import Instance, NotStarted

def live():
    with Instance(Path(sys.argv[1]) / "data", settings=settings) as instance, Person(instance.start(), instance.token) as person:
        memory = person.make_memory("offline")
        person.remember(memory, "the cat sleeps in the sun", "a train leaves at nine")
        found.extend(person.found(memory, "where does the pet nap?"))

def demonstrate():
    command = [sys.executable, "-m", "kalends.app.cli", "demo", "--json", "--data", str(Path(sys.argv[1]) / "demo")]
    ended.append(subprocess.run(command, env={**os.environ, **settings}, capture_output=True, timeout=240).returncode)

found, ended = [], []
told = {"noticed": noticed, "up": tried(live), "demo": tried(demonstrate), "found": found[0], "ended": ended}
try:
    outside = {**settings, "KALENDS_SUMMARIZE__CHAT_URL": "https://models.example/v1"}
    with Instance(Path(sys.argv[1]) / "data", settings=outside) as instance:
        instance.start()
except NotStarted as error:
    told["refused"] = error.words.strip().splitlines()[-1]
print(json.dumps(told))
"""


def own_network() -> list[str] | None:
    """The command that gives a process a network of its own, if this user may."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    command = [unshare, "--net", "--map-root-user"]
    return command if subprocess.run([*command, "true"], capture_output=True, check=False, timeout=10).returncode == 0 else None


def inside(script: str, tmp_path: Path, *, seconds: float) -> dict[str, Any]:
    """What *script* tells in a network of its own."""
    command = own_network()
    if command is None:
        pytest.skip("this user may not make a network namespace")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=environment,
        cwd=root,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def test_an_instance_ingests_and_answers_without_any_network(tmp_path: Path) -> None:
    """A paraphrase is found, so the model is there too."""
    told = inside(INSIDE, tmp_path, seconds=180)

    assert told["hits"][0] == "the cat sleeps in the sun"
    assert told["arms"] == ["lexical", "vector", "rerank"]
    assert told == {**told, "degraded": [], "state": "up", "kept": 200, "ended": 0}


@pytest.mark.timeout(400)
def test_local_only_tries_to_reach_nobody_and_refuses_to_be_told_to(tmp_path: Path) -> None:
    """A whole instance and the demonstration, counted by the kernel, which notices a single try; and an address outside is no start."""
    told = inside(LOCAL_ONLY, tmp_path, seconds=380)

    assert told["noticed"] >= 1
    assert (told["up"], told["demo"]) == (0, 0)
    assert told["found"] == "the cat sleeps in the sun"
    assert told["ended"] == [0]
    assert "summarize.chat_url: models.example is neither loopback nor in network.allowed" in told["refused"]
