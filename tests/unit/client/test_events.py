"""Events made ready to be sent."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends.client import events
from kalends.client.events import NewEvent
from kalends.domain.events import canonical_id
from kalends.ingest.schemas import EventIn


def test_an_event_without_an_id_gets_one():
    """A ULID, in its canonical spelling."""
    (prepared,) = events.prepare([{"text": "hello", "session_id": "s"}])

    assert canonical_id(prepared.event["event_id"]) == prepared.event["event_id"]


def test_an_id_that_was_given_is_kept():
    """The caller's identity is the caller's."""
    (prepared,) = events.prepare([NewEvent(text="hello", session_id="s", event_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")])

    assert prepared.event["event_id"] == "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def test_what_was_given_is_not_changed():
    """The caller's mapping may be used again, for an event of its own."""
    mine = {"text": "hello", "session_id": "s"}

    list(events.prepare([mine]))

    assert mine == {"text": "hello", "session_id": "s"}


def test_the_server_reads_what_the_client_writes():
    """Every member of a full event arrives as it was given."""
    full = NewEvent(
        text="hello",
        session_id="s",
        kind="note",
        role="assistant",
        actor="a",
        occurred_at=datetime(2026, 9, 1, tzinfo=UTC),
        expires_at=datetime(2027, 9, 1, tzinfo=UTC),
        metadata={"n": 1, "x": None},
        channel="c",
        thread_id="t",
        priority="high",
        trust="untrusted",
    )

    (prepared,) = events.prepare(full)

    read = msgspec.json.decode(prepared.body, type=EventIn)
    assert {name: getattr(read, name) for name in full.__struct_fields__ if name != "event_id"} == {
        name: getattr(full, name) for name in full.__struct_fields__ if name != "event_id"
    }


@settings(max_examples=50)
@given(st.lists(st.integers(min_value=1, max_value=400_000), max_size=60))
def test_batches_keep_order_and_stay_within_their_bounds(sizes):
    """Nothing is lost or moved, whatever the sizes."""
    prepared = [events.Prepared(index=index, event={}, body=b"x" * size) for index, size in enumerate(sizes)]

    batches = list(events.batches(prepared))

    assert [one.index for batch in batches for one in batch] == list(range(len(sizes)))
    assert all(sum(len(one.body) + 1 for one in batch) <= events.BYTES_OF_A_REQUEST + 1 for batch in batches)
