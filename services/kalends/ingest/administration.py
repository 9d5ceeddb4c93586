"""Memories: create, read, list, change.

Belongs here: the operations on memories as such. Does not belong here: erasing one (not built yet). A newcomer would get wrong: creating is
idempotent; a second PUT with the same isolation, or with none, answers 200 with what is stored.
"""

from collections.abc import Mapping

from msgspec import UNSET

from kalends.domain.credentials import scope_for
from kalends.domain.errors import Conflict, Fault, Forbidden, Invalid, NotFound
from kalends.domain.events import KINDS, check_text, microseconds, moment
from kalends.domain.labels import Clearance
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.domain.redaction import CATEGORIES, Policy
from kalends.domain.scope import MemoryName
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.progress import LagNow, Progress
from kalends.ingest import schemas
from kalends.ingest.retention_schemas import retention_of, retention_out
from kalends.ports.calendar import Calendar, CalendarStats
from kalends.ports.clock import Clock
from kalends.ports.timeline import MemoryStats, Timeline
from kalends.wire.isolations import DEDICATED, SHARED
from kalends.wire.memories import Memory, MemoryRegistry


class MemoryRoutes:
    """``/memories``."""

    def __init__(
        self, *, memories: MemoryRegistry, timeline: Timeline, calendar: Calendar | None, progress: Progress, clock: Clock
    ) -> None:
        self._memories = memories
        self._timeline = timeline
        self._calendar = calendar
        self._progress = progress
        self._clock = clock

    async def create(self, call: Call) -> Answer:
        """Create a memory; 201 if this made it, 200 if it was there.

        Raises:
            Forbidden: the credential lacks ``append``, or ``admin`` for a dedicated memory. Conflict: it exists with other isolation, or
                did before it was erased. Throttled: the log has no room for another dedicated memory.
        """
        body: schemas.MemoryIn = call.body
        fault = check_text(body.description, pointer="/description", limit=8000, empty=True)
        if fault is not None:
            raise Invalid(fault.detail, faults=[fault])
        if "admin" not in call.principal.rights and "append" not in call.principal.rights:
            raise Forbidden("creating a memory needs the right 'append'")
        if body.isolation == DEDICATED and "admin" not in call.principal.rights:
            # each takes room from all others, for ever
            raise Forbidden("creating a dedicated memory needs the right 'admin'")
        memory = Memory(
            scope=call.scoped,
            isolation=body.isolation or SHARED,
            description=body.description,
            created_us=microseconds(self._clock.now()),
            quota_events=body.quota.events if body.quota else None,
            quota_bytes=body.quota.bytes if body.quota else None,
            redaction=policy_of(body.redaction),
            retention=retention_of(body.retention),
        )
        stored, made = await self._memories.create(memory)
        if body.isolation is not None and stored.isolation != body.isolation:
            raise Conflict(f"the memory exists with isolation {stored.isolation!r}")
        return Answer(body=await self._out(stored, call.principal.clearance), status=201 if made else 200)

    async def show(self, call: Call) -> Answer:
        """One memory with its counts."""
        return Answer(body=await self._out(await self._memories.find(call.scoped), call.principal.clearance))

    async def change(self, call: Call) -> Answer:
        """Change description, quota, redaction or retention; each that is given is replaced whole."""
        body: schemas.MemoryPatch = call.body
        changes: dict[str, object] = {}
        if body.description is not None:
            fault = check_text(body.description, pointer="/description", limit=8000, empty=True)
            if fault is not None:
                raise Invalid(fault.detail, faults=[fault])
            changes["description"] = body.description
        if body.quota is not None:
            changes |= {"quota_events": body.quota.events, "quota_bytes": body.quota.bytes}
        if body.redaction is not None:
            changes["redaction"] = policy_of(body.redaction)
        if body.retention is not UNSET:
            changes["retention"] = retention_of(body.retention)
        return Answer(body=await self._out(await self._memories.change(call.scoped, **changes), call.principal.clearance))

    async def list(self, call: Call) -> Answer:
        """The memories that the credential may see, by name."""
        query: schemas.PageQuery = call.query
        after = decode_cursor(query.cursor, bound_to="memories", shape=(str,))[0] if query.cursor else ""
        known = await self._memories.of_tenant(call.principal.tenant)
        visible = [memory for memory in known if memory.scope.memory > str(after) and self._may_see(call, memory.scope.memory)]
        page = visible[: query.limit]
        more = len(visible) > len(page)
        cursor = encode_cursor([page[-1].scope.memory], bound_to="memories") if more else None
        return Answer(
            body=schemas.MemoryList(items=[await self._out(memory, call.principal.clearance) for memory in page], next_cursor=cursor)
        )

    def _may_see(self, call: Call, memory: MemoryName) -> bool:
        try:
            scope_for(call.principal, memory, right="search")
        except (NotFound, Forbidden):
            return False
        return True

    async def _out(self, memory: Memory, clearance: Clearance) -> schemas.MemoryOut:
        stats = await self._timeline.stats(memory.scope, clearance=clearance)
        calendar = None if self._calendar is None else await self._calendar.stats(memory.scope)
        return memory_out(memory, stats, calendar, await self._progress.lag())


def memory_out(memory: Memory, stats: MemoryStats, calendar: CalendarStats | None, lag: Mapping[str, LagNow]) -> schemas.MemoryOut:
    """A memory as JSON; *calendar* is None in a process that does not follow it."""
    quota = schemas.Quota(events=memory.quota_events, bytes=memory.quota_bytes)
    return schemas.MemoryOut(
        name=memory.scope.memory,
        isolation=memory.isolation,
        description=memory.description,
        created_at=moment(memory.created_us),
        quota=quota if memory.quota_events or memory.quota_bytes else None,
        redaction=None if memory.redaction.is_default else _redaction_out(memory.redaction),
        retention=retention_out(memory.retention),
        events=stats.events,
        documents=stats.documents,
        sessions=stats.sessions,
        toc_nodes=None if calendar is None else sum(calendar.nodes.values()),
        grips=None if calendar is None else calendar.grips,
        log_bytes=stats.log_bytes,
        first_at=None if stats.first_us is None else moment(stats.first_us),
        last_at=None if stats.last_us is None else moment(stats.last_us),
        lag={name: schemas.LagOut(events=one.events, seconds=one.seconds) for name, one in lag.items()},
        owner=memory.owner or None,
        handed_over_at=moment(memory.handed_over_us) if memory.owner else None,
        handed_over_reason=memory.handed_over_reason or None,
    )


def policy_of(given: schemas.Redaction | None) -> Policy:
    """The policy that somebody asked for; what was not named is not in it.

    Raises:
        Invalid: there is no such kind of event.
    """
    if given is None:
        return Policy()
    for kind in given.kinds:
        if kind not in KINDS:
            detail = "is no kind of event"
            raise Invalid(f"{kind!r} {detail}", faults=[Fault(pointer="/redaction/kinds", detail=detail, code="vocabulary")])
    return Policy(actions=_actions(given), kinds={kind: _actions(one) for kind, one in given.kinds.items()})


def _actions(given: schemas.CategoryActions) -> Mapping[str, str]:
    named = {category: getattr(given, category) for category in CATEGORIES}
    return {category: action for category, action in named.items() if action is not None}


def _redaction_out(policy: Policy) -> schemas.Redaction:
    kinds = {kind: schemas.CategoryActions(**actions) for kind, actions in policy.kinds.items()}  # type: ignore[arg-type]  # stored as asked for
    return schemas.Redaction(**policy.actions, kinds=kinds)  # type: ignore[arg-type]  # the same


def operations(routes: MemoryRoutes) -> list[Operation]:
    """The rows for memories."""
    out = schemas.MemoryOut
    one = "/memories/{memory}"
    return [
        Operation(
            name="memories.list",
            method="GET",
            path="/memories",
            right="search",
            summary="The memories of the credential",
            handle=routes.list,
            answer=schemas.MemoryList,
            query=schemas.PageQuery,
        ),
        Operation(
            name="memories.create",
            method="PUT",
            path=one,
            right="append",
            summary="Create a memory",
            handle=routes.create,
            answer=out,
            statuses=(201,),
            body=schemas.MemoryIn,
        ),
        Operation(
            name="memories.show", method="GET", path=one, right="search", summary="A memory and its counts", handle=routes.show, answer=out
        ),
        Operation(
            name="memories.change",
            method="PATCH",
            path=one,
            right="admin",
            summary="Change a memory",
            handle=routes.change,
            answer=out,
            body=schemas.MemoryPatch,
        ),
    ]
