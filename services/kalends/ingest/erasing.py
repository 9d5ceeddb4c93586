"""Asking for erasures: what is meant is hidden at once, and erased by whoever does that.

Belongs here: checking, recording and undoing. Does not belong here: erasing (``index``), JSON (``erasing_routes``). A newcomer would get
wrong: the answer to a request comes only after this process hides what was asked for; other processes follow within half a second.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    scope: Scope
    selector: Selector
    reason: str
    undo_s: int
    with_memory: bool

    def digest(self, salt: str) -> str:
        """What tells the same request from another, and says nothing to who does not know it."""
        said = f"{self.selector.digest(self.scope, salt)} {self.reason} {self.undo_s} {self.with_memory}"
        return hashlib.sha256(said.encode()).hexdigest()


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
        idempotency_key: str | None = None,
        erasure_id: EventId | None = None,
    ) -> Erasure:
        """Have it hidden now and erased after *undo_s* seconds; *by* is the id of a token.

        The same again with the same *erasure_id* or *idempotency_key* is the same erasure; with a key also when its memory is gone.

        Raises:
            NotFound: there is no such memory. UnderHold: a hold keeps some of it. Conflict: the key belongs to another request.
            Unavailable, DeadlineExceeded: it may be asked for.
        """
        wanted = _Wanted(scope=scope, selector=selector, reason=reason, undo_s=undo_s, with_memory=with_memory)
        known = await self._known(wanted, erasure_id=erasure_id, idempotency_key=idempotency_key)
        if known is not None:
            return known
        await self._memories.find(scope)
        await self._holds.check(scope, selector)
        now = self._clock.now()
        now_us = microseconds(now)
        erasure_id = erasure_id or new_ulid(now)
        if idempotency_key is not None:
            noted = await self._store.claim(scope, idempotency_key, erasure_id=erasure_id, digest=wanted.digest(erasure_id))
            known = await self._begun(wanted, noted)
            if known is not None:
                return known
            erasure_id = noted[0]
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

    async def _known(self, wanted: "_Wanted", *, erasure_id: EventId | None, idempotency_key: str | None) -> Erasure | None:
        """What an earlier request of the same id, or with the same key, began; None if there is none yet."""
        if erasure_id is not None:
            known = await self._store.find(wanted.scope, erasure_id)
            if known is not None:
                await self._store.mark(known)  # whoever stored it may have died before anybody was told
                await self._hidden.refresh()
            return known
        return None if idempotency_key is None else await self._begun(wanted, await self._store.claimed(wanted.scope, idempotency_key))

    async def _begun(self, wanted: "_Wanted", noted: tuple[EventId, str] | None) -> Erasure | None:
        """The erasure that an earlier request with the same key began; None if there is none yet.

        Raises:
            Conflict: that request asked for something else.
        """
        if noted is None:
            return None
        erasure_id, digest = noted
        if wanted.digest(erasure_id) != digest:
            raise Conflict("this Idempotency-Key belongs to another request")
        found = await self._store.find(wanted.scope, erasure_id)
        if found is not None:
            await self._hidden.refresh()
        return found

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
        await self._store.mark(undone)
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
