"""A store of generations in memory: the port as written, for tests of what stands on it; it passes the suite of the real ones.

Belongs here: names and an alias. Does not belong here: indexes; one is only its name here.
"""

from collections.abc import Sequence

from kalends.domain.errors import NotFound, Unavailable


class MemoryGenerationStore:
    """Generations are names; an index is ``"index of NAME"``, the serving one the name that the alias has now."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.alias: str | None = None
        self.away = False

    @property
    def serving(self) -> str:
        return "serving"

    def index(self, name: str) -> str:
        return f"index of {name}"

    async def names(self) -> Sequence[str]:
        self._ask()
        return sorted(self.made)

    async def pointed(self) -> str | None:
        self._ask()
        return self.alias

    async def make(self, name: str) -> None:
        self._ask()
        self.made.add(name)

    async def point(self, name: str) -> None:
        self._ask()
        if name not in self.made:
            raise NotFound(f"no generation {name}")
        self.alias = name

    async def drop(self, name: str) -> None:
        self._ask()
        self.made.discard(name)

    def lose(self) -> None:
        """Forget everything, as a server whose disk was replaced."""
        self.made.clear()
        self.alias = None

    def _ask(self) -> None:
        if self.away:
            raise Unavailable("the store is away", dependency="lexical")
