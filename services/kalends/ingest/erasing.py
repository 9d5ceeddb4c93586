"""Asking for erasures: what is meant is hidden at once, and erased by whoever does that.

Belongs here: checking, recording and undoing. Does not belong here: erasing (``index``), JSON (``erasing_routes``). A newcomer would get
wrong: the answer to a request comes only after this process hides what was asked for; other processes follow within half a second.
"""

from collections.abc import Sequence

from kalends.domain.erasures import Erasure, Hold, Selector
from kalends.domain.errors import Conflict, NotFound
from kalends.domain.events import EventId, microseconds, new_ulid
from kalends.domain.scope import Scope
from kalends.kit import failpoints
from kalends.ports.clock import Clock
from kalends.ports.ledger import Ledger
from kalends.wire.erasures import ErasureStore
from kalends.wire.hidden import HiddenView
from kalends.wire.holding import Holds
from kalends.wire.memories import MemoryRegistry
from kalends.wire.selecting import Select, Selection


class RequestErasures:
    """Requests for erasures of any memory."""

    def __init__(
        self,
        *,
        store: ErasureStore,
        hidden: HiddenView,
        select: Select,
        holds: Holds,
        memories: MemoryRegistry,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._store = store
        self._hidden = hidden
        self._select = select
        self._holds = holds
        self._memories = memories
        self._ledger = ledger
        self._clock = clock

    async def plan(self, scope: Scope, selector: Selector) -> Selection:
        """What would go.

        Raises:
            NotFound: there is no such memory. UnderHold: a hold keeps some of it.
        """
        await self._memories.find(scope)
        await self._holds.check(scope, selector)
        return await self._select.count(scope, selector)

    async def ask(
        self,
        scope: Scope,
        selector: Selector,
        *,
        reason: str,
        by: str,
        undo_s: int = 0,
        with_memory: bool = False,
        erasure_id: EventId | None = None,
    ) -> Erasure:
        """Have it hidden now and erased after *undo_s* seconds; *by* is the id of a token.

        With an *erasure_id* asking again changes nothing.

        Raises:
            NotFound: there is no such memory. UnderHold: a hold keeps some of it. Unavailable, DeadlineExceeded: it may be asked for.
        """
        known = None if erasure_id is None else await self._store.find(scope, erasure_id)
        if known is not None:
            await self._store.mark()  # whoever stored it may have died before anybody was told
            await self._hidden.refresh()
            return known
        await self._memories.find(scope)
        await self._holds.check(scope, selector)
        now = self._clock.now()
        now_us = microseconds(now)
        erasure_id = erasure_id or new_ulid(now)
        begun = await self._store.begin(
            Erasure(
                erasure_id=erasure_id,
                scope=scope,
                selector=selector,
                selector_kind=selector.kind,
                selector_digest=selector.digest(scope, erasure_id),
                reason=reason,
                requested_by=by,
                undo_until_us=now_us + undo_s * 1_000_000,
                times={"hidden": now_us},
                with_memory=with_memory,
            )
        )
        await failpoints.reach("erasure.after-record")
        await self._hidden.refresh()
        return begun

    async def find(self, scope: Scope, erasure_id: str) -> Erasure:
        """One erasure.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.find(scope, erasure_id)
        if found is None:
            raise NotFound("no such erasure")
        return found

    async def all(self, scope: Scope) -> Sequence[Erasure]:
        """The erasures of one memory, newest first."""
        return list(reversed(await self._store.of_scope(scope)))

    async def undo(self, scope: Scope, erasure_id: str) -> Erasure:
        """Show again what was only hidden.

        Raises:
            NotFound: there is no such erasure. Conflict: it has begun, or is over.
        """
        found = await self.find(scope, erasure_id)
        now_us = microseconds(self._clock.now())
        if found.state != "hidden" or found.begun or found.undo_until_us <= now_us:
            raise Conflict("it cannot be undone any more")
        undone = await self._store.put(found, state="undone", selector=None, times={**found.times, "undone": now_us})
        await self._store.forget_selector(undone)
        await self._store.mark()
        await self._hidden.refresh()
        return undone

    async def receipt(self, scope: Scope, erasure_id: str) -> bytes:
        """The receipt of an erasure.

        Raises:
            NotFound: there is none yet, or no such erasure.
        """
        found = await self._ledger.get(scope, erasure_id)
        if found is None:
            await self.find(scope, erasure_id)
            raise NotFound("there is no receipt yet")
        return found

    async def hold(self, hold: Hold) -> Sequence[str]:
        """Set a hold; the erasures that are under way and that it does not stop.

        Raises:
            NotFound: there is no such memory.
        """
        await self._memories.find(hold.scope)
        await self._store.hold(hold)
        await self._hidden.refresh()
        return [one.erasure_id for one in self._hidden.active(hold.scope) if one.begun]

    async def holds(self, scope: Scope) -> Sequence[Hold]:
        """The holds of one memory."""
        await self._memories.find(scope)
        return await self._store.holds(scope)

    async def release(self, scope: Scope, name: str) -> None:
        """Take a hold away.

        Raises:
            NotFound: there is none.
        """
        if name not in {one.name for one in await self.holds(scope)}:
            raise NotFound("no such hold")
        await self._store.release(scope, name)
