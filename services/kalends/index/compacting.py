"""Compaction: stores give back what they do not need any more, while they serve.

Belongs here: asking one store after the other, because it is due or because somebody asked. Does not belong here: how a store does it
(``adapters``). A newcomer would get wrong: what deleted vectors take up is not given back by it, because Edge would stop the whole process
for as long as that takes (45 µs a point, measured); a rebuild of the projection does.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from kalends.domain.operations import LongOperation
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.wire.leases import Lease
from kalends.wire.operations import OperationStore
from kalends.wire.running import OperationRunner, Report

ALL = "all"
"""What an operation is about that compacts every store."""

_GIVE_WAY_S = 2.0

Compactable = Callable[[], Awaitable[int]]
"""A store's ``compact``: the bytes of disk that it freed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """Bytes of disk that each store freed."""

    freed: Mapping[str, int] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def text(self) -> str:
        """One line for people."""
        if self.dry_run:
            return "nothing was compacted (dry run)"
        return ", ".join(f"{name}: {size / 1e6:.1f} MB freed" for name, size in self.freed.items()) or "nothing to compact"


class Compact:
    """The task ``compaction``; again is safe, and so is a cancellation anywhere."""

    def __init__(
        self, *, stores: Mapping[str, Compactable], traffic: Traffic, observe: Callable[[str, int], None] = lambda _name, _bytes: None
    ) -> None:
        """*stores* by the name that people know; *observe* is told name and bytes."""
        self._stores = stores
        self._traffic = traffic
        self._observe = observe

    async def __call__(
        self, *, only: str = ALL, dry_run: bool = False, report: Callable[[int, int], None] = lambda _done, _total: None
    ) -> CompactReport:
        """Compact one store after the other, or *only* one; a dry run does nothing. *report* is told how many of how many are done.

        Raises:
            Unavailable: a store does not answer; those before it are compacted.
        """
        freed: dict[str, int] = {}
        chosen = {} if dry_run else {name: compact for name, compact in self._stores.items() if only in {ALL, name}}
        for name, compact in chosen.items():
            await self._traffic.give_way(at_most=_GIVE_WAY_S)
            freed[name] = await compact()
            self._observe(name, freed[name])
            report(len(freed), len(chosen))
        return CompactReport(freed=freed, dry_run=dry_run)


class Compactions(OperationRunner):
    """Compactions asked for, one after another."""

    def __init__(self, *, compact: Compact, store: OperationStore, lease: Lease, clock: Clock, place: str = "") -> None:
        super().__init__(kind="compaction", store=store, lease=lease, clock=clock, do=self._compact_chosen, place=place)
        self._compact = compact

    async def _compact_chosen(self, asked: LongOperation, report: Report) -> str:
        return (await self._compact(only=asked.subject, report=report)).text
