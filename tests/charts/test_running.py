"""A role starts with what the chart tells it: the broker's configuration, the variables, and the Secrets as files, as they are mounted."""

import base64
import http.client
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest
from tests.support import charts
from tests.support.engines import copy_models
from tests.support.instance import Child, Instance, clean_environment, free_port, wait_until

from kalends.adapters.nats.server import find_binary

MADE = {"secrets.kek.existingSecret": '""', "secrets.credentials.existingSecret": '""', "nats.existingSecret": '""'}


@pytest.fixture
def mounted(tmp_path):
    """The objects of a small instance, and its Secrets as files below a folder, with the modes that a pod sees."""
    found = charts.objects("small", sets=MADE)
    for name, place in (("kek", "keys"), ("nats", "nats"), ("nats", "secret"), ("credentials", "credentials")):
        (tmp_path / place).mkdir()
        for key, value in charts.named(found, "Secret", f"kalends-{name}")["data"].items():
            (tmp_path / place / key).write_bytes(base64.b64decode(value))
            (tmp_path / place / key).chmod(0o440)
    pod = charts.named(found, "StatefulSet", "kalends-ingest")["spec"]["template"]["spec"]
    (tmp_path / "private").mkdir()
    copying = [part.replace("/run/kalends", str(tmp_path)) for part in pod["initContainers"][0]["command"]]
    subprocess.run(copying, check=True, timeout=30)
    return found


@pytest.fixture
def broker(mounted, tmp_path):
    """The nats-server of the pod; its port."""
    port = free_port()
    for place in ("users", "config"):
        (tmp_path / place).mkdir()
    shutil.copy(tmp_path / "secret" / "auth.conf", tmp_path / "users" / "auth.conf")
    conf = charts.named(mounted, "ConfigMap", "kalends-nats")["data"]["nats.conf"]
    conf = conf.replace("/etc/nats", str(tmp_path)).replace("0.0.0.0:4222", f"127.0.0.1:{port}")
    conf = conf.replace("0.0.0.0:8222", f"127.0.0.1:{free_port()}").replace('"/data"', f'"{tmp_path}/data"')
    (tmp_path / "config" / "nats.conf").write_text(conf, encoding="utf-8")
    command = [str(find_binary(None)), "--config", str(tmp_path / "config" / "nats.conf")]
    child = Child(command, env={**clean_environment(), "POD_NAME": "kalends-nats-0"}, errors=tmp_path / "broker.err")
    assert wait_until((tmp_path / "users" / "nats.pid").exists, seconds=30), (tmp_path / "broker.err").read_text(encoding="utf-8")
    yield port
    child.close()


@pytest.mark.parametrize("role", ["ingest", "search"])
def test_a_role_becomes_ready_with_what_the_chart_tells_it(role, mounted, broker, tmp_path):
    """And drains and ends well when it is told to."""
    container = charts.named(mounted, "StatefulSet", f"kalends-{role}")["spec"]["template"]["spec"]["containers"][0]
    told = charts.named(mounted, "ConfigMap", "kalends-settings")["data"]
    settings = {key: value.replace("/run/kalends", str(tmp_path)) for key, value in told.items()}
    settings |= {"KALENDS_LOG__URL": f"nats://127.0.0.1:{broker}", "KALENDS_HTTP__HOST": "127.0.0.1"}
    roles = container["args"][1 : container["args"].index("--data")]
    (tmp_path / role).mkdir(mode=0o700)
    copy_models(tmp_path / role / "models")
    with Instance(tmp_path / role, roles=roles, settings=settings) as one:
        one.start()
        assert wait_until(lambda: _status(one.ops_url, "/readyz") == 200, seconds=30)
        assert _status(one.ops_url, container["livenessProbe"]["httpGet"]["path"]) == 200
        assert one.token == (tmp_path / "credentials" / "token").read_text(encoding="utf-8").strip()
        assert one.terminate() == 0


def _status(url, path):
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
