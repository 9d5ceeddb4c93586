"""Appending events: identity, sealing, the durable append and its outcome.

Belongs here: what happens between checked events and their acks. Does not belong here: JSON (``routes``) or documents (``documents``). A
newcomer would get wrong: "the same id again" is looked up for every event, whatever its id says of its age; the store's own window only
covers what the timeline has not followed yet, so ingest refuses to write when the timeline is further behind than that window.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kalends.domain import redaction
from kalends.domain.errors import Damaged, Fault, Throttled, Unavailable
from kalends.domain.events import Event, EventId, EventKey, digest_id, event_key
from kalends.domain.positions import Position, covers
from kalends.domain.scope import Scope
from kalends.edge import tracing
from kalends.ingest.redacting import Cleaned, Redact
from kalends.kit import aead, failpoints
from kalends.kit.backoff import pauses
from kalends.kit.coalescing import Coalescer
from kalends.kit.traffic import Traffic
from kalends.ports.log import Appended, Draft, Log
from kalends.ports.timeline import Known, Timeline
from kalends.wire import envelopes
from kalends.wire.follower import TimelineFollower
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.stamps import Stamps
from kalends.wire.vault import Vault, key_reference

WINDOW_TRUST_S = 100.0
"""The store remembers message ids for 120 s; the timeline must be fresher than that, with a margin for the append itself."""

_MOVED_S = 5.0
"""The longest wait for the timeline after memories moved to other streams."""

CONFLICT = Fault(pointer="/event_id", detail="this id already belongs to an event with other content", code="conflict")
_ERASED = Fault(pointer="/event_id", detail="the event with this id was erased", code="erased")
_GONE = Fault(pointer="/event_id", detail="the event with this id was taken back", code="gone")
TAKEN = (CONFLICT, _ERASED, _GONE)
"""Why an id cannot be written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one event: stored at ``position``, known before (``duplicate``), or refused for ``fault``."""

    event_id: EventId
    position: Position | None = None
    duplicate: bool = False
    fault: Fault | None = None
    masked: tuple[str, ...] = ()
    """What kinds of things were masked in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """An event with everything that its append needs."""

    event: Event
    key: EventKey
    reference: str
    box: aead.Box
    mac: bytes


def idempotent_id(scope: Scope, idempotency_key: str, number: int) -> EventId:
    """The id of the *number*-th event without one in a request with *idempotency_key*: the same whenever it is asked (a UUID version 8)."""
    return digest_id("idempotency", scope.key, str(number), idempotency_key)


class AppendEvents:
    """Appends checked events of one scope; returns after they are durable."""

    def __init__(
        self,
        *,
        log: Log,
        timeline: Timeline,
        follower: TimelineFollower,
        vault: Vault,
        memories: MemoryRegistry,
        traffic: Traffic,
        redact: Redact,
        hidden: HiddenView | None = None,
        took: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._took = took
        self._hidden = hidden
        self._redact = redact
        self._log = log
        self._timeline = timeline
        self._follower = follower
        self._vault = vault
        self._memories = memories
        self._traffic = traffic
        self._stamps = Stamps()
        self._read_behind: Mapping[str, int] | None = None
        self._lookups = Coalescer(self._look_up, limit=2000)

    async def __call__(self, scope: Scope, events: Sequence[Event]) -> list[Outcome]:
        """One outcome per event, in order.

        Raises:
            NotFound: there is no such memory. Throttled: the log is full, a quota is used up, or the timeline is too far behind.
            Unavailable, DeadlineExceeded: nothing is known of the outcome; the same ids may be sent again.
        """
        with self._traffic.passing(len(events)):
            return await self._checked(scope, events)

    async def _checked(self, scope: Scope, events: Sequence[Event]) -> list[Outcome]:
        memory = await self._memories.find(scope)
        cleaned = await self._redact.events(memory.redaction, events)
        kept = [one.event for one in cleaned if not one.refused]
        outcomes = iter(await self._clean(memory, kept) if kept else ())
        return [_kept_out(one) if one.refused else replace(next(outcomes), masked=one.masked) for one in cleaned]

    async def _clean(self, memory: Memory, events: Sequence[Event]) -> list[Outcome]:
        """Append what holds nothing any more that its memory does not take."""
        scope = memory.scope
        if self._follower.behind_s > WINDOW_TRUST_S:
            raise Throttled("this process has not yet followed the log far enough to recognise repeated ids", retry_after=2.0)
        if self._log.left_behind is not self._read_behind:
            await self._read_up()
        sessions = {event.facets.session_id: None for event in events}
        admitted = None if self._hidden is None else await self._hidden.admit(scope, [*sessions])
        outcomes: list[Outcome | None] = [None] * len(events)
        prepared = await self._prepare(scope, events)
        fresh = await self._without_known(scope, prepared, outcomes)
        if fresh:
            # what is known already adds nothing, so a repetition is recognised under a full quota too
            if memory.quota_events is not None or memory.quota_bytes is not None:
                await self._check_quota(scope, memory.quota_events, memory.quota_bytes, adding=len(fresh))
            await self._append(scope, [(index, prepared[index]) for index in fresh], outcomes)
        if self._hidden is not None:
            # what came while its session was being erased is erased with it, or sealed under a key that is gone: not acknowledged
            await self._hidden.admit(scope, [*sessions], since=admitted)
        return self._settle_repeats(prepared, outcomes)

    async def _read_up(self) -> None:
        """Return once the timeline knows what memories left in other streams when they moved: the store's window does not reach there."""
        left_behind = self._log.left_behind
        waited = 0.0
        for pause in pauses(first=0.01, longest=0.2):
            if not left_behind or covers(await self._timeline.floors(), left_behind):
                self._read_behind = left_behind
                return
            if waited > _MOVED_S:
                raise Throttled("this process has not yet followed what its memories left in other streams", retry_after=1.0)
            waited += pause
            await asyncio.sleep(pause)

    async def _check_quota(self, scope: Scope, events: int | None, size: int | None, *, adding: int) -> None:
        stats = await self._timeline.stats(scope)
        if events is not None and stats.events + adding > events:
            raise Throttled(f"the memory's quota of {events} events would be exceeded")
        if size is not None and stats.log_bytes >= size:
            raise Throttled(f"the memory's quota of {size} bytes is used up")

    async def _prepare(self, scope: Scope, events: Sequence[Event]) -> list[_Prepared]:
        references: dict[str, str] = {}
        for event in events:
            session_id = event.facets.session_id
            if session_id not in references:
                references[session_id] = key_reference(scope, session_id)
        boxes = await self._vault.boxes_for_writing(scope, references.values())
        prepared = []
        for event in events:
            reference = references[event.facets.session_id]
            box = boxes[reference]
            mac = envelopes.content_mac(event, box)
            prepared.append(_Prepared(event=event, key=event_key(scope, event.id), reference=reference, box=box, mac=mac))
        return prepared

    async def _look_up(self, questions: Sequence[tuple[Scope, EventKey]]) -> Mapping[tuple[Scope, EventKey], Known]:
        by_scope: dict[Scope, list[EventKey]] = {}
        for scope, key in questions:
            by_scope.setdefault(scope, []).append(key)
        found: dict[tuple[Scope, EventKey], Known] = {}
        for scope, keys in by_scope.items():
            for key, known in (await self._timeline.lookup(scope, keys)).items():
                found[scope, key] = known
        return found

    async def _without_known(self, scope: Scope, prepared: Sequence[_Prepared], outcomes: list[Outcome | None]) -> list[int]:
        """The indexes of events to append: neither known to the timeline nor a repetition within this request."""
        known = await self._lookups.ask([(scope, one.key) for one in prepared])
        seen: set[EventKey] = set()
        fresh = []
        for index, one in enumerate(prepared):
            before = known.get((scope, one.key))
            if before is not None:
                outcomes[index] = _against(one, before)
            elif one.key not in seen:
                seen.add(one.key)
                fresh.append(index)
        return fresh

    async def _append(self, scope: Scope, fresh: Sequence[tuple[int, _Prepared]], outcomes: list[Outcome | None]) -> None:
        stamps = self._stamps.issue(len(fresh))
        stored = False
        try:
            with tracing.span("log.append", parent=tracing.current.get(), kind="producer"):
                headers = tracing.headers()
                drafts = []
                for stamp, (_, one) in zip(stamps, fresh, strict=True):
                    body = envelopes.seal_event(one.event, scope=scope, key_reference=one.reference, box=one.box, mac=one.mac, stamp=stamp)
                    drafts.append(Draft(scope=scope, message_id=one.key, body=body, headers=headers))
                await failpoints.reach("ingest.before-append")
                began = time.monotonic()
                appended = await self._log.append(drafts)
                self._took(time.monotonic() - began)
            stored = not any(one.duplicate for one in appended)
        finally:
            self._stamps.settle(stamps, stored=stored)
        await failpoints.reach("ingest.after-append")
        originals = await self._originals([one for one in appended if one.duplicate])
        for (index, one), place in zip(fresh, appended, strict=True):
            if place.duplicate:
                outcomes[index] = _against_original(one, place, originals.get(place.position))
            else:
                outcomes[index] = Outcome(event_id=one.event.id, position=place.position)

    async def _originals(self, duplicates: Sequence[Appended]) -> dict[Position, bytes]:
        """The content MACs of the messages that came first; a message that is gone has none."""
        if not duplicates:
            return {}
        positions = [one.position for one in duplicates]
        messages = await self._log.read(positions)
        return {message.position: envelopes.parse(message.body).content_mac for message in messages if message is not None}

    def _settle_repeats(self, prepared: Sequence[_Prepared], outcomes: list[Outcome | None]) -> list[Outcome]:
        """Give repetitions within the request the outcome of their first."""
        first: dict[EventKey, tuple[_Prepared, Outcome]] = {}
        settled = []
        for one, outcome in zip(prepared, outcomes, strict=True):
            if outcome is None:
                original, earlier = first[one.key]
                settled.append(replace(earlier, duplicate=True) if original.mac == one.mac else _refused(one, CONFLICT))
            else:
                first.setdefault(one.key, (one, outcome))
                settled.append(outcome)
        return settled


def _kept_out(one: Cleaned) -> Outcome:
    fault = Fault(pointer="", detail=f"holds what this memory does not take: {', '.join(one.refused)}", code=redaction.REFUSED)
    return Outcome(event_id=one.event.id, fault=fault)


def _refused(one: _Prepared, fault: Fault) -> Outcome:
    return Outcome(event_id=one.event.id, fault=fault)


def _against(one: _Prepared, known: Known) -> Outcome:
    """What becomes of an event whose id the timeline knows."""
    if known.erased:
        return _refused(one, _ERASED)
    if known.retracted:
        return _refused(one, _GONE)
    if known.content_mac != one.mac:
        return _refused(one, CONFLICT)
    return Outcome(event_id=one.event.id, position=known.position, duplicate=True)


def _against_original(one: _Prepared, place: Appended, original_mac: bytes | None) -> Outcome:
    """What becomes of an event that the store refused as a repetition."""
    if original_mac is None:
        raise Unavailable("the first event of this id cannot be read back yet", dependency="log", retry_after=1.0)
    if not original_mac:
        raise Damaged("a stored event has no content digest")
    if original_mac != one.mac:
        return _refused(one, CONFLICT)
    return Outcome(event_id=one.event.id, position=place.position, duplicate=True)
