"""Each role a process of its own: any one may be down, and every other goes on.

Belongs here: what a role does without another, readiness, drain, and replicas that stand in for each other. Does not belong here: load
(``test_rolling``), or what an outage of a store costs (``test_outages``). A newcomer would get wrong: all tests share one deployment, and
one that takes something away puts it back.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.api import Api, Reply
from tests.support.deployment import ROLES, Deployment, deployed
from tests.support.instance import Broker, wait_until

from kalends.domain.events import new_ulid

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
PROCESSES = ("ingest", "index", "search", "summarize-1", "summarize-2", "scheduler-1", "scheduler-2")
MEMORY = "roles"
ENGINES = ("lexical", "vector")
SOON_S = 180.0
PAST = datetime(2023, 1, 1, 12, tzinfo=UTC)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One process of each role, and two of those that stand in for each other."""
    with deployed(tmp_path_factory.mktemp("roles") / "cluster", *PROCESSES, nodes=1) as made:
        with made.api("ingest") as api:
            api.make_memory(MEMORY)
        remember(made, until_found=True)
        yield made


@pytest.fixture(scope="module")
def away(roles: Deployment, request: pytest.FixtureRequest) -> Iterator[str]:
    """A role of which no process runs."""
    role: str = request.param
    names = [name for name in PROCESSES if name.partition("-")[0] == role]
    for name in names:
        assert roles.processes[name].terminate() == 0, roles.processes[name].last_words
    yield role
    for name in names:
        roles.again(name)
    settled(roles)


def settled(deployment: Deployment) -> None:
    """Return once everything is ready and every projection has everything."""
    deployment.becomes_ready(*PROCESSES)
    for name in ("index", "search"):
        with deployment.api(name) as api:
            api.quiet(seconds=SOON_S)


def an_event() -> dict[str, Any]:
    """Words that were never said, in a session of their own, on some day that is long over."""
    number = next(_numbers)
    return {
        "event_id": str(new_ulid(datetime.now(UTC))),
        "session_id": f"session-{number}",
        "kind": "message",
        "role": "user",
        "text": f"the heron of marsh {number}",
        "occurred_at": (PAST + timedelta(days=number)).isoformat(),
    }


def remember(deployment: Deployment, *, until_found: bool = False) -> tuple[dict[str, Any], str]:
    """Write an event; it and its token of visibility. With *until_found* return once a search finds it."""
    event = an_event()
    with deployment.api("ingest") as api:
        reply = api.append(MEMORY, [event])
    assert reply.status == 202, reply
    if until_found:
        with deployment.api("search") as api:
            found(api, event)
    return event, reply.body["visibility"]


def ask(api: Api, event: dict[str, Any], *, visibility: str | None = None, timeout_ms: int = 1000) -> Reply:
    """A question for the event."""
    more = {} if visibility is None else {"min_visibility": visibility}
    return api.ask("POST", f"/memories/{MEMORY}/search", {"query": event["text"], "timeout_ms": timeout_ms, **more})


def finds(reply: Reply, event: dict[str, Any]) -> bool:
    """Whether an answer without reservation has it."""
    body = reply.body
    return reply.status == 200 and not body["degraded"] and not body["stale"] and event["event_id"] in [hit["id"] for hit in body["hits"]]


def found(api: Api, event: dict[str, Any], *, visibility: str | None = None) -> None:
    """Return once a search finds it."""
    assert wait_until(lambda: finds(ask(api, event, visibility=visibility), event), seconds=SOON_S, every=0.2), ask(api, event)


def nodes_written(deployment: Deployment) -> int:
    """Nodes of the calendar, as whoever keeps it counts them."""
    with deployment.api("summarize-1") as api:
        return int(api.digests()["toc"].partition(":")[0])


# What each role does while another is away; *away* is the other.


def ingest_goes_on(deployment: Deployment, away: str) -> None:
    """Writes are taken, and a repetition is known as one."""
    event = an_event()
    with deployment.api("ingest") as api:
        results = [api.append(MEMORY, [event]) for _ in range(2)]
        assert [reply.status for reply in results] == [202, 202]
        assert wait_until(lambda: api.append(MEMORY, [event]).body["results"][0]["status"] == "duplicate", seconds=SOON_S)


def index_goes_on(deployment: Deployment, away: str) -> None:
    """What is written is indexed; with nobody to write, it is as ready as before and tells the truth of what it holds."""
    with deployment.api("index") as api:
        if away != "ingest":
            remember(deployment)
        api.quiet(seconds=SOON_S)
        digests: dict[str, str] = {}

        def agree() -> bool:
            digests.update(api.digests())
            return digests["lexical"] == digests["vector"]

        # the calendar may be written between any two looks
        assert wait_until(agree, seconds=SOON_S, every=0.1), digests


def search_goes_on(deployment: Deployment, away: str) -> None:
    """What was there is found; what is new is too, and if nobody indexes it the answer says that it is missing."""
    with deployment.api("search") as api:
        if away == "ingest":
            found(api, next(iter(api.events(MEMORY))))
            return
        event, visibility = remember(deployment)
        if away == "index":
            replies: list[Reply] = []

            def whole() -> bool:
                replies.append(ask(api, event, visibility=visibility))
                return replies[-1].status == 200 and (replies[-1].body["stale"], replies[-1].body["degraded"]) == (True, [])

            # most of its time goes into waiting for what does not come, and a busy machine may leave an arm too little of the rest
            assert wait_until(whole, seconds=SOON_S, every=0.1), replies[-1]
            reply = replies[-1]
            assert all(reply.body["lag"][name]["events"] >= 1 for name in ENGINES), reply.body["lag"]
            # the timeline is search's own, so whoever asks for the event has it
            assert api.event(MEMORY, event["event_id"]).status == 200
        else:
            found(api, event, visibility=visibility)


def summarize_goes_on(deployment: Deployment, away: str) -> None:
    """The calendar is kept; nobody asks for it to be without the scheduler, and nothing is new without ingest, but a rebuild is done."""
    if away in {"ingest", "scheduler"}:
        with deployment.api("summarize-1") as api:
            told = api.rebuild_calendar(seconds=SOON_S)
        assert told["done"] == told["total"] > 0
        return
    before = nodes_written(deployment)
    remember(deployment)
    assert wait_until(lambda: nodes_written(deployment) > before, seconds=SOON_S, every=0.5)


def scheduler_goes_on(deployment: Deployment, away: str) -> None:
    """Its jobs are done by whoever is there."""
    with deployment.api("scheduler-1") as api:
        api.run_job("retention" if away == "summarize" else "segment-sweep", seconds=SOON_S)


GOES_ON: dict[str, Callable[[Deployment, str], None]] = {
    "ingest": ingest_goes_on,
    "index": index_goes_on,
    "search": search_goes_on,
    "summarize": summarize_goes_on,
    "scheduler": scheduler_goes_on,
}


@pytest.mark.parametrize(("away", "role"), list(itertools.permutations(ROLES, 2)), indirect=["away"])
def test_a_role_goes_on_while_another_is_down(roles: Deployment, away: str, role: str) -> None:
    """Each pair of them; and whoever goes on stays ready."""
    GOES_ON[role](roles, away)

    roles.becomes_ready(*[name for name in PROCESSES if name.partition("-")[0] == role], seconds=5.0)


def test_index_says_its_lag_and_catches_up_when_it_is_back(roles: Deployment) -> None:
    """What was written meanwhile is behind, as every process says; then it is found with its token."""
    settled(roles)
    assert roles.processes["index"].terminate() == 0
    written = [remember(roles) for _ in range(5)]
    for name in ("ingest", "search"):
        lags_by(roles, name, 5)
    roles.again("index")

    with roles.api("search") as api:
        for event, visibility in written:
            found(api, event, visibility=visibility)


def lags_by(deployment: Deployment, name: str, events: int) -> None:
    """Return once a process says that both engines are so much behind."""
    with deployment.api(name) as api:
        assert wait_until(lambda: all(api.status()["lag"][one]["events"] >= events for one in ENGINES), seconds=SOON_S), api.status()


def test_ready_is_who_has_what_it_needs(roles: Deployment) -> None:
    """Of the stores, search and index need one of two, and the others none; everybody needs the log."""
    settled(roles)
    others = [name for name in PROCESSES if name not in {"index", "search"}]
    roles.cut("qdrant")
    with roles.api("search") as api:
        assert wait_until(lambda: _state(roles, "search", "vector") == "down", seconds=SOON_S), roles.readiness("search")
        roles.becomes_ready(*PROCESSES, seconds=5.0)
        assert api.status()["state"] == "degraded"
    roles.cut("opensearch")
    roles.becomes_ready("index", "search", ready=False)
    missing = roles.readiness("search")[1]["missing"]
    assert set(missing) == set(ENGINES)
    roles.becomes_ready(*others, seconds=5.0)
    event = an_event()
    with roles.api("ingest") as api:
        assert api.append(MEMORY, [event]).status == 202
    roles.heal()

    settled(roles)
    with roles.api("search") as api:
        found(api, event)


def test_nobody_is_ready_without_the_log_and_everybody_is_once_it_is_back(roles: Deployment) -> None:
    """By itself, and each says what it misses."""
    settled(roles)
    assert isinstance(roles.nats, Broker)
    roles.nats.kill()
    roles.becomes_ready(*PROCESSES, ready=False)
    assert [roles.readiness(name)[1]["missing"] for name in PROCESSES] == [["log"]] * len(PROCESSES)
    roles.nats.start()

    settled(roles)
    remember(roles, until_found=True)


def _state(deployment: Deployment, process: str, dependency: str) -> str:
    told = deployment.readiness(process)[1]["dependencies"]
    return str(next(one["state"] for one in told if one["name"] == dependency))


def test_the_calendar_goes_on_when_one_of_two_that_keep_it_is_killed(roles: Deployment) -> None:
    """Whichever of them was at work."""
    settled(roles)
    roles.kill("summarize-2")
    try:
        summarize_goes_on(roles, "summarize-2")
    finally:
        roles.again("summarize-2")


def test_another_scheduler_leads_when_the_one_that_leads_is_killed(roles: Deployment) -> None:
    """Within its lease, and the jobs go on."""
    settled(roles)
    leader, other = _leading(roles)
    roles.kill(leader)
    try:
        assert wait_until(lambda: _leads(roles, other), seconds=SOON_S)
        before = nodes_written(roles)
        remember(roles)
        assert wait_until(lambda: nodes_written(roles) > before, seconds=SOON_S, every=0.5)
    finally:
        roles.again(leader)


def _leading(deployment: Deployment) -> tuple[str, str]:
    names = ("scheduler-1", "scheduler-2")
    assert wait_until(lambda: sum(_leads(deployment, name) for name in names) == 1, seconds=SOON_S)
    leader = next(name for name in names if _leads(deployment, name))
    return leader, next(name for name in names if name != leader)


def _leads(deployment: Deployment, name: str) -> bool:
    return deployment.metrics(name)["kalends_scheduler_leader"] == 1.0


@pytest.mark.parametrize("name", ["ingest", "search"])
def test_a_request_under_way_is_answered_by_a_process_that_is_told_to_end(roles: Deployment, name: str) -> None:
    """Whole, although what it waits for does not come; and the process ends well."""
    settled(roles)
    assert roles.processes["index"].terminate() == 0
    event, visibility = remember(roles)
    replies: list[Reply] = []

    def request() -> None:
        with roles.api(name) as api:
            if name == "search":
                replies.append(ask(api, event, visibility=visibility, timeout_ms=6000))
            else:
                replies.append(api.ask("POST", f"/memories/{MEMORY}/events", {"events": [an_event()]}, {"Prefer": "wait=4"}))

    asking = threading.Thread(target=request)
    asking.start()
    assert wait_until(lambda: _in_flight(roles, name) >= 1, seconds=SOON_S)
    code = roles.processes[name].terminate()
    asking.join(SOON_S)
    for one in (name, "index"):
        roles.again(one)

    assert code == 0, roles.processes[name].last_words
    assert [reply.status for reply in replies] == [200 if name == "search" else 202], replies


def _in_flight(deployment: Deployment, name: str) -> float:
    return sum(value for series, value in deployment.metrics(name).items() if series.startswith("kalends_requests_in_flight"))


def test_no_process_says_what_was_said_and_every_line_of_a_log_can_be_read(roles: Deployment) -> None:
    """Whatever happened above."""
    for name in PROCESSES:
        logs = roles.processes[name].logs
        assert "heron" not in logs, name
        assert "Traceback" not in logs, (name, logs[logs.index("Traceback") - 500 :][:3000])
        for line in filter(None, logs.splitlines()):
            json.loads(line)
