"""Nodes in the log: what is appended, what is left out, and what is read back."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.contracts.calendars import DAY_NODE, WEEK, opened, segment
from tests.support.edge import FixedClock
from tests.support.keys import MemoryKeys, vault_over
from tests.unit.wire.test_erasures import HERE
from tests.unit.wire.test_hidden import World

from kalends.domain.erasures import Selector
from kalends.domain.errors import Unavailable
from kalends.domain.events import microseconds
from kalends.domain.positions import Position
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.calendar import KnownNode
from kalends.ports.log import Appended, Message
from kalends.wire.node_store import NodeStore, Proposed, Written
from kalends.wire.reader import Reader
from kalends.wire.vault import key_reference

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))
OTHER = Scope(Tenant("acme"), MemoryName("diary"))
DAY = opened(DAY_NODE, "a day").node
SEGMENT = opened(segment("a"), "a segment", session="s", grips=["e"]).node


class Stream:
    """A log of one stream that refuses a message id which it knows; ``failure`` is raised once."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.ids: list[str] = []
        self.failure: Exception | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def append(self, drafts):
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        found = []
        for draft in drafts:
            duplicate = draft.message_id in self.ids
            if not duplicate:
                self.bodies.append(draft.body)
                self.ids.append(draft.message_id)
            found.append(Appended(Position("EVENTS_0", self.ids.index(draft.message_id) + 1), duplicate=duplicate))
        return found

    async def read(self, positions):
        return [
            Message(position=at, body=self.bodies[at.sequence - 1], headers={}, recorded_us=1) if at.sequence <= len(self.bodies) else None
            for at in positions
        ]


def store(stream: Stream, keys: MemoryKeys) -> NodeStore:
    """A store over *stream*, as a process has it that knows nothing yet."""
    vault = vault_over(keys)
    return NodeStore(source=stream, reader=Reader(vault), vault=vault, clock=FixedClock())


def known(position: Position, mac: bytes, *, gone: bool = False) -> KnownNode:
    """A newest version as the calendar knows it."""
    stored = opened(DAY_NODE, "a day", version=position.sequence, gone=gone).stored()
    fields = {name: getattr(stored, name) for name in KnownNode.__dataclass_fields__ if hasattr(stored, name)}
    return KnownNode(**{**fields, "number": 1, "position": position, "content_mac": mac})


def at(sequence: int) -> Position:
    """That place of the log."""
    return Position("EVENTS_0", sequence)


async def test_nodes_are_read_back_as_they_were_appended():
    """In the order asked for; None for what is not in the log."""
    stream, keys = Stream(), MemoryKeys()

    written = await store(stream, keys).append(SCOPE, [Proposed(node=DAY, newest=None), Proposed(node=SEGMENT, newest=None)], since=0)
    found = await store(stream, keys).read(SCOPE, [at(2), at(9), at(1), at(2)])

    assert written == Written(nodes=2, floors={"EVENTS_0": 2})
    assert [one and one.node for one in found] == [SEGMENT, None, DAY, SEGMENT]
    assert found[2].recorded_us == microseconds(FixedClock().now())


async def test_what_the_newest_version_says_already_is_not_appended():
    """Though it was made of other things; what says something else is, and what says it again after being gone."""
    stream, keys = Stream(), MemoryKeys()
    kept = store(stream, keys)
    await kept.append(SCOPE, [Proposed(node=DAY, newest=None)], since=0)
    (first,) = await kept.read(SCOPE, [at(1)])
    newest = known(at(1), first.content_mac)

    again = await kept.append(SCOPE, [Proposed(node=replace(DAY, inputs="others"), newest=newest)], since=0)
    other = await kept.append(SCOPE, [Proposed(node=DAY, newest=newest), Proposed(node=replace(DAY, title="else"), newest=newest)], since=0)

    assert (again, other.nodes) == (Written(nodes=0, floors={}), 1)
    assert (await kept.append(SCOPE, [Proposed(node=DAY, newest=known(at(2), first.content_mac, gone=True))], since=0)).nodes == 1
    assert len(stream.bodies) == 3


async def test_a_repetition_after_a_lost_answer_is_in_the_log_once():
    """The same node after the same predecessor has the same message id; after another one it has another."""
    stream, keys = Stream(), MemoryKeys()
    await store(stream, keys).append(SCOPE, [Proposed(node=DAY, newest=None)], since=0)
    again = await store(stream, keys).append(SCOPE, [Proposed(node=DAY, newest=None)], since=0)

    assert again.floors == {"EVENTS_0": 1}
    await store(stream, keys).append(SCOPE, [Proposed(node=DAY, newest=known(at(1), b"else"))], since=0)
    await store(stream, keys).append(OTHER, [Proposed(node=DAY, newest=None)], since=0)
    assert len(set(stream.ids)) == len(stream.bodies) == 3


async def test_what_could_not_be_appended_can_be_proposed_again():
    """The failure is the log's."""
    stream, keys = Stream(), MemoryKeys()
    kept = store(stream, keys)
    stream.failure = Unavailable("away", dependency="log")

    with pytest.raises(Unavailable):
        await kept.append(SCOPE, [Proposed(node=DAY, newest=None)], since=0)
    assert (await kept.append(SCOPE, [Proposed(node=DAY, newest=None)], since=0)).nodes == 1


async def test_a_node_of_another_memory_or_no_node_is_not_read():
    """A position is no right to see what stands there."""
    stream, keys = Stream(), MemoryKeys()
    await store(stream, keys).append(OTHER, [Proposed(node=DAY, newest=None)], since=0)
    stream.bodies.append(b"garbage")
    stream.ids.append("garbage")

    assert await store(stream, keys).read(SCOPE, [at(1), at(2)]) == [None, None]


async def test_a_forgotten_session_takes_its_segments_and_nothing_else():
    """The week above has a key of its own."""
    stream, keys = Stream(), MemoryKeys()
    week = opened(WEEK, "a week").node
    await store(stream, keys).append(SCOPE, [Proposed(node=SEGMENT, newest=None), Proposed(node=week, newest=None)], since=0)
    await keys.destroy(SCOPE, [key_reference(SCOPE, "s")])

    found = await store(stream, keys).read(SCOPE, [at(1), at(2)])

    assert [one and one.node for one in found] == [None, week]


def watched(stream: Stream, world: World) -> NodeStore:
    """A store that knows of erasures."""
    vault = vault_over(MemoryKeys())
    return NodeStore(source=stream, reader=Reader(vault), vault=vault, clock=FixedClock(), hidden=world.view)


async def erased(world: World, selector: Selector, *, number: int = 1) -> None:
    """An erasure from its beginning to its end."""
    begun = await world.hide(selector, number=number, begun=True, step="tombstones")
    await world.change(begun, state="erased")


@pytest.mark.parametrize("selector", [Selector(kind="session_id", session="s"), Selector(kind="actor", actor="ann")], ids=["whole", "some"])
async def test_what_was_read_before_an_erasure_is_not_written_after_it(selector):
    """However long the writer was held up: nothing of the erasure is under way any more. That nothing is left may be said."""
    world, stream = World(), Stream()
    kept = watched(stream, world)
    since = await kept.erasures_known()
    await erased(world, selector)

    assert (await kept.append(HERE, [Proposed(node=SEGMENT, newest=None)], since=since)) == Written(nodes=0, floors={}, outdated=True)
    assert (await kept.append(HERE, [Proposed(node=replace(SEGMENT, gone=True), newest=None)], since=since)).nodes == 1
    assert (await kept.append(HERE, [Proposed(node=SEGMENT, newest=None)], since=await kept.erasures_known())).nodes == 1


async def test_an_erasure_of_another_session_or_memory_holds_nothing_up():
    """Only what it may have taken is read anew."""
    world, stream = World(), Stream()
    kept = watched(stream, world)
    since = await kept.erasures_known()
    await erased(world, Selector(kind="session_id", session="another"))

    assert not (await kept.append(HERE, [Proposed(node=SEGMENT, newest=None)], since=since)).outdated
    await erased(world, Selector(kind="session_id", session="s"), number=2)
    assert not (await kept.append(OTHER, [Proposed(node=SEGMENT, newest=None)], since=since)).outdated


async def test_an_erasure_that_overtakes_nodes_on_their_way_is_told():
    """They are in the log by then, so whoever asked must see what is due once more."""
    world, stream = World(), Stream()
    kept = watched(stream, world)
    since = await kept.erasures_known()
    stream.meanwhile = lambda: erased(world, Selector(kind="session_id", session="s"))

    written = await kept.append(HERE, [Proposed(node=SEGMENT, newest=None)], since=since)

    assert (written.nodes, written.outdated) == (1, True)
