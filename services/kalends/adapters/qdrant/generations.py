"""Generations of the vector projection as collections of a Qdrant server, and an alias for the one that serves.

Belongs here: which collections a generation is, and in which order they are made and deleted. Does not belong here: the decision which one
serves. A newcomer would get wrong: a dedicated memory's collection is made at its first write, so a generation is dropped by deleting the
shared collection first: a late writer then finds that its generation is gone, and whatever it made meanwhile it deletes itself.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from kalends.adapters.qdrant import collections as named
from kalends.adapters.qdrant.connection import Connection, connect
from kalends.adapters.qdrant.vectors import QdrantVectors
from kalends.domain.errors import Invalid
from kalends.settings import QdrantSettings


class QdrantGenerations:
    """See ``ports.generations.GenerationStore``. *identity* is the model's, whose vectors have *dimension* numbers.

    *dedicated* says of a memory's key whether the memory has a collection of its own; its answer must not change within a generation.
    """

    def __init__(self, connection: Connection, *, identity: str, dimension: int, dedicated: Callable[[str], bool]) -> None:
        self._connection = connection
        self._collections = named.Collections(connection, identity=identity, dimension=dimension)
        self._dimension = dimension
        self._dedicated = dedicated
        self._serving = self._index(self._collections.alias)

    @property
    def serving(self) -> QdrantVectors:
        """The index behind the alias."""
        return self._serving

    def index(self, name: str) -> QdrantVectors:
        """The index of generation *name*, which writing does not make.

        Raises:
            Invalid: it is no name of a generation.
        """
        return self._index(self._collections.name(name))

    async def names(self) -> Sequence[str]:
        """The generations that exist, in order; collections of dedicated memories alone do not make one."""
        return sorted(shelf.generation for shelf in (await self._collections.shelves()).values() if shelf.memory is None)

    async def pointed(self) -> str | None:
        """The generation that the alias names."""
        collection = await self._collections.pointed()
        return None if collection is None else self._collections.generation_of(collection)

    async def make(self, name: str) -> None:
        """Make an empty generation; one that exists stays as it is.

        Raises:
            Invalid: it is no name of a generation. Misconfigured: it exists with vectors of another length.
        """
        collection = self._collections.name(name)
        shelves = await self._collections.shelves()
        if collection not in shelves:
            # what a deletion that was cut short has left of dedicated memories
            await named.delete_all(self._collections, [found for found, shelf in shelves.items() if shelf.generation == name])
        await self._collections.make(collection)

    async def point(self, name: str) -> None:
        """Let the alias name *name*.

        Raises:
            NotFound: no such generation exists. Invalid: it is no name of a generation. Misconfigured: it has vectors of another length.
        """
        await self._collections.point(self._collections.name(name))

    async def drop(self, name: str) -> None:
        """Delete a generation: the shared collection first, then those of dedicated memories that have none, also of earlier attempts."""
        try:
            collection = self._collections.name(name)
        except Invalid:
            return
        await self._collections.delete(collection)
        shelves = await self._collections.shelves()
        there = {shelf.generation for shelf in shelves.values() if shelf.memory is None}
        await named.delete_all(self._collections, sorted(found for found, shelf in shelves.items() if shelf.generation not in there))

    async def close(self) -> None:
        """End the connections."""
        await self._connection.close()

    def _index(self, base: str) -> QdrantVectors:
        return QdrantVectors(self._connection, self._collections, base=base, dimension=self._dimension, dedicated=self._dedicated)


@asynccontextmanager
async def open_generations(
    settings: QdrantSettings, *, identity: str, dimension: int, dedicated: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[QdrantGenerations]:
    """The generations on the server that *settings* name, while the block runs. Nothing is sent yet.

    Raises:
        Misconfigured: a setting cannot work.
    """
    opened = QdrantGenerations(connect(settings), identity=identity, dimension=dimension, dedicated=dedicated)
    try:
        yield opened
    finally:
        await opened.close()
