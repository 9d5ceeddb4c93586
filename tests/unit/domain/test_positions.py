"""Positions, versions and visibility tokens."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.errors import Invalid
from kalends.domain.positions import (
    Position,
    covers,
    highest,
    memory_of,
    sequence_of,
    stream_of_own,
    visibility_floors,
    visibility_token,
)
from kalends.domain.scope import MemoryName, Scope, Tenant

STREAMS = st.sampled_from(["EVENTS_0", "EVENTS_1", "EVENTS_2"])
FLOORS = st.dictionaries(STREAMS, st.integers(min_value=0, max_value=(1 << 63) - 1))
EPOCHS = st.integers(min_value=0, max_value=1 << 14)


def _encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(EPOCHS, strategies.SEQUENCES, strategies.SEQUENCES)
def test_a_later_message_has_a_larger_version(epoch, one, other):
    """Within one stream the version orders as the sequence does."""
    first, second = Position("EVENTS_0", one, epoch), Position("EVENTS_0", other, epoch)

    assert (first.version < second.version) == (one < other)


@given(EPOCHS, strategies.SEQUENCES, strategies.SEQUENCES)
def test_moving_to_another_stream_never_makes_an_older_version(epoch, before, after):
    """The new stream counts from 1 again; the epoch makes up for it."""
    assert Position("EVENTS_1", after, epoch + 1).version > Position("EVENTS_0", before, epoch).version


@given(EPOCHS, strategies.SEQUENCES)
def test_a_version_says_its_sequence(epoch, sequence):
    """Whatever the epoch."""
    assert sequence_of(Position("EVENTS_0", sequence, epoch).version) == sequence


@given(st.lists(st.builds(Position, STREAMS, strategies.SEQUENCES)))
def test_the_highest_positions_cover_every_position(positions):
    """One number per stream is enough to say "all of these"."""
    found = highest(positions)

    assert all(covers(found, {position.stream: position.sequence}) for position in positions)
    assert set(found.items()) <= {(position.stream, position.sequence) for position in positions}


@given(FLOORS, FLOORS)
def test_floors_cover_what_is_at_or_below_them_on_every_stream(floors, wanted):
    """One stream that lags is enough to wait."""
    behind = [stream for stream in wanted if floors.get(stream, 0) < wanted[stream]]

    assert covers(floors, wanted) == (not behind)


@given(FLOORS)
def test_a_visibility_token_comes_back_as_it_was(floors):
    """Whatever a write returned, a read accepts."""
    assert visibility_floors(visibility_token(floors)) == floors


@given(FLOORS)
def test_equal_floors_make_equal_tokens(floors):
    """The order in which streams were seen does not show."""
    assert visibility_token(dict(reversed(floors.items()))) == visibility_token(floors)


@given(strategies.ANY_TEXTS)
def test_any_other_text_is_refused_as_a_token(text):
    """Never an error of ours: a token is the caller's input."""
    with pytest.raises(Invalid) as caught:
        visibility_floors("." + text)

    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/min_visibility", "visibility")]


@pytest.mark.parametrize(
    "value",
    [[], 1, None, "x", {"EVENTS_0": -1}, {"EVENTS_0": 1 << 63}, {"EVENTS_0": 1.5}, {"EVENTS_0": True}, {"EVENTS_0": "1"}],
    ids=json.dumps,
)
def test_a_token_with_another_shape_is_refused(value):
    """Well-formed JSON is not enough."""
    with pytest.raises(Invalid):
        visibility_floors(_encoded(value))


def test_a_token_that_names_hundreds_of_streams_is_refused():
    """There are at most 256 partitions, so it was made to hurt."""
    with pytest.raises(Invalid):
        visibility_floors(_encoded({f"EVENTS_{number}": 1 for number in range(513)}))


def test_a_token_that_is_nested_without_end_is_refused():
    """Deep JSON must not reach the interpreter's recursion limit."""
    with pytest.raises(Invalid):
        visibility_floors(base64.urlsafe_b64encode(b"[" * 100_000).decode())


SCOPE, OTHER = (Scope(Tenant("acme"), MemoryName(name)) for name in ("notes", "diary"))


def test_the_stream_of_a_dedicated_memory_is_named_after_its_key():
    """No two memories share one, and a calendar is in its memory's."""
    assert stream_of_own(SCOPE) == f"EV_{SCOPE.key.upper()}"
    assert memory_of(stream_of_own(SCOPE)) == SCOPE.key
    assert stream_of_own(SCOPE.calendar) == stream_of_own(SCOPE)
    assert stream_of_own(OTHER) != stream_of_own(SCOPE)


@given(FLOORS, st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_a_token_of_a_dedicated_memory_is_read_for_that_memory_alone(floors, sequence):
    """Waiting for another's stream would tell how much is in it."""
    token = visibility_token({**floors, stream_of_own(SCOPE): sequence})

    assert visibility_floors(token, scope=SCOPE) == {**floors, stream_of_own(SCOPE): sequence} == visibility_floors(token)
    with pytest.raises(Invalid) as refused:
        visibility_floors(token, scope=OTHER)
    assert [fault.code for fault in refused.value.faults] == ["visibility"]


@given(FLOORS)
def test_a_token_of_what_memories_share_is_read_for_each(floors):
    """A place in a stream of many tells of none of them."""
    assert visibility_floors(visibility_token(floors), scope=OTHER) == floors
