"""Limits: how much a credential and a memory may ask of this process, and whose turn it is.

Belongs here: what is counted for which call, and the answer when it is too much. Does not belong here: buckets and turns (``kit``), quotas
of what is stored (``ingest``). A newcomer would get wrong: bytes and requests are paid before anything is done, events and tokens after,
when their number is known; a large answer is therefore given, and the next request waits for it. Who was refused a moment ago still has
its share, but lets the searches of others pass, between one step and the next of its own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from kalends.domain.errors import Throttled
from kalends.edge.operations import Answer, Call, Operation
from kalends.kit.bulkhead import Full
from kalends.kit.fair_queue import FairQueue
from kalends.kit.token_bucket import Buckets, TokenBucket
from kalends.ports.clock import Clock
from kalends.settings import LimitSettings

SEARCHES = frozenset({"search", "context"})
WRITES = frozenset({"events.append", "documents.put"})
_RETRY_S = 1.0
_SLACK_S = 0.001
"""A wait that is shorter is none; numbers are rounded, and who came when told is served."""
_MODEST_S = 2.0
"""For so long after a refusal a tenant lets others pass."""
_PATIENCE_S = 0.25
"""The longest that one search lets others pass: ten searches or so, so that it is answered in time itself."""


@dataclass(slots=True)
class _Patience:
    """What is left of it, in seconds."""

    left: float = _PATIENCE_S


class Limits:
    """The limits of one process. ``settings`` of 0 cost nothing."""

    def __init__(self, settings: LimitSettings, *, clock: Clock) -> None:
        rates = {
            "requests": settings.requests_per_s,
            "bytes": settings.bytes_per_s,
            "events": settings.events_per_s,
            "tokens": settings.tokens_per_s,
        }
        self._clock = clock
        self._buckets: Mapping[str, Buckets] = {
            unit: Buckets(rate=rate, burst=max(1.0, rate * settings.burst_s), most=settings.known_max)
            for unit, rate in rates.items()
            if rate
        }
        searches = FairQueue(
            places=settings.searches_at_once, each=settings.searches_per_memory, waiting=settings.waiting_max, name="searches"
        )
        writes = FairQueue(places=settings.writes_at_once, each=settings.writes_at_once, waiting=settings.waiting_max, name="writes")
        self._refused: OrderedDict[Hashable, float] = OrderedDict()
        self._known_max = settings.known_max
        self._queues = dict.fromkeys(SEARCHES, searches) | dict.fromkeys(WRITES, writes)

    def admit(self, call: Call) -> None:
        """Let *call* pass and pay for what it is, or refuse it and take nothing.

        Raises:
            Throttled: the credential or the memory has used up its share; says when to come again.
        """
        if not self._buckets:
            return
        now = self._clock.monotonic()
        costs = {"requests": 1.0, "bytes": float(len(call.raw)), "events": 0.0, "tokens": 0.0}
        due = [(unit, bucket, costs[unit]) for unit, bucket in self._of(call, now)]
        waits = [(bucket.wait(amount, now=now), unit) for unit, bucket, amount in due]
        longest, unit = max(waits)
        if longest > _SLACK_S:
            self._note(call.principal.tenant, now)
            raise Throttled(f"too many {unit} in so short a time", retry_after=longest)
        for _, bucket, amount in due:
            bucket.pay(amount, now=now)

    def charge(self, call: Call, answer: Answer) -> None:
        """Let whoever asked pay for what came of it."""
        if not self._buckets or not answer.costs:
            return
        now = self._clock.monotonic()
        for unit, bucket in self._of(call, now):
            if unit in answer.costs:
                bucket.pay(answer.costs[unit], now=now)

    @asynccontextmanager
    async def turn(self, call: Call, operation: Operation) -> AsyncIterator[Call]:
        """A place among the searches, or the writes, of this process; tenants take turns where there is none free.

        Gives the call as it is to be handled: a search knows how to let others pass.

        Raises:
            Throttled: too many requests of the tenant wait already.
        """
        queue = self._queues.get(operation.name)
        if queue is None or call.scope is None:
            yield call
            return
        tenant, patience = call.scope.tenant, _Patience()

        async def give_way() -> None:
            if self._is_over(tenant):
                await self._let_pass(queue, tenant, patience)

        try:
            async with queue.place(tenant, call.scope):
                yield replace(call, give_way=give_way) if operation.name in SEARCHES else call
        except Full as error:
            raise Throttled("too many requests of this tenant wait for their turn", retry_after=_RETRY_S) from error

    async def _let_pass(self, queue: FairQueue, tenant: Hashable, patience: _Patience) -> None:
        began = self._clock.monotonic()
        with suppress(TimeoutError):  # it was patient enough
            async with asyncio.timeout(max(patience.left, 0.0)):
                await queue.until_alone(tenant, but=self._is_over)
        patience.left -= self._clock.monotonic() - began

    def _note(self, tenant: Hashable, now: float) -> None:
        self._refused[tenant] = now
        self._refused.move_to_end(tenant)
        if len(self._refused) > self._known_max:
            self._refused.popitem(last=False)

    def _is_over(self, tenant: Hashable) -> bool:
        """Whether *tenant* asked for more than it may, a moment ago."""
        at = self._refused.get(tenant)
        return at is not None and self._clock.monotonic() - at < _MODEST_S

    def _of(self, call: Call, now: float) -> Iterator[tuple[str, TokenBucket]]:
        """The buckets that *call* is counted in, with their units."""
        principal = call.principal
        subjects: list[tuple[str, ...]] = [("credential", principal.tenant, principal.token_id)]
        if call.scope is not None:
            subjects.append(("memory", call.scope.tenant, call.scope.memory))
        for unit, buckets in self._buckets.items():
            for subject in subjects:
                yield unit, buckets.of(subject, now=now)
