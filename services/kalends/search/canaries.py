"""Canary questions: setting them, and asking them all.

Belongs here: what is checked of a question, and how it is asked and judged. Does not belong here: JSON (``canary_routes``), the record
(``wire.canaries``). A newcomer would get wrong: it is asked as anybody's search is, of the same use case and with the same defaults; and an
event that the timeline does not know is a miss, for it was there when the question was set, while one that was erased, taken back, hidden
or has expired is not expected any more.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from kalends.domain import canaries as rules
from kalends.domain.canaries import Canary, Verdict
from kalends.domain.errors import Conflict, Fault, Invalid, KalendsError, NotFound, Unavailable
from kalends.domain.events import EventId, EventKey, canonical_id, event_key, microseconds
from kalends.domain.labels import EVERYTHING
from kalends.domain.queries import TARGETS
from kalends.domain.scope import Scope
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.timeline import Timeline
from kalends.search import schemas
from kalends.search.hydration import Hydrator
from kalends.search.routes import checked_query, query_of
from kalends.search.targets import FindTargets
from kalends.wire.canaries import CanaryStore, erased_of
from kalends.wire.hidden import HiddenView
from kalends.wire.memories import MemoryRegistry

log = structlog.get_logger(__name__)

_GIVE_WAY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What setting and asking share."""

    store: CanaryStore
    timeline: Timeline
    hydrator: Hydrator
    memories: MemoryRegistry
    clock: Clock


class KeepCanaries:
    """The canary questions of memories, as whoever owns these sets them."""

    def __init__(self, ports: Ports, *, hidden: HiddenView | None = None) -> None:
        self._store = ports.store
        self._hydrator = ports.hydrator
        self._memories = ports.memories
        self._clock = ports.clock
        self._hidden = hidden

    async def set(self, wanted: Canary) -> tuple[Canary, bool]:
        """Store what *wanted* asks, expects and names; what is so already keeps what became of it. Also whether there was none before.

        Raises:
            NotFound: there is no such memory. Invalid: the name or the question is none, or something that is expected is not there.
            Conflict: the memory has as many as it may, or somebody else changed it now. Unavailable: what is expected is being erased.
        """
        rules.check_name(wanted.name)
        checked_query(wanted.question)
        scope = wanted.scope
        await self._memories.find(scope)
        wanted = replace(wanted, expect=tuple(dict.fromkeys(canonical_id(one) for one in wanted.expect)))
        sessions = await self._sessions(scope, wanted.expect)
        since = None if self._hidden is None else await self._hidden.admit(scope, sessions)
        there = await self._store.find(scope, wanted.name)
        if there is not None and there.asks_as(wanted):
            return there, False
        if there is None and len(await self._store.of_scope(scope)) >= rules.MOST:
            raise Conflict(f"a memory has {rules.MOST} canary questions at most")
        now_us = microseconds(self._clock.now())
        made = replace(wanted, set_us=now_us, since_us=now_us, revision=0 if there is None else there.revision)
        stored = await self._store.put(made)
        if self._hidden is not None:
            await self._still_admitted(stored, sessions, since=since)
        return stored, there is None

    async def of_scope(self, scope: Scope) -> Sequence[Canary]:
        """The questions of a memory, by name.

        Raises:
            NotFound: there is no such memory.
        """
        await self._memories.find(scope)
        return await self._store.of_scope(scope)

    async def find(self, scope: Scope, name: str) -> Canary:
        """One question.

        Raises:
            NotFound: there is none.
        """
        await self._memories.find(scope)
        found = await self._store.find(scope, name)
        if found is None:
            raise NotFound("no such canary question")
        return found

    async def remove(self, scope: Scope, name: str) -> None:
        """Forget one question.

        Raises:
            NotFound: there is none.
        """
        await self._memories.find(scope)
        if not await self._store.remove(scope, name):
            raise NotFound("no such canary question")

    async def _sessions(self, scope: Scope, expect: Sequence[EventId]) -> Sequence[str]:
        """The sessions of what is expected, all of which must be there.

        Raises:
            Invalid: something is not.
        """
        keys = {event_key(scope, one): place for place, one in enumerate(expect)}
        visible = await self._hydrator.by_keys(scope, list(keys), now=self._clock.now(), clearance=EVERYTHING)
        absent = keys.keys() - {one.key for one in visible}
        if absent:
            faults = [Fault(pointer=f"/expect/{keys[key]}", detail="no such event", code="unknown") for key in absent]
            raise Invalid("what is expected must be there", faults=sorted(faults, key=lambda fault: fault.pointer))
        return sorted({one.event.facets.session_id for one in visible})

    async def _still_admitted(self, stored: Canary, sessions: Sequence[str], *, since: int | None) -> None:
        """An erasure that began meanwhile may have passed by before the question was there, so it must not stay."""
        if self._hidden is None:
            return
        try:
            await self._hidden.admit(stored.scope, sessions, since=since)
        except Unavailable:
            await self._store.remove(stored.scope, stored.name)
            raise


@dataclass(slots=True, kw_only=True)
class CanaryReport:
    """What a run found, over all memories."""

    memories: int = 0
    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(rules.VERDICTS, 0))

    @property
    def text(self) -> str:
        """One line for people."""
        told = ", ".join(f"{number} {verdict}" for verdict, number in self.verdicts.items())
        return f"{sum(self.verdicts.values())} questions of {self.memories} memories: {told}"


class AskCanaries:
    """The task ``canary-questions``; again is safe, and so is a cancellation anywhere."""

    def __init__(self, ports: Ports, *, find: FindTargets, traffic: Traffic, observe: Callable[[Verdict], None]) -> None:
        """*observe* is told what became of each question."""
        self._store = ports.store
        self._timeline = ports.timeline
        self._hydrator = ports.hydrator
        self._memories = ports.memories
        self._clock = ports.clock
        self._find = find
        self._traffic = traffic
        self._observe = observe

    async def __call__(self) -> CanaryReport:
        """Ask every question of every memory; one memory that cannot be asked does not keep the others from it.

        Raises:
            KalendsError: a memory could not be asked; the last reason.
        """
        report, failed = CanaryReport(), None
        owners = await self._store.owners()
        for scope in await self._memories.scopes() if owners else ():
            if scope.key not in owners:
                continue
            try:
                await self._ask_all(scope, report)
            except KalendsError as error:
                if isinstance(error, NotFound) and await self._is_gone(scope):
                    continue  # the memory was erased meanwhile
                failed = error
                log.warning("canary questions not asked", kind=error.code)
        if failed is not None:
            raise failed
        return report

    async def _is_gone(self, scope: Scope) -> bool:
        """Whether there is no such memory any more: that something else was not found must not pass for it."""
        try:
            await self._memories.reread(scope)
        except NotFound:
            return True
        except KalendsError:
            return False
        return False

    async def _ask_all(self, scope: Scope, report: CanaryReport) -> None:
        report.memories += 1
        for canary in await self._store.of_scope(scope):
            await self._traffic.give_way(at_most=_GIVE_WAY_S)
            verdict = await self._ask(canary)
            report.verdicts[verdict] += 1
            self._observe(verdict)

    async def _ask(self, canary: Canary) -> Verdict:
        scope = canary.scope
        keys = {one: event_key(scope, one) for one in canary.expect}
        known = await self._timeline.lookup(scope, list(keys.values()))
        visible = await self._hydrator.by_keys(scope, list(keys.values()), now=self._clock.now(), clearance=EVERYTHING)
        there = {one.key: one for one in visible}
        wanted = [one for one, key in keys.items() if key in there or key not in known]
        found: list[EventId] = []
        if wanted:
            documents = any(one.event.document_id is not None for one in visible)
            found = await self._found(canary, keys, targets=TARGETS if documents else ("events",))
        verdict = rules.verdict(wanted, found)
        now_us = microseconds(self._clock.now())
        with suppress(Conflict):  # it was changed or removed while it was asked
            await self._keep(canary.judged(verdict, now_us=now_us), erased_of(canary, known), now_us=now_us)
        return verdict

    async def _found(self, canary: Canary, keys: Mapping[EventId, EventKey], *, targets: tuple[str, ...]) -> list[EventId]:
        """Which of the expected are among the best hits."""
        body = schemas.SearchRequest(query=canary.question, limit=canary.within, targets=list(targets))  # type: ignore[arg-type]  # ours
        answer = await self._find(canary.scope, query_of(body, canary.scope, clearance=EVERYTHING))
        hits = {hit.opened.key for hit in answer.hits}
        return [one for one, key in keys.items() if key in hits]

    async def _keep(self, canary: Canary, erased: Sequence[EventId], *, now_us: int) -> None:
        if erased:
            await self._store.put(canary.without(erased, now_us=now_us))
        else:
            await self._store.note(canary)
