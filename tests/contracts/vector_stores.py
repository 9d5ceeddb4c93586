"""The stores that the suite of the port ``vectors`` runs over.

Belongs here: opening one adapter's indexes, and opening them again as after a restart. Does not belong here: a test. A newcomer would get
wrong: folders are a test's own, and a server is shared, so there each test has generations of its own and drops them.
"""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from tests.contracts.projections import DIMENSION

from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.adapters.qdrant.generations import open_generations
from kalends.ports.vectors import VectorIndex
from kalends.settings import QdrantSettings


async def opened_at(folder: Path, *, identity: str = "test", dimension: int = DIMENSION) -> EdgeVectors:
    """The index of qdrant-edge in *folder*."""
    return await EdgeVectors.open(folder, identity=identity, dimension=dimension)


class Store(Protocol):
    """Where an adapter keeps one index of a test."""

    async def opened(self) -> VectorIndex:
        """The index, opened anew as after a restart."""
        ...

    async def another(self) -> VectorIndex:
        """Another index, in which nothing is held."""
        ...

    async def close(self) -> None:
        """Close all of them."""
        ...


class EdgeStore:
    """Folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, EdgeVectors] = {}

    async def opened(self) -> EdgeVectors:
        return await self._open("vectors")

    async def another(self) -> EdgeVectors:
        return await self._open("another")

    async def close(self) -> None:
        for index in self._opened.values():
            await index.close()

    async def _open(self, name: str) -> EdgeVectors:
        if name in self._opened:
            await self._opened.pop(name).close()
        self._opened[name] = await opened_at(self._folder / name)
        return self._opened[name]


class QdrantStore:
    """Generations of a test's own on a server that the tests share."""

    def __init__(self, settings: QdrantSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()

    async def opened(self) -> VectorIndex:
        await self._stack.aclose()
        return await self._open("g1")

    async def another(self) -> VectorIndex:
        return await self._open("g2")

    async def close(self) -> None:
        async with open_generations(self._settings, identity="test", dimension=DIMENSION) as generations:
            for name in await generations.names():
                await generations.drop(name)
        await self._stack.aclose()

    async def _open(self, name: str) -> VectorIndex:
        opened = open_generations(self._settings, identity="test", dimension=DIMENSION)
        generations = await self._stack.enter_async_context(opened)
        await generations.make(name)
        return generations.index(name)
