"""Nodes as stored bytes: what comes back, what counts as the same, and which key seals them."""

from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tests.support import strategies
from tests.support.keys import TEST_KEY
from tests.unit.wire.test_envelopes import REFERENCE, STAMP

from kalends.domain.calendar import Bullet, Grip, Node
from kalends.domain.errors import Damaged
from kalends.domain.events import event_key
from kalends.domain.periods import LEVELS, Period, period_of
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import aead
from kalends.wire import envelopes, nodes
from kalends.wire.gen.kalends.v1 import calendar_pb2 as pb
from kalends.wire.vault import key_reference

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))
BOX = aead.Box(TEST_KEY)
SEGMENT = period_of("toc:segment:2026-01-30:0123456789abcdef")
WEEK = period_of("toc:week:2026-W05")
NODE = Node(period=WEEK, title="a week", first_us=1, last_us=2, inputs="made of these", author="extractive")

grips = st.builds(
    Grip,
    id=strategies.TEXTS,
    excerpt=strategies.TEXTS,
    first=strategies.event_ids(),
    last=strategies.event_ids(),
    session_id=strategies.TEXTS,
    occurred_us=strategies.INTEGERS,
    speaker=strategies.TEXTS,
)
texts = st.lists(strategies.TEXTS, max_size=3).map(tuple)
some_nodes = st.builds(
    Node,
    period=st.dates()
    .map(lambda day: Period("segment", day, "0123456789abcdef"))
    .flatmap(lambda one: st.sampled_from([one, *one.ancestors])),
    title=strategies.TEXTS,
    bullets=st.lists(st.builds(Bullet, text=strategies.TEXTS, grips=st.lists(grips, max_size=2).map(tuple)), max_size=3).map(tuple),
    keywords=texts,
    children=texts,
    events=st.lists(strategies.event_ids(), max_size=3).map(tuple),
    event_count=st.integers(0, 1 << 60),
    first_us=strategies.INTEGERS,
    last_us=strategies.INTEGERS,
    agents=texts,
    session_id=strategies.TEXTS,
    author=strategies.TEXTS,
    degraded=strategies.TEXTS | st.just(""),
    inputs=strategies.TEXTS,
    gone=st.booleans(),
)


@given(some_nodes)
def test_a_node_comes_back_as_it_was(node):
    """Of any level and any day that there is, and the same node always as the same bytes."""
    assert nodes.decode(nodes.encode(node)) == node
    assert nodes.encode(node) == nodes.encode(replace(node))


@given(some_nodes)
def test_a_node_in_an_envelope_comes_back_as_it_was(node):
    """Sealed and opened."""
    body = envelopes.seal_node(node, scope=SCOPE, recorded_us=7, key_reference=REFERENCE, box=BOX, stamp=STAMP)
    sealed = envelopes.parse(body)

    assert envelopes.unseal(sealed, BOX) == node
    assert (sealed.event_id, sealed.content_mac) == (None, BOX.digest(nodes.substance(node)))


@given(some_nodes, strategies.TEXTS)
def test_what_a_node_was_made_of_is_no_part_of_what_it_says(node, inputs):
    """Made of other things and saying the same, it is no new version."""
    assert nodes.substance(node) == nodes.substance(replace(node, inputs=inputs))


@pytest.mark.parametrize(
    "change", [{"title": "x"}, {"degraded": "away"}, {"author": "chat"}, {"gone": True}, {"last_us": 3}, {"keywords": ("k",)}], ids=str
)
def test_everything_else_is_what_it_says(change):
    """Who wrote it and that it is gone included."""
    assert nodes.substance(replace(NODE, **change)) != nodes.substance(NODE)


@pytest.mark.parametrize("named", ["", "toc:day:2026-02-30", "toc:week:2026-W54", "an event"])
def test_a_node_without_a_place_in_the_calendar_is_damaged(named):
    """Whoever wrote it."""
    with pytest.raises(Damaged):
        nodes.decode(pb.Node(node_id=named).SerializeToString())


def test_bytes_that_are_no_node_do_not_decode():
    """The envelope's reader tells them as damaged."""
    with pytest.raises(DecodeError):
        nodes.decode(b"\xff\xff")


def test_a_nodes_key_is_of_its_memory_and_of_no_event():
    """Two memories, two levels and an event of the same name never share one."""
    keys = [nodes.node_key(SCOPE, WEEK), nodes.node_key(OTHER, WEEK), nodes.node_key(SCOPE, SEGMENT), event_key(SCOPE, WEEK.id)]

    assert len(set(keys)) == 4
    assert {len(key) for key in keys} == {32}


def test_a_segment_is_sealed_with_its_sessions_key_and_no_other_node_is():
    """So forgetting the session makes its segments unreadable, and nothing else."""
    segment = replace(NODE, period=SEGMENT, session_id="s")
    above = [replace(NODE, period=period, session_id="s") for period in SEGMENT.ancestors]
    references = [nodes.reference_of(SCOPE, node) for node in above]

    assert nodes.reference_of(SCOPE, segment) == key_reference(SCOPE, "s")
    assert len({*references, key_reference(SCOPE, "s")}) == len(LEVELS)
    assert nodes.reference_of(OTHER, above[0]) != references[0]
