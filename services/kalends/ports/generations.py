"""Generations: a projection can be rebuilt beside the serving one and switched to atomically."""

from typing import Protocol


class Generations(Protocol):
    """The generations of one projection. The names are tokens ``[a-z0-9-]+``; exactly one is current."""

    @property
    def current(self) -> str: ...

    async def begin(self, name: str) -> object:
        """Make an empty generation and return its index (a LexicalIndex or a VectorIndex, as the projection's kind is)."""
        ...

    async def switch(self, name: str) -> None:
        """Make *name* the current one, durably and atomically; queries that are under way finish on the old one."""
        ...

    async def drop(self, name: str) -> None:
        """Delete a generation that is not current; one that does not exist is no error."""
        ...
