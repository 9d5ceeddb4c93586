"""A process that does not know the log yet: a new replica, or one whose timeline was lost, answers for no memory before it does.

A newcomer would get wrong: the indexes are complete all the while, and it is the timeline that says of each hit whether it may be shown; so
without this such a process would find nothing, list nothing and say that what was acked is not there.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.platform.people import Person
from tests.support.instance import Instance, free_port, wait_until

STALLED = {"KALENDS_FAILPOINTS": "timeline.before-put=stall"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """One that is not started."""
    with Instance(tmp_path / "data") as made:
        yield made


def test_nothing_is_told_of_a_memory_until_the_log_has_been_followed(instance: Instance) -> None:
    """Whoever asks is told to ask again; the process says what it waits for, can be told to end, and then has everything."""
    with Person(instance.start(), instance.token) as person:
        memory = person.make_memory("diary")
        (event,) = person.remember(memory, "the heron stood in the shallow water")
    instance.terminate()
    lose_the_timeline(instance)
    port, ops = free_port(), free_port()
    instance.spawn(STALLED, flags=("--port", str(port), "--ops-port", str(ops)))
    instance.url = f"http://127.0.0.1:{port}"

    assert wait_until(lambda: missing(ops) == ["timeline", "listener"], seconds=60)
    with Person(instance, instance.token) as person:
        asked = [
            person.ask("POST", f"{memory}/search", {"query": "heron"}),
            person.ask("GET", f"{memory}/events/{event}"),
            person.ask("GET", f"{memory}/events"),
            person.ask("POST", f"{memory}/events", {"events": [{"session_id": "s", "kind": "note", "text": "another"}]}),
        ]
        assert [answer.status_code for answer in asked] == [503] * len(asked)
        assert {answer.json()["detail"] for answer in asked} == {"this process follows the log before it answers"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in asked)
        (timeline,) = [one for one in person.good("GET", "/status")["dependencies"] if one["name"] == "timeline"]
        assert timeline["state"] == "down"
    assert instance.terminate() == 0

    with Person(instance.start(), instance.token) as person:
        assert person.found(memory, "heron") == ["the heron stood in the shallow water"]
        assert person.ask("GET", f"{memory}/events/{event}").status_code == 200


def lose_the_timeline(instance: Instance) -> None:
    """As a new replica has none."""
    lost = list(instance.data.glob("timeline*"))
    assert lost != []
    for file in lost:
        file.unlink()


def missing(ops: int) -> list[str]:
    """What the process says that it lacks; nothing while it does not answer."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{ops}/readyz", trust_env=False)
    except httpx.TransportError:
        return []
    found: list[str] = json.loads(answer.content)["missing"]
    return found
