"""kill -9 at random under load, round after round: no acked event is lost, none is there twice, each projection equals a rebuild.

The calendar, which is kept meanwhile, is whole in the end, and equals a rebuild too.

Belongs here: who is killed when, and who starts it again. Does not belong here: what must hold (``verdicts``) or the load (``load``). A
newcomer would get wrong: where the roles run apart, what a killed index had fetched comes again only after the ack wait of half a minute,
and a killed scheduler is not missed before its lease is over.
"""

import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from tests.faults.conftest import NewFolder
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Broker, Instance, alive, wait_until
from tests.support.load import Ledger, writing

LOG = logging.getLogger(__name__)
MEMORY = "kills"
ROUNDS = int(os.environ.get("KALENDS_TEST_FAULT_ROUNDS", "200"))
SAMPLE = 5
SEED = int(os.environ.get("KALENDS_TEST_FAULT_SEED", "1"))
BETWEEN_S = (0.1, 1.2)
"""Between the end of one round (everything runs again) and the next kill."""
QUIET_S = 900.0

Kill = Callable[[], None]


class Apart:
    """Ingest, index with search, summarize with scheduler, and the broker, each a process of its own."""

    def __init__(self, ingest: Instance, index: Instance, upkeep: Instance, broker: Broker) -> None:
        self.ingest = ingest
        self.index = index
        self.upkeep = upkeep
        self.broker = broker
        self.victims: Mapping[str, Kill] = {
            "ingest": partial(_again, ingest),
            "index": partial(_again, index),
            "upkeep": partial(_again, upkeep),
            "broker": self._broker,
        }

    def _broker(self) -> None:
        self.broker.kill()
        self.broker.start()


def _again(instance: Instance) -> None:
    instance.kill()
    instance.start()


@pytest.fixture
def apart(tmp_path: Path, prepared: NewFolder) -> Iterator[Apart]:
    """Four processes over one log, with one key and one token."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(tmp_path / "broker")).start()
        settings = {
            **broker.settings,
            "KALENDS_AUTH__KEY_FILE": str(tmp_path / "common" / "kek"),
            "KALENDS_AUTH__TOKEN_FILE": str(tmp_path / "common" / "token"),
        }
        (tmp_path / "common").mkdir(mode=0o700)
        ingest, index, upkeep = (
            stack.enter_context(Instance(prepared(tmp_path / roles[0]), roles=roles, settings=settings)).start()
            for roles in (["ingest"], ["index", "search"], ["summarize", "scheduler"])
        )
        yield Apart(ingest, index, upkeep, broker)


def rounds_of_kills(rounds: int, victims: Mapping[str, Kill], *, writes_to: Instance, seed: int) -> Ledger:
    """Load, and *rounds* deaths; the acked events."""
    source = random.Random(seed)
    deaths = dict.fromkeys(victims, 0)
    with verdicts.api_of(writes_to) as api:
        api.make_memory(MEMORY)
    with writing(lambda: verdicts.api_of(writes_to), memory=MEMORY, seed=seed) as ledger:
        for number in range(rounds):
            moment = time.monotonic() + source.uniform(*BETWEEN_S)
            wait_until(lambda moment=moment: time.monotonic() > moment, seconds=60)  # type: ignore[misc]
            # each in turn first, so that few rounds reach all of them
            name = list(victims)[number] if number < len(victims) else source.choice(list(victims))
            deaths[name] += 1
            victims[name]()
    LOG.info("%s rounds %s: %s acked, %s requests, %s tries, %s repeats", rounds, deaths, len(ledger.acked), *ledger.counts)
    return ledger


def check_apart(apart: Apart, ledger: Ledger) -> None:
    """Every invariant, over all processes."""
    with verdicts.api_of(apart.ingest) as ingest, verdicts.api_of(apart.index) as index, verdicts.api_of(apart.upkeep) as upkeep:
        ingest.quiet(["timeline"], seconds=QUIET_S)
        index.quiet(seconds=QUIET_S)
        check_calendar(index, ledger, writer=upkeep)
        verdicts.nothing_lost(apart.index, ledger, memory=MEMORY)
        verdicts.logged_once_at(apart.broker.url, apart.broker.password_file, ledger)
        digests = verdicts.projections_agree(index, events=len(ledger.acked))
        assert ingest.digests() == {"timeline": digests["timeline"]}
        assert [api.status()["calendar"] for api in (ingest, index)] == [None, None], "only who keeps the calendar knows what is due"
        assert upkeep.digests() == {name: digests[name] for name in verdicts.TRUTHS}
        verdicts.equal_a_fresh_rebuild(index, seconds=QUIET_S)


def check(instance: Instance, ledger: Ledger) -> None:
    """Every invariant, over one process."""
    with verdicts.api_of(instance) as api:
        api.quiet(seconds=QUIET_S)
        check_calendar(api, ledger, writer=api)
        verdicts.nothing_lost(instance, ledger, memory=MEMORY)
        verdicts.logged_once(instance, ledger)
        verdicts.projections_agree(api, events=len(ledger.acked))
        verdicts.equal_a_fresh_rebuild(api, seconds=QUIET_S)
    assert_no_letters(instance)


def check_calendar(api: Api, ledger: Ledger, *, writer: Api) -> None:
    """What *writer* keeps is whole once it has cut the sessions that still talk, too, and is what a rebuild makes of it."""
    writer.run_job("toc-day", seconds=QUIET_S)
    verdicts.calendar_done(writer, seconds=QUIET_S)
    api.quiet(seconds=QUIET_S)
    walked = verdicts.calendar_complete(api, ledger.acked, memory=MEMORY)
    LOG.info("%s nodes in %s versions", len(walked.nodes), sum(walked.versions.values()))
    verdicts.calendar_equals_a_forced_rebuild(api, walked, memory=MEMORY, writer=writer, seconds=QUIET_S)


def assert_no_letters(instance: Instance) -> None:
    """No event was given up on."""
    with verdicts.api_of(instance) as api:
        assert api.good("GET", "/dead-letters")["items"] == []


def victims_of(instance: Instance) -> Mapping[str, Kill]:
    """The whole process, which is started again, and its broker alone, which it starts again itself."""

    def whole() -> None:
        broker = instance.broker_pid
        instance.kill()
        assert wait_until(lambda: not alive(broker), seconds=5), "the broker outlived its parent"
        instance.start()

    def broker() -> None:
        pid = instance.broker_pid
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: instance.broker_pid != pid, seconds=30), instance.last_words

    return {"whole": whole, "broker": broker}


@pytest.mark.parametrize("rounds", [SAMPLE, pytest.param(ROUNDS, marks=[pytest.mark.slow, pytest.mark.timeout(3600)], id="all")])
def test_kills_of_one_process_or_its_broker_lose_and_double_nothing(instance: Instance, rounds: int) -> None:
    """Everything in one process: the process or its broker dies."""
    instance.start()

    ledger = rounds_of_kills(rounds, victims_of(instance), writes_to=instance, seed=SEED)

    check(instance, ledger)


@pytest.mark.parametrize("rounds", [SAMPLE, pytest.param(ROUNDS, marks=[pytest.mark.slow, pytest.mark.timeout(3600)], id="all")])
def test_kills_of_roles_apart_lose_and_double_nothing(apart: Apart, rounds: int) -> None:
    """Ingest, index with search, summarize with scheduler, or the broker dies."""
    ledger = rounds_of_kills(rounds, apart.victims, writes_to=apart.ingest, seed=SEED)

    check_apart(apart, ledger)
    assert_no_letters(apart.index)
