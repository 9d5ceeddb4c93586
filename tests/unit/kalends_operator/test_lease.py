"""The lease: one holder, by nobody's clock but the waiter's own."""

from types import SimpleNamespace
from typing import Any

import pytest

from kalends.domain.errors import Conflict, Occupied, Unavailable
from kalends_operator.lease import Leadership


class Store:
    """One Lease with versions, as the API server keeps it."""

    def __init__(self) -> None:
        self.found: Any = None
        self.version = 0
        self.away = False

    async def lease(self, namespace: str, name: str) -> Any:
        if self.away:
            raise Unavailable("away")
        return self.found

    async def write_lease(self, found: Any, *, namespace: str, name: str, spec: dict[str, Any]) -> Any:
        if self.away:
            raise Unavailable("away")
        if found is not self.found:
            raise Conflict("written since")
        self.version += 1
        kept = {"holderIdentity": "", "leaseTransitions": 0, "acquireTime": None, "leaseDurationSeconds": 10, **spec}
        self.found = SimpleNamespace(metadata=SimpleNamespace(resourceVersion=str(self.version)), spec=SimpleNamespace(**kept))
        return self.found


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return Store()


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def leader(store: Store, clock: Clock, identity: str) -> Leadership:
    """Somebody who wants the lease for ten seconds."""
    return Leadership(store, namespace="n", name="l", identity=identity, length_s=10, clock=clock)


async def test_the_first_who_asks_has_it(store: Store, clock: Clock):
    """The first who asks has it."""
    one = leader(store, clock, "one")

    assert await one._try()
    assert one.held


async def test_a_second_waits_for_its_whole_length_by_its_own_clock(store: Store, clock: Clock):
    """A second waits for its whole length by its own clock."""
    assert await leader(store, clock, "one")._try()
    two = leader(store, clock, "two")

    assert not await two._try()
    clock.now += 9.9
    assert not await two._try()
    clock.now += 0.1
    assert await two._try()
    assert store.found.spec.leaseTransitions == 1


async def test_a_lease_that_is_renewed_is_never_taken(store: Store, clock: Clock):
    """A lease that is renewed is never taken."""
    one, two = leader(store, clock, "one"), leader(store, clock, "two")
    assert await one._try()
    for _ in range(20):
        clock.now += 3
        assert await one._try()
        assert not await two._try()


async def test_its_holder_gives_it_up_before_anybody_may_take_it(store: Store, clock: Clock):
    """Its holder gives it up before anybody may take it."""
    one, two = leader(store, clock, "one"), leader(store, clock, "two")
    assert await one._try()
    assert not await two._try()
    clock.now += 7.5

    assert not one.held
    with pytest.raises(Occupied):
        one.check()
    assert not await two._try()


async def test_of_two_who_write_at_once_one_has_it(store: Store, clock: Clock):
    """Of two who write at once one has it."""
    one, two = leader(store, clock, "one"), leader(store, clock, "two")
    first, second = await one._try(), await two._try()

    assert (first, second) == (True, False)


async def test_one_that_was_given_back_is_free_at_once(store: Store, clock: Clock):
    """One that was given back is free at once."""
    one, two = leader(store, clock, "one"), leader(store, clock, "two")
    assert await one._try()
    await one.release()

    assert not one.held
    assert await two._try()


async def test_a_holder_that_cannot_renew_in_time_has_lost(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    """A holder that cannot renew in time has lost."""
    one = leader(store, clock, "one")
    assert await one._try()
    store.away = True

    async def pass_time(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr("kalends_operator.lease.asyncio.sleep", pass_time)
    with pytest.raises(Occupied):
        await one.hold()
    assert clock.now < 1010
