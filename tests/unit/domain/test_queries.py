"""Filters, tags, digests and cursors."""

import base64
import json
import random
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies

from kalends.domain.errors import Invalid
from kalends.domain.events import Facets
from kalends.domain.queries import Filter, decode_cursor, encode_cursor, fold_digest, tag, tags_of

KEYS = st.binary(min_size=16, max_size=16).map(bytes.hex)
PAIRS = st.lists(st.tuples(KEYS, st.integers(min_value=1, max_value=1 << 62)), unique=True, max_size=20)
CURSOR_VALUES = st.lists(strategies.INTEGERS | strategies.TEXTS, max_size=4)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def _matches(wanted, facets, *, target="events"):
    """What every engine does with criteria."""
    tags = set(tags_of(facets, target=target))
    return all(tags & set(group) for group in wanted.criteria().any_of)


@given(strategies.facets())
def test_an_event_answers_a_filter_that_asks_for_all_of_its_facets(facets):
    """Whatever a facet holds, asking for exactly that finds it."""
    wanted = Filter(
        session_id=(facets.session_id,),
        kind=(facets.kind,),
        role=(facets.role,),
        actor=() if facets.actor is None else (facets.actor,),
        channel=() if facets.channel is None else (facets.channel,),
        thread_id=() if facets.thread_id is None else (facets.thread_id,),
        priority=() if facets.priority is None else (facets.priority,),
        metadata=facets.metadata,
    )

    assert _matches(wanted, facets)


@pytest.mark.parametrize("name", ["session_id", "kind", "role", "actor", "channel", "thread_id", "priority"])
def test_an_event_with_another_facet_does_not_answer(name):
    """Each facet is asked by itself: a value of one never answers for another."""
    facets = Facets(session_id="x", kind="x", role="x", actor="x", channel="x", thread_id="x", priority="x")

    assert _matches(Filter(**{name: ("y", "x")}), facets)
    assert not _matches(Filter(**{name: ("y",)}), facets)


def test_everything_that_is_given_must_hold():
    """Two facets narrow, they do not widen."""
    facets = Facets(session_id="s", kind="note", actor="ada")

    assert _matches(Filter(session_id=("s",), actor=("ada",)), facets)
    assert not _matches(Filter(session_id=("s",), actor=("bob",)), facets)


@pytest.mark.parametrize(("stored", "asked"), [(1, 1.0), (1.0, 1), (-0.0, 0), (2.0**60, 2**60)])
def test_one_number_in_two_spellings_is_one_number(stored, asked):
    """JSON does not tell 1 from 1.0, so a filter must not either."""
    facets = Facets(session_id="s", kind="note", metadata={"n": stored})

    assert _matches(Filter(metadata={"n": asked}), facets)


@pytest.mark.parametrize(("stored", "asked"), [(1, True), (0, False), (1, "1"), (None, "null"), (1.5, 1), ("", None)])
def test_values_of_two_types_are_two_values(stored, asked):
    """Truth is not a number, and a word is not what it spells."""
    facets = Facets(session_id="s", kind="note", metadata={"n": stored})

    assert not _matches(Filter(metadata={"n": asked}), facets)


@pytest.mark.parametrize(
    ("targets", "events", "documents"),
    [(("events",), True, False), (("documents",), False, True), (("events", "documents"), True, True)],
)
def test_targets_choose_between_events_and_documents(targets, events, documents):
    """Both together ask nothing of the engine."""
    facets = Facets(session_id="s", kind="note")

    assert _matches(Filter(targets=targets), facets, target="events") is events
    assert _matches(Filter(targets=targets), facets, target="documents") is documents


def test_times_become_microseconds():
    """Engines compare integers."""
    criteria = Filter(since=NEW_YEAR, until=NEW_YEAR).criteria()

    assert (criteria.since_us, criteria.until_us) == (1_767_225_600_000_000, 1_767_225_600_000_000)


@given(strategies.TEXTS, strategies.ANY_TEXTS)
def test_any_value_becomes_a_tag_that_does_not_show_it(name, value):
    """Names of people must not land in an engine; a lone surrogate simply matches nothing."""
    assert re.fullmatch(r"[0-9a-f]{16}", tag(name, value))


@given(PAIRS, st.randoms(use_true_random=False))
def test_a_digest_does_not_depend_on_the_order(pairs, shuffler: random.Random):
    """Two projections list their events each in their own order."""
    mixed = list(pairs)
    shuffler.shuffle(mixed)

    assert fold_digest(mixed) == fold_digest(pairs)


@given(PAIRS.filter(bool))
def test_a_digest_tells_when_an_event_is_missing_or_older(pairs):
    """That is what it is compared for."""
    (key, version), *rest = pairs

    assert fold_digest(rest) != fold_digest(pairs)
    assert fold_digest([(key, version + 1), *rest]) != fold_digest(pairs)
    assert fold_digest(pairs).events == len(pairs)


@given(CURSOR_VALUES, strategies.ANY_TEXTS)
def test_a_cursor_comes_back_as_it_was(values, question):
    """For the question it was made for."""
    cursor = encode_cursor(values, bound_to=question)
    shape = tuple(type(value) for value in values)

    assert decode_cursor(cursor, bound_to=question, shape=shape) == tuple(values)


@given(CURSOR_VALUES, strategies.TEXTS, strategies.TEXTS)
def test_a_cursor_fits_no_other_question(values, question, other):
    """Going on in another list would skip or repeat things without a word."""
    cursor = encode_cursor(values, bound_to=question)
    shape = tuple(type(value) for value in values)

    if question != other:
        with pytest.raises(Invalid, match="another filter or order"):
            decode_cursor(cursor, bound_to=other, shape=shape)


@given(strategies.ANY_TEXTS, st.lists(st.sampled_from([int, str]), max_size=2))
def test_any_other_text_is_refused_as_a_cursor(text, shape):
    """A cursor is the caller's input."""
    with pytest.raises(Invalid):
        decode_cursor(text, bound_to="q", shape=tuple(shape))


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1, True, 1.0, None, "x", "\ud800"], ids=ascii)
def test_a_forged_cursor_with_a_value_that_no_engine_takes_is_refused(value):
    """The mark can be computed by anybody, so the values are checked too."""
    honest = json.loads(base64.urlsafe_b64decode(encode_cursor([], bound_to="q") + "=="))
    forged = base64.urlsafe_b64encode(json.dumps([*honest, value]).encode()).decode().rstrip("=")
    shape = (str,) if value == "\ud800" else (int,)

    with pytest.raises(Invalid):
        decode_cursor(forged, bound_to="q", shape=shape)


@pytest.mark.parametrize("document", ["[]", "{}", "1", "[1]", "[" * 100_000], ids=["empty", "object", "number", "no mark", "deep"])
def test_a_cursor_with_another_shape_is_refused(document):
    """Well-formed JSON is not enough."""
    with pytest.raises(Invalid):
        decode_cursor(base64.urlsafe_b64encode(document.encode()).decode(), bound_to="q", shape=())
