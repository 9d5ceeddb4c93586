"""An instance that lives for as long as is asked, with a fault or heavy work every few seconds under 8 writers and 8 readers.

Belongs here: which fault comes when, and what is seen of memory, files and threads meanwhile. Does not belong here: what must hold
(``verdicts``). A newcomer would get wrong: the process itself is killed in the first half only; in the second one process lives through
everything else, so that whatever it leaks is seen. An index takes memory for each event that it holds, which is no leak: in the second half
the writers rest longer, so that there is little more of it in the end.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from tests.faults.conftest import NewFolder
from tests.faults.test_kill import MEMORY, check, victims_of
from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.instance import Instance, wait_until
from tests.support.load import AGAIN, Ledger, an_event, writing
from tests.support.readers import Answers, Client, Known, Telling, lossless, reading
from tests.support.watching import MIB, Growth, Watch, curve, growth, spread

MINUTES = float(os.environ.get("KALENDS_TEST_SOAK_MINUTES", "30"))
SEED = int(os.environ.get("KALENDS_TEST_FAULT_SEED", "1"))
FORGOTTEN = "forgotten"
BETWEEN_S = (2.0, 8.0)
"""Between the end of one fault and the next."""
STALL_S = (0.5, 4.0)
LOOK_S = 2.0
REST_S, LONG_REST_S = 3.0, 20.0
"""Between two writes of a writer, in the first half and in the second."""
AT_MOST = {"memory": 1.1, "own": 1.15, "files": 1.1, "threads": 1.1}
"""What may be held late in a life, as a part of what was held early. Its own memory is about half of all, so that the same noise is a
larger part of it."""

Fault = Callable[[random.Random], None]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(MINUTES * 60 + 2400)]


class Soak:
    """What can happen to *instance*, and how often it did."""

    def __init__(self, instance: Instance, *, seed: int) -> None:
        self.instance = instance
        self.source = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.forgotten: list[str] = []
        self.rest = REST_S
        self.acked_while_killed = 0
        victims = victims_of(instance)
        self.gentle: Mapping[str, Fault] = {
            "broker killed": lambda _: victims["broker"](),
            "broker stalled": partial(self._stall, lambda: instance.broker_pid),
            "process stalled": partial(self._stall, lambda: instance.pid),
            "rebuild": lambda _: self._ask("/admin/reindexes", {"projection": "all"}),
            "calendar anew": lambda _: self._ask("/admin/toc-rebuilds", {}),
            "backup": lambda _: self._ask("/admin/backups", {"all": True}),
            "erasure": self._forget,
        }
        self.hard: Mapping[str, Fault] = {"process killed": lambda _: victims["whole"]()}

    def go(self, faults: Mapping[str, Fault], *, seconds: float) -> None:
        """Have one of *faults* happen after the other, each in turn first, for so long."""
        end, waiting = time.monotonic() + seconds, list(faults)
        while time.monotonic() < end:
            moment = time.monotonic() + self.source.uniform(*BETWEEN_S)
            wait_until(lambda moment=moment: time.monotonic() > moment, seconds=60)  # type: ignore[misc]
            name = waiting.pop() if waiting else self.source.choice(list(faults))
            faults[name](self.source)
            self.happened[name] += 1

    def _stall(self, pid: Callable[[], int], source: random.Random) -> None:
        stalled = pid()
        os.kill(stalled, signal.SIGSTOP)
        moment = time.monotonic() + source.uniform(*STALL_S)
        wait_until(lambda: time.monotonic() > moment, seconds=60)
        os.kill(stalled, signal.SIGCONT)

    def _ask(self, path: str, body: Mapping[str, object]) -> None:
        """Ask until it is taken; 409 says that the same is under way."""

        def taken(api: Api) -> bool:
            reply = api.ask("POST", path, dict(body))
            assert reply.status in {200, 201, 202, 409} | AGAIN, reply
            return reply.status not in AGAIN

        self._until(taken)

    def _forget(self, source: random.Random) -> None:
        session = f"talk-{len(self.forgotten)}"
        events = [an_event(source, session=session) for _ in range(10)]
        self._until(lambda api: api.append(FORGOTTEN, events).status in {200, 202})
        self._ask(f"/memories/{FORGOTTEN}/erasures", {"session_id": session})
        self.forgotten += [str(event["event_id"]) for event in events]

    def _until(self, done: Callable[[Api], bool]) -> None:
        def tried() -> bool:
            try:
                return done(api)
            except Away:
                return False

        with verdicts.api_of(self.instance) as api:
            assert wait_until(tried, seconds=120, every=0.1), self.instance.last_words[-2000:]

    def settle(self) -> None:
        """Return once all that was asked for is done: nothing that was forgotten is found, and every long piece of work succeeded."""

        def over(api: Api) -> bool:
            erasures = api.good("GET", f"/memories/{FORGOTTEN}/erasures?limit=200")["items"]
            works = api.good("GET", "/operations?limit=200")["items"]
            return {one["state"] for one in erasures} <= {"erased"} and not {one["state"] for one in works} & {"queued", "running"}

        with verdicts.api_of(self.instance, timeout=60.0) as api:
            assert wait_until(lambda: over(api), seconds=600, every=0.5), api.good("GET", "/operations?limit=200")
            assert {one["state"] for one in api.good("GET", "/operations?limit=200")["items"]} <= {"succeeded", "cancelled"}
            assert {api.event(FORGOTTEN, event_id).status for event_id in self.forgotten} <= {404, 410}
            assert list(api.events(FORGOTTEN)) == []


def told(soak: Soak, ledger: Ledger, answers: Answers, watch: Watch, grown: Growth) -> str:
    """What happened, as one line each."""
    samples, life = watch.samples, watch.last_life()
    return "\n".join(
        (
            f"soak of {MINUTES:g} minutes: {len(ledger.acked)} acked, {ledger.repeats} repeats, answers {dict(answers.kinds)}",
            f"of those {soak.acked_while_killed} while the process was killed now and then, in the first half",
            f"faults: {dict(soak.happened)}",
            f"memory in MiB by minute: {curve(samples)}",
            f"last life, second and last sixth: memory {grown.memory[0] / MIB:.0f} and {grown.memory[1] / MIB:.0f} MiB",
            f"of that its own {grown.own[0] / MIB:.0f} and {grown.own[1] / MIB:.0f} MiB",
            f"least, median and most by sixth of the last life: open files {spread(life, lambda one: one.files)}",
            f"threads {spread(life, lambda one: one.threads)}",
            f"the least of the second and third sixth, and of the last two: open files {grown.files[0]} and {grown.files[1]}",
            f"threads {grown.threads[0]} and {grown.threads[1]}",
        )
    )


@pytest.fixture
def instance(tmp_path: Path, prepared: NewFolder) -> Iterator[Instance]:
    """An instance that shares no memory with others."""
    with Instance(prepared(tmp_path / "data"), fork=False) as made:
        yield made
    assert made.left_running() == []


def test_a_long_life_with_a_fault_every_few_seconds(instance: Instance, record_property: Callable[[str, object], None]) -> None:
    """Nothing is lost, doubled or wrong, what was forgotten stays so, and memory, files and threads stay where they were."""
    instance.start()
    soak, known, everything = Soak(instance, seed=SEED), Known(), lambda: [instance]
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        api.make_memory(FORGOTTEN)
    load = writing(lambda: Telling(known, everything), memory=MEMORY, rest=lambda: soak.rest, seed=SEED, give_up_s=180.0)
    asking = reading(lambda _: Client(everything), known, rest=1.0, seed=SEED)
    with Watch(lambda: instance.pid, every=LOOK_S) as watch, load as ledger, asking as answers:
        soak.go({**soak.gentle, **soak.hard}, seconds=MINUTES * 30)
        soak.rest, soak.acked_while_killed = LONG_REST_S, len(ledger.acked)
        soak.go(soak.gentle, seconds=MINUTES * 30)

    soak.settle()
    check(instance, ledger)
    lossless(answers)
    grown = growth(watch.last_life())
    record_property("figure", told(soak, ledger, answers, watch, grown))
    for name, most in AT_MOST.items():
        early, late = getattr(grown, name)
        assert late <= early * most, told(soak, ledger, answers, watch, grown)
