"""What is sent, operation by operation."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from kalends.client import requests
from kalends.domain.errors import Invalid


def test_a_search_puts_filters_into_the_filter_and_options_beside_it():
    """One flat call becomes the contract's nested body."""
    request = requests.search("m", "why", limit=3, since=datetime(2026, 9, 1, tzinfo=UTC), kind=["note", "message"], explain=True)

    assert msgspec.json.decode(request.body) == {
        "query": "why",
        "limit": 3,
        "explain": True,
        "filter": {"from": "2026-09-01T00:00:00+00:00", "kind": ["note", "message"]},
    }


def test_time_phrases_and_their_zone_are_options_and_no_filter():
    """Of searches and of contexts alike."""
    options = {"time_phrases": False, "timezone": "Europe/Berlin"}

    assert msgspec.json.decode(requests.search("m", "why", **options).body) == {"query": "why"} | options
    assert (
        msgspec.json.decode(requests.context("m", query="why", max_tokens=9, **options).body) == {"query": "why", "max_tokens": 9} | options
    )


def test_what_is_not_said_is_left_to_the_server():
    """Defaults live in one place."""
    assert msgspec.json.decode(requests.search("m", "why").body) == {"query": "why"}


def test_a_list_takes_its_times_by_the_names_of_the_contract():
    """``from`` is no name that Python allows."""
    request = requests.list_events("m", cursor="c", since="2026-09-01T00:00:00Z", limit=7)

    assert request.params == {"from": "2026-09-01T00:00:00Z", "limit": "7", "cursor": "c"}


def test_names_from_outside_stay_one_part_of_the_path():
    """A session may be called anything; it must not reach another route."""
    assert requests.get_session("m", "../../tokens?x#y").path == "/memories/m/sessions/..%2F..%2Ftokens%3Fx%23y"


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a" * 41])
def test_a_name_that_no_memory_has_is_refused_before_it_is_sent(name):
    """An empty name would be another route."""
    with pytest.raises(Invalid):
        requests.get_memory(name)


def test_a_time_without_an_offset_is_refused():
    """It would mean another moment on another machine."""
    with pytest.raises(Invalid):
        requests.search("m", "why", since=datetime(2026, 9, 1))  # noqa: DTZ001 - the missing offset is the point


def test_offsets_are_kept():
    """The server makes UTC of them."""
    plus_two = datetime(2026, 9, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    assert requests.moment_text(plus_two) == "2026-09-01T12:00:00+02:00"


def test_only_what_makes_something_new_each_time_is_not_repeatable():
    """Everything else may be sent again without harm."""
    once = [requests.create_token(memories=None, rights=["search"]), requests.reindex(), requests.compact(), requests.rotate_keys()]
    often = [requests.append("m", [b"{}"]), requests.search("m", "q"), requests.create_memory("m"), requests.remove_document("m", "d")]

    assert not any(request.repeatable for request in once)
    assert all(request.repeatable for request in often)


def test_a_token_for_every_memory_says_so():
    """Null is a choice here, not an absence."""
    assert msgspec.json.decode(requests.create_token(memories=None, rights=("admin",)).body) == {"memories": None, "rights": ["admin"]}


def test_waiting_is_a_preference():
    """It stands in a header, and only if it was asked for."""
    assert requests.append("m", [b"{}"], wait_s=5).headers == {"Prefer": "wait=5"}
    assert requests.append("m", [b"{}"]).headers == {}
