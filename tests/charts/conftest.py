"""What the tests of the chart share."""

import pytest

from kalends.edge.metrics import new_metrics


@pytest.fixture(scope="session")
def known_metrics() -> set[str]:
    """The names of all series that a process of Kalends gives."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
    families = new_metrics(version="0").registry.collect()
    return {f"{family.name}{suffix}" for family in families for suffix in suffixes[family.type]}
