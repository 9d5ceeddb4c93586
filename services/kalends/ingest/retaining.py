"""Retention: events whose time is over are taken back, so that every projection drops them.

Belongs here: finding them and appending their retractions. Does not belong here: hiding them until then (``search``), or destroying their
bytes. A newcomer would get wrong: nothing is deleted here; a retraction is one more message of the log, under the key of the same session,
and a repetition of it says the same again.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from kalends.domain.events import EventKey, microseconds
from kalends.domain.scope import Scope
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.log import Draft, Log
from kalends.ports.timeline import Expired, Timeline
from kalends.wire import envelopes
from kalends.wire.memories import MemoryRegistry
from kalends.wire.vault import Vault, key_reference

log = structlog.get_logger(__name__)

REASON = "expired"
PIECE = 500
_GIVE_WAY_S = 2.0
_NO_STAMP = envelopes.Stamp(writer="", number=0, acked_up_to=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """``expired`` events were taken back by ``messages``; ``repeated`` of these were in the log already. ``unsealable`` events stay.

    What is unsealable belongs to a session whose key was destroyed, so that nobody can read it anyway, or to no memory that there is.
    """

    expired: int = 0
    messages: int = 0
    repeated: int = 0
    unsealable: int = 0
    dry_run: bool = False

    @property
    def text(self) -> str:
        """One line for people."""
        told = f"{self.expired} events expired, taken back by {self.messages} messages"
        told += f"; {self.unsealable} without a key" if self.unsealable else ""
        return told + (" (dry run)" if self.dry_run else "")


class Retain:
    """The task ``retention``; again is safe, and so is a cancellation anywhere."""

    def __init__(
        self,
        *,
        log: Log,
        timeline: Timeline,
        vault: Vault,
        memories: MemoryRegistry,
        clock: Clock,
        traffic: Traffic,
        observe: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """*observe* is told how many events were taken back."""
        self._log = log
        self._timeline = timeline
        self._vault = vault
        self._memories = memories
        self._clock = clock
        self._traffic = traffic
        self._observe = observe

    async def __call__(self, *, dry_run: bool = False) -> RetentionReport:
        """Take back everything that has expired by now; a dry run only counts.

        Raises:
            Unavailable, DeadlineExceeded, Throttled: log, keys or timeline are away, or the log is full; what was taken back stays so.
        """
        now_us = microseconds(self._clock.now())
        scopes = {scope.key: scope for scope in await self._memories.scopes()}
        expired = messages = repeated = unsealable = 0
        after: tuple[int, EventKey] | None = None
        while piece := await self._timeline.expired(now_us, after=after, limit=PIECE):
            after = (piece[-1].expires_us, piece[-1].key)
            await self._traffic.give_way(at_most=_GIVE_WAY_S)
            drafts, taken = await self._drafts(piece, scopes, now_us=now_us)
            appended = [] if dry_run else await self._log.append(drafts)
            await failpoints.reach("retention.after-append")
            expired += taken
            unsealable += len(piece) - taken
            messages += len(drafts)
            repeated += sum(one.duplicate for one in appended)
            if not dry_run:
                self._observe(taken)
        report = RetentionReport(expired=expired, messages=messages, repeated=repeated, unsealable=unsealable, dry_run=dry_run)
        if unsealable:
            log.info("expired events without a key", count=unsealable)
        return report

    async def _drafts(self, piece: Sequence[Expired], scopes: Mapping[str, Scope], *, now_us: int) -> tuple[list[Draft], int]:
        """One retraction for each session in *piece*, and how many events they take back."""
        sessions: dict[tuple[Scope, str], list[Expired]] = {}
        for one in piece:
            scope = scopes.get(one.scope_key)
            if scope is not None:
                sessions.setdefault((scope, one.session), []).append(one)
        wanted: dict[Scope, list[str]] = {}
        for scope, session in sessions:
            wanted.setdefault(scope, []).append(key_reference(scope, session))
        # never made where there is none: a new key would seal later events of a session that was to be forgotten
        boxes = {scope: await self._vault.boxes(scope, references) for scope, references in wanted.items()}
        drafts, taken = [], 0
        for (scope, session), gone in sessions.items():
            reference = key_reference(scope, session)
            box = boxes[scope].get(reference)
            if box is None:
                continue
            ids = tuple(one.event_id for one in gone)
            body = envelopes.seal_retraction(
                envelopes.Retraction(event_ids=ids, reason=REASON),
                scope=scope,
                recorded_us=now_us,
                key_reference=reference,
                box=box,
                stamp=_NO_STAMP,
            )
            identity = hashlib.blake2b("\0".join(one.key for one in gone).encode(), digest_size=16).hexdigest()
            drafts.append(Draft(scope=scope, message_id=f"expire-{identity}", body=body))
            taken += len(gone)
        return drafts, taken
