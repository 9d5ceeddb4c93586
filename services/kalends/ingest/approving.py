"""Approving: asking for a second person, deciding, and doing what was approved.

Belongs here: the steps from a request to what came of it. Does not belong here: who may decide (``domain.approvals``), the operations
themselves, which are given as acts. A newcomer would get wrong: a process may die between the decision and the act, and two may act at
once, so an act must be safe to repeat, and one that was left is taken up by whoever finds it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from kalends.domain import approvals
from kalends.domain.approvals import Approval
from kalends.domain.audit import Entry
from kalends.domain.credentials import Principal
from kalends.domain.errors import Conflict, DeadlineExceeded, KalendsError, NotFound, Throttled, Unavailable
from kalends.domain.events import microseconds, new_ulid
from kalends.domain.scope import Tenant
from kalends.kit import failpoints, tasks
from kalends.kit.backoff import pauses
from kalends.ports.clock import Clock
from kalends.wire.approvals import ApprovalStore

log = structlog.get_logger(__name__)

PENDING_MOST = 200
"""Of one tenant at once; whoever may ask must not be able to fill the store."""

LOOK_S = 2.0
GRACE_S = 5.0
"""An act that was approved so long ago and is not done was left by a process that died, or could not go on."""

OF, WHOLE_TENANT = "of", "tenant"
"""The argument that tells what an operation is about, where that is not one memory."""

_AUDIT_S = 10.0
_SECOND_US = 1_000_000

Act = Callable[[Approval], Awaitable[str]]
"""Does what was approved, and says in a few words what came of it; again is safe."""


class Noted(Protocol):
    """Puts an entry into the audit."""

    def __call__(self, entry: Entry, *, deadline: float) -> Awaitable[None]:
        """Return once it is durable; *deadline* by the loop's clock."""
        ...


class Approvals:
    """The approvals of an instance; *required* names what needs one, *expire_s* is how long a request waits."""

    def __init__(self, *, required: Collection[str], store: ApprovalStore, noted: Noted, clock: Clock, expire_s: float) -> None:
        self._required = frozenset(required)
        self._store = store
        self._noted = noted
        self._clock = clock
        self._expire_s = expire_s
        self._left: dict[tuple[Tenant, str], int] = {}
        self._acts: dict[str, tuple[str, Act]] = {}

    def perform(self, operation: str, act: Act, *, audited_as: str) -> None:
        """Have *act* do what is approved of *operation*; in the audit it is *audited_as*."""
        self._acts[operation] = (audited_as, act)

    def needs(self, operation: str) -> bool:
        """Whether *operation* waits for a second person."""
        return operation in self._required

    async def ask(
        self, principal: Principal, operation: str, *, memories: Sequence[str], arguments: Mapping[str, str], wide: bool = False
    ) -> Approval:
        """Note that *principal* asks; the same wish of the same person again is the one that waits already.

        Raises:
            Throttled: too many wait.
        """
        now = self._clock.now()
        asked = Approval(
            approval_id=new_ulid(now),
            tenant=principal.tenant,
            operation=operation,
            memories=tuple(memories),
            arguments=arguments,
            wide=wide,
            requested_by=approvals.name_of(principal),
            makers=principal.makers,
            requested_with=principal.token_id,
            requested_us=microseconds(now),
            expires_us=microseconds(now) + int(self._expire_s * _SECOND_US),
        )
        waiting = [one for one in await self._store.all(principal.tenant) if one.state_at(asked.requested_us) == approvals.PENDING]
        same = next((one for one in waiting if one.asks_the_same(asked)), None)
        if same is not None:
            return same
        if len(waiting) >= PENDING_MOST:
            raise Throttled("too many approvals wait for a decision", retry_after=60.0)
        return await self._store.begin(asked)

    async def all(self, principal: Principal) -> Sequence[Approval]:
        """Those that *principal* may see, newest first."""
        return [one for one in reversed(await self._store.all(principal.tenant)) if approvals.may_see(one, principal)]

    async def find(self, principal: Principal, approval_id: str) -> Approval:
        """One that *principal* may see.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.find(principal.tenant, approval_id)
        if found is None or not approvals.may_see(found, principal):
            raise NotFound("no such approval")
        return found

    async def refuse(self, principal: Principal, approval_id: str) -> Approval:
        """Decide that it is not done.

        Raises:
            NotFound, Forbidden, Conflict: as ``domain.approvals.check_decider`` says.
        """
        found = await self.find(principal, approval_id)
        return await self._decide(found, principal, approvals.REFUSED)

    async def approve(self, principal: Principal, approval_id: str) -> Approval:
        """Decide that it is done, and do it; ``failed`` if it cannot be, ``approved`` if that is only so now.

        Raises:
            NotFound, Forbidden, Conflict: as ``domain.approvals.check_decider`` says.
        """
        found = await self.find(principal, approval_id)
        decided = await self._decide(found, principal, approvals.APPROVED)
        await failpoints.reach("approval.after-decision")
        return await self._act(decided)

    async def run(self) -> None:
        """Do what was approved and left undone, until cancelled."""
        async with tasks.group() as group:
            group.create_task(self._follow(), name="approvals.follow")
            while True:
                try:
                    await self._take_up()
                except KalendsError as error:
                    log.warning("what was approved cannot be taken up", kind=error.code)
                await self._clock.sleep(LOOK_S)

    async def _follow(self) -> None:
        """Know what is approved and not done: approvals are kept for good, so they are not listed again and again."""
        for pause in pauses(first=0.5, longest=10.0):
            try:
                async with aclosing(self._store.watch()) as changes:
                    async for one in changes:
                        if one.state == approvals.APPROVED:
                            self._left[one.tenant, one.approval_id] = one.decided_us
                        else:
                            self._left.pop((one.tenant, one.approval_id), None)
            except KalendsError as error:
                log.warning("approvals cannot be followed", kind=error.code)
            await self._clock.sleep(pause)

    async def _take_up(self) -> None:
        before_us = self._now_us() - int(GRACE_S * _SECOND_US)
        for (tenant, approval_id), decided_us in list(self._left.items()):
            if decided_us > before_us:
                continue
            found = await self._store.find(tenant, approval_id)
            if found is not None and found.state == approvals.APPROVED and found.operation in self._acts:
                await self._act(found)

    async def _decide(self, found: Approval, principal: Principal, state: str) -> Approval:
        now_us = self._now_us()
        approvals.check_decider(found, principal, now_us=now_us)
        try:
            return await self._store.put(
                found, state=state, decided_by=approvals.name_of(principal), decided_with=principal.token_id, decided_us=now_us
            )
        except Conflict:
            raise Conflict("somebody else has just decided it") from None

    async def _act(self, decided: Approval) -> Approval:
        """Do what was decided, audit it, and note what came of it; what is away leaves it to be taken up again."""
        audited_as, act = self._acts[decided.operation]
        result, error, outcome = "", "", "ok"
        try:
            result = await act(decided)
        except (Unavailable, DeadlineExceeded) as failure:
            log.warning("what was approved waits", approval=decided.approval_id, kind=failure.code)
            return decided
        except KalendsError as failure:
            error, outcome = failure.detail, failure.code
        await failpoints.reach("approval.after-act")
        entry = Entry(
            at_us=self._now_us(),
            tenant=decided.tenant,
            actor=decided.requested_with,
            operation=audited_as,
            memory=decided.memories[0] if decided.arguments.get(OF) != WHOLE_TENANT else "",
            outcome=outcome,
            request_id=decided.approval_id,
            approved_by=decided.decided_with,
        )
        await self._noted(entry, deadline=asyncio.get_running_loop().time() + _AUDIT_S)
        try:
            return await self._store.put(decided, state=approvals.FAILED if error else approvals.DONE, result=result, error=error)
        except Conflict:
            # another process took it up too, and was first to say so
            return await self._store.find(decided.tenant, decided.approval_id) or decided

    def _now_us(self) -> int:
        return microseconds(self._clock.now())
