"""What is said of answers is counted by who may search, and by nobody else."""

import httpx
import pytest
from tests.platform.people import Person
from tests.support.instance import Instance

from kalends.client import Kalends
from kalends.domain.errors import NotFound

ABSENT = "01JB0000000000000000000000"


@pytest.fixture(scope="module")
def event_id(admin: Person) -> str:
    """Something that was found, in the memory ``judged``."""
    admin.make_memory("judged")
    answer = admin.good("POST", "/memories/judged/events", {"events": [{"session_id": "s", "kind": "note", "text": "a lamp at the ferry"}]})
    return str(answer["results"][0]["event_id"])


def counted(instance: Instance) -> dict[str, float]:
    """What the metrics say of feedback."""
    lines = httpx.get(f"{instance.ops_url}/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("kalends_feedback_")}


def test_what_is_said_of_an_answer_is_counted(admin: Person, instance: Instance, event_id: str) -> None:
    """By verdict, with how satisfied somebody was; a reader may, over HTTP and by the SDK."""
    before = counted(instance)
    with admin.with_token("search", memories=["judged"]) as reader:
        assert reader.good("POST", "/memories/judged/feedback", {"verdict": "useful", "event_id": event_id, "satisfaction": 5})
        with Kalends(instance.url, token=reader.token) as kalends:
            assert kalends.memory("judged").feedback("missing", satisfaction=2).verdict == "missing"
    after = counted(instance)

    for series, grown in (
        ('kalends_feedback_total{verdict="useful"}', 1),
        ('kalends_feedback_total{verdict="missing"}', 1),
        ("kalends_feedback_satisfaction_count", 2),
        ("kalends_feedback_satisfaction_sum", 7),
    ):
        assert after[series] - before.get(series, 0) == grown, series


def test_nothing_is_counted_that_is_about_nothing(admin: Person, stranger: Person, instance: Instance, event_id: str) -> None:
    """Of an event that is not there, of one that was missing and named, of a memory of others, or without a verdict that is one."""
    before = counted(instance)

    for who, memory, body, status in (
        (admin, "judged", {"verdict": "useful", "event_id": ABSENT}, 404),
        (admin, "judged", {"verdict": "missing", "event_id": event_id}, 422),
        (admin, "judged", {"verdict": "useful", "satisfaction": 6}, 422),
        (admin, "judged", {"verdict": "splendid"}, 422),
        (admin, "nowhere", {"verdict": "useful"}, 404),
        (stranger, "judged", {"verdict": "useful", "event_id": event_id}, 404),
    ):
        assert who.ask("POST", f"/memories/{memory}/feedback", body).status_code == status, body
    with admin.with_token("append", memories=["judged"]) as writer:
        assert writer.ask("POST", "/memories/judged/feedback", {"verdict": "useful"}).status_code == 403
    with Kalends(instance.url, token=admin.token) as kalends, pytest.raises(NotFound):
        kalends.memory("judged").feedback("wrong", event_id=ABSENT)

    assert counted(instance) == before
