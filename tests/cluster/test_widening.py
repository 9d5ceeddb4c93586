"""Widening by a rolling restart: processes with the old and the new number of partitions side by side, under load.

Belongs here: whole processes over one broker. Does not belong here: the log by itself (``services/test_log_widening``). A newcomer would
get wrong: the first process that starts with the larger number moves the memories, and all the others must notice by themselves.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Broker, Instance, NotStarted, wait_until
from tests.support.load import Ledger, writing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
MEMORIES = ("load", "w-a", "w-b", "w-c")
"""In four of the eight streams that there will be; the first one in the stream that the first widening leaves without slots."""
WIDER = {"KALENDS_LOG__PARTITIONS": "8"}
STREAM_BYTES = 256 << 20
QUIET_S = 300.0
SOME = 60


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that all processes join."""
    with Broker(tmp_path / "nats") as made:
        yield made.start()


@pytest.fixture
def processes(tmp_path: Path, broker: Broker, prepared: Callable[[Path], Path]) -> Iterator[dict[str, Instance]]:
    """Two of ingest, one of index and search, one of summarize; ready, with one stream of events."""
    common = tmp_path / "common"
    common.mkdir(mode=0o700)
    settings = {
        **broker.settings,
        "KALENDS_AUTH__KEY_FILE": str(common / "kek"),
        "KALENDS_AUTH__TOKEN_FILE": str(common / "token"),
        "KALENDS_MODEL__THREADS": "1",
        # the broker keeps so much free for each stream, and there will be eight
        "KALENDS_LOG__MAX_BYTES": str(STREAM_BYTES),
    }
    roles = {"ingest-1": ["ingest"], "ingest-2": ["ingest"], "search": ["index", "search"], "summarize": ["summarize"]}
    with contextlib.ExitStack() as stack:
        made = {name: Instance(prepared(tmp_path / name), roles=some, settings=settings) for name, some in roles.items()}
        for one in made.values():
            stack.enter_context(one)
            one.spawn()
        for one in made.values():
            one.ready()
        yield made
        for one in made.values():
            assert one.terminate() == 0, one.last_words


def streams_of(broker: Broker) -> list[str]:
    """The streams of events that the broker keeps on its disk."""
    found = [name for place, names, _ in os.walk(broker.folder) if place.endswith("/streams") for name in names]
    return sorted(name for name in found if name.startswith("EVENTS_"))


def acked(ledgers: list[Ledger]) -> int:
    """How many events were."""
    return sum(len(ledger.acked) for ledger in ledgers)


def test_a_rolling_restart_with_more_partitions_loses_and_doubles_nothing(broker: Broker, processes: dict[str, Instance]) -> None:
    """Every acked event is in the log once, in every list, and found; the projections agree. The first one to widen dies while doing so."""
    with verdicts.api_of(processes["ingest-1"]) as api:
        for memory in MEMORIES:
            api.make_memory(memory)
    ledgers: list[Ledger] = []
    with contextlib.ExitStack() as load:
        for number, memory in enumerate(MEMORIES):
            there = processes[f"ingest-{2 - number % 2}"]
            client = _client_of(there)
            ledgers.append(load.enter_context(writing(client, memory=memory, writers=2, largest=8, rest=0.3, seed=number)))
        _more(ledgers)
        assert streams_of(broker) == ["EVENTS_0"]
        for name, one in processes.items():
            assert one.terminate() == 0, one.last_words
            if name == "ingest-1":
                with pytest.raises(NotStarted):
                    one.start({**WIDER, "KALENDS_FAILPOINTS": "log.before-receiving=kill@2"})
                assert len(streams_of(broker)) == 3
                _more_of_each(ledgers[::2])
            one.start(WIDER)
            _more(ledgers)
    assert streams_of(broker) == [f"EVENTS_{number}" for number in range(8)]

    search = processes["search"]
    with verdicts.api_of(search) as api:
        api.quiet(seconds=QUIET_S)
        for memory, ledger in zip(MEMORIES, ledgers, strict=True):
            verdicts.nothing_lost(search, ledger, memory=memory, by_id=False)
            _found(api, ledger, memory=memory)
        verdicts.projections_agree(api, events=acked(ledgers))
        assert api.good("GET", "/dead-letters")["items"] == []
    password = broker.password_file.read_text(encoding="utf-8")
    found = verdicts.logged(broker.url, user="platform", password=password, stream_bytes=STREAM_BYTES)
    assert {event_id: times for event_id, times in found.items() if times > 1} == {}
    assert found.keys() == {event_id for ledger in ledgers for event_id in ledger.acked}
    told = {name: _timeline(one) for name, one in processes.items()}
    assert len(set(told.values())) == 1, told


def _client_of(there: Instance) -> Callable[[], Api]:
    return lambda: verdicts.api_of(there)


def _more(ledgers: list[Ledger], *, count: int = SOME) -> None:
    enough = acked(ledgers) + count
    assert wait_until(lambda: acked(ledgers) >= enough, seconds=QUIET_S), [ledger.refusals for ledger in ledgers]


def _more_of_each(ledgers: list[Ledger]) -> None:
    for ledger in ledgers:
        _more([ledger], count=5)


def _found(api: Api, ledger: Ledger, *, memory: str) -> None:
    """The last few that were acked are found by their words."""
    for event_id, (text, _) in list(ledger.acked.items())[-5:]:
        hits = api.good("POST", f"/memories/{memory}/search", {"query": text, "limit": 10, "timeout_ms": 20_000})["hits"]
        assert [hit["id"] for hit in hits].count(event_id) == 1, (text, hits)


def _timeline(one: Instance) -> str:
    """The digest of a process's own timeline, once it knows all that is in the log."""
    with verdicts.api_of(one) as api:
        api.quiet(("timeline",), seconds=QUIET_S)
        return api.digests()["timeline"]
