"""Everything is restarted one after another, and nobody who writes or asks is told anything wrong.

Belongs here: rolling restarts and replicas that come and go, under load. Does not belong here: what one role does without another
(``test_roles``), or stores that stay away (``test_outages``). A newcomer would get wrong: clients go on with another replica when one does
not answer, as a load balancer would have them do; what they may never get is an answer that is not true.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

import pytest
from tests.support import verdicts
from tests.support.deployment import ROLES, Deployment, deployed
from tests.support.instance import Instance
from tests.support.load import Ledger, writing
from tests.support.nats_cluster import NatsCluster
from tests.support.readers import Answers, Client, Known, Telling, lossless, reading

LOG = logging.getLogger(__name__)
pytestmark = pytest.mark.cluster
MEMORIES = ("rolling", "rolling-too")
"""Both hold the same words, so that an answer from the wrong one would show."""
PAIRS = [f"{role}-{number}" for role in ROLES for number in (1, 2)]
QUIET_S = 120.0


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two replicas of each role on three NATS nodes."""
    with deployed(tmp_path_factory.mktemp("rolling") / "cluster", *PAIRS) as made:
        yield made


class Load:
    """What eight writers and eight readers have seen."""

    def __init__(self, deployment: Deployment, *, prefix: str) -> None:
        self.deployment = deployment
        self.memories = [f"{prefix}-{name}" for name in MEMORIES]
        self.known = Known()
        self.ledgers: list[Ledger] = []
        self.answers = Answers()

    @contextlib.contextmanager
    def goes_on(self) -> Iterator[None]:
        """Load for as long as the block runs."""
        with Client(self._replicas("ingest")) as api:
            for memory in self.memories:
                api.make_memory(memory)
        with contextlib.ExitStack() as stack:
            for number, memory in enumerate(self.memories):
                client = self._writer(number)
                self.ledgers.append(stack.enter_context(writing(client, memory=memory, writers=4, seed=number)))
            self.answers = stack.enter_context(reading(lambda number: Client(self._replicas("search"), first=number), self.known))
            yield

    def _writer(self, number: int) -> Callable[[], Telling]:
        return lambda: Telling(self.known, self._replicas("ingest"), first=number)

    def _replicas(self, role: str) -> Callable[[], Sequence[Instance]]:
        return lambda: self.deployment.of_role(role)

    def check(self) -> None:
        """Nothing is lost, nothing is there twice, every projection holds the same, and no answer was wrong."""
        index, search = self.deployment.of_role("index"), self.deployment.of_role("search")
        for one in (*index, *search):
            with verdicts.api_of(one) as api:
                api.quiet(seconds=QUIET_S)
        for memory, ledger in zip(self.memories, self.ledgers, strict=True):
            verdicts.nothing_lost(search[0], ledger, memory=memory, by_id=False)
        everything = self.known.acked_ids()
        found = self.deployment.logged()
        assert {event_id: times for event_id, times in found.items() if times > 1} == {}
        assert everything <= found.keys()
        self._check_digests()
        with verdicts.api_of(index[0]) as api:
            assert api.good("GET", "/dead-letters")["items"] == []
        LOG.info("%s acked, answers %s", [len(ledger.acked) for ledger in self.ledgers], dict(self.answers.kinds))
        lossless(self.answers)

    def _check_digests(self) -> None:
        for one in self.deployment.of_role("search"):
            with verdicts.api_of(one) as api:
                digests = verdicts.projections_agree(api, seconds=QUIET_S)
        for one in self.deployment.of_role("index"):
            with verdicts.api_of(one) as api:
                assert api.digests()["timeline"] == digests["timeline"]


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


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_rolling_restart_of_everything_loses_nothing_and_no_answer_is_wrong(pairs: Deployment, which: str) -> None:
    """Every service, every NATS node and OpenSearch, one after another, while eight write and eight ask."""
    load = Load(pairs, prefix=which)
    with load.goes_on():
        for name in PAIRS if which == "all" else PAIRS[::2]:
            roll(pairs, name)
        for number in range(3 if which == "all" else 1):
            roll_nats(pairs, number)
        roll_opensearch(pairs)
        pairs.becomes_ready(*PAIRS)

    load.check()
