"""One control plane for each worker, with the CRDs in it, and a namespace for each test.

A newcomer would get wrong: two workers do not share one. It costs five seconds of CPU to start another and three hundredths of a core
while it idles, and a test may restart its API server without anybody else noticing.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.support.instance import Instance
from tests.support.kubernetes.api import documents
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.operating import Operated


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster that knows the five kinds of resources; it is built at first need."""
    with ControlPlane(tmp_path_factory.mktemp("kubernetes")) as plane:
        plane.start()
        crds = [
            document for path in sorted((ROOT / "charts/kalends/crds").glob("*.yaml")) for document in documents(path.read_text("utf-8"))
        ]
        plane.api.install(crds)
        yield plane


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own, in which the strictest level of pod security is enforced."""
    name = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    if cluster.api.exists("Namespace", name):
        cluster.api.delete("Namespace", name)


@pytest.fixture(scope="session")
def kalends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Kalends beside the cluster, as a process of its own."""
    data = tmp_path_factory.mktemp("kalends") / "data"
    kept = os.environ.get("KALENDS_TEST_MODELS")
    if kept and any(Path(kept).glob("*.onnx")):
        shutil.copytree(kept, data / "models")
    with Instance(data, settings={"KALENDS_ERASURE__FENCE_S": "1"}) as instance:
        yield instance.start()


@pytest.fixture
def operated(cluster: ControlPlane, kalends: Instance, namespace: str, tmp_path: Path) -> Iterator[Operated]:
    """An operator of the test's own namespace, not started."""
    with Operated(cluster, kalends, namespace, tmp_path) as made:
        yield made
