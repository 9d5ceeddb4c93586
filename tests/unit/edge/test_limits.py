"""What is too much, for whom, and when to come again."""

import asyncio

import pytest
from tests.support.edge import FixedClock
from tests.unit.edge.test_auditing import ADA, SCOPE, call, operation, row

from kalends.domain.credentials import Principal
from kalends.domain.errors import Throttled
from kalends.domain.scope import MemoryName, Scope
from kalends.edge import problems
from kalends.edge.auditing import NoAudit
from kalends.edge.limits import Limits
from kalends.edge.operations import Answer, Call
from kalends.settings import LimitSettings

BOB = Principal(token_id="bob", tenant=SCOPE.tenant, memories=None, rights=frozenset({"append"}))
DIARY = Scope(SCOPE.tenant, MemoryName("diary"))


def asked(principal: Principal = ADA, scope: Scope | None = SCOPE, raw: bytes = b"") -> Call:
    """A call by somebody about some memory."""
    made = call()
    return Call(
        principal=principal, scope=scope, path={}, query=None, body=None, raw=raw, headers={}, request_id="r", deadline=made.deadline
    )


def limits(clock: FixedClock, **settings: float) -> Limits:
    """Limits with a burst of one second."""
    return Limits(LimitSettings(burst_s=1.0, **settings), clock=clock)


async def test_without_settings_nothing_is_refused():
    """And no account is kept."""
    guard = limits(FixedClock())
    for _ in range(10_000):
        guard.admit(asked())

    assert guard._buckets == {}


async def test_a_credential_that_asks_too_often_is_told_when_to_come_again():
    """After that time it is served; another credential at another memory never noticed."""
    clock = FixedClock()
    guard = limits(clock, requests_per_s=10)
    for _ in range(10):
        guard.admit(asked(scope=None))

    with pytest.raises(Throttled) as caught:
        guard.admit(asked(scope=None))
    assert caught.value.retry_after == pytest.approx(0.1)
    guard.admit(asked(BOB, DIARY))
    clock.advance(seconds=0.1)
    guard.admit(asked(scope=None))


async def test_a_memory_has_a_limit_of_its_own():
    """However many credentials ask for it; other memories are not touched."""
    guard = limits(FixedClock(), requests_per_s=10)
    for number in range(10):
        guard.admit(asked(ADA if number % 2 else BOB))

    with pytest.raises(Throttled):
        guard.admit(asked(ADA))
    guard.admit(asked(ADA, DIARY))


async def test_a_refused_call_pays_nothing():
    """Or who asks again and again would never be served."""
    clock = FixedClock()
    guard = limits(clock, requests_per_s=1)
    guard.admit(asked())
    for _ in range(100):
        with pytest.raises(Throttled):
            guard.admit(asked())
    clock.advance(seconds=1)

    guard.admit(asked())


async def test_bytes_are_paid_before_and_events_after():
    """What a request held is known when it comes; how many events, when they were read."""
    clock = FixedClock()
    guard = limits(clock, bytes_per_s=100, events_per_s=10)
    guard.admit(asked(raw=b"x" * 100))
    with pytest.raises(Throttled, match="bytes"):
        guard.admit(asked(raw=b"x"))

    clock.advance(seconds=1)
    guard.admit(asked())
    guard.charge(asked(), Answer(costs={"events": 30}))
    with pytest.raises(Throttled, match="events") as caught:
        guard.admit(asked())
    assert caught.value.retry_after == pytest.approx(2.0)


async def test_tokens_of_contexts_are_counted_when_they_were_given():
    """The next one waits for them."""
    guard = limits(FixedClock(), tokens_per_s=1000)
    guard.admit(asked())
    guard.charge(asked(), Answer(costs={"tokens": 3000}))

    with pytest.raises(Throttled, match="tokens"):
        guard.admit(asked())


async def test_a_call_that_is_too_much_is_not_handled():
    """And is a 429 that says when to come again, over every transport."""
    done: list[Call] = []

    async def note(given: Call) -> Answer:
        done.append(given)
        return Answer()

    guard = limits(FixedClock(), requests_per_s=1)
    route = row(operation(handle=note))
    await route.perform(call(), audit=NoAudit(), limits=guard)
    with pytest.raises(Throttled) as caught:
        await route.perform(call(), audit=NoAudit(), limits=guard)

    assert len(done) == 1
    told = problems.problem_of(caught.value, request_id="r")
    assert (told.status, told.code) == (429, "throttled")
    assert told.retry_after_s == pytest.approx(1.0)


async def test_searches_take_turns_of_tenants():
    """One tenant's thousand do not stand before another's one."""
    order: list[str] = []
    gate = asyncio.Event()

    async def search(given: Call) -> Answer:
        order.append(given.principal.tenant)
        await gate.wait()
        return Answer()

    guard = Limits(LimitSettings(searches_at_once=1, waiting_max=50), clock=FixedClock())
    route = row(operation("search", "POST", "search", handle=search))
    quiet = Scope("quiet", MemoryName("m"))  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(route.perform(asked(), audit=NoAudit(), limits=guard))
        await asyncio.sleep(0)
        theirs = asked(Principal(token_id="q", tenant=quiet.tenant, memories=None, rights=frozenset()), quiet)
        group.create_task(route.perform(theirs, audit=NoAudit(), limits=guard))
        await asyncio.sleep(0)
        gate.set()

    assert order.index("quiet") <= 2
    assert len(order) == 21


async def test_too_many_that_wait_are_refused():
    """By tenant; what they would have asked is not done."""
    gate = asyncio.Event()

    async def search(_given: Call) -> Answer:
        await gate.wait()
        return Answer()

    guard = Limits(LimitSettings(searches_at_once=1, waiting_max=1), clock=FixedClock())
    route = row(operation("search", "POST", "search", handle=search))
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(route.perform(asked(), audit=NoAudit(), limits=guard))
            await asyncio.sleep(0)
        with pytest.raises(Throttled) as caught:
            await route.perform(asked(), audit=NoAudit(), limits=guard)
        gate.set()

    assert caught.value.retry_after


QUIET = Scope("quiet", MemoryName("m"))  # type: ignore[arg-type]


def theirs() -> Call:
    """A call of another tenant."""
    return asked(Principal(token_id="q", tenant=QUIET.tenant, memories=None, rights=frozenset()), QUIET)


class Steps:
    """Searches of two steps each, and the order in which they were done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.route = row(operation("search", "POST", "search", handle=self._search))

    async def _search(self, given: Call) -> Answer:
        who = given.principal.tenant
        self.done.append(f"{who} 1")
        await self.gate.wait()
        await given.give_way()
        self.done.append(f"{who} 2")
        return Answer()


async def side_by_side(guard: Limits, steps: Steps) -> None:
    """Our search is amid its first step when theirs begins; theirs needs a few turns of the loop more."""
    async with asyncio.TaskGroup() as group:
        group.create_task(steps.route.perform(asked(), audit=NoAudit(), limits=guard))
        await asyncio.sleep(0)
        group.create_task(steps.route.perform(theirs(), audit=NoAudit(), limits=guard))
        await asyncio.sleep(0)
        steps.gate.set()


async def test_who_was_refused_a_moment_ago_lets_the_others_pass_between_two_steps():
    """Its search was there first, and goes on when theirs is answered."""
    guard, steps = limits(FixedClock(), requests_per_s=1), Steps()
    async with asyncio.TaskGroup() as group:
        group.create_task(steps.route.perform(asked(), audit=NoAudit(), limits=guard))
        await asyncio.sleep(0)
        with pytest.raises(Throttled):
            guard.admit(asked())
        group.create_task(steps.route.perform(theirs(), audit=NoAudit(), limits=guard))
        await asyncio.sleep(0)
        steps.gate.set()

    assert steps.done[2:] == ["quiet 2", "acme 2"]


async def test_who_keeps_within_its_limits_gives_way_to_nobody():
    """Whose step it is goes on."""
    guard, steps = limits(FixedClock(), requests_per_s=10), Steps()
    await side_by_side(guard, steps)

    assert steps.done[2:] == ["acme 2", "quiet 2"]


async def test_a_refusal_is_forgotten_after_two_seconds():
    """Who asked too much once is like everybody else again."""
    clock = FixedClock()
    guard, steps = limits(clock, requests_per_s=1), Steps()
    guard.admit(asked())
    with pytest.raises(Throttled):
        guard.admit(asked())
    clock.advance(seconds=3)  # of its own share there is one again
    await side_by_side(guard, steps)

    assert steps.done[2:] == ["acme 2", "quiet 2"]


async def test_two_that_were_refused_do_not_wait_for_each_other():
    """Or both would wait for as long as they have patience."""
    guard, steps = limits(FixedClock(), requests_per_s=1), Steps()
    async with asyncio.TaskGroup() as group:
        for one in (asked, theirs):
            group.create_task(steps.route.perform(one(), audit=NoAudit(), limits=guard))
            await asyncio.sleep(0)
            with pytest.raises(Throttled):
                guard.admit(one())
        steps.gate.set()

    assert steps.done[2:] == ["acme 2", "quiet 2"]


async def test_a_search_lets_others_pass_for_so_long_and_no_longer():
    """Whoever never ends does not keep it for ever."""
    guard, ended = limits(FixedClock(), requests_per_s=1), asyncio.Event()

    async def search(given: Call) -> Answer:
        if given.principal.tenant == QUIET.tenant:
            await ended.wait()
        await given.give_way()
        return Answer()

    route = row(operation("search", "POST", "search", handle=search))
    async with asyncio.TaskGroup() as group:
        group.create_task(route.perform(theirs(), audit=NoAudit(), limits=guard))
        await asyncio.sleep(0)
        guard.admit(asked())
        with pytest.raises(Throttled):
            guard.admit(asked())
        async with guard.turn(asked(), route.operation) as turned:
            await turned.give_way()
        ended.set()
