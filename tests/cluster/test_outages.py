"""A store or the model is away, for seconds or for ten minutes: answers say so, nothing is given up, and it mends itself.

Belongs here: OpenSearch, Qdrant and the model behind lines that are cut. Does not belong here: the log, without which nothing is written
(``test_nats_faults``). A newcomer would get wrong: a line that is held is worse than one that refuses; requests wait for their deadlines,
and what was sent arrives late, after newer writes.
"""

from collections.abc import Iterator

import pytest
from tests.support.deployment import ROLES, Deployment, Store, deployed
from tests.support.instance import wait_until
from tests.support.lines import Cut
from tests.support.trials import Trial

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
PROJECTION: dict[Store, str] = {"opensearch": "lexical", "qdrant": "vector", "model": "vector"}
SAMPLE: list[tuple[Store, Cut]] = [("opensearch", "hold"), ("qdrant", "refuse"), ("model", "hold")]
REST: list[tuple[Store, Cut]] = [("opensearch", "refuse"), ("qdrant", "hold"), ("model", "refuse")]
SHORT_S, LONG_S = 6.0, 600.0
SOON_S = 180.0
MORE_BYTES = 96 << 20
"""What a process may hold more at any moment of an outage, and of catching up, than before: caches that fill, and batches under way."""

QUICK_TO_GIVE_UP = {
    "KALENDS_OPENSEARCH__BULK_DEADLINE_S": "5",
    "KALENDS_QDRANT__WRITE_DEADLINE_S": "5",
    "KALENDS_EMBEDDER__DEADLINE_S": "5",
}


@pytest.fixture(scope="module")
def one_each(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A process of each role, all lines whole."""
    with deployed(tmp_path_factory.mktemp("outages") / "cluster", nodes=1, served=True, settings=QUICK_TO_GIVE_UP) as made:
        yield made


def outage(deployment: Deployment, store: Store, how: Cut, *, seconds: float) -> None:
    """The store is away for so long, under load; everything that must hold while it is, and afterwards."""
    trial = Trial(deployment, prefix=f"{store}-{how}-{seconds:g}", rest=0.7)
    projection = PROJECTION[store]
    with trial.goes_on():
        trial.answered("whole")
        before = {name: deployment.memory(name) for name in ROLES}
        deployment.cut(store, how=how)
        try:
            trial.answered(f"degraded {projection}")
            lag_is_told(deployment, projection, least=5)
            # the outage has to last; all the while the writers and the readers are at it
            wait_until(lambda: False, seconds=seconds, every=min(seconds, 1.0))
            lag_is_told(deployment, projection, least=5)
            deployment.becomes_ready(*ROLES, seconds=5.0)
        finally:
            deployment.heal()
        trial.answered("whole")
    trial.check()
    grown = {name: deployment.most_memory(name) - before[name] for name in ROLES}
    assert max(grown.values()) < MORE_BYTES, grown


def lag_is_told(deployment: Deployment, projection: str, *, least: int) -> None:
    """Return once every process that answers says that the projection is behind, and the metrics do."""
    for name in ("ingest", "index", "search"):
        with deployment.api(name) as api:
            told = wait_until(lambda api=api: api.status()["lag"].get(projection, {}).get("events", 0) >= least, seconds=SOON_S)  # type: ignore[misc]
            assert told, (name, api.status())
    series = f'kalends_projection_lag_messages{{projection="{projection}"}}'
    assert wait_until(lambda: deployment.metrics("index").get(series, 0.0) >= least, seconds=SOON_S, every=0.5), series


@pytest.mark.parametrize(("store", "how"), [*SAMPLE, *[pytest.param(*case, marks=pytest.mark.slow) for case in REST]])
def test_an_outage_is_said_and_mends_itself(one_each: Deployment, store: Store, how: Cut) -> None:
    """No dead letter, nothing lost, lag shown meanwhile, memory bounded, caught up without hands."""
    outage(one_each, store, how, seconds=SHORT_S)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("store", "how"), [("opensearch", "hold"), ("qdrant", "hold"), ("model", "refuse")])
def test_ten_minutes_are_no_different(one_each: Deployment, store: Store, how: Cut) -> None:
    """The same, for as long as an operator may need."""
    outage(one_each, store, how, seconds=LONG_S)
