"""Check 9: with nothing but a loopback device, everything works; the script below runs in a network namespace of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def own_network() -> list[str] | None:
    """The command that gives a process a network of its own, if this user may."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    command = [unshare, "--net", "--map-root-user"]
    return command if subprocess.run([*command, "true"], capture_output=True, check=False, timeout=10).returncode == 0 else None


def test_an_instance_ingests_and_answers_without_any_network(tmp_path: Path) -> None:
    """A paraphrase is found, so the model is there too."""
    command = own_network()
    if command is None:
        pytest.skip("this user may not make a network namespace")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, sys.executable, "-c", INSIDE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=environment,
        cwd=root,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["hits"][0] == "the cat sleeps in the sun"
    assert told["arms"] == ["lexical", "vector", "rerank"]
    assert told == {**told, "degraded": [], "state": "up", "kept": 200, "ended": 0}
