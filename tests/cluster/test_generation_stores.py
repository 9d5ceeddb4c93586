"""The suite of ``generations.GenerationStore``, over every adapter that keeps the generations of several processes.

A newcomer would get wrong: an adapter joins by one entry in ``STORES``; whatever it needs to run is its own business, and its mark says so.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from tests.contracts.projections import DIMENSION, OTHER, SCOPE, direction, entry, key_of, swept, vectors, window
from tests.support.opensearch.stores import fresh_settings
from tests.support.qdrant_wire import running as qdrant_wire
from tests.support.waiting import until

from kalends.adapters.opensearch import open_generations
from kalends.adapters.qdrant import generations as qdrant
from kalends.domain.errors import KalendsError, NotFound
from kalends.domain.queries import Criteria
from kalends.domain.scope import Scope
from kalends.ports.generations import GenerationStore

ALL = Criteria()
Place = Any
"""Whatever an adapter's settings are: one store of a test's own, which several processes may open."""

Dedicated = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Store:
    """One adapter, and how the suite writes to its indexes and asks them.

    ``place`` gives a fresh place for one test, and ``open`` a store there; of several opened ones each stands for a process.
    """

    place: Callable[[], AbstractAsyncContextManager[Place]]
    open: Callable[[Place, Dedicated], AbstractAsyncContextManager[GenerationStore[Any]]]
    put: Callable[[Any, str, Scope], Awaitable[None]]
    ask: Callable[[Any, Scope], Awaitable[Sequence[Any]]]
    marks: tuple[pytest.MarkDecorator, ...] = ()


async def _put_words(index: Any, name: str, scope: Scope) -> None:
    await index.put([entry(name, "billing", scope=scope)])


async def _put_vectors(index: Any, name: str, scope: Scope) -> None:
    await index.put([vectors(entry(name, scope=scope), window("billing"))])


STORES = {
    "opensearch": Store(
        place=fresh_settings,
        open=lambda settings, dedicated: open_generations(settings, dedicated=dedicated),
        put=_put_words,
        ask=lambda index, scope: index.search(scope, "billing", criteria=ALL, limit=50),
        marks=(pytest.mark.cluster,),
    ),
    "qdrant": Store(
        place=qdrant_wire.fresh_settings,
        open=lambda settings, dedicated: qdrant.open_generations(settings, identity="test", dimension=DIMENSION, dedicated=dedicated),
        put=_put_vectors,
        ask=lambda index, scope: index.nearest(scope, direction("billing"), criteria=ALL, limit=50),
        marks=(pytest.mark.cluster,),
    ),
}


@pytest.fixture(params=[pytest.param(name, marks=store.marks) for name, store in sorted(STORES.items())])
def kind(request: pytest.FixtureRequest) -> Store:
    """Each adapter in turn."""
    return STORES[request.param]


Opener = Callable[..., Awaitable[GenerationStore[Any]]]


@pytest.fixture
async def opened(kind: Store) -> AsyncIterator[Opener]:
    """Opens the place of this test once more, as another process does."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(kind.place())

        async def again(*, dedicated: Dedicated = lambda _: False) -> GenerationStore[Any]:
            return await stack.enter_async_context(kind.open(place, dedicated))

        yield again


@pytest.fixture
async def store(opened: Opener) -> GenerationStore[Any]:
    """A store in which nothing has happened yet."""
    return await opened()


async def answers(kind: Store, index: Any, scope: Scope = SCOPE) -> set[str]:
    """The keys that *index* finds."""
    return {hit.key for hit in await kind.ask(index, scope)}


def a_dedicated_memory(key: str) -> bool:
    """Whether this is the key of the memory that the tests make dedicated."""
    return key == OTHER.key


async def test_an_empty_store_points_nowhere(store: GenerationStore[Any]) -> None:
    """Nothing is made by asking."""
    assert await store.pointed() is None
    assert list(await store.names()) == []
    await store.drop("g1")
    assert list(await store.names()) == []


async def test_what_serves_is_what_the_alias_names(kind: Store, store: GenerationStore[Any], opened: Opener) -> None:
    """For every process at once, and what is written through the serving index lies in that generation."""
    neighbour = await opened()
    await store.make("g1")
    assert await store.pointed() is None
    await store.point("g1")
    await kind.put(neighbour.serving, "a", SCOPE)

    assert (await neighbour.pointed(), list(await neighbour.names())) == ("g1", ["g1"])
    assert await answers(kind, store.serving) == {key_of("a")}
    assert await answers(kind, store.index("g1")) == {key_of("a")}


async def test_before_any_is_pointed_at_nothing_is_answered_or_written(kind: Store, store: GenerationStore[Any]) -> None:
    """An alias that is missing is an outage, not an empty memory, and writing through it makes nothing."""
    for attempt in (kind.ask(store.serving, SCOPE), kind.put(store.serving, "a", SCOPE), store.serving.put([], [])):
        with pytest.raises(KalendsError):
            await attempt

    assert list(await store.names()) == []
    assert await store.pointed() is None


async def test_making_a_generation_twice_keeps_what_it_holds(kind: Store, store: GenerationStore[Any], opened: Opener) -> None:
    """Also when two processes make it at once."""
    neighbour = await opened()
    await asyncio.gather(*(one.make("g1") for one in (store, neighbour) * 2))
    await kind.put(store.index("g1"), "a", SCOPE)
    await neighbour.make("g1")

    assert list(await store.names()) == ["g1"]
    assert await answers(kind, neighbour.index("g1")) == {key_of("a")}


async def test_pointing_at_nothing_leaves_the_alias_as_it_is(kind: Store, store: GenerationStore[Any]) -> None:
    """A generation that was never made cannot serve."""
    with pytest.raises(NotFound):
        await store.point("g9")
    assert await store.pointed() is None
    await store.make("g1")
    await store.point("g1")
    with pytest.raises(NotFound):
        await store.point("g9")

    assert await store.pointed() == "g1"
    assert await answers(kind, store.serving) == set()


async def test_no_reader_finds_the_alias_missing_or_doubled(kind: Store, store: GenerationStore[Any], opened: Opener) -> None:
    """While it is swapped again and again, every answer is of exactly one generation."""
    for name in ("g1", "g2", "g3"):
        await store.make(name)
        await kind.put(store.index(name), name, SCOPE)
    await store.point("g1")
    neighbour = await opened()
    stop = asyncio.Event()
    seen: list[frozenset[str]] = []
    pointed: list[str | None] = []

    async def keep_asking() -> None:
        while not stop.is_set():
            seen.append(frozenset(await answers(kind, neighbour.serving)))
            pointed.append(await neighbour.pointed())

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(keep_asking())
        for turn in range(12):
            await store.point(f"g{turn % 3 + 1}")
            enough = len(seen) + 3
            await until(lambda enough=enough: len(seen) >= enough)
        stop.set()

    assert set(seen) == {frozenset({key_of(name)}) for name in ("g1", "g2", "g3")}
    assert set(pointed) == {"g1", "g2", "g3"}


async def test_of_several_that_point_at_once_one_wins(kind: Store, store: GenerationStore[Any], opened: Opener) -> None:
    """The alias never stays doubled."""
    neighbours = [await opened() for _ in range(3)]
    names = ["g1", "g2", "g3"]
    for name in names:
        await store.make(name)
        await kind.put(store.index(name), name, SCOPE)
    for turn in range(5):
        await asyncio.gather(
            *(one.point(name) for one, name in zip(neighbours, names[turn % 3 :] + names[: turn % 3], strict=True)), return_exceptions=True
        )
        pointed = await store.pointed()
        assert pointed in names
        assert await answers(kind, store.serving) == {key_of(pointed)}


async def test_late_writes_to_a_dropped_generation_fail_and_do_not_make_it_again(kind: Store, store: GenerationStore[Any]) -> None:
    """Of the memories that share an index and of the dedicated ones; what serves is untouched."""
    for name in ("g1", "g2"):
        await store.make(name)
    await store.point("g2")
    late = store.index("g1")
    await kind.put(late, "a", SCOPE)
    await store.drop("g1")

    for attempt in (kind.put(late, "b", SCOPE), kind.ask(late, SCOPE), late.put([], [])):
        with pytest.raises(KalendsError):
            await attempt
    assert list(await store.names()) == ["g2"]
    assert await answers(kind, store.serving) == set()


async def test_writing_while_a_generation_is_dropped_leaves_nothing_of_it(kind: Store, opened: Opener) -> None:
    """Whatever the order in which the two arrive, dedicated memories included."""
    store = await opened(dedicated=a_dedicated_memory)
    await store.make("kept")
    await store.point("kept")
    for turn in range(3):
        name = f"g{turn}"
        await store.make(name)
        late = store.index(name)
        writes = [kind.put(late, f"{turn}-{place}", scope) for place in range(6) for scope in (SCOPE, OTHER)]
        outcomes = await asyncio.gather(store.drop(name), *writes, return_exceptions=True)
        assert outcomes[0] is None
        assert all(outcome is None or isinstance(outcome, KalendsError) for outcome in outcomes)
        assert list(await store.names()) == ["kept"]
        await store.make(name)
        assert await answers(kind, store.index(name), OTHER) == set()
        assert list(await store.index(name).scopes()) == []
        await store.drop(name)


async def test_a_dedicated_memory_lives_in_an_index_of_its_own(kind: Store, opened: Opener) -> None:
    """For whoever asks it is as any other; it is switched and dropped with its generation, and its calendar is with it."""
    store = await opened(dedicated=a_dedicated_memory)
    for name in ("g1", "g2"):
        await store.make(name)
    await store.point("g1")
    assert await answers(kind, store.serving, OTHER) == set()
    assert await swept(store.serving, OTHER) == []
    for scope in (SCOPE, OTHER, OTHER.calendar):
        await kind.put(store.serving, "a", scope)

    for scope in (SCOPE, OTHER, OTHER.calendar):
        assert await answers(kind, store.serving, scope) == {key_of("a", scope=scope)}
        assert [one.key for one in await swept(store.serving, scope)] == [key_of("a", scope=scope)]
        assert await store.serving.count(scope) == 1
    assert sorted(await store.serving.scopes()) == sorted([SCOPE.key, OTHER.key, OTHER.calendar.key])
    assert (await store.serving.digest()).events == 3
    assert list(await store.names()) == ["g1", "g2"]
    await store.point("g2")
    assert await answers(kind, store.serving, OTHER) == set()
    await store.drop("g1")
    await store.make("g1")
    assert await answers(kind, store.index("g1"), OTHER) == set()


async def test_where_a_memory_lies_changes_no_digest(kind: Store, opened: Opener) -> None:
    """So that a memory can be moved to an index of its own by a rebuild, and be compared."""
    shared, apart = await opened(), await opened(dedicated=a_dedicated_memory)
    await shared.make("g1")
    await apart.make("g2")
    for index in (shared.index("g1"), apart.index("g2")):
        for scope in (SCOPE, OTHER):
            await kind.put(index, "a", scope)

    assert await shared.index("g1").digest() == await apart.index("g2").digest()
    assert await kind.ask(shared.index("g1"), OTHER) == await kind.ask(apart.index("g2"), OTHER)
