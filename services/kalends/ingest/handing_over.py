"""Handing a memory over: a new owner at once, and soon after no key of it is wrapped as it was.

Belongs here: changing the owner, and wrapping every data key of the memory anew. Does not belong here: what an owner may reach
(``domain.ownership``, which the edge asks of every call), JSON (``hand_over_routes``). A newcomer would get wrong: no body is sealed anew
and no data key changes, for bodies are bound to tenant and memory, which stay; what changes is who may ask, and the wrapping that is
stored.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from kalends.domain.errors import Conflict, KalendsError, NotFound, Unavailable
from kalends.domain.events import microseconds
from kalends.domain.operations import LongOperation
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.kit import failpoints
from kalends.kit.traffic import Traffic
from kalends.ports.clock import Clock
from kalends.ports.kek import Bound, Wrapper
from kalends.ports.keys import Keys
from kalends.wire.erasures import sealing_scope
from kalends.wire.leases import Lease
from kalends.wire.memories import Memory, MemoryRegistry
from kalends.wire.operations import OperationStore
from kalends.wire.owners import Owners
from kalends.wire.running import OperationRunner, Report
from kalends.wire.vault import context

log = structlog.get_logger(__name__)

KIND = "hand-over"
PIECE = 200
SETTLE_S = 1.0
"""Other processes hear of a new owner within half a second; a key that one of them made for the old owner until then is wrapped anew
too."""

LOOK_S = 30.0
_GIVE_WAY_S = 0.2
_WALKS = 4
"""At most so many looks: keys that are made after the first need not be wrapped anew, and writers make them for ever."""

_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """The memory as it is now; ``operation_id`` of wrapping its keys anew is empty where nothing was changed."""

    memory: Memory
    operation_id: str = ""


class RewrapKeys:
    """Wraps every data key of one memory anew, while it is written and read; again is safe, and so is a kill anywhere."""

    def __init__(self, *, keys: Keys, wrapper: Wrapper, traffic: Traffic) -> None:
        self._keys = keys
        self._wrapper = wrapper
        self._traffic = traffic

    async def __call__(self, scope: Scope, report: Report) -> tuple[int, int]:
        """How many keys were wrapped anew, and how many are damaged and stay as they are.

        Raises:
            Unavailable, DeadlineExceeded: a store, or the keeper of a key-encryption key that is needed, is away; what is done is done.
        """
        wrapped = damaged = 0
        for place in (scope, sealing_scope(scope)):
            seen: set[bytes] = set()
            for _ in range(_WALKS):
                due = await self._unseen(place, seen)
                if not due:
                    break
                for start in range(0, len(due), PIECE):
                    await self._traffic.give_way(at_most=_GIVE_WAY_S)
                    piece = await self._keys.get(place, [one.hex() for one in due[start : start + PIECE]])
                    unreadable = await self._exchange(place, piece)
                    wrapped, damaged = wrapped + len(piece) - unreadable, damaged + unreadable
                    report(wrapped, wrapped + len(due) - start - len(piece))
        # brokers with replicas keep what was replaced in logs of their own
        await self._keys.wash()
        return wrapped, damaged

    async def _unseen(self, scope: Scope, seen: set[bytes]) -> Sequence[bytes]:
        """The references that are not among *seen*, and are from now on.

        All are listed before any is exchanged: what is exchanged comes again at the end of a list, and a list of keys that go and come
        meanwhile may end early. Others exchange and destroy too, so there is a second look.
        """
        found: list[bytes] = []
        async with aclosing(self._keys.references(scope, limit=PIECE)) as pieces:
            async for piece in pieces:
                found += [one for one in map(bytes.fromhex, piece) if one not in seen]
                seen.update(found[-len(piece) :])
        return found

    async def _exchange(self, scope: Scope, piece: Mapping[str, bytes]) -> int:
        """Exchange the wrapping of each key; how many are damaged. One that others destroyed or wrapped anew meanwhile is left to them."""
        if not piece:
            return 0
        places = {reference: context(scope, reference) for reference in piece}
        opened = await self._wrapper.unwrap([Bound(key=piece[one], context=place) for one, place in places.items()])
        keys = {reference: key for reference, key in zip(piece, opened, strict=True) if isinstance(key, bytes)}
        if any(isinstance(error, Unavailable) for error in opened):
            raise Unavailable("a data key needs a key-encryption key that is not here", dependency="key-encryption key")
        wrapped = await self._wrapper.wrap([Bound(key=key, context=places[reference]) for reference, key in keys.items()])
        await self._keys.replace(scope, {reference: (piece[reference], new) for reference, new in zip(keys, wrapped, strict=True)})
        return len(piece) - len(keys)


class HandOvers(OperationRunner):
    """Hand-overs: the new owner is stored with one write, which everything else follows from; wrapping keys anew is long work."""

    def __init__(
        self, *, rewrap: RewrapKeys, memories: MemoryRegistry, owners: Owners, store: OperationStore, lease: Lease, clock: Clock
    ) -> None:
        super().__init__(kind=KIND, store=store, lease=lease, clock=clock, do=self._rewrap_keys)
        self._rewrap = rewrap
        self._memories = memories
        self._owners = owners
        self._time = clock

    async def hand_over(self, scope: Scope, to: str, *, reason: str, unless_since_us: int | None = None) -> HandedOver:
        """Make *to*, a principal's name, the owner, and note *reason*, a code.

        On return this process lets nobody else in but admins of all memories. If it is the owner already, or the memory was handed over at
        *unless_since_us* or later, nothing changes.

        Raises:
            NotFound: there is no such memory. Conflict: it is being changed by many. Unavailable, DeadlineExceeded: it may be done.
        """
        for _ in range(_TRIES):
            memory = await self._memories.reread(scope)
            if memory.owner == to or (unless_since_us is not None and memory.handed_over_us >= unless_since_us):
                await self._owners.look(scope)
                return HandedOver(memory=memory)
            now_us = max(microseconds(self._time.now()), memory.handed_over_us + 1)
            try:
                changed = await self._memories.change(scope, owner=to, handed_over_us=now_us, handed_over_reason=reason)
            except Conflict:
                continue  # somebody changed its description, or handed it over too
            await failpoints.reach("hand-over.after-record")
            await self._owners.look(scope)
            begun = await self.ask("keys", tenant=scope.tenant, memory=scope.memory)
            return HandedOver(memory=changed, operation_id=begun.operation_id)
        raise Conflict("the memory is being changed by others; try again")

    async def watch(self) -> None:
        """See again and again that the keys of every memory that was handed over are wrapped anew, or going to be, until cancelled."""
        await self._owners.wait_ready()
        while True:
            try:
                await self._ask_for_due()
            except KalendsError as error:
                log.warning("hand-overs cannot be looked at", kind=error.code)
            await self._time.sleep(LOOK_S)

    async def _ask_for_due(self) -> None:
        """Ask for what nobody is at work on: whoever handed a memory over may have died before it asked."""
        due = self._owners.due()
        if not due:
            return
        going_on = {(one.tenant, one.memory) for one in await self.all() if not one.has_ended}
        for scope in due:
            if tuple(scope) not in going_on:
                await self.ask("keys", tenant=scope.tenant, memory=scope.memory)

    async def _rewrap_keys(self, operation: LongOperation, report: Report) -> str:
        scope = Scope(tenant=Tenant(operation.tenant), memory=MemoryName(operation.memory))
        try:
            since_us = await self._due_since(scope)
            if since_us is None:
                return "every key was wrapped anew already"
            await self._time.sleep(SETTLE_S)
            wrapped, damaged = await self._rewrap(scope, report)
            await failpoints.reach("hand-over.after-rewrap")
            await self._mark(scope, since_us)
        except NotFound:
            return "the memory is gone"
        return f"{wrapped} keys wrapped anew" + (f"; {damaged} are damaged and stay as they were" if damaged else "")

    async def _due_since(self, scope: Scope) -> int | None:
        """The hand-over after which keys are still to be wrapped anew; None if there is none."""
        memory = await self._memories.reread(scope)
        return memory.handed_over_us if memory.rewrapped_us < memory.handed_over_us else None

    async def _mark(self, scope: Scope, since_us: int) -> None:
        for _ in range(_TRIES):
            try:
                await self._memories.change(scope, rewrapped_us=since_us)
            except Conflict:
                continue
            await self._owners.look(scope)
            return
        raise Unavailable("the memory is being changed by others", dependency="records")
