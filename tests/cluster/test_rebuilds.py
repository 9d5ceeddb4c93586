"""Rebuilds where several processes take part: done by both, gone on with by the other, ended from anywhere, and asked for by nobody.

Belongs here: reindexing, healing and the calendar's rebuild over real stores. Does not belong here: who may lead (``unit/wire``). A
newcomer would get wrong: a process that is killed had fetched messages, which come again to the other only after the ack wait of half a
minute; until then a rebuild cannot be whole, and is not switched to.
"""

import json
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support import verdicts
from tests.support.api import Api
from tests.support.deployment import Deployment, deployed
from tests.support.instance import wait_until
from tests.support.trials import Trial

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
PROCESSES = ("ingest", "index-1", "index-2", "search", "summarize-1", "summarize-2", "scheduler")
INDEXES = ("index-1", "index-2")
MEMORY = "rebuilds"
EVENTS, AT_ONCE = 1200, 200
WORKERS, RATE = 2, 50.0
SLOWLY = {
    "KALENDS_INDEX__REBUILD_WORKERS": str(WORKERS),
    "KALENDS_INDEX__REBUILD_RATE": str(RATE),
    "KALENDS_INDEX__HEAL_AFTER_S": "2",
    # small, so that every writer gets some of them
    "KALENDS_INDEX__LEXICAL_BATCH": "100",
    "KALENDS_INDEX__VECTOR_BATCH": "50",
}
SOON_S, LATE_S = 180.0, 600.0


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two of those that rebuild, and some hundred events."""
    with deployed(tmp_path_factory.mktemp("rebuilds") / "cluster", *PROCESSES, nodes=1, served=True, settings=SLOWLY) as made:
        with made.api("ingest") as api:
            api.make_memory(MEMORY)
            for start in range(0, EVENTS, AT_ONCE):
                events = [_event(number) for number in range(start, start + AT_ONCE)]
                assert api.append(MEMORY, events).status == 202
        with made.api("search") as api:
            api.quiet(seconds=LATE_S)
        yield made


def _event(number: int) -> dict[str, object]:
    day, month = number % 28 + 1, number // 28 % 12 + 1
    return {
        "session_id": f"s{number % 100}",
        "kind": "message",
        "role": "user",
        "text": f"a barge with {number} sacks of grain",
        "occurred_at": f"2021-{month:02}-{day:02}T10:00:00Z",
    }


def ask_for(api: Api, projection: str) -> str:
    """Ask for a rebuild; its id."""
    told = api.good("POST", "/admin/reindexes", {"projection": projection})
    return str(told["operation_id"])


def lines(deployment: Deployment, name: str, event: str, **fields: object) -> list[dict[str, Any]]:
    """What a process logged of this kind."""
    found = [json.loads(line) for line in deployment.processes[name].logs.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event and all(line.get(key) == value for key, value in fields.items())]


def written(deployment: Deployment, name: str, operation: str) -> int:
    """Events that a process wrote into the generation of *operation*."""
    found = lines(deployment, name, "wrote into a new generation", generation=f"g{operation.lower()}")
    return sum(line["events"] for line in found)


def leader_of(deployment: Deployment, operation: str, *names: str) -> tuple[str, str]:
    """Who does the operation now, and the other."""
    found: list[str] = []

    def known() -> bool:
        found[:] = [name for name in names if lines(deployment, name, "an operation is done here", operation=operation)]
        return bool(found)

    assert wait_until(known, seconds=SOON_S, every=0.1)
    assert len(found) == 1
    return found[0], next(name for name in names if name != found[0])


def progress(api: Api, operation: str, *, least: int) -> dict[str, Any]:
    """Return once it is told that so many are done, before it is over."""
    told: dict[str, Any] = {}

    def far() -> bool:
        told.update(api.good("GET", f"/operations/{operation}"))
        return bool(told["state"] == "running" and told["done"] >= least)

    assert wait_until(far, seconds=SOON_S, every=0.1), told
    return told


def left_behind(deployment: Deployment) -> dict[str, list[str]]:
    """Indexes in OpenSearch and consumers of the log that belong to no serving generation."""
    with deployment.api("index-1") as api:
        serving = set(api.status()["generations"].values())
    there = set(deployment.opensearch.ask("GET", f"/{deployment.prefix}*/_settings?filter_path=*.settings.index.uuid"))
    consumers = deployment.consumers()
    return {
        "indexes": sorted(name for name in there if not any(generation in name for generation in serving)),
        "consumers": sorted(name for name in consumers if not any(generation in name for generation in serving)),
    }


def nothing_left_behind(deployment: Deployment) -> None:
    """Return once nothing is."""
    clean: dict[str, list[str]] = {"indexes": [], "consumers": []}
    assert wait_until(lambda: left_behind(deployment) == clean, seconds=SOON_S, every=0.5), left_behind(deployment)


def agree(deployment: Deployment) -> None:
    """Return once all projections hold the same in every process; the calendar may be written while this looks."""

    def agreed() -> bool:
        told = []
        for name in ("search", *INDEXES):
            with deployment.api(name) as api:
                told.append(api.digests())
        return all(one.items() <= told[0].items() for one in told)

    with deployment.api("search") as api:
        api.quiet(seconds=LATE_S)
        verdicts.projections_agree(api, seconds=LATE_S)
    assert wait_until(agreed, seconds=LATE_S, every=0.5)


def test_two_replicas_rebuild_together_under_load_and_no_answer_is_wrong(pairs: Deployment) -> None:
    """Both write, both tell how far it is, neither writes faster than it may, and every projection is whole in the end."""
    trial = Trial(pairs, prefix="together", rest=1.5)
    with trial.goes_on(), pairs.api("index-1") as first, pairs.api("index-2") as second:
        trial.answered("whole")
        began = time.monotonic()
        operation = ask_for(first, "all")
        for api in (first, second):
            told = progress(api, operation, least=100)
            assert told["total"] >= EVENTS
        second.finished(operation, seconds=LATE_S)
        took = time.monotonic() - began
        trial.answered("whole")

    shares: dict[str, int] = {}

    def told_by_all() -> bool:
        shares.update({name: written(pairs, name, operation) for name in INDEXES})
        return min(shares.values()) > 0 and sum(shares.values()) >= 2 * EVENTS

    # lexical and vector; whoever helped says what it wrote a moment after the operation is over, and events of the load make the sum
    # alone say nothing of who is still to speak
    assert wait_until(told_by_all, seconds=SOON_S, every=0.1), shares
    # each of the writers rests after a batch, so none is done sooner, but for its first batch
    assert took > 2 * EVENTS / (RATE * WORKERS * len(INDEXES)) * 0.8, (took, shares)
    trial.check()
    nothing_left_behind(pairs)


def test_a_rebuild_is_ended_from_the_process_that_does_not_do_it(pairs: Deployment) -> None:
    """Nothing of it stays, neither index nor consumer, and what served goes on."""
    agree(pairs)
    with pairs.api("index-1") as api:
        before = api.status()["generations"]
        operation = ask_for(api, "all")
    leader, other = leader_of(pairs, operation, *INDEXES)
    with pairs.api(other) as api:
        progress(api, operation, least=100)
        assert api.ask("DELETE", f"/operations/{operation}").status in {200, 202, 204}
        assert api.good("GET", f"/operations/{operation}")["state"] == "cancelled"
        nothing_left_behind(pairs)
        assert api.status()["generations"] == before
    assert pairs.processes[leader].running
    agree(pairs)


def test_a_rebuild_survives_the_kill_of_the_process_that_leads_it(pairs: Deployment) -> None:
    """The other goes on with the same generation, and does not begin again."""
    agree(pairs)
    trial = Trial(pairs, prefix="killed", rest=1.5)
    with trial.goes_on(), pairs.api("index-1") as api:
        operation = ask_for(api, "lexical")
        leader, other = leader_of(pairs, operation, *INDEXES)
        with pairs.api(other) as watching:
            progress(watching, operation, least=EVENTS // 3)
            before = pairs.made_at(f"lexical-g{operation.lower()}")
            pairs.kill(leader)
            told = watching.finished(operation, seconds=LATE_S)
            assert watching.status()["generations"]["lexical"] == f"g{operation.lower()}"
    pairs.again(leader)

    assert told["done"] == told["total"] >= EVENTS
    # what the one that was killed had acknowledged was not written again: the consumer that knows of it is the same
    assert pairs.made_at(f"lexical-g{operation.lower()}") == before
    trial.check()
    nothing_left_behind(pairs)


@pytest.mark.parametrize("store", ["opensearch", "qdrant"])
def test_an_index_that_its_store_has_lost_is_built_anew_without_hands(pairs: Deployment, store: str) -> None:
    """Nobody writes meanwhile, nobody asks for it, and no message is given up; searches are answered by the other arm, and say so."""
    agree(pairs)
    projection = {"opensearch": "lexical", "qdrant": "vector"}[store]
    told: set[tuple[int, ...]] = set()
    missed: set[str] = set()

    def replaced() -> bool:
        reply = api.ask("POST", f"/memories/{MEMORY}/search", {"query": "sacks of grain", "limit": 3})
        told.add((reply.status, len(reply.body.get("hits", ()))))
        missed.update(reply.body.get("degraded", ()))
        return bool(api.status()["generations"][projection] != before)

    with pairs.api("search") as api:
        before = api.status()["generations"][projection]
        if store == "opensearch":
            pairs.opensearch.ask("DELETE", f"/{pairs.prefix}*{before}")
        else:
            pairs.qdrant.kill()
            shutil.rmtree(pairs.qdrant._folder)
            pairs.qdrant.start()
        assert wait_until(replaced, seconds=LATE_S, every=0.2), api.status()
    assert told == {(200, 3)}
    assert projection in missed
    agree(pairs)
    with pairs.api("index-1") as api:
        assert api.good("GET", "/dead-letters")["items"] == []
    nothing_left_behind(pairs)
    pairs.becomes_ready(*PROCESSES)


def test_the_calendar_is_rebuilt_once_and_survives_the_kill_of_the_process_that_does_it(pairs: Deployment) -> None:
    """With nothing different in it afterwards."""
    with pairs.api("summarize-1") as api:
        verdicts.calendar_done(api, seconds=LATE_S)
        before = api.digests()["toc"]
    for name in ("summarize-1", "summarize-2"):
        assert pairs.processes[name].terminate() == 0
    pairs.process("summarize-1").start({"KALENDS_FAILPOINTS": "calendar.before-settle=kill@20"})
    with pairs.api("summarize-1") as api:
        operation = str(api.good("POST", "/admin/toc-rebuilds", {})["operation_id"])
    assert wait_until(lambda: not pairs.processes["summarize-1"].running, seconds=SOON_S)
    pairs.again("summarize-2")
    pairs.again("summarize-1")

    with pairs.api("summarize-1") as api:
        api.finished(operation, seconds=LATE_S)
        verdicts.calendar_done(api, seconds=LATE_S)
        assert api.digests()["toc"] == before
