"""Arrivals: into which memories something is being imported just now.

Belongs here: the record that says so. Does not belong here: importing. A newcomer would get wrong: while a memory's calendar comes in,
nobody may write it anew from the events that are there already, or every hour of the import would become a version of every year; so such a
record holds the calendar of its memory, and ends by itself when nobody renews it.
"""

from kalends.domain.events import microseconds
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.clock import Clock
from kalends.ports.records import Records

KIND = "arrival"
HELD_S = 60.0
"""So long the calendar waits after the last that was heard of an import."""


class Arrivals:
    """What arrives where, over records."""

    def __init__(self, *, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def hold(self, scope: Scope) -> None:
        """Let the calendar of *scope* wait, for ``HELD_S`` from now on."""
        until_us = microseconds(self._clock.now()) + round(HELD_S * 1e6)
        await self._records.put(KIND, scope.tenant, scope.memory, str(until_us).encode())

    async def release(self, scope: Scope) -> None:
        """Let it go on."""
        await self._records.delete(KIND, scope.tenant, scope.memory)

    async def held(self) -> frozenset[Scope]:
        """The memories whose calendar waits."""
        now_us = microseconds(self._clock.now())
        return frozenset(
            Scope(Tenant(one.owner), MemoryName(one.name))
            for one in await self._records.list(KIND)
            if one.value.isdigit() and int(one.value) > now_us
        )
