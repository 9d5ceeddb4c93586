"""What is due of a memory: the planner against the rules as one would say them, and what a rule may say."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.events import EventId, EventKey
from kalends.domain.retention import DAY_US, Aged, Retention, Rule, check, over, plan

NOW_US = 1000 * DAY_US
KINDS = ("message", "note", "episode")
ANY = 1000

rules = st.builds(Rule, max_age_days=st.none() | st.integers(1, 6), max_events=st.none() | st.integers(1, 6))
retentions = st.builds(
    lambda rule, kinds, pinned: Retention(rule=rule, kinds=kinds, pinned_kinds=frozenset(pinned) - kinds.keys()),
    rules,
    st.dictionaries(st.sampled_from(KINDS), rules, max_size=3),
    st.sets(st.sampled_from(KINDS)),
)
drawn_events = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 8 * 4), st.booleans()), max_size=20)
Memory = Mapping[str, Sequence[Aged]]


def aged(number: int, quarters: int, *, held: bool = False) -> Aged:
    """An event that was recorded so many quarters of a day before now."""
    recorded_us = NOW_US - quarters * DAY_US // 4
    return Aged(
        key=EventKey(f"{number:032x}"), event_id=EventId(str(number)), session="s", occurred_us=0, recorded_us=recorded_us, held=held
    )


def memory_of(drawn: Sequence[tuple[str, int, bool]]) -> Memory:
    """What a memory holds, by kind, in the order in which it was recorded."""
    events = [(kind, aged(number, quarters, held=held)) for number, (kind, quarters, held) in enumerate(drawn)]
    return {kind: sorted((one for of, one in events if of == kind), key=place) for kind in KINDS}


def place(one: Aged) -> tuple[int, str]:
    """Where an event stands among those of its kind."""
    return one.recorded_us, one.key


memories = drawn_events.map(memory_of)


def planned(retention: Retention, memory: Memory, *, limit: int = ANY):
    """What the planner says of all that a memory holds."""
    live = {kind: len(events) for kind, events in memory.items()}
    most = over(retention, live)
    oldest = {kind: read(retention, kind, memory[kind], most=most[kind], limit=limit) for kind in most}
    return plan(retention, now_us=NOW_US, live=live, oldest=oldest, limit=limit)


def read(retention: Retention, kind: str, events: Sequence[Aged], *, most: int, limit: int) -> list[Aged]:
    """No more of one kind than must be read."""
    cutoff = retention.cutoff_us(kind, now_us=NOW_US)
    found: list[Aged] = []
    for one in events:
        old = cutoff is not None and one.recorded_us <= cutoff
        if (len(found) >= most and not old) or sum(not each.held for each in found) >= limit:
            break
        found.append(one)
    return found


def said(retention: Retention, memory: Memory) -> dict[str, str]:
    """The rules, one after the other, over everything at once: why each event goes, held or not."""
    gone: dict[str, str] = {}
    for kind, events in memory.items():
        if kind in retention.pinned_kinds:
            continue
        own = retention.kinds.get(kind, Rule())
        days = own.max_age_days or retention.rule.max_age_days
        gone |= {one.key: "age" for one in events if days and NOW_US - one.recorded_us >= days * DAY_US}
        if own.max_events:
            gone |= {one.key: "count" for one in events[: max(0, len(events) - own.max_events)] if one.key not in gone}
    left = sorted((one for events in memory.values() for one in events if one.key not in gone), key=place)
    if retention.rule.max_events:
        loose = [one for kind, events in memory.items() if kind not in retention.pinned_kinds for one in events if one.key not in gone]
        excess = max(0, len(left) - retention.rule.max_events)
        gone |= {one.key: "count" for one in sorted(loose, key=place)[:excess]}
    return gone


@given(retentions, memories)
def test_what_is_due_is_exactly_what_the_rules_say(retention, memory):
    """With the reason; what a hold keeps is counted and stays, and nothing goes in its place."""
    gone = said(retention, memory)
    held = {one.key for events in memory.values() for one in events if one.held}

    found = planned(retention, memory)

    assert {one.key: why for one, why in found.due} == {key: why for key, why in gone.items() if key not in held}
    assert {one.key: why for one, why in found.held} == {key: why for key, why in gone.items() if key in held}
    assert not found.more


@given(retentions, memories, st.integers(1, 4))
def test_many_small_runs_end_where_one_large_one_does(retention, memory, limit):
    """None of them takes more than it may, and none takes what the large one would not."""
    memory = {kind: [replace(one, held=False) for one in events] for kind, events in memory.items()}
    whole = {one.key for one, _ in planned(retention, memory).due}
    taken: set[str] = set()

    while (found := planned(retention, memory, limit=limit)).due:
        assert len(found.due) <= limit
        taken |= {one.key for one, _ in found.due}
        memory = {kind: [one for one in events if one.key not in taken] for kind, events in memory.items()}

    assert taken == whole


@given(retentions, memories, st.integers(1, 4))
def test_what_a_hold_keeps_is_in_nobodys_way(retention, memory, limit):
    """However little a run may take: all that is due and not held is gone in the end."""
    held = {one.key for events in memory.values() for one in events if one.held}
    due = {key for key, why in said(retention, memory).items() if key not in held and why == "age"}
    taken: set[str] = set()

    while found := planned(retention, memory, limit=limit).due:
        taken |= {one.key for one, _ in found}
        memory = {kind: [one for one in events if one.key not in taken] for kind, events in memory.items()}

    assert due <= taken
    assert not held & taken


def test_a_kinds_own_age_takes_the_place_of_the_memorys():
    """A longer one, too; what is pinned has none."""
    retention = Retention(
        rule=Rule(max_age_days=3),
        kinds={"note": Rule(max_age_days=9), "episode": Rule(max_events=1)},
        pinned_kinds=frozenset({"preference"}),
    )

    assert [retention.days_of(kind) for kind in ("note", "episode", "message", "preference")] == [9, 3, 3, None]
    assert retention.cutoff_us("note", now_us=NOW_US) == NOW_US - 9 * DAY_US


def test_the_chunks_of_documents_are_not_counted():
    """A document goes whole, by its age."""
    retention = Retention(rule=Rule(max_age_days=1, max_events=1))

    assert over(retention, {"chunk": 9, "message": 1}) == {"message": 1}


def test_what_cannot_be_is_said_with_a_pointer():
    """Kinds that there are not, a pinned kind with a rule, a number of chunks."""
    retention = Retention(
        kinds={"decision": Rule(), "note": Rule(max_age_days=1), "chunk": Rule(max_events=5)}, pinned_kinds=frozenset({"note", "vow"})
    )

    assert [(fault.pointer, fault.code) for fault in check(retention)] == [
        ("/kinds", "vocabulary"),
        ("/kinds/note", "contradiction"),
        ("/kinds/chunk/max_events", "unsupported"),
        ("/pinned_kinds", "vocabulary"),
    ]
    assert check(Retention(pinned_kinds=frozenset({"preference"}), session_only=True)) == []


def test_without_counts_only_ages_are_left():
    """For a time when numbers cannot be trusted."""
    retention = Retention(rule=Rule(max_age_days=3, max_events=5), kinds={"note": Rule(max_age_days=2, max_events=1)})

    assert retention.counts
    assert not retention.without_counts().counts
    assert retention.without_counts().days_of("note") == 2
