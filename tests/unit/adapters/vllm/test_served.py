"""When a model is looked at, and what is kept of what was seen."""

import asyncio

import pytest

from kalends.adapters.vllm.served import RETRY_S, ServedModel
from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unavailable


class Looked:
    """A check that a test decides, and a clock that is set."""

    def __init__(self) -> None:
        self.error: KalendsError | None = None
        self.times = 0
        self.now = 0.0
        self.model = ServedModel(self, dependency="model", now=lambda: self.now)

    async def __call__(self) -> None:
        self.times += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error

    async def use(self, error: Exception | None = None) -> None:
        """One use, which may fail."""
        async with self.model.using():
            if error is not None:
                raise error


@pytest.fixture
def looked() -> Looked:
    """A model that is as it should be."""
    return Looked()


async def test_it_is_looked_at_once_however_many_come_at_once(looked: Looked) -> None:
    """And not again while nothing fails."""
    await asyncio.gather(*(looked.use() for _ in range(5)))
    await looked.use()

    assert looked.times == 1
    assert looked.model.failure is None


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("late"), Misconfigured("another")], ids=lambda one: one.code)
async def test_a_failed_look_is_kept_and_made_again_after_a_while(looked: Looked, error: KalendsError) -> None:
    """Whoever comes in between is told at once."""
    looked.error = error
    await looked.model.warm()
    with pytest.raises(Unavailable) as caught:
        await looked.use()
    assert (looked.times, caught.value.retry_after, caught.value.detail) == (1, RETRY_S, error.detail)
    assert looked.model.failure is error
    since = looked.model.failing_since

    looked.now += RETRY_S
    with pytest.raises(Unavailable):
        await looked.use()
    assert (looked.times, looked.model.failing_since) == (2, since)
    looked.now += RETRY_S
    looked.error = None
    await looked.use()
    assert (looked.model.failure, looked.model.failing_since) == (None, None)


async def test_after_an_outage_it_is_looked_at_before_it_is_used(looked: Looked) -> None:
    """Because somebody may have put another in its place; but without a pause."""
    await looked.use()
    with pytest.raises(Unavailable):
        await looked.use(Unavailable("away"))
    assert looked.model.failure is not None
    await looked.use()

    assert looked.times == 2
    assert looked.model.failure is None


async def test_a_model_that_is_busy_is_not_away(looked: Looked) -> None:
    """Looking at it again would make it busier."""
    await looked.use()
    with pytest.raises(Unavailable):
        await looked.use(Unavailable("busy", retry_after=1.0))
    await looked.use()

    assert looked.times == 1


async def test_what_turns_out_to_be_another_model_is_away_to_whoever_asks(looked: Looked) -> None:
    """And refused to whoever looks after it."""
    with pytest.raises(Unavailable):
        await looked.use(Misconfigured("another"))

    assert isinstance(looked.model.failure, Misconfigured)


async def test_a_mistake_of_ours_is_no_outage(looked: Looked) -> None:
    """It passes as it is."""
    with pytest.raises(ZeroDivisionError):
        await looked.use(ZeroDivisionError())

    assert looked.model.failure is None


async def test_a_look_can_be_demanded(looked: Looked) -> None:
    """Whatever is known."""
    await looked.use()
    looked.error = Misconfigured("another")
    with pytest.raises(Unavailable):
        await looked.model.again()
    with pytest.raises(Unavailable):
        await looked.model.again()
    assert looked.times == 3
