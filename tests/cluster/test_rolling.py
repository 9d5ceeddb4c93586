"""Everything is restarted one after another, and nobody who writes or asks is told anything wrong.

Belongs here: rolling restarts and replicas that come and go, under load. Does not belong here: what one role does without another
(``test_roles``), or stores that stay away (``test_outages``). A newcomer would get wrong: clients go on with another replica when one does
not answer, as a load balancer would have them do; what they may never get is an answer that is not true.
"""

from collections.abc import Iterator

import pytest
from tests.support.deployment import ROLES, Deployment, deployed
from tests.support.nats_cluster import NatsCluster
from tests.support.trials import Trial

from kalends.adapters.nats import NatsOptions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
ACK_WAIT_S = NatsOptions().redelivery[0]
PAIRS = [f"{role}-{number}" for role in ROLES for number in (1, 2)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two replicas of each role on three NATS nodes."""
    with deployed(tmp_path_factory.mktemp("rolling") / "cluster", *PAIRS, served=True) as made:
        yield made


def roll(deployment: Deployment, name: str) -> None:
    """End a process gently, and start one in its place."""
    assert deployment.processes[name].terminate() == 0, deployment.processes[name].last_words
    deployment.again(name)


def roll_nats(deployment: Deployment, number: int) -> None:
    """End a node as an operator does, start it again, and wait until the cluster is whole."""
    assert isinstance(deployment.nats, NatsCluster)
    deployment.nats.stop(number)
    deployment.nats.restart(number)
    deployment.nats.settled()


def roll_opensearch(deployment: Deployment) -> None:
    """The only node: while it starts, answers do without it."""
    deployment.opensearch.stop()
    deployment.opensearch.start()


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_rolling_restart_of_everything_loses_nothing_and_no_answer_is_wrong(pairs: Deployment, which: str) -> None:
    """Every service, every NATS node and OpenSearch, one after another, while eight write and eight ask."""
    trial = Trial(pairs, prefix=which)
    with trial.goes_on():
        for name in PAIRS if which == "all" else PAIRS[::2]:
            roll(pairs, name)
        for number in range(3 if which == "all" else 1):
            roll_nats(pairs, number)
        roll_opensearch(pairs)
        pairs.becomes_ready(*PAIRS)

    trial.check()


def test_replicas_that_come_and_go_lose_nothing_and_no_answer_is_wrong(pairs: Deployment) -> None:
    """One more of index and of search, then one of each killed, then one of each told to end, while eight write and eight ask."""
    trial = Trial(pairs, prefix="come-and-go")
    with trial.goes_on():
        trial.answered("whole")
        pairs.start("index-3", "search-3")
        trial.answered("whole")
        for name in ("index-1", "search-1"):
            pairs.kill(name)
        trial.answered("whole")
        pairs.stop(["index-3", "search-3"])
        for name in ("index-1", "search-1"):
            pairs.again(name)
        trial.answered("whole")

    trial.check()


def test_what_a_replica_had_begun_another_goes_on_with_at_once(pairs: Deployment) -> None:
    """One that is told to end hands it back, so nothing waits until its time to ack is over."""
    trial = Trial(pairs, prefix="handed-back", rest=0.5)
    with trial.goes_on():
        trial.answered("whole")
        assert pairs.processes["index-2"].terminate() == 0
    with pairs.api("index-1") as api:
        api.quiet(seconds=ACK_WAIT_S - 5)
    pairs.again("index-2")

    trial.check()
