"""What the tests of the chart share."""

import pytest

from kalends.edge.metrics import new_metrics


@pytest.fixture(scope="session")
def known_metrics() -> set[str]:
    """The names of all series that a process of Kalends gives."""
    return set(new_metrics(version="0").catalogue)
