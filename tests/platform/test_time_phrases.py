"""Time phrases from the request to the answer, over HTTP, the SDK and the command line."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from tests.platform.people import Person
from tests.support.instance import Instance, clean_environment

from kalends.client import Kalends

RECENT = "The lighthouse lamp was cleaned by Ada."
OLD = "The lighthouse lamp was replaced by Bob."
QUESTION = "What happened to the lighthouse lamp in the last 3 days?"


@pytest.fixture(scope="module")
def memory(admin: Person) -> str:
    """Something from yesterday, and something from long ago."""
    path = admin.make_memory("time-phrases")
    now = datetime.now(UTC)
    admin.remember(path, RECENT, occurred_at=(now - timedelta(days=1)).isoformat(), session_id="recent")
    admin.remember(path, OLD, occurred_at=(now - timedelta(days=90)).isoformat(), session_id="old")
    return path


def test_a_question_with_a_time_phrase_is_narrowed_down_and_says_so(admin: Person, memory: str) -> None:
    """With the phrase, its ends and what they did."""
    answer = admin.good("POST", f"{memory}/search", {"query": QUESTION})

    told = answer["time_filter"]
    assert [hit["text"] for hit in answer["hits"]] == [RECENT]
    assert (told["phrase"], told["mode"], told["applied"]) == ("in the last 3 days", "filter", True)
    assert datetime.fromisoformat(told["from"]) < datetime.now(UTC) < datetime.fromisoformat(told["to"])


@pytest.mark.parametrize("more", [{"time_phrases": False}, {"filter": {"from": "2001-01-01T00:00:00Z"}}])
def test_a_phrase_is_left_alone_where_it_is_switched_off_or_a_filter_says_when(admin: Person, memory: str, more: dict) -> None:
    """The answer then names no phrase."""
    answer = admin.good("POST", f"{memory}/search", {"query": QUESTION, **more})

    assert {hit["text"] for hit in answer["hits"]} == {RECENT, OLD}
    assert answer["time_filter"] is None


def test_where_nothing_is_found_within_a_phrase_everything_is_searched(admin: Person, memory: str) -> None:
    """And the answer says that the phrase was let go; its open end is null."""
    answer = admin.good("POST", f"{memory}/search", {"query": "What happened to the lamp before 2001?"})

    assert {hit["text"] for hit in answer["hits"]} == {RECENT, OLD}
    assert answer["time_filter"] == {
        "phrase": "before 2001",
        "from": None,
        "to": "2001-01-01T00:00:00Z",
        "mode": "filter",
        "applied": False,
    }


def test_a_date_ranks_higher_what_lies_on_it_and_hides_nothing(admin: Person, memory: str) -> None:
    """Because people talk about a day after it is over."""
    day = (datetime.now(UTC) - timedelta(days=90)).date()
    answer = admin.good("POST", f"{memory}/search", {"query": f"What happened to the lighthouse lamp on {day.isoformat()}?"})

    assert [hit["text"] for hit in answer["hits"]] == [OLD, RECENT]
    assert (answer["time_filter"]["mode"], answer["time_filter"]["applied"]) == ("boost", True)


def test_a_context_is_narrowed_down_too(admin: Person, memory: str) -> None:
    """By its question; not by the last events."""
    body = {"query": QUESTION, "max_tokens": 500, "recent": 0}
    narrow = admin.good("POST", f"{memory}/context", body)
    wide = admin.good("POST", f"{memory}/context", body | {"time_phrases": False})

    assert (RECENT in narrow["text"], OLD in narrow["text"], OLD in wide["text"]) == (True, False, True)
    assert (narrow["time_filter"]["applied"], wide["time_filter"]) == (True, None)


@pytest.mark.parametrize("operation", ["search", "context"])
@pytest.mark.parametrize("timezone", ["Mars/Olympus", "../../etc", "localtime", "", "x" * 65, 7, None])
def test_a_zone_that_does_not_exist_is_refused_with_its_place(admin: Person, memory: str, operation: str, timezone: object) -> None:
    """Whether the question needs it or not."""
    answer = admin.ask(
        "POST", f"{memory}/{operation}", {"query": "lamp", "timezone": timezone} | ({"max_tokens": 99} if operation == "context" else {})
    )

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/timezone"]


def test_the_sdk_and_the_command_line_say_the_same(admin: Person, memory: str, instance: Instance) -> None:
    """Each in its own words."""
    with Kalends(instance.url, token=instance.token) as kalends:
        one = kalends.memory("time-phrases")
        narrow = one.search(QUESTION, timezone="Europe/Berlin")
        wide = one.search(QUESTION, time_phrases=False)
        block = one.context(QUESTION, max_tokens=300, recent=0)
    command = [sys.executable, "-m", "kalends.app.cli", "--memory", "time-phrases", "search", QUESTION]
    environment = clean_environment() | {"KALENDS_DATA": str(instance.data)}
    done = [
        subprocess.run([*command, *more], capture_output=True, check=True, timeout=120, env=environment).stdout
        for more in ([], ["--no-time-phrases"])
    ]

    assert [len(answer.hits) for answer in (narrow, wide)] == [1, 2]
    assert (narrow.time_filter.phrase, narrow.time_filter.mode, wide.time_filter) == ("in the last 3 days", "filter", None)
    assert narrow.time_filter.since < datetime.now(UTC) < narrow.time_filter.until
    assert block.time_filter.applied
    assert [len(json.loads(printed)["hits"]) for printed in done] == [1, 2]
    assert json.loads(done[0])["time_filter"]["phrase"] == "in the last 3 days"
