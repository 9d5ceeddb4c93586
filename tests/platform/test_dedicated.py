"""Dedicated memories in whole instances: where their events lie, that they outlive a restart, and roles apart.

Belongs here: what is particular to them. What holds for both kinds is tested where it is tested for shared ones (``test_isolation``,
``test_forgetting``, ``test_split``), and servers of engines in ``tests/cluster/test_dedicated``. A newcomer would get wrong: in ``kalends
up`` the engines keep the words of each memory apart anyway, so what is seen here is the log.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.platform.people import TENANT, Person
from tests.platform.test_isolation_nats import platform_bus
from tests.support.api import Api
from tests.support.instance import Broker, Instance, wait_until

from kalends.domain.positions import stream_of_own, visibility_floors
from kalends.domain.scope import MemoryName, Scope, Tenant

LONG_AGO = "2021-03-03T12:00:00Z"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[Instance]:
    """An instance that may be stopped and started."""
    with Instance(prepared(tmp_path_factory.mktemp("dedicated") / "data"), settings={"KALENDS_SUMMARIZE__SETTLE_S": "0"}) as instance:
        yield instance.start()


@pytest.fixture
def person(alone: Instance) -> Iterator[Person]:
    """Its admin."""
    with Person(alone, alone.token) as somebody:
        yield somebody


def own_stream(memory: str) -> str:
    """The name of a memory's own stream."""
    return stream_of_own(Scope(Tenant(TENANT), MemoryName(memory)))


def subjects(person: Person, stream: str) -> dict[str, int]:
    """The subjects of what a stream of the instance holds."""

    async def ask() -> dict[str, int]:
        async with platform_bus(person) as bus:
            info = await bus.connection.jetstream().stream_info(stream, subjects_filter=">")
            return dict(info.state.subjects or {})

    return asyncio.run(ask())


def streams(person: Person) -> set[str]:
    """The streams of the instance."""

    async def ask() -> set[str]:
        async with platform_bus(person) as bus:
            return {str(info.config.name) for info in await bus.connection.jetstream().streams_info()}

    return asyncio.run(ask())


def test_everything_of_a_dedicated_memory_lies_in_its_stream(person: Person) -> None:
    """Events, chunks of documents and nodes of the calendar; of a shared one nothing does."""
    own, shared = person.make_memory("own", isolation="dedicated"), person.make_memory("beside")
    for path in (own, shared):
        person.remember(path, "the heron stands in the reeds", occurred_at=LONG_AGO)
        person.good("POST", f"{path}/documents", {"document_id": "d", "text": "# Birds\n\nHerons wait."})
        assert wait_until(lambda path=path: person.ask("GET", f"{path}/toc/toc:year:2021").status_code == 200, seconds=60)

    assert set(subjects(person, own_stream("own"))) == {f"ev.v1.s.{TENANT}.own"}
    assert {subject.rpartition(".")[2] for subject in subjects(person, "EVENTS_0")} == {"beside"}
    assert subjects(person, own_stream("own"))[f"ev.v1.s.{TENANT}.own"] == sum(subjects(person, "EVENTS_0").values())


def test_making_it_again_changes_nothing_and_another_kind_is_a_conflict(person: Person) -> None:
    """201, then 200; without a word it is what it is."""
    first = person.ask("PUT", "/memories/twice", {"isolation": "dedicated"})
    again = person.ask("PUT", "/memories/twice", {"isolation": "dedicated"})
    wordless = person.ask("PUT", "/memories/twice", {})
    other = person.ask("PUT", "/memories/twice", {"isolation": "shared"})

    assert [one.status_code for one in (first, again, wordless, other)] == [201, 200, 200, 409]
    assert wordless.json()["isolation"] == "dedicated"
    assert {one["name"]: one["isolation"] for one in person.good("GET", "/memories?limit=200")["items"]}["twice"] == "dedicated"


def test_only_an_admin_makes_one(person: Person) -> None:
    """It takes room from all others; whoever may write makes shared memories, and uses a dedicated one that is there."""
    person.make_memory("by-admin", isolation="dedicated")
    with person.with_token("append", "search", memories=None) as writer:
        assert writer.ask("PUT", "/memories/by-writer", {"isolation": "dedicated"}).status_code == 403
        assert own_stream("by-writer") not in streams(person)
        assert writer.ask("PUT", "/memories/by-writer", {}).status_code == 201
        assert writer.ask("PUT", "/memories/by-admin", {}).status_code == 200
        assert writer.remember("/memories/by-admin", "anybody may write who may write")


def test_only_the_two_kinds_exist(person: Person) -> None:
    """Anything else is refused, and nothing is made."""
    for word in ("own", "", "SHARED", None, 1):
        answer = person.ask("PUT", "/memories/strange", {"isolation": word})
        assert answer.status_code == (201 if word is None else 422), answer.text
    assert own_stream("strange") not in streams(person)


def test_it_outlives_a_restart(alone: Instance) -> None:
    """Found by both arms, in the calendar, known by its ids; and it takes more."""
    with Person(alone, alone.token) as before:
        path = before.make_memory("lasting", isolation="dedicated")
        ids = before.remember(path, "the kettle sings at dawn", "a fox crossed the yard", occurred_at=LONG_AGO)
        assert wait_until(lambda: before.ask("GET", f"{path}/toc/toc:day:2021-03-03").status_code == 200, seconds=60)
    assert alone.terminate() == 0
    alone.start()
    with Person(alone, alone.token) as after:
        assert after.good("GET", path)["isolation"] == "dedicated"
        assert after.found(path, "kettle", mode="lexical")[0] == "the kettle sings at dawn"
        assert after.found(path, "what animal was seen?", mode="vector", limit=1) == ["a fox crossed the yard"]
        assert after.good("GET", f"{path}/toc/toc:day:2021-03-03")["bullets"]
        again = {"events": [{"event_id": ids[0], "session_id": "s", "kind": "message", "text": "the kettle sings at dawn"}]}
        again["events"][0]["occurred_at"] = LONG_AGO
        told = after.good("POST", f"{path}/events", again)
        assert [one["status"] for one in told["results"]] == ["duplicate"]
        after.remember(path, "the kettle is silent")
        assert len(after.good("GET", f"{path}/events")["items"]) == 3


def test_rebuilds_and_comparisons_know_it(alone: Instance) -> None:
    """Both projections and the calendar are made anew from its stream, and nothing differs afterwards."""
    with Api(lambda: alone.url, lambda: alone.token) as api:
        api.make_memory("rebuilt", isolation="dedicated")
        items = [
            {"session_id": "s", "kind": "message", "text": f"pebble {number} on the shore", "occurred_at": LONG_AGO} for number in range(30)
        ]
        assert api.append("rebuilt", items).status == 202
        api.quiet()
        api.run_job("toc-day")
        api.quiet()
        before = api.digests()

        api.rebuild()
        api.quiet()
        assert {name: api.digests()[name] for name in ("lexical", "vector")} == {name: before[name] for name in ("lexical", "vector")}
        api.run_job("reconcile")
        said = json.dumps(api.job("reconcile"))
        assert api.digests() == before, said
        api.rebuild_calendar()
        api.quiet()
        assert api.good("GET", "/memories/rebuilt/toc/toc:day:2021-03-03")["bullets"]
        status = api.status()
        assert all(one["events"] == 0 for one in status["lag"].values()), status


def test_no_room_is_said_and_the_memory_can_be_shared_instead(tmp_path: Path, prepared: Callable[[Path], Path]) -> None:
    """429 by the broker's own bookkeeping; no memory, no stream, and the name is free."""
    settings = {"KALENDS_LOG__DEDICATED_MAX_BYTES": str(1 << 50)}
    with Instance(prepared(tmp_path / "data"), settings=settings) as instance, Person(instance.start(), instance.token) as person:
        refused = person.ask("PUT", "/memories/large", {"isolation": "dedicated"})

        assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
        assert "no room for another dedicated memory" in refused.json()["detail"]
        assert person.ask("GET", "/memories/large").status_code == 404
        assert own_stream("large") not in streams(person)
        assert person.ask("PUT", "/memories/large", {"isolation": "shared"}).status_code == 201
        assert person.remember("/memories/large", "small after all")


def test_a_process_that_did_not_make_it_takes_its_events_at_once(tmp_path: Path, prepared: Callable[[Path], Path]) -> None:
    """Made by one ingest, written to by another in the next moment, and found where neither of them runs."""
    (tmp_path / "common").mkdir(mode=0o700)
    shared = {f"KALENDS_AUTH__{name}_FILE": str(tmp_path / "common" / name.lower()) for name in ("KEY", "TOKEN")}
    with Broker(tmp_path / "nats").start() as broker, ExitStack() as stack:
        people = []
        for name, roles in (("making", ["ingest"]), ("writing", ["ingest"]), ("reading", ["index", "search"])):
            instance = stack.enter_context(Instance(prepared(tmp_path / name), roles=roles, settings={**broker.settings, **shared}))
            people.append(stack.enter_context(Person(instance.start(), instance.token)))
        making, writing, reading = people
        for number in range(3):
            memory = making.make_memory(f"hasty-{number}", isolation="dedicated")
            item = {"session_id": "s", "kind": "note", "text": f"the owl {number} calls"}
            told = writing.ask("POST", f"{memory}/events", {"events": [item]})
            assert told.status_code == 202, told.text
            assert visibility_floors(told.json()["visibility"]) == {own_stream(f"hasty-{number}"): 1}
            asked = {"query": "owl", "min_visibility": told.json()["visibility"], "timeout_ms": 20_000}
            answer = reading.good("POST", f"{memory}/search", asked)
            assert [hit["text"] for hit in answer["hits"]] == [item["text"]]
            assert not answer["stale"]
            event_id = told.json()["results"][0]["event_id"]
            again = making.good("POST", f"{memory}/events", {"events": [{**item, "event_id": event_id}]})
            assert [one["status"] for one in again["results"]] == ["duplicate"]
