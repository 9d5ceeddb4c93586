"""The hidden view: what one process knows must not be shown, and where it may not write."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contracts.calendars import DAY_NODE, opened
from tests.support.clocks import SimulatedClock
from tests.unit.wire.test_erasures import HERE, THERE, Place, an_erasure

from kalends.domain.calendar import Bullet, Grip
from kalends.domain.erasures import Selector
from kalends.domain.errors import Unavailable
from kalends.domain.events import EventId, Facets, event_key
from kalends.wire.hidden import HiddenView

FRESH_S = 3.0
KEY = event_key(HERE, EventId("01JB0000000000000000000007"))


class World(Place):
    """A place with one view of it, whose time is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SimulatedClock()
        self.dropped = 0
        self.view = HiddenView(store=self.process(), clock=self.clock, fresh_s=FRESH_S, changed=self._drop)

    def _drop(self) -> None:
        self.dropped += 1

    async def hide(self, selector: Selector, *, number: int = 1, **changes: object):
        """Have another process store an erasure, and look."""
        begun = await self.store.begin(an_erasure(number, selector=selector))
        if changes:
            begun = await self.store.put(begun, **changes)
            await self.store.mark(begun)
        await self.view.refresh()
        return begun

    async def change(self, erasure, **changes: object):
        """Have it go on, and look."""
        changed = await self.store.put(erasure, **changes)
        await self.store.mark(changed)
        await self.view.refresh()
        return changed


def hides(world: World, *, scope=HERE, session="s", occurred_us=5, facets=None) -> bool:
    """Whether one event is hidden."""
    return world.view.hides(scope, KEY, session=session, occurred_us=occurred_us, facets=facets)


async def test_nothing_is_hidden_before_anything_was_asked_for():
    """And every question is answered at once."""
    world = World()
    await world.view.refresh()

    assert not hides(world)
    assert not world.view.hides_session(HERE, "s")
    assert not world.view.hides_memory(HERE)
    assert world.view.every() == []


async def test_what_another_process_asked_for_is_hidden_after_one_look():
    """In its memory, until it is undone."""
    world = World()
    begun = await world.hide(Selector(kind="session_id", session="s"))

    assert hides(world)
    assert world.view.hides_session(HERE, "s")
    assert not hides(world, session="t")
    assert not hides(world, scope=THERE)
    await world.change(begun, state="undone", selector=None)
    assert not hides(world)


async def test_what_only_the_content_tells_is_hidden_with_it():
    """By actor and by tags."""
    world = World()
    await world.hide(Selector(kind="actor", actor="Ann"))

    assert hides(world, facets=Facets(session_id="s", kind="note", actor="Ann"))
    assert not hides(world, facets=Facets(session_id="s", kind="note", actor="Bob"))


async def test_one_look_that_finds_the_same_mark_reads_nothing_more():
    """Each process looks many times a minute."""
    world = World()
    await world.hide(Selector(kind="everything"))
    dropped = world.dropped
    asked = world.keys.asked["get"]

    for _ in range(5):
        await world.view.refresh()

    assert world.dropped == dropped
    assert world.keys.asked["get"] == asked


async def test_caches_are_dropped_whenever_an_erasure_goes_on():
    """Keys may have been destroyed."""
    world = World()
    begun = await world.hide(Selector(kind="everything"))
    before = world.dropped

    await world.change(begun, step="keys", state="unreadable")

    assert world.dropped == before + 1


async def test_a_session_that_is_being_erased_takes_no_writes_and_others_do():
    """Only from when it cannot be undone any more."""
    world = World()
    begun = await world.hide(Selector(kind="session_id", session="s"))
    await world.view.admit(HERE, ["s"])
    await world.change(begun, begun=True)

    with pytest.raises(Unavailable) as refused:
        await world.view.admit(HERE, ["t", "s"])
    assert refused.value.dependency == "erasure"
    assert refused.value.retry_after
    await world.view.admit(HERE, ["t"])
    await world.view.admit(THERE, ["s"])


async def test_a_session_takes_writes_as_soon_as_its_erasure_is_over_elsewhere():
    """Who was told so writes at once, and need not wait for the next look."""
    world = World()
    begun = await world.hide(Selector(kind="session_id", session="s"), begun=True)
    await world.store.mark(await world.store.put(begun, state="erased", selector=None))

    await world.view.admit(HERE, ["s"])


async def test_single_events_fence_nothing():
    """No key of theirs is destroyed."""
    world = World()
    await world.hide(Selector(kind="actor", actor="Ann"), begun=True)

    await world.view.admit(HERE, ["s"])


async def test_what_is_known_for_too_long_is_asked_again_before_a_write():
    """So a fence that was set elsewhere is met, even if nothing told us."""
    world = World()
    await world.view.refresh()
    await world.store.put(await world.store.begin(an_erasure(selector=Selector(kind="session_id", session="s"))), begun=True)

    await world.view.admit(HERE, ["s"])  # what was known is fresh enough; the eraser waits for longer than that
    await world.clock.advance(FRESH_S + 0.1)

    with pytest.raises(Unavailable):
        await world.view.admit(HERE, ["s"])


@pytest.mark.parametrize("over", [False, True])
async def test_an_erasure_that_went_on_during_a_write_refuses_its_ack(over):
    """Also if it is over by then: what was written may be sealed under a key that is gone."""
    world = World()
    await world.view.refresh()
    admitted = await world.view.admit(HERE, ["s"])
    begun = await world.hide(Selector(kind="session_id", session="s"), begun=True)
    if over:
        await world.change(begun, state="erased", selector=None)

    with pytest.raises(Unavailable):
        await world.view.admit(HERE, ["s"], since=admitted)
    await world.view.admit(HERE, ["t"], since=admitted)


GRIP = Grip(id="grip:1", excerpt="said", first=EventId("E1"), last=EventId("E1"), session_id="s", occurred_us=5, speaker="Ann")
OTHER = replace(GRIP, id="grip:2", first=EventId("E2"), last=EventId("E2"), session_id="t", occurred_us=50, speaker="Bob")
NODE = replace(
    opened(DAY_NODE, "a day").node,
    title="Ann and Bob",
    keywords=("said",),
    bullets=(Bullet(text="Ann said", grips=(GRIP,)), Bullet(text="Bob said", grips=(OTHER,))),
)


@pytest.mark.parametrize(
    "selector",
    [
        Selector(kind="session_id", session="s"),
        Selector(kind="actor", actor="Ann"),
        Selector(kind="range", since_us=0, until_us=10),
        Selector(kind="event_ids", event_ids=(EventId("E1"),)),
    ],
    ids=lambda selector: selector.kind,
)
async def test_a_node_loses_the_lines_that_rest_on_something_hidden(selector):
    """And its title and keywords, which may say the same; until the calendar itself knows."""
    world = World()
    begun = await world.hide(selector)

    shown = world.view.shown(HERE, NODE)
    assert [bullet.text for bullet in shown.bullets] == ["Bob said"]
    assert (shown.title, shown.keywords) == ("", ())
    assert world.view.cites(HERE, NODE)
    assert not world.view.cites(HERE, replace(NODE, bullets=NODE.bullets[1:]))
    await world.change(begun, begun=True, step="tombstones")
    assert world.view.shown(HERE, NODE) == NODE


async def test_a_node_that_rests_on_nothing_hidden_is_shown_as_it_is():
    """Title and all."""
    world = World()
    await world.hide(Selector(kind="session_id", session="other"))

    assert world.view.shown(HERE, NODE) is NODE
    assert world.view.shown(THERE, NODE) is NODE


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=6), st.sampled_from(["a", "b", "c"]))
async def test_a_session_is_hidden_exactly_while_an_erasure_of_it_is_under_way(steps, session):
    """However many there are, in whichever order they come and go."""
    world = World()
    under_way = []
    for number, (name, undone) in enumerate(steps):
        begun = await world.hide(Selector(kind="session_id", session=name), number=number + 1)
        if undone:
            await world.change(begun, state="undone", selector=None)
        else:
            under_way.append(name)

    assert world.view.hides_session(HERE, session) is (session in under_way)
    assert hides(world, session=session) is (session in under_way)
