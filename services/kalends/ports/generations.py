"""Generations: a projection can be rebuilt beside the serving one and switched to atomically.

A newcomer would get wrong: several processes may serve one projection, so which generation is current can change without any call here; who
must know asks ``refresh`` again now and then.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

IndexT_co = TypeVar("IndexT_co", covariant=True)


class Generations(Protocol):
    """The generations of one projection. The names are tokens ``[a-z0-9-]+``; exactly one is current."""

    @property
    def current(self) -> str:
        """The generation that serves, as far as this process knows; empty while it knows of none."""
        ...

    async def ensure(self) -> None:
        """See to it that one generation serves and is there; again changes nothing.

        Raises:
            Unavailable, DeadlineExceeded: the store is away; ask again.
        """
        ...

    async def refresh(self) -> str:
        """The generation that serves, asked anew: another process may have switched."""
        ...

    async def begin(self, name: str) -> object:
        """Make an empty generation and return its index; what an earlier attempt of that name left is deleted first."""
        ...

    async def resume(self, name: str) -> object | None:
        """The index of a generation that was begun, maybe by another process, and does not serve yet, as it is; None if there is none."""
        ...

    async def switch(self, name: str) -> None:
        """Make *name* the current one, durably and atomically; queries that are under way finish on the old one."""
        ...

    async def drop(self, name: str) -> None:
        """Delete a generation that is not current; one that does not exist is no error."""
        ...

    async def is_lost(self) -> bool:
        """Whether the current generation is beyond repair: its store answers, or is this process's own, and cannot serve it any more."""
        ...

    async def leftovers(self) -> Sequence[str]:
        """Generations that are there and are not current."""
        ...


class GenerationStore(Protocol[IndexT_co]):
    """Where the generations of a projection are kept that several processes share: an index for each, and an alias for the serving one.

    A newcomer would get wrong: the store does not decide which generation serves (``wire.generations`` does); the alias only carries that
    decision to whoever reads, in one step.
    """

    @property
    def serving(self) -> IndexT_co:
        """The index behind the alias, whichever generation that is."""
        ...

    def index(self, name: str) -> IndexT_co:
        """The index of generation *name*; whether it exists shows when it is used, and writing to it never makes it."""
        ...

    async def names(self) -> Sequence[str]:
        """The generations that exist, in order."""
        ...

    async def pointed(self) -> str | None:
        """The generation that the alias names; None while there is none."""
        ...

    async def make(self, name: str) -> None:
        """Make an empty generation; one that exists stays as it is, also when two processes make it at once."""
        ...

    async def point(self, name: str) -> None:
        """Let the alias name *name*, in one step: no reader ever finds it missing or doubled.

        Raises:
            NotFound: no such generation exists; the alias is as before.
        """
        ...

    async def drop(self, name: str) -> None:
        """Delete a generation; one that does not exist is no error. Late writes to it fail and do not make it again."""
        ...
