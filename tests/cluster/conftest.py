"""What the tests on a cluster share: three nodes of a test's own, and data folders that need no model built."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import conftest as faults
from tests.support.nats_cluster import NatsCluster

models, prepared = faults.models, faults.prepared


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    """Three nodes that are one cluster; all of it has ended after the test."""
    with NatsCluster(tmp_path / "cluster") as made:
        yield made.start()
