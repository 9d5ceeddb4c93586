"""Retention: what a memory keeps no longer is erased, by the erasure protocol, so that its bytes go and receipts say so.

Belongs here: finding what is due, in pieces, and asking for its erasure. Does not belong here: which event is due (``domain.retention``),
or erasing (``index``). A newcomer would get wrong: nothing is remembered between runs. What was asked for is hidden at once and counts as
gone, so a run that was killed is simply followed by another; and while anything of a memory is being erased its numbers are not trusted.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from kalends.domain import retention as rules
from kalends.domain.erasures import Erasure, Hold, Selector
from kalends.domain.errors import Damaged, DeadlineExceeded, UnderHold
from kalends.domain.events import microseconds
from kalends.domain.retention import Aged, Reason, Retention
from kalends.domain.scope import Scope
from kalends.edge.progress import Progress
from kalends.ingest.erasing import RequestErasures
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.log import Log
from kalends.ports.timeline import Timeline
from kalends.settings.retention import RetentionSettings
from kalends.wire.documents import DocumentStore, session_of
from kalends.wire.hidden import HiddenView
from kalends.wire.holding import Holds
from kalends.wire.memories import MemoryRegistry

log = structlog.get_logger(__name__)

BY = "retention"
"""Who asked, in the record and the receipt of an erasure of the job."""

PIECE = 500
DRY_EVENTS = 100_000
"""Events of one memory that a dry run counts, at most."""

_GIVE_WAY_S = 2.0
_FOLLOWED_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is due of one memory, in events by reason; ``held`` are due too. ``erasures`` were asked for. ``more``: there is more."""

    scope: Scope
    due: Mapping[Reason, int] = field(default_factory=dict)
    held: int = 0
    erasures: int = 0
    more: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.due or self.held or self.more)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """The memories in which anything was due."""

    memories: Sequence[Found] = ()
    dry_run: bool = False

    @property
    def due(self) -> Mapping[Reason, int]:
        """Events of all memories that are due, by reason."""
        return sum((Counter(one.due) for one in self.memories), Counter())

    @property
    def text(self) -> str:
        """One line for people."""
        due = self.due
        told = f"{sum(due.values())} events due in {len(self.memories)} memories"
        told += f" ({', '.join(f'{reason} {due[reason]}' for reason in rules.REASONS if due.get(reason))})" if due else ""
        told += f", {sum(one.erasures for one in self.memories)} erasures asked for"
        held = sum(one.held for one in self.memories)
        told += f", {held} held" if held else ""
        told += "; more is left" if any(one.more for one in self.memories) else ""
        return told + (" (dry run)" if self.dry_run else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """One erasure that is to be asked for: what it means, and how many events that is, by reason."""

    selector: Selector
    events: Mapping[Reason, int]


@dataclass(slots=True, kw_only=True)
class _Visit:
    """One memory in one run: what is held in it, what is gone already, and what was found."""

    scope: Scope
    retention: Retention
    now_us: int
    holds: Sequence[Hold]
    under_way: Sequence[Erasure]
    erasures: int
    """How many may be asked for."""
    events: int
    """How many events may be found that no whole session or document has."""
    whole: set[str] = field(default_factory=set)
    """Sessions that are found already, due or held."""
    due: list[_Due] = field(default_factory=list)
    held: int = 0
    more: bool = False


class Retain:
    """The task ``retention``; again is safe, and so is a cancellation anywhere."""

    def __init__(
        self,
        *,
        erasures: RequestErasures,
        holds: Holds,
        hidden: HiddenView,
        timeline: Timeline,
        documents: DocumentStore,
        memories: MemoryRegistry,
        source: Log,
        progress: Progress,
        clock: Clock,
        traffic: Traffic,
        settings: RetentionSettings,
        observe: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """*observe* is told how many events are about to be erased."""
        self._erasures = erasures
        self._holds = holds
        self._hidden = hidden
        self._timeline = timeline
        self._documents = documents
        self._memories = memories
        self._source = source
        self._progress = progress
        self._clock = clock
        self._traffic = traffic
        self._settings = settings
        self._observe = observe

    async def __call__(self) -> RetentionReport:
        """Have everything erased that is due now in any memory, as far as one run goes.

        Raises:
            Unavailable, DeadlineExceeded: a store is away; what was asked for before stays so.
        """
        report = await self.of(await self._memories.scopes(), dry_run=False)
        log.info("retention ran", memories=len(report.memories), **{str(reason): number for reason, number in report.due.items()})
        return report

    async def of(self, scopes: Sequence[Scope], *, dry_run: bool) -> RetentionReport:
        """The same for the memories of *scopes*, by name; a dry run only counts.

        Raises:
            Unavailable, DeadlineExceeded: a store is away, or the timeline has not followed the log yet.
        """
        if not await self._progress.reached(await self._source.heads(), ("timeline",), seconds=_FOLLOWED_S):
            # one that is being built anew has heard the beginning of a session and takes it for quiet
            raise DeadlineExceeded("the timeline did not follow the log in time", dependency="timeline")
        await self._hidden.refresh()
        found = []
        for scope in sorted(scopes, key=lambda one: (one.tenant, one.memory)):
            try:
                one = await self._memory(scope, dry_run=dry_run)
            except Damaged as error:
                log.warning("a memory is left as it is", memory=scope.memory, reason=error.detail)
                continue
            if not one.is_empty:
                found.append(one)
        return RetentionReport(memories=found, dry_run=dry_run)

    def retention_of(self, said: Retention | None) -> Retention:
        """What holds for a memory that says *said*."""
        if said is not None:
            return said
        own = self._settings
        kinds = {"episode": rules.Rule(max_age_days=own.episode_days)} if own.episode_days else {}
        return Retention(rule=rules.Rule(max_age_days=own.max_age_days or None), kinds=kinds)

    async def _memory(self, scope: Scope, *, dry_run: bool) -> Found:
        if self._hidden.hides_memory(scope):
            return Found(scope=scope)
        visit = await self._visit(scope, dry_run=dry_run)
        if not visit.events:
            return Found(scope=scope, more=True)
        await self._sessions(visit)
        if visit.due and visit.retention.counts:
            # what goes with its session is counted still
            visit.retention, visit.more = visit.retention.without_counts(), True
        await self._events(visit)
        await self._aged_documents(visit)
        asked = 0
        if not dry_run:
            visit.more |= len(visit.due) > visit.erasures
            visit.due = visit.due[: visit.erasures]
            asked = await self._ask(visit)
        due = sum((Counter(one.events) for one in visit.due), Counter[Reason]())
        return Found(scope=scope, due=due, held=visit.held, erasures=asked, more=visit.more)

    async def _visit(self, scope: Scope, *, dry_run: bool) -> _Visit:
        retention = self.retention_of((await self._memories.find(scope)).retention)
        under_way = self._hidden.active(scope)
        free = max(0, self._settings.run_erasures - sum(one.requested_by == BY for one in under_way))
        waits = bool(under_way) and retention.counts
        return _Visit(
            scope=scope,
            # what is only hidden may come back, and what is being erased is counted still
            retention=retention.without_counts() if waits else retention,
            now_us=microseconds(self._clock.now()),
            holds=await self._holds.of_scope(scope),
            under_way=under_way,
            erasures=free,
            events=DRY_EVENTS if dry_run else free * self._settings.batch_events,
            more=waits,
        )

    async def _ask(self, visit: _Visit) -> int:
        asked, left = 0, []
        for one in visit.due:
            number = sum(one.events.values())
            try:
                await self._erasures.ask(visit.scope, one.selector, reason="retention", by=BY)
            except UnderHold:
                visit.held += number  # the hold came just now
                continue
            await failpoints.reach("retention.after-ask")
            asked += 1
            left.append(one)
            self._observe(number)
        visit.due = left
        return asked

    async def _sessions(self, visit: _Visit) -> None:
        """Sessions that went quiet, in a memory that keeps none."""
        if not visit.retention.session_only:
            return
        before_us = visit.now_us - round(self._settings.session_idle_s * 1e6)
        after: str | None = None
        while piece := await self._timeline.quiet(visit.scope, before_us, after=after, limit=PIECE):
            after = piece[-1].session_id
            for one in piece:
                await self._whole(visit, Selector(kind="session_id", session=one.session_id), "session", one.events)
            await self._traffic.give_way(at_most=_GIVE_WAY_S)

    async def _aged_documents(self, visit: _Visit) -> None:
        """Documents that were last written too long ago; each goes whole."""
        cutoff = visit.retention.cutoff_us(rules.DOCUMENT_KIND, now_us=visit.now_us)
        if cutoff is None:
            return
        for one in await self._documents.of_scope(visit.scope, after=None, limit=1 << 30):
            if one.updated_us <= cutoff and not one.pending:
                selector = Selector(kind="document_id", document_id=one.document_id, session=session_of(one.document_id))
                await self._whole(visit, selector, "age", len(one.chunk_ids))

    async def _whole(self, visit: _Visit, selector: Selector, reason: Reason, events: int) -> None:
        """One session or document, unless it goes already or a hold keeps some of it."""
        if self._hidden.hides_session(visit.scope, selector.session):
            return
        visit.whole.add(selector.session)
        if visit.holds:
            try:
                await self._holds.check(visit.scope, selector)
            except UnderHold:
                visit.held += events
                return
        visit.due.append(_Due(selector=selector, events={reason: events}))

    async def _events(self, visit: _Visit) -> None:
        """Events, many to an erasure."""
        found: list[tuple[Aged, Reason]] = []
        async for one in self._expired(visit):
            if one.held:
                visit.held += one.session not in visit.whole
            else:
                found.append((one, "expired"))
            if len(found) >= visit.events:
                visit.more = True
                break
        room = visit.events - len(found)
        if room > 0:
            plan = await self._plan(visit, limit=room)
            visit.held += sum(one.session not in visit.whole for one, _ in plan.held)
            visit.more |= plan.more
            found += plan.due
        gone = {one.selector.session for one in visit.due}
        found = [(one, reason) for one, reason in found if one.session not in gone]
        for start in range(0, len(found), self._settings.batch_events):
            some = found[start : start + self._settings.batch_events]
            selector = Selector(kind="event_ids", event_ids=tuple(one.event_id for one, _ in some))
            visit.due.append(_Due(selector=selector, events=Counter(reason for _, reason in some)))

    async def _expired(self, visit: _Visit) -> AsyncIterator[Aged]:
        after = None
        while piece := await self._timeline.expired(visit.scope, visit.now_us, after=after, limit=PIECE):
            after = (piece[-1].expires_us or 0, piece[-1].key)
            for one in self._left(visit, piece):
                yield one
            await self._traffic.give_way(at_most=_GIVE_WAY_S)

    async def _plan(self, visit: _Visit, *, limit: int) -> rules.Plan:
        retention = visit.retention
        live = await self._timeline.census(visit.scope, visit.now_us)
        over = rules.over(retention, live)
        oldest = {}
        for kind, most in over.items():
            cutoff = retention.cutoff_us(kind, now_us=visit.now_us)
            if most or cutoff is not None:
                oldest[kind] = await self._oldest(visit, kind, cutoff, most=most, limit=limit)
        return rules.plan(retention, now_us=visit.now_us, live=live, oldest=oldest, limit=limit)

    async def _oldest(self, visit: _Visit, kind: str, cutoff: int | None, *, most: int, limit: int) -> list[Aged]:
        """The oldest of *kind* that may be due: *most*, and all that are too old; or until *limit* of them are not held."""
        found: list[Aged] = []
        free = walked = 0
        after = None
        while piece := await self._timeline.oldest(visit.scope, kind, visit.now_us, after=after, limit=PIECE):
            after = (piece[-1].recorded_us, piece[-1].key)
            walked += len(piece)
            found += (left := self._left(visit, piece))
            free += sum(not one.held for one in left)
            due = walked < most or (cutoff is not None and after[0] <= cutoff)
            if not due or free >= limit:
                break
            await self._traffic.give_way(at_most=_GIVE_WAY_S)
        return found

    def _left(self, visit: _Visit, piece: Sequence[Aged]) -> list[Aged]:
        """*piece* without what goes already, and with what a hold keeps marked."""
        scope = visit.scope
        left = [one for one in piece if not self._hidden.hides(scope, one.key, session=one.session, occurred_us=one.occurred_us)]
        if not visit.holds:
            return left
        selectors = [hold.selector for hold in visit.holds]
        return [
            replace(one, held=any(each.takes(scope, one.key, session=one.session, occurred_us=one.occurred_us) for each in selectors))
            for one in left
        ]
