"""The example of an agent's pod, against a real instance, with the Secret as the operator writes it."""

import json
import subprocess
import sys

import pytest
import yaml
from tests.architecture import sources
from tests.support.instance import clean_environment, wait_until

from kalends.client import Kalends
from kalends.kit import nkeys

EXAMPLE = sources.ROOT / "examples" / "agent-pod"


@pytest.fixture
def secret(instance, tmp_path):
    """The folder that a mounted Secret is."""
    pair = nkeys.new_pair("user")
    with Kalends(instance.url, token=instance.token) as admin:
        admin.create_memory("ferry")
        token = admin.create_token(memories=["ferry"], role="writer", label="example")
        agent = admin.create_agent(pair.public, memories=["ferry"], role="writer", label="example")
    told = json.loads((instance.data / "instance.json").read_bytes())
    files = {
        "url": told["url"],
        "nats_url": told["nats_url"],
        "memory": "ferry",
        "subject_prefix": "kalends.v1.local.ferry",
        "inbox_prefix": f"_INBOX_{agent.agent_id}",
        "token": token.secret,
        "nkey_seed": pair.seed,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    broker = instance.data / "nats" / "broker.conf"
    assert wait_until(lambda: pair.public in broker.read_text(encoding="utf-8"), seconds=30)
    return tmp_path


def test_the_agent_remembers_over_http_and_recalls_over_nats(secret):
    """With what stands in its Secret, and nothing else."""
    environment = {**clean_environment(), "AGENT_SECRET": str(secret)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "agent.py")], check=False, capture_output=True, text=True, timeout=60, env=environment
    )

    assert done.returncode == 0, done.stderr
    assert "over HTTP: wrote" in done.stdout
    assert "over NATS: found ['The ferry leaves pier nine at noon.']" in done.stdout


def test_the_pod_mounts_the_secret_that_the_operator_writes():
    """By the name that it has if none is given."""
    naming = pytest.importorskip("kalends_operator.desired.naming", reason="the operator is not there")
    memory, job = yaml.safe_load_all((EXAMPLE / "manifest.yaml").read_text(encoding="utf-8"))
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}

    assert volumes["memory"]["secret"]["secretName"] == naming.secret_of(memory["metadata"]["name"], "")
