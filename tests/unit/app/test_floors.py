"""Watching a store that a process only reads: away, hanging, and back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.faulty import Faulty
from tests.support.waiting import until

from kalends.app import floors
from kalends.app.floors import StoreWatch


class Store:
    """It answers."""

    async def look(self) -> None:
        return


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and their answers take a hundredth of the time."""
    monkeypatch.setattr(floors, "_LOOK_S", 0.01)
    monkeypatch.setattr(floors, "_ANSWER_S", 0.05)


@asynccontextmanager
async def watching(store: Faulty) -> AsyncIterator[StoreWatch]:
    """A watch at work."""
    watch = StoreWatch("lexical", store.look)
    running = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_store_that_is_away_is_noticed_and_so_is_its_return() -> None:
    """With since when."""
    store = Faulty(Store(), dependency="lexical")
    async with watching(store) as watch:
        store.leave()
        await until(lambda: watch.failure is not None)
        assert watch.failing_since is not None

        store.come_back()
        await until(lambda: watch.failure is None)
        assert watch.failing_since is None


async def test_a_store_that_hangs_is_away() -> None:
    """However patient whoever writes to it is."""
    store = Faulty(Store(), dependency="lexical")
    async with watching(store) as watch:
        gate = store.hold("look")
        await until(lambda: watch.failure is not None)
        assert watch.failure is not None
        assert (watch.failure.code, watch.failure.dependency) == ("deadline_exceeded", "lexical")
        store.let_pass()
        gate.set()
        await until(lambda: watch.failure is None)
