"""Key check: every key that the log's messages need exists, and every key that exists unwraps.

Belongs here: asking both stores and counting. Does not belong here: repairing; a key that is gone cannot be made again. A newcomer would
get wrong: a key without an event is normal (a write that was refused made it), and a missing one is lawful where somebody was forgotten,
so the check tells and changes nothing.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

import structlog

from kalends.domain.scope import Scope
from kalends.edge.services import Health
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.keys import Keys
from kalends.ports.timeline import Timeline
from kalends.wire.memories import MemoryRegistry
from kalends.wire.vault import Vault, key_reference

log = structlog.get_logger(__name__)

PIECE = 500
_GIVE_WAY_S = 0.5

References = Callable[[Scope], AsyncIterator[Sequence[str]]]
"""In pieces, the references of keys that messages of a memory need beside those of its sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """What was found, over all memories.

    ``needed`` keys are referred to by the log; ``missing`` of them do not exist. ``stored`` keys exist in the memories that there are;
    ``unusable`` of them do not unwrap, ``unused`` are needed by nothing. ``foreign`` keys belong to no memory that there is.
    """

    memories: int = 0
    needed: int = 0
    missing: int = 0
    stored: int = 0
    unusable: int = 0
    unused: int = 0
    foreign: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether everything that the log holds can be opened."""
        return not self.missing and not self.unusable

    @property
    def text(self) -> str:
        """One line for people."""
        told = f"{self.needed} keys needed by {self.memories} memories: {self.missing} missing, {self.unusable} unusable"
        return f"{told}; {self.stored} stored, {self.unused} unused, {self.foreign} of no memory"


class CheckKeys:
    """The task ``key-check``; it changes nothing."""

    def __init__(
        self,
        *,
        keys: Keys,
        vault: Vault,
        timeline: Timeline,
        memories: MemoryRegistry,
        traffic: Traffic,
        clock: Clock,
        others: Sequence[References] = (),
        observe: Callable[[str, int], None] = lambda _finding, _count: None,
    ) -> None:
        """*others* give what is needed beside the sessions' keys; *observe* is told finding (``missing``, ``unusable``) and count."""
        self._keys = keys
        self._vault = vault
        self._timeline = timeline
        self._memories = memories
        self._traffic = traffic
        self._clock = clock
        self._others = others
        self._observe = observe
        self._last: KeyReport | None = None
        self._unwell_since: datetime | None = None

    async def __call__(self, *, dry_run: bool = False) -> KeyReport:
        """Check every memory; a dry run is the same, for nothing is written.

        Raises:
            Unavailable, DeadlineExceeded: the key store or the timeline does not answer.
        """
        del dry_run
        needed = missing = stored = unusable = unused = 0
        scopes = await self._memories.scopes()
        for scope in scopes:
            of_scope, absent = await self._needed(scope)
            held, bad = await self._stored(scope)
            needed, missing, stored, unusable = needed + of_scope, missing + absent, stored + held, unusable + bad
            unused += max(0, held - (of_scope - absent))
        foreign = max(0, await self._keys.count() - stored)
        report = KeyReport(
            memories=len(scopes), needed=needed, missing=missing, stored=stored, unusable=unusable, unused=unused, foreign=foreign
        )
        self._conclude(report)
        return report

    def health(self) -> Sequence[Health]:
        """Degraded while the last check found a key missing or unusable; nothing before the first check."""
        if self._last is None:
            return []
        since = self._unwell_since
        return [
            Health(
                name="keys",
                state="up" if since is None else "degraded",
                since=(since or self._clock.now()).isoformat(),
                detail="" if since is None else self._last.text,
                next_step="" if since is None else "put back a backup of the key store, unless these sessions were erased on purpose",
                required=False,
            )
        ]

    async def _needed(self, scope: Scope) -> tuple[int, int]:
        """How many keys the memory's messages need, and how many of these do not exist."""
        needed = missing = 0
        async for references in self._references(scope):
            await self._traffic.give_way(at_most=_GIVE_WAY_S)
            found = await self._keys.get(scope, references)
            needed += len(references)
            missing += len(references) - len(found)
        return needed, missing

    async def _references(self, scope: Scope) -> AsyncIterator[Sequence[str]]:
        after = None
        while sessions := await self._timeline.session_ids(scope.key, after=after, limit=PIECE):
            yield [key_reference(scope, session) for session in sessions]
            after = sessions[-1]
        for other in self._others:
            async for references in other(scope):
                yield references

    async def _stored(self, scope: Scope) -> tuple[int, int]:
        """How many keys the memory has, and how many of these do not unwrap."""
        held = bad = 0
        async with aclosing(self._keys.references(scope, limit=PIECE)) as pieces:
            async for wrapped in pieces:
                held += len(wrapped)
                bad += len(await self._vault.unusable(scope, wrapped))
                await self._traffic.give_way(at_most=_GIVE_WAY_S)
        return held, bad

    def _conclude(self, report: KeyReport) -> None:
        self._last = report
        # also when all is well: a gauge that was told of trouble only would stay at it for ever
        self._observe("missing", report.missing)
        self._observe("unusable", report.unusable)
        if report.is_whole:
            self._unwell_since = None
            return
        self._unwell_since = self._unwell_since or self._clock.now()
        log.warning("keys are missing or do not unwrap", missing=report.missing, unusable=report.unusable, needed=report.needed)
