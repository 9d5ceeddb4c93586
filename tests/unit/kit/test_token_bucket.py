"""Token buckets: never more than the rate and the burst allow, in time that is given."""

from hypothesis import given
from hypothesis import strategies as st

from kalends.kit.token_bucket import Buckets, TokenBucket

RATES = st.floats(0.1, 1000)
STEPS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 50)), max_size=60)


def test_a_bucket_is_full_at_first_and_gives_its_burst_at_once():
    """And then what comes in."""
    bucket = TokenBucket(rate=10, burst=20, now=0)
    bucket.pay(20, now=0)

    assert bucket.wait(1, now=0) == 0.1
    assert bucket.wait(1, now=0.1) == 0
    assert bucket.wait(10, now=0.1) == 0.9


def test_a_debt_is_waited_for():
    """What was paid after the fact is made up for before the next."""
    bucket = TokenBucket(rate=10, burst=10, now=0)
    bucket.pay(110, now=0)

    assert bucket.wait(0, now=0) == 10
    assert bucket.wait(10, now=0) == 11


def test_more_than_the_burst_can_be_had_by_waiting_for_all_of_it():
    """Or a large request could never be made."""
    bucket = TokenBucket(rate=1, burst=5, now=0)

    assert bucket.wait(1000, now=0) == 0


def test_a_clock_that_stands_still_or_goes_back_gives_nothing():
    """It would be a way to get around the limit."""
    bucket = TokenBucket(rate=10, burst=10, now=100)
    bucket.pay(10, now=100)

    assert bucket.wait(1, now=50) == bucket.wait(1, now=100) == 0.1


@given(rate=RATES, burst=st.floats(1, 100), steps=STEPS)
def test_what_is_taken_never_exceeds_rate_and_burst(rate: float, burst: float, steps: list[tuple[float, float]]):
    """Over every stretch of time from the beginning, for takers that ask first."""
    bucket, now, taken = TokenBucket(rate=rate, burst=burst, now=0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        wanted = min(amount, burst)
        if bucket.wait(wanted, now=now) == 0:
            bucket.pay(wanted, now=now)
            taken += wanted

        assert taken <= burst + rate * now + 1e-6


@given(rate=RATES, burst=st.floats(1, 100), debt=st.floats(0, 500), amount=st.floats(0, 100))
def test_who_waits_as_long_as_was_said_is_served(rate: float, burst: float, debt: float, amount: float):
    """The answer to Retry-After is true, but for the rounding of numbers."""
    bucket = TokenBucket(rate=rate, burst=burst, now=0)
    bucket.pay(debt, now=0)

    wait = bucket.wait(amount, now=0)

    assert bucket.wait(amount, now=wait) * rate <= 1e-6


def test_there_are_only_so_many_buckets_and_the_oldest_goes():
    """Keys that strangers make up cannot fill the memory."""
    buckets = Buckets(rate=1, burst=1, most=3)
    for key in "abc":
        buckets.of(key, now=0).pay(1, now=0)
    buckets.of("a", now=0)
    buckets.of("d", now=0)

    assert len(buckets) == 3
    assert buckets.of("a", now=0).wait(1, now=0) == 1
    assert buckets.of("b", now=0).wait(1, now=0) == 0
