"""The plan of a widening: every slot in one stream, only new streams receive, and the same end whatever interrupts it."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.adapters.nats import layout
from kalends.adapters.nats.layout import Layout, Placed, Step
from kalends.domain.scope import SLOTS, MemoryName, Scope, Tenant

PARTITIONS = st.integers(1, 24)


def given_up(now: Layout, step: Step) -> Layout:
    """*now* after the first half of *step*: its stream waits, and the givers have given."""
    streams = [replace(one, slots=step.givers.get(one.name, one.slots)) for one in now.streams if one.name != step.name]
    return Layout([*streams, Placed(name=step.name, epoch=step.epoch)])


def taken(now: Layout, step: Step) -> Layout:
    """*now* after *step*."""
    there = given_up(now, step)
    return Layout([replace(one, slots=step.slots) if one.name == step.name else one for one in there.streams])


def widened(now: Layout, partitions: int) -> Layout:
    """*now* after all steps."""
    for _ in range(SLOTS + 1):
        step = layout.next_step(now, partitions=partitions)
        if step is None:
            return now
        now = taken(now, step)
    raise AssertionError("there is always another step")


def sizes(now: Layout) -> list[int]:
    """How many slots each stream has."""
    assert not now.holes
    counted = Counter(now.stream_of(slot) for slot in range(SLOTS))
    assert [len(one.slots) for one in now.streams] == [counted[one.name] for one in now.streams]
    return [len(one.slots) for one in now.streams]


@given(first=PARTITIONS, then=st.lists(PARTITIONS, max_size=4))
def test_all_slots_are_shared_evenly_after_any_widenings(first: int, then: list[int]) -> None:
    """Balanced within one, as many streams as the largest number asked for, and nothing left to do."""
    now = Layout()
    for partitions in [first, *then]:
        now = widened(now, partitions)
        assert layout.next_step(now, partitions=partitions) is None
    found = sizes(now)
    assert len(found) == max([first, *then])
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize("numbers", [(1, 8, SLOTS), (3, 5), (100, 101, 255), (200, SLOTS)])
def test_many_streams_are_shared_out_as_evenly(numbers: tuple[int, ...]) -> None:
    """Up to one slot each."""
    now = Layout()
    for partitions in numbers:
        now = widened(now, partitions)

    assert len(sizes(now)) == numbers[-1]
    assert max(sizes(now)) - min(sizes(now)) <= 1


@given(start=PARTITIONS, end=PARTITIONS)
def test_a_slot_only_moves_to_a_newer_stream_that_never_had_any(start: int, end: int) -> None:
    """So the versions of its memories go on growing; and what moves, moves once."""
    before = widened(Layout(), start)
    now, used = before, set(before.names)
    while (step := layout.next_step(now, partitions=end)) is not None:
        assert step.name not in used
        assert step.epoch > max(now.epochs.values())
        assert step.slots
        for name, kept in step.givers.items():
            assert kept, "a stream without subjects would take those of its own name"
            assert kept < now.slots_of(name)
        given_away = {slot for name, kept in step.givers.items() for slot in now.slots_of(name) - kept}
        assert step.slots == given_away
        used.add(step.name)
        now = taken(now, step)
    stayed = sum(before.stream_of(slot) == now.stream_of(slot) for slot in range(SLOTS))
    assert stayed == sum(sizes(now)[: len(before.streams)])


@given(start=PARTITIONS, end=PARTITIONS, steps=st.integers(0, 40), halfway=st.booleans(), again=PARTITIONS)
def test_a_widening_that_was_interrupted_is_finished_by_whoever_comes(
    *, start: int, end: int, steps: int, halfway: bool, again: int
) -> None:
    """Also with another number in mind: no slot is left without a stream, and no stream receives twice."""
    now = widened(Layout(), start)
    for _ in range(steps):
        if (step := layout.next_step(now, partitions=end)) is not None:
            now = taken(now, step)
    step = layout.next_step(now, partitions=end)
    if halfway and step is not None:
        now = given_up(now, step)
        assert now.holes == step.slots
        mended = layout.next_step(now, partitions=0)
        assert mended is not None
        assert (mended.name, mended.slots, mended.givers) == (step.name, step.slots, {})
    epochs = dict(now.epochs)
    after = widened(now, again)
    assert not after.holes
    assert {name: after.epochs[name] for name in epochs} == epochs
    if not halfway and again == end:
        assert after == widened(widened(Layout(), start), end)


@given(start=PARTITIONS, end=PARTITIONS)
def test_fewer_streams_than_there_are_change_nothing(start: int, end: int) -> None:
    """A log never gets narrower, so processes with an old and a new number live side by side."""
    now = widened(Layout(), max(start, end))

    assert layout.next_step(now, partitions=min(start, end)) is None


@given(start=PARTITIONS, end=PARTITIONS)
def test_a_layout_is_read_back_from_what_the_broker_keeps(start: int, end: int) -> None:
    """Subjects and metadata say it all."""
    now = widened(widened(Layout(), start), end)

    told = [
        {
            "name": one.name,
            "subjects": layout.subjects_of(one.name, one.slots),
            "metadata": {"_nats.ver": "2.15.1", **layout.metadata_of(one.epoch, {"EVENTS_0": 7})},
        }
        for one in now.streams
    ]

    assert Layout(map(layout.placed, told)) == Layout(replace(one, after={"EVENTS_0": 7}) for one in now.streams)


def test_what_was_left_behind_is_told_for_each_stream_that_gave() -> None:
    """Up to the last time that it gave something away."""
    now = Layout(
        [
            Placed(name="EVENTS_0", slots=frozenset({0})),
            Placed(name="EVENTS_1", epoch=1, slots=frozenset({1}), after={"EVENTS_0": 7}),
            Placed(name="EVENTS_2", epoch=2, slots=frozenset({2}), after={"EVENTS_0": 9, "EVENTS_1": 4}),
        ]
    )

    assert now.left_behind == {"EVENTS_0": 9, "EVENTS_1": 4}


def test_a_log_from_before_epochs_has_them_from_zero() -> None:
    """Its one stream takes everything, and says nothing of epochs."""
    found = layout.placed({"name": "EVENTS_0", "subjects": ["ev.v1.u.>"]})

    assert (found.epoch, len(found.slots), dict(found.after)) == (0, SLOTS, {})
    assert layout.metadata_of(0, {}) == {}


def test_a_stream_that_waits_for_slots_is_sent_nothing() -> None:
    """Its only subject is of no slot."""
    subjects = layout.subjects_of("EVENTS_3", frozenset())

    assert layout.placed({"name": "EVENTS_3", "subjects": subjects}).slots == frozenset()
    assert not any(subject.startswith("ev.v1.u.") for subject in subjects)


def test_of_two_that_claim_a_slot_the_newer_one_has_it() -> None:
    """They were asked one after the other, and the slot moved in between."""
    both = Layout([Placed(name="EVENTS_0", slots=frozenset(range(SLOTS))), Placed(name="EVENTS_1", epoch=1, slots=frozenset({7}))])

    assert both.stream_of(7) == "EVENTS_1"
    assert 7 not in both.slots_of("EVENTS_0")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("EVENTS_0", True),
        ("EVENTS_12", True),
        ("EVENTS_", False),
        ("RECORDS_0", False),
        ("EV_a", False),
        (f"EV_{'A' * 26}", True),
        (f"EV_{'a' * 26}", False),
    ],
)
def test_streams_of_events_are_known_by_their_names(*, name: str, found: bool) -> None:
    """Those of dedicated memories are some; other stores are none."""
    assert layout.is_of_events(name) is found


OWN = Placed(name="EV_" + "A" * 26, memory="a" * 26)


def test_a_dedicated_memorys_stream_is_told_by_its_name() -> None:
    """Its subject is its own, and it has no slots, so nothing else is to be known."""
    told = {"name": OWN.name, "subjects": ["ev.v1.s.acme.notes"], "metadata": {"_nats.ver": "2.15.1"}}

    assert layout.placed(told) == OWN
    assert (OWN.epoch, OWN.slots, OWN.after) == (0, frozenset(), {})


def test_dedicated_memories_come_after_what_is_shared() -> None:
    """In whatever order the broker tells: the first stream is one that every consumer is on."""
    now = Layout([OWN, *widened(Layout(), 2).streams])

    assert now.names == ("EVENTS_0", "EVENTS_1", OWN.name)
    assert [one.name for one in now.shared] == ["EVENTS_0", "EVENTS_1"]
    assert now.dedicated == {"a" * 26}
    assert now != Layout(now.shared)


@given(start=st.integers(1, 8), end=st.integers(1, 8))
def test_dedicated_memories_change_no_plan(start: int, end: int) -> None:
    """They have no slots to give, wait for none, and are no partitions."""
    before = widened(Layout(), start)

    with_own = layout.next_step(Layout([*before.streams, OWN]), partitions=end)

    assert with_own == layout.next_step(before, partitions=end)


def test_a_dedicated_memory_has_a_subject_that_no_shared_stream_takes() -> None:
    """Whatever it is called."""
    subject = layout.own_subject(Scope(Tenant("Acme Inc."), MemoryName("notes")))

    assert subject.startswith("ev.v1.s.x--")
    assert subject.endswith(".notes")
    assert layout.slots_in([subject]) == frozenset()
