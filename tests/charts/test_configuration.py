"""What the chart tells the programs is what they understand."""

import base64
import re
import shutil
import subprocess

import pytest
from tests.support import charts

from kalends import settings
from kalends.adapters.nats.server import find_binary
from kalends.app import container, gateway, rights
from kalends.edge import tls

EVERYWHERE = pytest.mark.parametrize("name", charts.SETS)
ROLES = ("ingest", "index", "search", "summarize", "scheduler")


def _told(found, role):
    """The variables of a role's container, as its process sees them; None where the role has no pods."""
    prefix = "memory" if any(one["metadata"]["name"] == "memory-settings" for one in found) else "kalends"
    sets = [one for one in found if one["kind"] == "StatefulSet" and one["metadata"]["name"] == f"{prefix}-{role}"]
    if not sets:
        return None
    container_ = sets[0]["spec"]["template"]["spec"]["containers"][0]
    common = charts.named(found, "ConfigMap", container_["envFrom"][0]["configMapRef"]["name"])["data"]
    return {**common, **{one["name"]: one["value"] for one in container_.get("env", [])}}, container_


@EVERYWHERE
@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_a_setting_and_the_role_can_be_built_with_them(name, role):
    """The loader refuses what it does not know."""
    told = _told(charts.objects(name), role)
    if told is None:
        assert (name, role) == ("small", "index")
        return
    variables, container_ = told
    loaded = settings.load(file=None, environment=variables)
    roles = [one for one in ROLES if one in container_["args"]]

    container.check_roles(roles, loaded)
    tls.check_plain(loaded.http, loaded.tls)


@EVERYWHERE
@pytest.mark.parametrize("role", ROLES)
def test_every_file_that_a_setting_names_is_mounted(name, role):
    """A path that nothing is mounted at would stop the start."""
    told = _told(charts.objects(name), role)
    variables, container_ = told or ({}, {"volumeMounts": []})
    mounts = {mount["mountPath"] for mount in container_["volumeMounts"]}
    paths = [value for key, value in variables.items() if value.startswith("/run/") and not key.startswith("KALENDS_KEYS__FOLDER")]

    assert [path for path in paths if path.rpartition("/")[0] not in mounts] == []


def test_backups_go_to_their_claim_and_into_no_other_pod():
    """Only ingest writes them."""
    found = charts.objects("external")
    mounted = [where for where, pod in charts.pods(found) if any("persistentVolumeClaim" in one for one in pod["volumes"])]
    variables, container_ = _told(found, "ingest")

    assert mounted == ["StatefulSet/kalends-ingest"]
    assert variables["KALENDS_BACKUP__FOLDER"] in {mount["mountPath"] for mount in container_["volumeMounts"]}


def test_a_roles_own_settings_win():
    """They are variables of its container, beside those of all."""
    variables, _ = _told(charts.objects("gpu"), "search")

    assert settings.load(file=None, environment=variables).search.arm_deadline_s == 1.5


@pytest.mark.parametrize("name", ["generated", "mirror", "small"])
def test_the_broker_takes_its_configuration(name, tmp_path):
    """By the real nats-server, with files where the pod has them."""
    sets = {"nats.existingSecret": '""', "fullnameOverride": '"kalends"'}
    found = charts.objects(name, sets=sets)
    secret = charts.named(found, "Secret", "kalends-nats")["data"]
    texts = {f"secret/{key}": base64.b64decode(value).decode() for key, value in secret.items()}
    texts["users/auth.conf"] = texts["secret/auth.conf"]
    texts["config/nats.conf"] = charts.named(found, "ConfigMap", "kalends-nats")["data"]["nats.conf"].replace("/etc/nats", str(tmp_path))
    if name == "mirror":
        _certificate(tmp_path / "tls")
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    command = [str(find_binary(None)), "-t", "-c", str(tmp_path / "config" / "nats.conf")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env={"POD_NAME": "kalends-nats-0"})

    assert done.returncode == 0, done.stderr
    assert "sync_interval: always" in texts["config/nats.conf"]


def _certificate(folder):
    from kalends.app import authority

    places = authority.begin(folder.with_name("authority"), hosts=["nats"])
    folder.mkdir()
    shutil.copy(places.certificate, folder / "tls.crt")
    shutil.copy(places.key, folder / "tls.key")
    shutil.copy(places.ca, folder / "ca.crt")


def test_streams_leave_room_in_the_brokers_volume():
    """A broker that believes to have more than the disk stops when it is full; this one says no before."""
    conf = charts.named(charts.objects("default"), "ConfigMap", "kalends-nats")["data"]["nats.conf"]
    (room,) = re.findall(r"max_file_store: (\d+)", conf)

    assert int(room) < 64 << 30


def test_the_gateway_sends_each_operation_to_a_role_that_has_it():
    """Whatever has no row is had by ingest; what index, search, summarize and scheduler have for themselves has one."""
    text = (charts.CHART / "files" / "routes.conf").read_text(encoding="utf-8")
    rules = [(re.compile(found[1]), found[2]) for found in re.finditer(r'"~(\^(?:GET|POST|PUT|PATCH|DELETE) .+)" (\w+);', text)]
    owners = {row.name: role for role, rows in gateway.rows().items() for row in rows}

    for row in rights.rows():
        request = f"{row.method} /v1" + re.sub(r"\{[a-z_]+\}", "any-1", row.path)
        chosen = next((role for rule, role in rules if rule.match(request)), "ingest")
        assert chosen == owners.get(row.name, "ingest"), row.name


def test_the_operator_knows_its_variables():
    """As its own settings do."""
    operator = pytest.importorskip("kalends_operator.settings", reason="the operator is not there")
    for name in ("default", "mirror", "external"):
        found = charts.objects(name)
        pod = next(pod for where, pod in charts.pods(found) if where.startswith("Deployment/") and where.endswith("-operator"))
        operator.load({one["name"]: one["value"] for one in pod["containers"][0]["env"]})
