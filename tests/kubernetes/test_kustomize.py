"""What kustomize makes of the tree in ``k8s``, by the real kubectl, and what the broker says to the configuration in it.

Belongs here: what only a build shows. Does not belong here: applying it (``test_newcomer.py``, ``test_chart.py``). A newcomer would get
wrong: this asks no API server, only the kubectl that is built with one.
"""

import shutil
import subprocess

import pytest
import yaml

from kalends.adapters.nats.server import find_binary
from tests.support import charts
from tests.support.kubernetes import recipe
from tests.support.kubernetes.marks import MARKS

pytestmark = MARKS


@pytest.mark.parametrize("overlay", ["dev", "prod"])
def test_the_broker_of_an_overlay_takes_its_configuration(overlay, tmp_path):
    """By the real nats-server, with the files that the script makes."""
    conf = _object(_built(f"overlays/{overlay}"), "ConfigMap", "kalends-nats")["data"]["nats.conf"]
    made = charts.made_secrets()["kalends-nats"]["stringData"]
    for folder, files in (("secret", made), ("users", made), ("config", {"nats.conf": conf})):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text, encoding="utf-8")
    command = [str(find_binary(None)), "-t", "-c", str(tmp_path / "config" / "nats.conf")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env={"POD_NAME": "kalends-nats-0"})

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("overlay", ["base", "overlays/dev", "overlays/prod"])
def test_kustomize_builds_it(overlay):
    """Each object once, all but what belongs to the cluster in the one namespace."""
    found = _built(overlay)
    names = [(one["kind"], one["metadata"]["name"]) for one in found]

    assert len(names) == len(set(names))
    assert len(names) > 30


def test_the_overlays_are_what_they_say():
    """One of everything for a laptop; policies, monitoring and no store of the chart's own in production."""
    dev, prod = _built("overlays/dev"), _built("overlays/prod")
    kinds = {one["kind"] for one in prod}
    sets = {one["metadata"]["name"]: one["spec"]["replicas"] for one in dev if one["kind"] == "StatefulSet"}

    assert set(sets.values()) == {1}
    assert {"NetworkPolicy", "PodMonitor", "PrometheusRule", "ResourceQuota"} <= kinds
    assert not [one for one in prod if one["kind"] == "StatefulSet" and one["metadata"]["name"].endswith(("-qdrant", "-opensearch"))]
    assert _object(prod, "StatefulSet", "kalends-search")["spec"]["replicas"] == 3
    assert "NetworkPolicy" not in {one["kind"] for one in dev}


def test_the_component_for_gpus_adds_a_model(tmp_path):
    """And tells every role where it is."""
    shutil.copytree(charts.ROOT / "k8s", tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "gpu"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../base]\ncomponents: [../../components/gpu]\n",
        encoding="utf-8",
    )
    found = _built("overlays/gpu", root=tmp_path / "k8s")

    assert _object(found, "ConfigMap", "kalends-settings")["data"]["KALENDS_EMBEDDER__URLS"] == "http://kalends-embedder.kalends.svc:8000"
    assert _object(found, "Deployment", "kalends-embedder")["spec"]["replicas"] == 1


def _built(place, root=charts.ROOT / "k8s"):
    done = subprocess.run(
        [str(recipe.programs() / "kubectl"), "kustomize", str(root / place)], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if one]


def _object(found, kind, name):
    return next(one for one in found if one["kind"] == kind and one["metadata"]["name"] == name)
