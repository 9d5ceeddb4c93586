"""How indexes and aliases are called.

Belongs here: names, and reading them back. Does not belong here: asking for them. A newcomer would get wrong: nothing is ever written to an
index by its own name, because OpenSearch would make one that is missing; each has an alias for writers, which vanishes with it.

For the prefix ``kalends`` and the generation ``g1``::

    kalends-lexical                       alias of the serving generation
    kalends-lexical-g1                    index of what memories share
    kalends-lexical-g1-m-<scope key>      index of a dedicated memory
    <index>.writes                        alias through which an index is written
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kalends.domain.errors import Invalid
from kalends.domain.scope import CALENDAR_SUFFIX

_GENERATION = re.compile(r"[a-z0-9-]{1,40}")
_DEDICATED = re.compile(r"(.*)-m-([a-z2-7]{26})")


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names below one prefix."""

    prefix: str

    @property
    def serving(self) -> str:
        """The alias of the generation that serves."""
        return f"{self.prefix}-lexical"

    def shared(self, generation: str) -> str:
        """The index that the memories of *generation* share.

        Raises:
            Invalid: this is no name for a generation, or it would look like a dedicated memory's.
        """
        if not _GENERATION.fullmatch(generation) or _DEDICATED.fullmatch(generation):
            raise Invalid("not a name for a generation")
        return f"{self.prefix}-lexical-{generation}"

    def dedicated(self, generation: str, memory_key: str) -> str:
        """The index of one dedicated memory."""
        return f"{self.shared(generation)}-m-{memory_key}"

    def every_dedicated(self, generation: str) -> str:
        """A pattern for the indexes of all dedicated memories."""
        return f"{self.shared(generation)}-m-*"

    def everything(self) -> str:
        """A pattern for all indexes of all generations."""
        return f"{self.prefix}-lexical-*"

    def generations(self, indexes: Iterable[str]) -> list[str]:
        """The generations among *indexes*, in order; those of dedicated memories do not make one."""
        start = f"{self.prefix}-lexical-"
        names = (index.removeprefix(start) for index in indexes if index.startswith(start))
        return sorted(name for name in names if _GENERATION.fullmatch(name) and not _DEDICATED.fullmatch(name))

    def orphans(self, indexes: Sequence[str]) -> list[str]:
        """Those of dedicated memories among *indexes* whose generation is not there: what a deletion that was cut short has left."""
        start, there = f"{self.prefix}-lexical-", set(indexes)
        found = ((index, _DEDICATED.fullmatch(index.removeprefix(start))) for index in indexes if index.startswith(start))
        return [index for index, parts in found if parts and f"{start}{parts.group(1)}" not in there]


def for_writing(index: str) -> str:
    """The alias through which *index* is written."""
    return f"{index}.writes"


def memory_of(scope_key: str) -> str:
    """The key of the memory that *scope_key* belongs to: a calendar's is its memory's."""
    return scope_key.removesuffix(CALENDAR_SUFFIX)
