"""Trials: a deployment under load while something is done to it, and what must hold afterwards whatever it was.

Belongs here: the load of eight writers and eight readers, and the checks over all processes. Does not belong here: what is done
(``tests/cluster``). A newcomer would get wrong: what is checked is the same for a restart, an outage and a rebuild, and a check that one
of them does not meet is a defect, not a reason for another check.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

from tests.support import verdicts
from tests.support.deployment import Deployment
from tests.support.instance import Instance, wait_until
from tests.support.load import Ledger, writing
from tests.support.readers import Answers, Client, Known, Telling, lossless, reading

LOG = logging.getLogger(__name__)
_MEMORIES = ("here", "there")
"""Both hold the same words, so that an answer from the wrong one would show."""
_DIGESTS_S = 300.0
"""A digest reads everything that a store holds, which after ten minutes of eight writers is much for a machine that does much else."""
_QUIET_S = 300.0


class Trial:
    """What eight writers and eight readers of *deployment* have seen."""

    def __init__(self, deployment: Deployment, *, prefix: str, rest: float = 1.0) -> None:
        """*rest* is the pause of each of them between two requests, in seconds, on average."""
        self.deployment = deployment
        self.memories = [f"{prefix}-{name}" for name in _MEMORIES]
        self.rest = rest
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
                load = writing(self._writer(number), memory=memory, writers=4, largest=4, rest=self.rest, seed=number)
                self.ledgers.append(stack.enter_context(load))
            self.answers = stack.enter_context(reading(self._reader, self.known, rest=self.rest))
            yield

    def answered(self, kind: str, *, seconds: float = 180.0) -> None:
        """Return once some reader has had an answer of this kind (see ``Answers``) that was not there before."""
        before = self._count(kind)
        assert wait_until(lambda: self._count(kind) > before, seconds=seconds, every=0.1), dict(self.answers.kinds)

    def _count(self, kind: str) -> int:
        return sum(times for name, times in dict(self.answers.kinds).items() if name.startswith(kind))

    def _writer(self, number: int) -> Callable[[], Telling]:
        return lambda: Telling(self.known, self._replicas("ingest"), first=number)

    def _reader(self, number: int) -> Client:
        return Client(self._replicas("search"), first=number)

    def _replicas(self, role: str) -> Callable[[], Sequence[Instance]]:
        return lambda: self.deployment.of_role(role)

    def check(self) -> None:
        """Nothing is lost, nothing is there twice, every projection holds the same, and no answer was wrong."""
        index, search = self.deployment.of_role("index"), self.deployment.of_role("search")
        for one in (*index, *search):
            with verdicts.api_of(one) as api:
                api.quiet(seconds=_QUIET_S)
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
            with verdicts.api_of(one, timeout=_DIGESTS_S) as api:
                digests = verdicts.projections_agree(api, seconds=_QUIET_S)
        for one in self.deployment.of_role("index"):
            with verdicts.api_of(one, timeout=_DIGESTS_S) as api:
                assert api.digests()["timeline"] == digests["timeline"]
